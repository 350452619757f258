"""batch-job's state machine, in moto's interpreter, calling the real function on a real PostgreSQL.

A call has two seconds here in place of Lambda's 900, so that a run of several calls takes seconds.
"""

import io
import json
import os
import pathlib
import signal
import subprocess
import time

import boto3
import pytest
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from samcli.yamlhelper import yaml_parse

ROOT = pathlib.Path(__file__).parents[3]
CALL_SECONDS = 2
LAMBDA_SECONDS = 900
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:batch-job"
# An execution's history holds no more events.
HISTORY = 25_000
RDS_LOCAL = ROOT / "target/debug/rds-local"
SCHEMA = """
CREATE TABLE items (n int);
INSERT INTO items SELECT generate_series(1, 700);
GRANT SELECT, DELETE ON items TO iam_rw_user;
"""
PURGE = """/*+++
mode = "write"
result = "affected"
repeat = "until-no-rows"
+++*/
DELETE FROM items WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM items LIMIT 10)
    AND (SELECT pg_sleep(0.05) IS NOT NULL)
"""


class Lambda:
    """Calls the function's binary as Lambda does: with rds-local, each time in a sandbox of its own."""

    def __init__(self, folder):
        self.folder, self.events = folder, []
        # Errors of Lambda itself, which the next calls meet before the function.
        self.refusals = []

    def invoke(self, Payload=b"{}", **_):
        if self.refusals:
            error = json.dumps({"errorType": self.refusals.pop(0), "errorMessage": "not now"})
            return {"Payload": io.BytesIO(error.encode()), "StatusCode": 200, "FunctionError": "Unhandled"}
        self.events.append(json.loads(Payload))
        event = self.folder / "event.json"
        event.write_bytes(Payload if isinstance(Payload, bytes) else Payload.encode())
        done = subprocess.run(
            [RDS_LOCAL, "invoke", "batch-job", "--dir", self.folder / "server", "--event", event,
             "--timeout", str(CALL_SECONDS), "--env", f"QUERIES_DIR={self.folder}"],
            capture_output=True,
            timeout=60,
        )
        assert done.stdout, done.stderr
        answer = {"Payload": io.BytesIO(done.stdout.strip()), "StatusCode": 200}
        return answer | ({"FunctionError": "Unhandled"} if done.returncode else {})


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    assert RDS_LOCAL.exists(), "run cargo build --workspace first"
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "schema.sql").write_text(SCHEMA)
    (folder / "purge.sql").write_text(PURGE)
    server = subprocess.Popen(
        [RDS_LOCAL, "serve", "--dir", folder / "server", "--init", folder / "schema.sql", "--user", "iam_rw_user"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            if (folder / "server/env").exists():
                break
            assert server.poll() is None, "rds-local ended"
            time.sleep(0.1)
        yield Lambda(folder)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def written():
    template = yaml_parse((ROOT / "functions/batch-job/template.yaml").read_text())
    return template["Parameters"], template["Resources"]["Machine"]["Properties"]


def definition(most, queue):
    """The machine as it is deployed, but for the pauses before a retry, of which five seconds would be the first."""
    _, machine = written()
    values = {"Function": FUNCTION, "MaxCalls": str(most), "FailedRuns": queue}
    values["SendMessage"] = "arn:aws:states:::sqs:sendMessage"
    assert set(machine["DefinitionSubstitutions"]) == set(values)
    text = json.dumps(machine["Definition"]).replace('"IntervalSeconds": 5', '"IntervalSeconds": 1')
    for name, value in values.items():
        text = text.replace("${%s}" % name, value)
    return text.replace('"BackoffRate": 2', '"BackoffRate": 1')


def run(monkeypatch, function, event, most=200):
    """Runs the machine to its end. What it left in FailedRuns is in `reported`."""
    for name in [name for name in os.environ if name.startswith(("PG", "DB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(lambda_eval_utils, "boto_client_for", lambda **_: function)
    function.events.clear()
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        client = boto3.client("stepfunctions", region_name="us-east-1")
        sqs = boto3.client("sqs", region_name="us-east-1")
        queue = sqs.create_queue(QueueName="FailedRuns")["QueueUrl"]
        arn = client.create_state_machine(
            name="batch-job", definition=definition(most, queue), roleArn="arn:aws:iam::123456789012:role/machine"
        )["stateMachineArn"]
        execution = client.start_execution(stateMachineArn=arn, input=json.dumps(event))["executionArn"]
        for _ in range(600):
            ended = client.describe_execution(executionArn=execution)
            if ended["status"] != "RUNNING":
                messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
                return ended | {"reported": [json.loads(message["Body"]) for message in messages]}
            time.sleep(0.1)
    raise AssertionError("the execution did not end")


def test_too_many_calls_and_a_wrong_query_fail_and_say_why(monkeypatch, function):
    """And their events wait in FailedRuns, in the form in which Lambda reports other runs there."""
    ended = run(monkeypatch, function, {"query": "purge", "run": "r"}, most=1)
    assert (ended["status"], ended["error"]) == ("FAILED", "Job.TooManyCalls")
    assert len(function.events) == 1, "MaxCalls is the number of calls"
    [report] = ended["reported"]
    assert report["requestPayload"] == {"query": "purge", "run": "r"}
    assert report["responsePayload"]["errorType"] == "Job.TooManyCalls"
    ended = run(monkeypatch, function, {"query": "nothing"})
    assert (ended["status"], ended["error"]) == ("FAILED", "Query.NotFound")
    assert "query nothing" in ended["cause"]
    assert len(function.events) == 1, "a permanent error is not repeated"
    [report] = ended["reported"]
    assert report["requestPayload"]["query"] == "nothing" and report["requestPayload"]["run"]
    assert report["responsePayload"] == {"errorType": "Query.NotFound", "errorMessage": ended["cause"]}


def test_a_run_longer_than_lambda_allows_is_carried_to_its_end(monkeypatch, function):
    """The run of the test before is taken up where it stopped."""
    ended = run(monkeypatch, function, {"query": "purge", "run": "r"})
    assert ended["status"] == "SUCCEEDED", ended
    answer = json.loads(ended["output"])
    assert answer["done"] is True and answer["rows"] == 700 and answer["chunks"] == 71
    assert len(function.events) * LAMBDA_SECONDS > 15 * 60, function.events
    assert all(event == {"query": "purge", "run": "r"} for event in function.events)


def test_a_run_without_a_name_gets_one(monkeypatch, function):
    ended = run(monkeypatch, function, {"query": "purge"})
    assert ended["status"] == "SUCCEEDED", ended
    assert function.events[0]["run"] == json.loads(ended["output"])["run"]


def test_a_function_that_was_unused_for_weeks_is_called_again(monkeypatch, function):
    """Lambda attaches it to the network anew and refuses its first calls."""
    function.refusals = [
        "Lambda.CodeArtifactUserPendingException",
        "Lambda.ResourceNotReadyException",
        "Lambda.ResourceConflictException",
    ]
    ended = run(monkeypatch, function, {"query": "purge", "run": "after-weeks"})
    assert ended["status"] == "SUCCEEDED", ended
    assert not function.refusals and not ended["reported"]


def test_the_longest_run_fits_into_an_executions_history():
    """MaxCalls' greatest value, with every retry of every call, and no greater one."""
    parameters, machine = written()
    states = machine["Definition"]["States"]
    [retry] = states["Work"]["Retry"]
    # Entered, exited, and for each attempt: scheduled, started, failed or succeeded.
    work = 2 + 3 * (1 + retry["MaxAttempts"])
    [report] = states["Report"]["Retry"]
    reported = 2 + 3 * (1 + report["MaxAttempts"])
    between = 2 * len(["Look", "Pause", "Count"])
    before = 1 + 2 * len(["Begin", "HasRun", "NameRun"])
    after = 2 * len(["Look", "TooManyCalls"]) + reported + len(["Failed entered", "execution failed"])

    def events(calls):
        return before + calls * work + (calls - 1) * between + after

    most = parameters["MaxCalls"]["MaxValue"]
    assert events(most) <= HISTORY < events(most + 1)
