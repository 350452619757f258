"""What a person meets: how long a template is, how many questions it asks, and how many alarms it makes."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from samcli.cli.types import CfnParameterOverridesType

from templates import FUNCTIONS, ROOT, build, of_type, path_of, source

EVERY = pytest.mark.parametrize("function", FUNCTIONS)
# batch-job holds its state machine, event-query its queues.
LINES = {"batch-job": 550, "event-query": 470}
SAM = pathlib.Path(sys.executable).with_name("sam")


@EVERY
def test_a_template_stays_short(function):
    written = path_of(function).read_text()
    template = source(function)
    assert "AWS::Include" not in written and "AWS::CloudFormation::Stack" not in written, "what is counted is all there is"
    lines, parameters, alarms = len(written.splitlines()), len(template["Parameters"]), alarms_of(template)
    print(f"{function}: {lines} lines, {parameters} parameters, {len(alarms)} alarms at most: {' '.join(alarms)}")
    assert lines <= LINES.get(function, 450)
    assert parameters <= 20
    assert not [n for n in template["Parameters"] if n.startswith("With")], "a stack is one function's"
    assert max(map(len, written.splitlines())) <= 140


def test_what_templates_share_is_written_the_same():
    """They are written by hand, so a change of one must reach the others."""
    differ = {"Function", "DatabaseUser", "Query"}
    of_engines = {"DatabaseHost", "DatabasePort", "DatabaseResourceId"}
    seen = {}
    for function in FUNCTIONS:
        for name, parameter in source(function)["Parameters"].items():
            if name in differ or (name in of_engines and function in ("mysql-query", "neptune-query")):
                continue
            # A description may name the function, or what it runs.
            text = str({**parameter, "Description": None}) if name in ("ScheduleExpression", "HeartbeatHours") else str(parameter)
            assert seen.setdefault(name, text) == text, f"{name} of {function}"
    assert len(seen) >= 20


def test_generated_parts_are_up_to_date():
    done = subprocess.run([ROOT / "local/template/generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@EVERY
def test_guided_deployment_asks_few_questions(function, tmp_path):
    """The real `sam deploy --guided`, answered with Enter, up to its first call of AWS, which nobody answers."""
    environment = "default" if function == "scheduled-query" else function
    shutil.copy(ROOT / "samconfig.toml", tmp_path)
    built = tmp_path / f".aws-sam/{function}/template.yaml"
    built.parent.mkdir(parents=True)
    # As sam build leaves it, with the package beside it.
    package = built.with_name("package")
    package.mkdir()
    built.write_text(re.sub(r"(?m)^      CodeUri: .*$", "      CodeUri: package", path_of(function).read_text()))
    done = subprocess.run(
        [SAM, "deploy", "--guided", "--config-env", environment],
        cwd=tmp_path, input="\n" * 100, capture_output=True, text=True, timeout=120,
        env={**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"},
    )
    questions = re.findall(r"\tParameter (\w+) \[", done.stdout)
    assert questions == list(source(function)["Parameters"]), done.stdout + done.stderr
    print(f"{function}: sam deploy --guided asks {len(questions)} parameters")
    assert len(questions) <= 20
    assert "samconfig.toml] :  Found" in done.stdout, "the answers are kept in this file"


def alarms_of(template):
    return {n: r["Properties"] for n, r in template["Resources"].items() if "CloudWatch::" in r["Type"] and "Alarm" in r["Type"]}


ALARMS = {
    "batch-job": {"NotRunningAlarm", "StalledAlarm"},
    "db-check": set(),
    "event-query": {"PoisonMessagesAlarm", "WaitingAlarm"},
    "export-query": set(),
    "mysql-query": {"LostResponsesAlarm", "NotRunningAlarm", "ViolationsAlarm"},
    "neptune-query": {"LostResponsesAlarm", "NotRunningAlarm", "ViolationsAlarm"},
    "scheduled-query": {"LostResponsesAlarm", "NotRunningAlarm", "ViolationsAlarm"},
}


@EVERY
def test_each_alarm_means_one_action(function):
    """Five at most, and docs/deploy.md says what to do for each."""
    template = source(function)
    alarms = alarms_of(template)
    assert set(alarms) == {"CannotLogInAlarm", "FailingAlarm"} | ALARMS[function]
    assert len(alarms) <= 5
    section = (ROOT / "docs/deploy.md").read_text().split("\n## Alarms\n")[1].split("\n## ")[0]
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"], name
        assert alarm["AlarmDescription"], name
        assert f"| `{name}`" in section, f"docs/deploy.md does not say what to do for {name}"


@EVERY
def test_a_metric_of_a_long_invocation_is_not_missed(function):
    """Lambda dates a metric by the start of the invocation: the window reaches back further than the time-out."""
    template = source(function)
    [properties] = of_type(template, "AWS::Serverless::Function").values()
    for name, alarm in alarms_of(template).items():
        if alarm["Namespace"] == "AWS/SQS" or name == "NotRunningAlarm":
            continue
        assert alarm["DatapointsToAlarm"] == 1, name
        assert alarm["Period"] * (alarm["EvaluationPeriods"] - 1) >= properties["Timeout"], name


def test_no_alarm_depends_on_the_metrics_that_a_setting_switches_off():
    """DB_METRICS=false leaves out the metrics of the namespace rds-iam-lambda, and no line of the log."""
    for function in FUNCTIONS:
        for name, alarm in alarms_of(source(function)).items():
            assert alarm["Namespace"] != "rds-iam-lambda", name
    summary = (ROOT / "functions/batch-job/src/handler.rs").read_text()
    assert '("stalled", ' in summary, "the filter Stalled reads this member"


@EVERY
def test_filters_count_an_invocation_once(function):
    """An invocation has one summary line; lines of single records have an errorType too."""
    assert '"invocation failed"' in (ROOT / "shared/src/lambda/logs.rs").read_text()
    filters = of_type(source(function), "AWS::Logs::MetricFilter")
    own = {"Stalled"} if function == "batch-job" else {"Violations"} if "ViolationsAlarm" in ALARMS[function] else set()
    assert set(filters) == {"AccessErrors"} | own
    if "Violations" in own:
        assert filters["Violations"]["FilterPattern"] == '{ ($.message = "invocation *") && ($.violations > 0) }'
        assert "    violations: Option<u64>,\n" in (ROOT / "shared/src/lambda/logs.rs").read_text(), "the member that it reads"
    assert filters["AccessErrors"]["FilterPattern"].startswith('{ ($.message = "invocation failed") && (')


def test_samconfig_has_a_section_for_each_function():
    """A stack, a build folder and a section of its own, so that no function replaces another's stack."""
    seen = set()
    for function in FUNCTIONS:
        deploy = build.settings("default" if function == "scheduled-query" else function)
        assert deploy["stack_name"] == f"rds-iam-{function}"
        assert deploy["template"] == f".aws-sam/{function}/template.yaml"
        # template_file would do too, but then --guided keeps its answers in the build folder, which the next build empties.
        assert "template_file" not in deploy
        seen |= {deploy["stack_name"], deploy["template"]}
    assert len(seen) == 2 * len(FUNCTIONS)


def test_the_examples_of_overrides_mean_what_they_say():
    """sam reads each element of the list by itself, cuts it at a space, and refuses an empty value without quotes."""
    texts = [(ROOT / name).read_text() for name in ("samconfig.toml", "docs/deploy.md")]
    examples = {found for text in texts for found in re.findall(r"'(\w+=\"[^\"]*\")'", text)}
    assert len(examples) >= 3
    for example in examples:
        name, value = example.split("=", 1)
        assert CfnParameterOverridesType().convert((example,), None, None) == {name: value.strip('"')}
    bare = [found for text in texts for found in re.findall(r"\"[A-Z]\w+=[^\"]* [^\"]*\"", text) if "…" not in found]
    assert not bare, "a value with a space needs quotes of its own"


@EVERY
def test_a_function_is_not_deployed_over_anothers_stack(function):
    """CloudFormation keeps Function's old value on an update, and refuses what AllowedValues does not name."""
    parameter = source(function)["Parameters"]["Function"]
    assert parameter["AllowedValues"] == [function] == [parameter["Default"]]
