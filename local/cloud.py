"""Deploys a stack of each function into ministack, a local cloud, and runs the functions against rds-local.

`make cloud` runs it. What is real: `sam build`, `sam deploy`, the functions' binaries (the debug build, in
the packages' layout), tokens, TLS, PostgreSQL, MariaDB. What ministack imitates: CloudFormation, Lambda, SQS with
its event source mapping, Scheduler, Step Functions, S3. docs/deploy.md says what it does not.
"""

import contextlib
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3

import build
import cloud_configured
from cloud_world import ROOT, WORK, check, cloud, database, packaged, sam, say, until

ENGINES = {"mysql-query": "mysql", "neptune-query": "neptune"}
FUNCTIONS = ["scheduled-query", "event-query", "batch-job", "export-query", "db-check", *ENGINES]
# An environment of samconfig.toml for each stack: two of scheduled-query, one of each other function.
STACKS = {"dev": "scheduled-query", "prod": "scheduled-query"} | {name: name for name in FUNCTIONS[1:]}
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[os.uname().machine]
BUCKET = "exports-of-make-cloud"


def engine(function):
    return ENGINES.get(function, "postgres")


def stack_of(environment):
    return build.settings(environment)["stack_name"]


def roots(engine):
    return f"rds-local-{engine}.pem"


def build_package(function, variables):
    """sam build; then the lines of the environment that docs/deploy.md names for such a database."""
    folder = WORK / function
    environment = "default" if function == "scheduled-query" else function
    sam(
        "build", "--config-file", ROOT / "samconfig.toml", "--config-env", environment, "--build-dir", folder,
        "--template-file", build.template_of(function), log=f"build-{function}.log", DEBUG="1",
    )
    template = folder / "template.yaml"
    build.narrow(template, ARCHITECTURE)
    port = variables["DB_TUNNEL"].rsplit(":", 1)[1]
    lines = {
        "PGSSLROOTCERT|MYSQL_SSL_CA|NEPTUNE_SSLROOTCERT": f"certificates/{roots(engine(function))}",
        # The name leads nowhere here; the certificate and the token have it nonetheless.
        "DB_TUNNEL": f"127.0.0.1:{port}",
        "AWS_ENDPOINT_URL_S3": os.environ["AWS_ENDPOINT_URL"],
    }
    # ministack runs the package in a folder of its own, and not in /var/task.
    text = template.read_text().replace("/var/task/aws-roots.pem", str(ROOT / "shared/roots/amazon.pem"))
    for name, value in lines.items():
        text = re.sub(rf"(?m)^( +(?:{name})): ''$", rf"\1: {value}", text)
    template.write_text(text)


def network():
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.42.0.0/24")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.42.0.{start}/26")["Subnet"]["SubnetId"] for start in (0, 64)
    ]
    # ministack makes no AWS::EC2::SecurityGroupIngress; the template's tests deploy that part into moto.
    group = ec2.create_security_group(GroupName="functions", Description="Functions", VpcId=vpc)["GroupId"]
    return {"SubnetIds": ",".join(subnets), "SecurityGroupId": group}


def parameters(function, variables, network):
    """The database's, and what the function's template needs beyond."""
    of_the_database = {
        "DatabaseHost": ["PGHOST", "MYSQL_HOST", "NEPTUNE_HOST"],
        "DatabasePort": ["PGPORT", "MYSQL_TCP_PORT", "NEPTUNE_PORT"],
        "DatabaseName": ["PGDATABASE", "MYSQL_DATABASE"],
    }
    values = dict(network)
    for parameter, names in of_the_database.items():
        values |= {parameter: variables[name] for name in names if name in variables}
    kind = "cluster" if function == "neptune-query" else "db"
    values["DatabaseResourceId"] = f"{kind}-RDSLOCALEXAMPLE00000000000"
    if function == "scheduled-query":
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=10)
        values |= {"ScheduleExpression": f"at({soon:%Y-%m-%dT%H:%M:%S})", "HeartbeatHours": "26"}
    own = {"export-query": {"Bucket": BUCKET}, "neptune-query": {"Access": "read-write", "Query": "record_person"}}
    values |= own.get(function, {})
    return values


def deploy_command(function, environment, values):
    overrides = [f"{name}={value}" for name, value in values.items()]
    return [
        "deploy", "--config-env", environment, "--no-confirm-changeset", "--no-progressbar",
        "--config-file", ROOT / "samconfig.toml", "--template-file", WORK / function / "template.yaml",
        *(["--parameter-overrides", *overrides] if overrides else []),
    ]


