"""Deploys template.yaml twice into ministack, a local cloud, with its functions talking TLS to rds-local.

`make cloud` runs it. What is real: `sam build`, `sam deploy`, the functions' binaries (the debug build, in
the packages' layout), tokens, TLS, PostgreSQL. What ministack imitates: CloudFormation, Lambda, SQS with
its event source mapping, Scheduler. docs/deploy.md says what it does not.
"""

import contextlib
import datetime
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import boto3

ROOT = pathlib.Path(__file__).parents[1]
WORK = ROOT / "target/cloud"
ROOTS = ROOT / "certificates/rds-local-cloud.pem"
# ministack takes an access key of twelve digits for the account, and gives functions the same key.
ACCOUNT, SECRET = "123456789012", "of-no-use-outside-this-machine"
STACKS = {"dev": "rds-iam-lambda-dev", "prod": "rds-iam-lambda-prod"}


def say(text):
    print(f"{time.monotonic() - STARTED:6.1f} s  {text}", flush=True)


def check(fact, text):
    if not fact:
        raise SystemExit(f"cloud: not so: {text}")
    say(f"ok: {text}")


def until(fact, text, seconds=60):
    """Waits for a fact, and checks it."""
    end = time.monotonic() + seconds
    while not (found := fact()) and time.monotonic() < end:
        time.sleep(0.3)
    check(found, text)
    return found


def free_port():
    """Below the ports that systems give to connections: nobody else takes it before the server does."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def process(name, command, ready, **options):
    """A program that runs until the end of the block, and its group with it."""
    with open(WORK / f"{name}.log", "w") as log:
        child = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )
        try:
            until(lambda: ready() or child.poll() is not None, f"{name} is up")
            if child.poll() is not None:
                raise SystemExit(f"cloud: {name} ended: {(WORK / f'{name}.log').read_text()[-2000:]}")
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGINT)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


@contextlib.contextmanager
def database():
    """rds-local, which knows the key of the functions, and its variables."""
    keys = WORK / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"[default]\naws_access_key_id = {ACCOUNT}\naws_secret_access_key = {SECRET}\n")
    folder = WORK / "rds-local"
    command = [ROOT / "target/debug/rds-local", "serve", "--dir", folder, "--user-key-file", keys]
    with process("rds-local", command, (folder / "env.json").exists):
        yield folder, json.loads((folder / "env.json").read_text())["Parameters"]


@contextlib.contextmanager
def cloud():
    """ministack on a loopback port."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {name: os.environ[name] for name in ["PATH", "HOME"] if name in os.environ}
    variables |= {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        # Listeners that nothing here uses.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "TMPDIR": str(WORK / "tmp"),
    }
    (WORK / "tmp").mkdir()

    def ready():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{url}/_ministack/health", timeout=1).status == 200

    with process("ministack", [ROOT / "target/venv-cloud/bin/ministack"], ready, env=variables):
        os.environ.update(
            AWS_ENDPOINT_URL=url,
            AWS_ACCESS_KEY_ID=ACCOUNT,
            AWS_SECRET_ACCESS_KEY=SECRET,
            AWS_DEFAULT_REGION="us-east-1",
            AWS_REGION="us-east-1",
            SAM_CLI_TELEMETRY="0",
            SAM_CLI_POLL_DELAY="1",
        )
        yield


@contextlib.contextmanager
def packaged(roots):
    """rds-local's root as a file of the package, as docs/deploy.md has it for roots that are not built in."""
    ROOTS.parent.mkdir(exist_ok=True)
    ROOTS.write_text(roots)
    try:
        yield
    finally:
        ROOTS.unlink()
        with contextlib.suppress(OSError):
            ROOTS.parent.rmdir()


def run(command, log, **variables):
    with open(WORK / log, "w") as output:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, **variables},
        )
    if done.returncode:
        raise SystemExit(f"cloud: {command[0]} failed: {(WORK / log).read_text()[-3000:]}")


