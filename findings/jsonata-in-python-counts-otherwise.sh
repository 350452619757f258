#!/usr/bin/env bash
# JSONata in Python and in JavaScript give different texts for the same number.
#
# jsonata 2.2.2 (npm) is the reference, jsonata-python 0.7.1 (PyPI) its port. $string(123456789012345678) is "123456789012345680" in the one,
# "1.23456789012346e+17" in the other, which is another number. $power(2, 64) prints 18446744073709552000 and 18446744073709551616.
# $replace("aa", "a", "$0$0") gives the text "$0$0$0$0" in JavaScript and doubles the match in Python. $max of an empty
# list is nothing in the one, null in the other.
#
# Why it matters with Lambda and RDS: Step Functions speaks JSONata, and emulators that run it on a laptop are written in Python. A key
# that a state machine builds with $string(id), or & id, is then tested with another text than the one that runs. Keep
# ids as text from the start of the execution.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund jsonata@2.2.2
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check jsonata-python==0.7.1
cat >cases.json <<'END'
["$string(123456789012345678)", "$string(12345678901234567)", "1 & '-' & 123456789012345678", "$power(2, 64)", "$replace('aa', 'a', '$0$0')",
 "$max([])", "$string(0.1 + 0.2)", "$round(2.5)"]
END
cat >run.mjs <<'END'
import { readFileSync } from 'node:fs';
import jsonata from 'jsonata';

for (const text of JSON.parse(readFileSync('cases.json'))) {
  const value = await jsonata(text).evaluate({});
  console.log(`JavaScript | ${text} | ${value === undefined ? 'nothing' : JSON.stringify(value)}`);
}
END
cat >run.py <<'END'
import json

import jsonata

for text in json.load(open("cases.json")):
    print(f"Python | {text} | {json.dumps(jsonata.Jsonata(text).evaluate({}))}")
END

echo "$(venv/bin/python --version), Node $(node --version), jsonata 2.2.2, jsonata-python 0.7.1"
{ node run.mjs && venv/bin/python run.py; } | tee seen
diff - seen <<'END'
JavaScript | $string(123456789012345678) | "123456789012345680"
JavaScript | $string(12345678901234567) | "12345678901234568"
JavaScript | 1 & '-' & 123456789012345678 | "1-123456789012345680"
JavaScript | $power(2, 64) | 18446744073709552000
JavaScript | $replace('aa', 'a', '$0$0') | "$0$0$0$0"
JavaScript | $max([]) | nothing
JavaScript | $string(0.1 + 0.2) | "0.3"
JavaScript | $round(2.5) | 2
Python | $string(123456789012345678) | "1.23456789012346e+17"
Python | $string(12345678901234567) | "1.23456789012346e+16"
Python | 1 & '-' & 123456789012345678 | "1-1.23456789012346e+17"
Python | $power(2, 64) | 18446744073709551616
Python | $replace('aa', 'a', '$0$0') | "aaaa"
Python | $max([]) | null
Python | $string(0.1 + 0.2) | "0.3"
Python | $round(2.5) | 2
END
echo "The behaviour is as described."
