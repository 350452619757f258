#!/usr/bin/env bash
# Arrow for JavaScript shows a decimal without its point: 1.10 is 110.
#
# parquet-wasm 0.8.0 with apache-arrow 21.2.0 (npm), Apache's own implementation, reads a DECIMAL(5, 2) 1.10 and returns the unscaled
# integer: String(value) is "110", and JSON.stringify has "110" too. The scale is in the type of the column
# only (schema.fields[i].type.scale). pyarrow, which wrote the file, shows 1.10.
#
# Why it matters with Lambda and RDS: numeric(p, s) of PostgreSQL is DECIMAL in every Parquet export. A Node function that reads the
# file answers with a hundred times the amount; nothing is wrong with the type, and a test with whole numbers of
# scale 0 passes. Divide by 10 ** scale, as text or BigInt, or read the column as text.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund parquet-wasm@0.8.0 apache-arrow@21.2.0
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyarrow==26.0.1
cat >write.py <<'END'
import datetime
import decimal
import uuid

import pyarrow
import pyarrow.parquet

NUMBER = decimal.Decimal
moment = datetime.datetime(2024, 1, 2, 0, 30, 0, 123456, datetime.timezone.utc)
pyarrow.parquet.write_table(
    pyarrow.table({
        "cents": pyarrow.array([NUMBER("1.10")], pyarrow.decimal128(5, 2)),
        "amount": pyarrow.array([NUMBER("123456789012345678.91")], pyarrow.decimal128(20, 2)),
        "big": pyarrow.array([9007199254740993], pyarrow.int64()),
        "unsigned": pyarrow.array([18446744073709551615], pyarrow.uint64()),
        "small": pyarrow.array([4294967295], pyarrow.uint32()),
        "moment": pyarrow.array([moment], pyarrow.timestamp("us", "UTC")),
        "clock": pyarrow.array([datetime.time(10, 0)], pyarrow.time64("us")),
        "bytes": pyarrow.array([b"\x01\xff"]),
    }),
    "a.parquet",
)
END
cat >run.mjs <<'END'
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tableFromIPC } from 'apache-arrow';

const { readParquet } = createRequire(import.meta.url)('parquet-wasm/node');
const table = tableFromIPC(readParquet(readFileSync('a.parquet')).intoIPCStream());
const row = table.get(0).toJSON();
for (const field of table.schema.fields.filter(({ name }) => ['cents', 'amount'].includes(name))) {
  const value = row[field.name];
  const told = `String ${value}, JSON ${JSON.stringify(value)}`;
  console.log(`${field.name}, ${field.type}, scale ${field.type.scale} | ${told}`);
}
END

echo "$(venv/bin/python --version), Node $(node --version), pyarrow 26.0.1, parquet-wasm 0.8.0, apache-arrow 21.2.0"
{ venv/bin/python write.py && node run.mjs; } | tee seen
diff - seen <<'END'
cents, Decimal[5e+2], scale 2 | String 110, JSON "\"110\""
amount, Decimal[20e+2], scale 2 | String 12345678901234567891, JSON "\"12345678901234567891\""
END
echo "The behaviour is as described."