def deploy(environment, values):
    sam(*deploy_command(STACKS[environment], environment, values), log=f"deploy-{environment}.log")
    name = stack_of(environment)
    stack = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    check(stack["StackStatus"] == "CREATE_COMPLETE", f"sam deploy made {name}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def refuse(function, environment, reason, *more):
    """A deployment that must change nothing."""
    log = f"refused-{function}.log"
    try:
        sam(*deploy_command(function, environment, {}), *more, log=log)
    except SystemExit:
        text = (WORK / log).read_text()
        check(reason in text, f"{stack_of(environment)} refuses {function} {' '.join(more)}: {reason}")
    else:
        raise SystemExit(f"cloud: {function} was deployed over {stack_of(environment)}")


def refuse_wrong_packages():
    refuse("event-query", "prod", "'Function'")
    [other] = set(build.ARCHITECTURES) - {ARCHITECTURE}
    refuse("scheduled-query", "prod", "'Architecture'", "--parameter-overrides", f"Architecture={other}")


def adjust(outputs):
    """Where ministack is not AWS: a limit that it keeps as text, and three minutes that nobody waits for."""
    functions = boto3.client("lambda")
    [mapping] = functions.list_event_source_mappings(FunctionName=outputs["FunctionName"])["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": 5})
    check(
        mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"] and int(mapping["BatchSize"]) == 100,
        "the mapping reports failures record by record",
    )
    boto3.client("sqs").set_queue_attributes(QueueUrl=outputs["MessagesUrl"], Attributes={"VisibilityTimeout": "1"})


def invoke(outputs, event):
    answer = boto3.client("lambda").invoke(FunctionName=outputs["FunctionName"], Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())


def select(variables, sql):
    """What the database holds, asked as the reader with psql."""
    variables = {**variables, "PGSSLROOTCERT": str(ROOT / "certificates" / roots("postgres")), "PGHOSTADDR": "127.0.0.1"}
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
    name = outputs["FunctionName"]
    sql = f"SELECT usename FROM pg_stat_activity WHERE application_name = '{name}'"
    until(lambda: select(variables, sql) == ["iam_ro_user"], f"{name}: its schedule ran it")
    answer = invoke(outputs, {"query": "connection"})
    check(answer.get("row", {}).get("user") == "iam_ro_user", f"{name} answers an invocation: {answer}")


def try_messages(outputs, variables):
    name = outputs["FunctionName"]
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


def failed_run(outputs, name):
    """What FailedRuns holds of one failed run."""
    [message] = until(lambda: receive(outputs["FailedRunsUrl"]), f"{name}: a failed run is in FailedRuns", 300)
    return json.loads(message["Body"])


def try_failed_run(outputs):
    name = outputs["FunctionName"]
    boto3.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload='{"query": "absent"}')
    record = failed_run(outputs, name)
    check(record["requestPayload"] == {"query": "absent"}, f"{name}: with its event")
    check(record["responsePayload"]["errorType"] == "Query.NotFound", f"{name}: and its errorType")


def try_jobs(outputs):
    """The state machine carries a run to its end, and reports one that fails."""
    machine = boto3.client("stepfunctions")

    def end_of(event):
        execution = machine.start_execution(stateMachineArn=outputs["MachineArn"], input=json.dumps(event))
        arn = execution["executionArn"]
        until(lambda: machine.describe_execution(executionArn=arn)["status"] != "RUNNING", "the execution has ended")
        return machine.describe_execution(executionArn=arn)

    ended = end_of({"query": "purge_job_runs", "run": "first"})
    check(ended["status"] == "SUCCEEDED" and json.loads(ended["output"])["done"], "batch-job: the run is finished")
    ended = end_of({"query": "absent", "run": "second"})
    check(ended["status"] == "FAILED" and ended["error"] == "Query.NotFound", "batch-job: a wrong query fails")
    record = failed_run(outputs, "batch-job")
    check(record["requestPayload"] == {"query": "absent", "run": "second"}, "batch-job: with its event")
    check(record["responsePayload"]["errorType"] == "Query.NotFound", "batch-job: and its errorType")


def try_export(outputs):
    """The template's own query, as its example schedule exports it."""
    answer = invoke(outputs, {"to": "cloud/customers.ndjson"})
    check(answer.get("rows") == 3, f"export-query answers: {answer}")
    s3 = boto3.client("s3")
    body = s3.get_object(Bucket=BUCKET, Key=answer["key"])["Body"].read()
    check(len(body.splitlines()) == 3, "export-query wrote its object")
    s3.delete_object(Bucket=BUCKET, Key=answer["key"])


