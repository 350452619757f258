#!/usr/bin/env bash
# psycopg's binary=True is not only faster: it changes what the same query returns.
#
# With binary=True, psycopg 3.3.9 (PyPI) returns a real 1.1 as 1.100000023841858 (without: 1.1); of a record, ROW(1, 'a'),
# the number is an int and the text is bytes (without: both are text); money, bit, point, macaddr and tsvector are
# the bytes of PostgreSQL's wire format, without an error (without: text). An array of records too.
#
# Why it matters with Lambda and RDS: binary=True is the advice for large results and is set for a whole cursor or
# connection. The columns that are not numbers or times then come back as bytes, which json.dumps refuses or `str()` turns
# into "b'…'", and prices of type real gain digits. Cast such columns to text in the query, real to numeric.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
bin=$(pg_config --bindir)
as=()
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root.
    as=(runuser -u postgres --)
    chown postgres "$work"
fi
finish() {
    "${as[@]}" "$bin/pg_ctl" -D data -m immediate stop >server.log 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
"${as[@]}" "$bin/initdb" -D data -U postgres -A trust >server.log
"${as[@]}" "$bin/pg_ctl" -D data -w -l log -o "-k $work -c listen_addresses= -c timezone=UTC" start >server.log
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check 'psycopg[binary]==3.3.9'
cat >run.py <<'END'
import os

import psycopg

connection = psycopg.connect(host=os.getcwd(), user="postgres", dbname="postgres")
EXPRESSIONS = (
    "1.1::real", "1.1::float8", "numeric '1.10'", "ROW(1, 'a')", "ARRAY[ROW(1, 'a')]", "money '1.50'", "bit '101'", "point '(1,2)'",
    "macaddr '08:00:2b:01:02:03'", "'a b'::tsvector", "uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
)
for expression in EXPRESSIONS:
    values = [
        connection.execute(f"SELECT {expression}", binary=binary).fetchone()[0] for binary in (False, True)
    ]
    print(f"{expression} | text: {values[0]!r} | binary: {'the same' if values[0] == values[1] else repr(values[1])}")
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), $(venv/bin/python --version), psycopg 3.3.9"
venv/bin/python run.py | tee seen
diff - seen <<'END'
1.1::real | text: 1.1 | binary: 1.100000023841858
1.1::float8 | text: 1.1 | binary: the same
numeric '1.10' | text: Decimal('1.10') | binary: the same
ROW(1, 'a') | text: ('1', 'a') | binary: (1, b'a')
ARRAY[ROW(1, 'a')] | text: [('1', 'a')] | binary: [(1, b'a')]
money '1.50' | text: '$1.50' | binary: b'\x00\x00\x00\x00\x00\x00\x00\x96'
bit '101' | text: '101' | binary: b'\x00\x00\x00\x03\xa0'
point '(1,2)' | text: '(1,2)' | binary: b'?\xf0\x00\x00\x00\x00\x00\x00@\x00\x00\x00\x00\x00\x00\x00'
macaddr '08:00:2b:01:02:03' | text: '08:00:2b:01:02:03' | binary: b'\x08\x00+\x01\x02\x03'
'a b'::tsvector | text: "'a' 'b'" | binary: b'\x00\x00\x00\x02a\x00\x00\x00b\x00\x00\x00'
uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' | text: UUID('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11') | binary: the same
END
echo "The behaviour is as described."
