#!/usr/bin/env bash
# A Decimal in JSON: an error, an exact number, a rounded number or a string, by the library.
#
# json and orjson 3.13.0 (PyPI) refuse Decimal. simplejson 4.3.0 writes the number with all digits (1.10), ujson 6.1.0 writes a float
# (1.1; 123456789012345678.91 becomes 1.2345678901234568e+17) without a word, msgspec 0.23.0 writes a string ("1.10").
# Bytes: simplejson writes b"\x01" as text, msgspec as base64, the others refuse. NaN: json and ujson write NaN, which is not JSON;
# orjson and msgspec write null; simplejson refuses.
#
# Why it matters with Lambda and RDS: every numeric column arrives as Decimal, so the first thing that a handler meets is
# json's refusal, and the quick cure is another library. Each one changes the API: its clients get a string, or rounded money.
# Choose deliberately: str(value), or simplejson.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check orjson==3.13.0 simplejson==4.3.0 ujson==6.1.0 msgspec==0.23.0
cat >run.py <<'END'
import json
from decimal import Decimal

import msgspec
import orjson
import simplejson
import ujson

WRITE = {
    "json": json.dumps,
    "simplejson": simplejson.dumps,
    "ujson": ujson.dumps,
    "msgspec": lambda value: msgspec.json.encode(value).decode(),
    "orjson": lambda value: orjson.dumps(value).decode(),
}
for value in (Decimal("1.10"), Decimal("123456789012345678.91"), b"\x01", float("nan")):
    for name, write in WRITE.items():
        try:
            told = write(value)
        except Exception as error:
            told = type(error).__name__
        print(f"{value!r} | {name}: {told}")
END

echo "$(venv/bin/python --version), orjson 3.13.0, simplejson 4.3.0, ujson 6.1.0, msgspec 0.23.0"
venv/bin/python run.py | tee seen
diff - seen <<'END'
Decimal('1.10') | json: TypeError
Decimal('1.10') | simplejson: 1.10
Decimal('1.10') | ujson: 1.1
Decimal('1.10') | msgspec: "1.10"
Decimal('1.10') | orjson: TypeError
Decimal('123456789012345678.91') | json: TypeError
Decimal('123456789012345678.91') | simplejson: 123456789012345678.91
Decimal('123456789012345678.91') | ujson: 1.2345678901234568e+17
Decimal('123456789012345678.91') | msgspec: "123456789012345678.91"
Decimal('123456789012345678.91') | orjson: TypeError
b'\x01' | json: TypeError
b'\x01' | simplejson: "\u0001"
b'\x01' | ujson: TypeError
b'\x01' | msgspec: "AQ=="
b'\x01' | orjson: TypeError
nan | json: NaN
nan | simplejson: ValueError
nan | ujson: NaN
nan | msgspec: null
nan | orjson: null
END
echo "The behaviour is as described."