def try_others(stacks):
    answer = invoke(stacks["mysql-query"], {"query": "customers"})
    check(answer.get("row_count") == 3, f"mysql-query answers: {answer}")
    invoke(stacks["neptune-query"], {"query": "record_person", "params": {"name": "Ada", "age": 36}})
    answer = invoke(stacks["neptune-query"], {"query": "people"})
    check(answer.get("rows") == [{"name": "Ada", "age": 36}], f"neptune-query answers: {answer}")
    answer = invoke(stacks["db-check"], {})
    check(answer.get("ok") is True, f"db-check finds nothing wrong: {str(answer)[:200]}")


def what_is_there():
    """The resources that a stack makes and that would cost money or collide if they stayed."""
    client = boto3.client
    found = [f["FunctionName"] for f in client("lambda").list_functions()["Functions"]]
    found += [m["UUID"] for m in client("lambda").list_event_source_mappings()["EventSourceMappings"]]
    found += client("sqs").list_queues().get("QueueUrls", [])
    found += [s["Name"] for s in client("scheduler").list_schedules()["Schedules"]]
    found += [m["name"] for m in client("stepfunctions").list_state_machines()["stateMachines"]]
    found += [g["logGroupName"] for g in client("logs").describe_log_groups()["logGroups"]]
    found += [a["AlarmName"] for a in client("cloudwatch").describe_alarms()["MetricAlarms"]]
    found += [r["RoleName"] for r in client("iam").list_roles()["Roles"] if "rds-iam-" in r["RoleName"]]
    return found


def delete(*names):
    client = boto3.client("cloudformation")
    for name in names:
        client.delete_stack(StackName=name)

    def gone(name):
        try:
            return client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
        except client.exceptions.ClientError:
            return True

    for name in names:
        until(lambda: gone(name), f"{name} is deleted")


def deploy_all(databases):
    """The outputs of each environment's stack. Packages, and then stacks, side by side; the first stack alone, because it
    makes SAM's own bucket, and the last one with what configure wrote."""
    with ThreadPoolExecutor(4) as several:
        list(several.map(lambda name: build_package(name, databases[engine(name)]), FUNCTIONS))
        say("ok: sam build of every function")
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        in_network = network()

        def of(environment):
            function = STACKS[environment]
            return deploy(environment, parameters(function, databases[engine(function)], in_network))

        first, *others = STACKS
        stacks = {first: of(first)} | dict(zip(others, several.map(of, others)))
    stacks[cloud_configured.ENVIRONMENT] = cloud_configured.deploy(databases["postgres"], in_network["SecurityGroupId"])
    return stacks


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True, mode=0o700)
    with contextlib.ExitStack() as world:
        engines = ["postgres", *ENGINES.values()]
        databases = {name: world.enter_context(database(name)) for name in engines}
        variables = databases["postgres"]
        world.enter_context(cloud())
        pems = zip(engines, ["PGSSLROOTCERT", "MYSQL_SSL_CA", "NEPTUNE_SSLROOTCERT"])
        world.enter_context(packaged({roots(name): databases[name][variable] for name, variable in pems}))
        stacks = deploy_all(databases)
        adjust(stacks["event-query"])
        for name in ["dev", "prod"]:
            try_schedule(stacks[name], variables)
        with ThreadPoolExecutor(4) as several:
            trials = [
                several.submit(refuse_wrong_packages),
                several.submit(try_messages, stacks["event-query"], variables),
                several.submit(try_failed_run, stacks["dev"]),
                several.submit(try_jobs, stacks["batch-job"]),
                several.submit(try_export, stacks["export-query"]),
                several.submit(try_others, stacks),
                several.submit(cloud_configured.try_it, stacks[cloud_configured.ENVIRONMENT]),
            ]
            for trial in trials:
                trial.result()
        delete(stack_of("dev"))
        left = what_is_there()
        check(left and not any("-dev" in name for name in left), "nothing of dev is left, and prod is untouched")
        answer = invoke(stacks["prod"], {"query": "connection"})
        check("row" in answer, "prod still answers")
        delete(cloud_configured.STACK, *[stack_of(environment) for environment in STACKS if environment != "dev"])
        left = what_is_there()
        check(not left, f"nothing is left {left}")
    say("done; nothing is left running")


if __name__ == "__main__":
    sys.exit(main())
