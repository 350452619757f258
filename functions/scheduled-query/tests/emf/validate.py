"""Checks lines of standard input against the embedded metric format: the published JSON schema, and
what its text adds (each name refers to a member of the root, a metric's being a number)."""

import json
import sys

import jsonschema

schema = json.load(open(sys.argv[1]))
# Its "$id"s are fragments, which newer drafts do not take for identifiers.
validator = jsonschema.Draft4Validator(schema)
count = 0
for line in sys.stdin:
    assert len(line.encode()) <= 1024 * 1024, "a document is 1 MB at most"
    document = json.loads(line)
    errors = list(validator.iter_errors(document))
    assert not errors, f"{errors[0].message} in {line}"
    for directive in document["_aws"]["CloudWatchMetrics"]:
        assert 0 < len(directive["Metrics"]) <= 100, line
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            assert isinstance(value, (int, float)) and not isinstance(value, bool), line
        for dimensions in directive["Dimensions"]:
            for dimension in dimensions:
                value = document[dimension]
                assert isinstance(value, str) and 0 < len(value) <= 1024, line
    count += 1
print(count)