def sam(*arguments, log, **variables):
    run([ROOT / "target/venv-sam/bin/sam", *arguments], log, **variables)


def network():
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.42.0.0/24")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.42.0.{start}/26")["Subnet"]["SubnetId"] for start in (0, 64)
    ]
    # ministack makes no AWS::EC2::SecurityGroupIngress; the template's tests deploy that part into moto.
    group = ec2.create_security_group(GroupName="functions", Description="Functions", VpcId=vpc)["GroupId"]
    return {"SubnetIds": ",".join(subnets), "SecurityGroupId": group}


def parameters(variables):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
    return network() | {
        "DatabaseHost": variables["PGHOST"],
        "DatabasePort": variables["PGPORT"],
        # The name leads nowhere here; the certificate and the token have it nonetheless.
        "DatabaseTunnel": f"127.0.0.1:{variables['PGPORT']}",
        "DatabaseResourceId": "db-RDSLOCALEXAMPLE00000000000",
        "DatabaseName": variables["PGDATABASE"],
        "RootCertificates": f"certificates/{ROOTS.name}",
        "WithEventQuery": "true",
        "ScheduleState": "ENABLED",
        "ScheduleExpression": f"at({soon:%Y-%m-%dT%H:%M:%S})",
        "Architecture": {"x86_64": "x86_64", "aarch64": "arm64"}[os.uname().machine],
    }


def deploy(environment, values):
    overrides = [f"{name}={value}" for name, value in values.items()]
    sam(
        "deploy", "--config-env", environment, "--no-confirm-changeset", "--no-progressbar",
        "--config-file", ROOT / "samconfig.toml", "--template-file", WORK / "build/template.yaml",
        "--parameter-overrides", *overrides, log=f"deploy-{environment}.log",
    )
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACKS[environment])["Stacks"][0]
    check(stack["StackStatus"] == "CREATE_COMPLETE", f"sam deploy made {STACKS[environment]}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def adjust(outputs):
    """Where ministack is not AWS: a limit that it keeps as text, and three minutes that nobody waits for."""
    functions = boto3.client("lambda")
    [mapping] = functions.list_event_source_mappings(FunctionName=outputs["EventQueryFunction"])["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": 5})
    check(
        mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"] and int(mapping["BatchSize"]) == 100,
        "the mapping reports failures record by record",
    )
    boto3.client("sqs").set_queue_attributes(QueueUrl=outputs["MessagesUrl"], Attributes={"VisibilityTimeout": "1"})


def invoke(function, event):
    answer = boto3.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())


def select(variables, sql):
    """What the database holds, asked as the reader with psql."""
    variables = {**variables, "PGSSLROOTCERT": str(ROOTS), "PGHOSTADDR": "127.0.0.1"}
    token = subprocess.run(
        [ROOT / "target/debug/rds-local", "token"],
        env={**os.environ, **variables}, capture_output=True, text=True, check=True,
    ).stdout.strip()
    answer = subprocess.run(
        ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql],
        env={**os.environ, **variables, "PGPASSWORD": token}, capture_output=True, text=True,
    )
    if answer.returncode:
        raise SystemExit(f"cloud: psql failed: {answer.stderr}")
    return answer.stdout.split()


def receive(url):
    """The messages of a queue, which are deleted."""
    sqs = boto3.client("sqs")
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return messages


def try_schedule(outputs, variables):
    """The schedule's run has left a connection, which bears the function's name. Nobody else has invoked it."""
    name = outputs["ScheduledQueryFunction"]
    sql = f"SELECT usename FROM pg_stat_activity WHERE application_name = '{name}'"
    until(lambda: select(variables, sql) == ["iam_ro_user"], f"{name}: its schedule ran it")


