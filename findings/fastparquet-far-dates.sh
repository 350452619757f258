#!/usr/bin/env bash
# fastparquet reads the DATE 9999-12-31 as a day of 1816, and exact decimals as floats.
#
# A Parquet file of pyarrow 26.0.1 holds the dates 2262-04-11 and 2262-04-12 and 9999-12-31, and a DECIMAL(20, 2). fastparquet
# 2026.9.0 (PyPI) multiplies the days to nanoseconds in 64 bits: from 2262-04-12 on they wrap around, without an error.
# TIMESTAMP columns keep their microseconds and are right. pandas 3.1.1 with pyarrow reads all of it as written.
# pandas.read_parquet(engine="fastparquet"), the choice for a small package, has the same answers.
#
# Why it matters with Lambda and RDS: 9999-12-31 is the usual "valid until", and fastparquet is chosen for Lambda because
# pyarrow is large. A filter valid_to >= today then drops all rows that are valid. Export such a column as timestamp.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 fastparquet==2026.9.0
cat >run.py <<'END'
import datetime
import decimal

import pandas
import pyarrow
import pyarrow.parquet

DAYS = [datetime.date(2262, 4, 11), datetime.date(2262, 4, 12), datetime.date(9999, 12, 31)]
table = pyarrow.table({
    "day": pyarrow.array(DAYS, pyarrow.date32()),
    "moment": pyarrow.array([datetime.datetime.combine(day, datetime.time()) for day in DAYS], pyarrow.timestamp("us")),
    "amount": pyarrow.array([decimal.Decimal("123456789012345678.91")] * 3, pyarrow.decimal128(20, 2)),
})
pyarrow.parquet.write_table(table, "a.parquet")
for engine in ("fastparquet", "pyarrow"):
    frame = pandas.read_parquet("a.parquet", engine=engine)
    for row in frame.itertuples():
        print(f"{engine} | {str(row.day)[:10]} | {str(row.moment)[:10]} | {row.amount!r}")
END

echo "$(venv/bin/python --version), fastparquet 2026.9.0, pandas 3.1.1, pyarrow 26.0.1"
venv/bin/python run.py | tee seen
diff - seen <<'END'
fastparquet | 2262-04-11 | 2262-04-11 | 1.2345678901234568e+17
fastparquet | 1677-09-21 | 2262-04-12 | 1.2345678901234568e+17
fastparquet | 1816-03-29 | 9999-12-31 | 1.2345678901234568e+17
pyarrow | 2262-04-11 | 2262-04-11 | Decimal('123456789012345678.91')
pyarrow | 2262-04-12 | 2262-04-12 | Decimal('123456789012345678.91')
pyarrow | 9999-12-31 | 9999-12-31 | Decimal('123456789012345678.91')
END
echo "The behaviour is as described."
