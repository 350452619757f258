#!/usr/bin/env bash
# A metric that is added twice in Powertools has the unit of the last call, for all of its values.
#
# Metrics of aws-lambda-powertools 3.37.0 (PyPI) keeps one unit for each name: add_metric("wait", Seconds, 2) after
# add_metric("wait", Milliseconds, 1500) makes 1500 and 2 both seconds, without a warning. A value NaN is written as NaN, so the
# whole line, with every metric in it, is not JSON. A dimension whose value is None gets the text "None";
# one that is empty is left out with a warning. Metadata with the name of a metric disappears.
#
# Why it matters with Lambda and RDS: one average over no rows, or a ratio 0.0/0, is NaN in numpy and in PostgreSQL's float8, and
# it takes the counts of the same invocation with it; an alarm on missing data fires for the wrong reason. Name the
# unit in the metric's name, and test a value with math.isfinite before you add it.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check aws-lambda-powertools==3.37.0
cat >run.py <<'END'
import json
import warnings

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

warnings.simplefilter("ignore")


def line(*calls):
    """The line of EMF for these calls, without its time."""
    metrics = Metrics(namespace="shop", service="orders")
    for name, *arguments in calls:
        getattr(metrics, name)(*arguments)
    written = metrics.serialize_metric_set()
    metrics.clear_metrics()
    del written["_aws"]["Timestamp"]
    return json.dumps(written)


def is_json(text):
    try:
        json.loads(text, parse_constant=int)
        return True
    except ValueError:
        return False


CASES = {
    "two units": [("add_metric", "wait", MetricUnit.Milliseconds, 1500), ("add_metric", "wait", MetricUnit.Seconds, 2)],
    "NaN": [("add_metric", "ratio", MetricUnit.Percent, float("nan")), ("add_metric", "rows", MetricUnit.Count, 7)],
    "None": [("add_dimension", "tenant", None), ("add_metric", "rows", MetricUnit.Count, 7)],
    "metadata": [("add_metadata", "rows", "of orders"), ("add_metric", "rows", MetricUnit.Count, 7)],
}
for case, calls in CASES.items():
    text = line(*calls)
    print(f"{case} | JSON: {is_json(text)} | {text}")
END

echo "$(venv/bin/python --version), aws-lambda-powertools 3.37.0"
venv/bin/python run.py | tee seen
diff - seen <<'END'
two units | JSON: True | {"_aws": {"CloudWatchMetrics": [{"Namespace": "shop", "Dimensions": [["service"]], "Metrics": [{"Name": "wait", "Unit": "Seconds"}]}]}, "service": "orders", "wait": [1500.0, 2.0]}
NaN | JSON: False | {"_aws": {"CloudWatchMetrics": [{"Namespace": "shop", "Dimensions": [["service"]], "Metrics": [{"Name": "ratio", "Unit": "Percent"}, {"Name": "rows", "Unit": "Count"}]}]}, "service": "orders", "ratio": [NaN], "rows": [7.0]}
None | JSON: True | {"_aws": {"CloudWatchMetrics": [{"Namespace": "shop", "Dimensions": [["tenant", "service"]], "Metrics": [{"Name": "rows", "Unit": "Count"}]}]}, "tenant": "None", "service": "orders", "rows": [7.0]}
metadata | JSON: True | {"_aws": {"CloudWatchMetrics": [{"Namespace": "shop", "Dimensions": [["service"]], "Metrics": [{"Name": "rows", "Unit": "Count"}]}]}, "service": "orders", "rows": [7.0]}
END
echo "The behaviour is as described."