def try_messages(name, outputs, variables):
    sqs = boto3.client("sqs")
    url = outputs["MessagesUrl"]
    orders = [{"orderId": f"{name}-{n}", "total": n} for n in (1, 2, 3)]
    bodies = [json.dumps(order) for order in [*orders, orders[0]]] + ['{"orderId": "no-total"', "poison"]
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    poison = []

    def set_aside():
        poison.extend(message["Body"] for message in receive(outputs["PoisonMessagesUrl"]))
        return len(poison) == 2

    until(set_aside, f"{name}: the poison messages, and they alone, are in the dead-letter queue")
    check(sorted(poison) == sorted(bodies[-2:]), f"{name}: with their bodies as they were sent")
    rows = select(variables, f"SELECT order_id FROM orders WHERE order_id LIKE '{name}-%' ORDER BY 1")
    check(rows == [order["orderId"] for order in orders], f"{name}: each good message took effect once, the repeated one too")

    def empty():
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()) == {"0"}

    until(empty, f"{name}: the queue is empty")


def try_failed_run(name, outputs):
    boto3.client("lambda").invoke(
        FunctionName=outputs["ScheduledQueryFunction"], InvocationType="Event", Payload='{"query": "absent"}'
    )
    [message] = until(lambda: receive(outputs["FailedRunsUrl"]), f"{name}: a failed run is in FailedRuns", 300)
    record = json.loads(message["Body"])
    check(record["requestPayload"] == {"query": "absent"}, f"{name}: with its event")
    check(record["responsePayload"]["errorType"] == "Query.NotFound", f"{name}: and its errorType")


def what_is_there():
    """The resources that a stack makes and that would cost money or collide if they stayed."""
    client = boto3.client
    found = [f["FunctionName"] for f in client("lambda").list_functions()["Functions"]]
    found += [m["UUID"] for m in client("lambda").list_event_source_mappings()["EventSourceMappings"]]
    found += client("sqs").list_queues().get("QueueUrls", [])
    found += [s["Name"] for s in client("scheduler").list_schedules()["Schedules"]]
    found += [g["logGroupName"] for g in client("logs").describe_log_groups()["logGroups"]]
    found += [a["AlarmName"] for a in client("cloudwatch").describe_alarms()["MetricAlarms"]]
    found += [d["DashboardName"] for d in client("cloudwatch").list_dashboards()["DashboardEntries"]]
    found += [r["RoleName"] for r in client("iam").list_roles()["Roles"] if STACKS["dev"][:-4] in r["RoleName"]]
    return found


def delete(name):
    client = boto3.client("cloudformation")
    client.delete_stack(StackName=STACKS[name])

    def gone():
        try:
            return client.describe_stacks(StackName=STACKS[name])["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
        except client.exceptions.ClientError:
            return True

    until(gone, f"{STACKS[name]} is deleted")


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True, mode=0o700)
    with contextlib.ExitStack() as stack:
        folder, variables = stack.enter_context(database())
        stack.enter_context(cloud())
        stack.enter_context(packaged(variables["PGSSLROOTCERT"]))
        sam("build", "--build-dir", WORK / "build", log="build.log", DEBUG="1")
        say("ok: sam build")
        values = parameters(variables)
        stacks = {name: deploy(name, values) for name in STACKS}
        for outputs in stacks.values():
            adjust(outputs)
        for name, outputs in stacks.items():
            try_schedule(outputs, variables)
            answer = invoke(outputs["ScheduledQueryFunction"], {"query": "connection"})
            check(answer.get("row", {}).get("user") == "iam_ro_user", f"{name} answers the first invocation: {answer}")
        for name, outputs in stacks.items():
            try_messages(name, outputs, variables)
            try_failed_run(name, outputs)
        delete("dev")
        left = what_is_there()
        check(left and not any("-dev" in name for name in left), "nothing of dev is left, and prod is untouched")
        answer = invoke(stacks["prod"]["ScheduledQueryFunction"], {"query": "connection"})
        check("row" in answer, "prod still answers")
        delete("prod")
        left = what_is_there()
        check(not left, f"nothing is left {left}")
    say("done; nothing is left running")


STARTED = time.monotonic()
sys.exit(main())
