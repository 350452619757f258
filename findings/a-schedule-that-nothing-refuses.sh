#!/usr/bin/env bash
# A wrong schedule passes cfn-lint and moto, unless it stands in the one resource that they check.
#
# cfn-lint 1.58.0 (PyPI) knows the grammar of schedules, and applies it to AWS::Events::Rule only: `cron(0 9 * * * *)` (both days given)
# and `rate(1 hours)` are errors there, and pass in AWS::Scheduler::Schedule, where "every day" passes as well, and
# in the events Schedule and ScheduleV2 of AWS::Serverless::Function ("every day" in the second only). Hour 25 passes everywhere. moto 5.2.5 creates each of
# them in Scheduler, and with the time zone Mars/Phobos.
#
# Why it matters with Lambda and RDS: the schedule is the one line of a periodic job that has no test, and the deployment fails
# only when the stack is half made. Compare an expression with the table in EventBridge's documentation, or deploy the
# schedule first.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cfn-lint==1.58.0 'moto[scheduler]==5.2.5' boto3==1.44.5
cat >run.py <<'END'
import json
import os
import subprocess

import boto3
import moto

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
TARGET = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f", "RoleArn": "arn:aws:iam::123456789012:role/r"}
CODE = {"Runtime": "python3.13", "Handler": "index.handler", "InlineCode": "handler = print"}


def serverless(kind, name, expression):
    event = {"Type": kind, "Properties": {name: expression}}
    return {"Type": "AWS::Serverless::Function", "Properties": {**CODE, "Events": {"Daily": event}}}


def lint(resource):
    template = {"Transform": "AWS::Serverless-2016-10-31", "Resources": {"It": resource}}
    with open("template.json", "w") as file:
        json.dump(template, file)
    command = ["venv/bin/cfn-lint", "--format", "json", "template.json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True).stdout or "[]")
    return "refused" if any("chedule" in json.dumps(one["Location"]) or "E3027" in one["Rule"]["Id"] for one in told) else "passes"


@moto.mock_aws
def created(expression):
    boto3.client("scheduler").create_schedule(
        Name="it", ScheduleExpression=expression, ScheduleExpressionTimezone="Mars/Phobos",
        FlexibleTimeWindow={"Mode": "OFF"}, Target=TARGET)
    return "passes"


for expression in ("cron(0 9 * * ? *)", "cron(0 9 * * * *)", "rate(1 hours)", "cron(0 25 * * ? *)", "every day"):
    window = {"FlexibleTimeWindow": {"Mode": "OFF"}, "Target": TARGET}
    told = {
        "Rule": lint({"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": expression}}),
        "Scheduler": lint({"Type": "AWS::Scheduler::Schedule", "Properties": {"ScheduleExpression": expression, **window}}),
        "SAM Schedule": lint(serverless("Schedule", "Schedule", expression)),
        "SAM ScheduleV2": lint(serverless("ScheduleV2", "ScheduleExpression", expression)),
        "moto's Scheduler": created(expression),
    }
    print(expression, "|", ", ".join(f"{where} {what}" for where, what in told.items()))
END

echo "$(venv/bin/python --version), cfn-lint 1.58.0, moto 5.2.5"
venv/bin/python run.py | tee seen
diff - seen <<'END'
cron(0 9 * * ? *) | Rule passes, Scheduler passes, SAM Schedule passes, SAM ScheduleV2 passes, moto's Scheduler passes
cron(0 9 * * * *) | Rule refused, Scheduler passes, SAM Schedule passes, SAM ScheduleV2 passes, moto's Scheduler passes
rate(1 hours) | Rule refused, Scheduler passes, SAM Schedule passes, SAM ScheduleV2 passes, moto's Scheduler passes
cron(0 25 * * ? *) | Rule passes, Scheduler passes, SAM Schedule passes, SAM ScheduleV2 passes, moto's Scheduler passes
every day | Rule refused, Scheduler passes, SAM Schedule refused, SAM ScheduleV2 passes, moto's Scheduler passes
END
echo "The behaviour is as described."
