"""The SAM template: who may do what, exactly; and that it deploys.

The template is translated by AWS's own translator, as CloudFormation does it, and deployed into
moto's CloudFormation.
"""

import io
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import boto3
import pytest

os.environ.update(
    AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", SAM_CLI_TELEMETRY="0"
)

from moto import mock_aws
from moto.cloudformation import parsing
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

ROOT = pathlib.Path(__file__).parents[3]
STACK = "rds-iam-lambda"


class NoManagedPolicies:
    """The template names none."""

    def load(self):
        return {}


def source():
    return yaml_parse((ROOT / "template.yaml").read_text())


def translated(parameters=None):
    template = source()
    # What `sam deploy` puts there after the upload.
    template["Globals"]["Function"]["CodeUri"] = {"Bucket": "code", "Key": "code.zip"}
    return transform(template, parameters or {}, NoManagedPolicies())


@pytest.fixture(scope="module")
def template():
    return translated()


def roles(template):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == "AWS::IAM::Role"}


def functions(template):
    return {n: r["Properties"] for n, r in template["Resources"].items() if r["Type"] == "AWS::Lambda::Function"}


def name_of(function):
    """scheduled-query, of ${AWS::StackName}-scheduled-query."""
    return function["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")


def statements(role):
    return [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]


def arn(name):
    return {"Fn::GetAtt": [name, "Arn"]}


NETWORK = [
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
]
SELF = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-%s"
DATABASE_USER = "arn:${AWS::Partition}:rds-db:${Region}:${AWS::AccountId}:dbuser:${%s}/${%s}"
DATABASE_REGION = {"Region": {"Fn::If": ["HasDatabaseRegion", {"Ref": "DatabaseRegion"}, {"Ref": "AWS::Region"}]}}
DELIVER = {
    "Fn::If": [
        "HasOnSuccess",
        {
            "Sid": "DeliverResponses",
            "Effect": "Allow",
            "Action": ["sns:Publish", "sqs:SendMessage"],
            "Resource": {"Ref": "OnSuccessDestinationArn"},
        },
        {"Ref": "AWS::NoValue"},
    ]
}
TRACE = {
    "Fn::If": [
        "Trace",
        {
            "Sid": "Trace",
            "Effect": "Allow",
            "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
            "Resource": "*",
        },
        {"Ref": "AWS::NoValue"},
    ]
}


def what_every_function_may_do(name, log_group, login):
    """Write its log, report its failures and responses, and let Lambda attach it to the VPC."""
    return [
        *login,
        {
            "Sid": "WriteLog",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": arn(log_group),
        },
        {
            "Sid": "ReportFailedRuns",
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": arn("FailedRuns"),
        },
        {"Sid": "AttachToVpc", "Effect": "Allow", "Action": NETWORK, "Resource": "*"},
        {
            "Sid": "AttachToVpcNotFromCode",
            "Effect": "Deny",
            "Action": "ec2:*",
            "Resource": "*",
            "Condition": {"ArnEquals": {"lambda:SourceFunctionArn": {"Fn::Sub": SELF % name}}},
        },
        DELIVER,
        TRACE,
    ]


def login(metadata):
    """Its only right on a database: to connect as its own user, or to assume the one role."""
    if "LogsInAs" not in metadata:
        return []
    role, user = metadata["Assumes"], tuple(metadata["LogsInAs"].split("/"))
    return [
        {
            "Sid": "LogIn",
            "Effect": "Allow",
            "Action": {"Fn::If": [f"Has{role}", "sts:AssumeRole", "rds-db:connect"]},
            "Resource": {
                "Fn::If": [f"Has{role}", {"Ref": role}, {"Fn::Sub": [DATABASE_USER % user, DATABASE_REGION]}]
            },
        }
    ]


# Who logs in as whom. No two functions share a role to assume unless they share their user.
LOGINS = {
    "ScheduledQueryFunction": {"LogsInAs": "DatabaseResourceId/DatabaseUser", "Assumes": "RoleArn"},
    "ExportQueryFunction": {"LogsInAs": "DatabaseResourceId/DatabaseUser", "Assumes": "RoleArn"},
    "EventQueryFunction": {"LogsInAs": "DatabaseResourceId/EventDatabaseUser", "Assumes": "EventRoleArn"},
    "BatchJobFunction": {
        "LogsInAs": "DatabaseResourceId/JobDatabaseUser",
        "Assumes": "JobRoleArn",
        "UsesItsTime": True,
    },
    "DbCheckFunction": {"LogsInAs": "DatabaseResourceId/DatabaseUser", "Assumes": "RoleArn"},
    # Their right is on another cluster, in a policy of its own.
    "NeptuneQueryFunction": {},
    "MysqlQueryFunction": {},
}
# What a function may do beyond what each may: policies that are written by hand, by role.
MORE = {
    "DbCheckRole": [
        {
            "Sid": "Describe",
            "Effect": "Allow",
            "Action": [
                "rds:DescribeDBInstances",
                "rds:DescribeDBClusters",
                "rds:DescribeDBProxies",
                "rds:DescribeDBProxyEndpoints",
            ],
            "Resource": {"Fn::Sub": "arn:${AWS::Partition}:rds:*:${AWS::AccountId}:*"},
        },
        {
            "Sid": "ReadRefusals",
            "Effect": "Allow",
            "Action": "logs:FilterLogEvents",
            "Resource": {"Fn::Sub": "arn:${AWS::Partition}:logs:*:${AWS::AccountId}:log-group:/aws/rds/*"},
        },
        {"Sid": "CountRefusals", "Effect": "Allow", "Action": "cloudwatch:GetMetricData", "Resource": "*"},
        {
            "Sid": "ReadOwnPolicies",
            "Effect": "Allow",
            "Action": ["iam:SimulatePrincipalPolicy", "iam:GetRole"],
            "Resource": arn("DbCheckRole"),
        },
    ],
    "NeptuneQueryRole": [
        {
            "Effect": "Allow",
            "Action": [
                "neptune-db:ReadDataViaQuery",
                "neptune-db:GetQueryStatus",
                "neptune-db:CancelQuery",
                {"Fn::If": ["NeptuneWrites", "neptune-db:WriteDataViaQuery", {"Ref": "AWS::NoValue"}]},
                {"Fn::If": ["NeptuneDeletes", "neptune-db:DeleteDataViaQuery", {"Ref": "AWS::NoValue"}]},
            ],
            "Resource": {
                "Fn::Sub": "arn:${AWS::Partition}:neptune-db:${AWS::Region}:${AWS::AccountId}:${NeptuneResourceId}/*"
            },
            "Condition": {"StringEquals": {"neptune-db:QueryLanguage": {"Ref": "NeptuneLanguages"}}},
        }
    ],
    "MysqlQueryRole": [
        {
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": {
                "Fn::Sub": "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${MysqlResourceId}/${MysqlDatabaseUser}"
            },
        }
    ],
    "ExportQueryRole": [
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::${ExportBucket}/${ExportFolder}*"},
        },
        {
            "Fn::If": [
                "WithExportKey",
                {
                    "Effect": "Allow",
                    "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                    "Resource": {"Ref": "ExportKmsKeyArn"},
                },
                {"Ref": "AWS::NoValue"},
            ]
        },
    ],
    "EventQueryRole": [
        {
            "Effect": "Allow",
            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
            "Resource": arn("Messages"),
        }
    ],
}


def test_each_role_may_do_exactly_this(template):
    found = roles(template)
    resources = source()["Resources"]
    generated = {n: resources[n]["Metadata"].get("Generated", {}) for n in functions(template)}
    assert generated == LOGINS
    expected = {n.removesuffix("Function") + "Role": n for n in functions(template)}
    schedules = {
        "ScheduledQueryFunctionConnectionRole",
        "BatchJobMachinePurgeRole",
        "ExportQueryFunctionNightlyRole",
        "NeptuneQueryFunctionPeopleRole",
        "MysqlQueryFunctionCustomersRole",
    }
    assert set(found) == {*expected, *schedules, "BatchJobMachineRole"}
    boundary = {"Fn::If": ["HasPermissionsBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}
    for name, role in found.items():
        assert not role.get("ManagedPolicyArns"), name
        assert role["PermissionsBoundary"] == boundary, name
    for role, function in expected.items():
        assert found[role]["AssumeRolePolicyDocument"]["Statement"] == [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ]
        log_group = role.removesuffix("Role") + "LogGroup"
        name = name_of(functions(template)[function])
        assert statements(found[role]) == what_every_function_may_do(name, log_group, login(generated[function]))

    more = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::IAM::Policy"]
    assert {p["Roles"][0]["Ref"]: p["PolicyDocument"]["Statement"] for p in more} == MORE
    assert all(len(p["Roles"]) == 1 for p in more)

    schedule = found["ScheduledQueryFunctionConnectionRole"]
    assert schedule["AssumeRolePolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Principal": {"Service": ["scheduler.amazonaws.com"]}, "Action": ["sts:AssumeRole"]}
    ]
    assert statements(schedule) == [
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn("ScheduledQueryFunction")},
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn("UndeliveredSchedules")},
    ]
    job = statements(found["BatchJobMachinePurgeRole"])
    assert [s["Action"] for s in job] == ["states:StartExecution", "sqs:SendMessage"]
    assert [s["Resource"] for s in job] == [{"Ref": "BatchJobMachine"}, arn("UndeliveredSchedules")]
    machine = found["BatchJobMachineRole"]
    assert machine["AssumeRolePolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
    assert statements(machine)[0] == {
        "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn("BatchJobFunction")
    }
    assert [s["Fn::If"][0] for s in statements(machine)[1:]] == ["Trace"]


def references(value):
    """Names of resources and parameters that a value refers to, outside of `Fn::If`."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, inner in value.items():
        if key == "Fn::If":
            continue
        if key == "Ref":
            found.add(inner)
        elif key == "Fn::GetAtt":
            found.add(inner[0] if isinstance(inner, list) else inner.split(".")[0])
        elif key == "Fn::Sub":
            text = inner if isinstance(inner, str) else inner[0]
            found |= set(re.findall(r"\$\{(\w+)", text))
        else:
            found |= references(inner)
    return found


def test_every_function_can_be_left_out(template):
    """Each has a parameter, all but scheduled-query are off, and nothing without it refers to it."""
    resources = template["Resources"]
    for name, function in functions(template).items():
        condition = resources[name]["Condition"]
        assert condition == "With" + name.removesuffix("Function")
        parameter = template["Parameters"][condition]
        assert parameter["AllowedValues"] == ["true", "false"]
        assert parameter["Default"] == ("true" if name == "ScheduledQueryFunction" else "false"), name
    for name, thing in [*resources.items(), *template["Outputs"].items()]:
        for other in references({k: v for k, v in thing.items() if k != "Condition"}):
            needed = resources.get(other, {}).get("Condition")
            allowed = {needed, *IMPLIED.get(needed, ())}
            assert needed is None or thing.get("Condition") in allowed, f"{name} refers to {other}"


# Conditions that hold only where another one does.
IMPLIED = {
    "WithScheduledQuery": ["WithHeartbeat"],
    "WithBatchJob": ["WithJobHeartbeat"],
    "MakeSecurityGroup": [
        "MakeSecurityGroupWithEndpoints",
        "MakeSecurityGroupWithS3",
        "MakeSecurityGroupWithNeptune",
        "MakeSecurityGroupWithMysql",
    ],
}


def test_nothing_is_public(template):
    kinds = {r["Type"] for r in template["Resources"].values()}
    assert not kinds & {"AWS::Lambda::Url", "AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api"}
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Permission":
            raise AssertionError(f"{name} lets somebody else invoke the function")
    for function in functions(template).values():
        assert function["VpcConfig"]["SubnetIds"] == {"Ref": "SubnetIds"}


def test_every_variable_of_the_contract_can_be_overridden_by_sam_local(template):
    table = (ROOT / "docs/reference.md").read_text().split("## Environment")[1].split("## Events")[0]
    names = {
        word.strip("`")
        for line in table.splitlines()
        if line.startswith("| `")
        for word in line.split("|")[1].replace(",", " ").split()
    }
    assert len(names) >= 18
    for name, function in functions(template).items():
        # Only event-query takes messages out of envelopes, only batch-job has a lease, and only
        # export-query writes to S3.
        others = {
            "EVENT_ENVELOPES": "EventQueryFunction",
            "JOB_LEASE": "BatchJobFunction",
            "EXPORT_PREFIX": "ExportQueryFunction",
            "AWS_ENDPOINT_URL_S3": "ExportQueryFunction",
        }
        own = {variable for variable in names if others.get(variable, name) == name}
        assert own <= set(function["Environment"]["Variables"]), name


def test_schedules_are_retried_and_name_queries_that_exist(template):
    schedules = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::Scheduler::Schedule"]
    assert len(schedules) == 5
    for schedule in schedules:
        target = schedule["Target"]
        text = target["Input"]
        # The job's names its query by a parameter.
        jobs = template["Parameters"]["JobQuery"]["Default"]
        event = json.loads(text if isinstance(text, str) else text["Fn::Sub"].replace("${JobQuery}", jobs))
        folders = {"NeptuneQueryFunction": "neptune/{}.cypher", "MysqlQueryFunction": "mysql/{}.sql"}
        of_an_engine = [form for name, form in folders.items() if target["Arn"] == arn(name)]
        file = (of_an_engine or ["{}.sql"])[0].format(event["query"])
        assert (ROOT / "queries" / file).is_file()
        assert target["DeadLetterConfig"] == {"Arn": arn("UndeliveredSchedules")}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert schedule["FlexibleTimeWindow"]["Mode"] == "FLEXIBLE"
        assert schedule["ScheduleExpressionTimezone"] == {"Ref": "ScheduleTimezone"}


def test_two_stacks_share_no_name(template):
    """dev and prod stand side by side in one account: every name holds the stack's, or is generated."""
    fixed = []
    for name, resource in template["Resources"].items():
        for key, value in resource.get("Properties", {}).items():
            names_it = key in NAMES or (key == "Name" and resource["Type"] in NAMED_BY_NAME)
            if names_it and not holds_the_stack(value, template["Resources"]):
                fixed.append(f"{name} {key}: {value}")
    for name, output in template["Outputs"].items():
        if "Export" in output and not holds_the_stack(output["Export"]["Name"], template["Resources"]):
            fixed.append(f"output {name} Export")
    assert not fixed
    # The metrics of the alarms are the stack's own, too.
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Logs::MetricFilter":
            for transformation in resource["Properties"]["MetricTransformations"]:
                assert holds_the_stack(transformation["MetricNamespace"], {}), name


# Properties that name a resource for the whole account and region.
NAMES = {
    "AlarmName",
    "BucketName",
    "DashboardName",
    "FunctionName",
    "GroupName",
    "LogGroupName",
    "ManagedPolicyName",
    "QueueName",
    "RoleName",
    "StateMachineName",
    "TopicName",
}
NAMED_BY_NAME = {"AWS::Scheduler::Schedule", "AWS::Scheduler::ScheduleGroup", "AWS::Events::Rule", "AWS::Pipes::Pipe"}


def holds_the_stack(value, resources):
    """Whether a name is built from the stack's, or refers to a resource of the stack."""
    if not isinstance(value, dict):
        return False
    [(function, argument)] = value.items()
    if function == "Ref":
        return argument in resources
    return function == "Fn::Sub" and "${AWS::StackName}" in argument


def test_a_queue_policy_speaks_of_its_own_queue(template):
    """SQS refuses a policy with an ARN of another queue, and takes a queue's last policy alone."""
    queues = {n for n, r in template["Resources"].items() if r["Type"] == "AWS::SQS::Queue"}
    over_tls = []
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::SQS::QueuePolicy":
            continue
        over_tls += [queue["Ref"] for queue in resource["Properties"]["Queues"]]
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
            statement = statement.get("Fn::If", [None, statement])[1]
            of_one = len(resource["Properties"]["Queues"]) == 1
            assert statement["Resource"] == "*" or (of_one and isinstance(statement["Resource"], dict)), name
    assert sorted(over_tls) == sorted(queues), "each queue has one policy"


def test_a_queue_tells_each_records_fate_and_sets_poison_aside(template):
    resources = template["Resources"]
    [source] = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::Lambda::EventSourceMapping"]
    assert source["EventSourceArn"] == arn("Messages")
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "EventConcurrency"}}
    # More than ten at a time need a window.
    assert source["BatchSize"] > 10 and source["MaximumBatchingWindowInSeconds"] >= 1
    queue = resources["Messages"]["Properties"]
    timeout = resources["EventQueryFunction"]["Properties"]["Timeout"]
    assert queue["VisibilityTimeout"] >= 6 * timeout
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": arn("PoisonMessages"), "maxReceiveCount": 5}
    # A message takes its age along, so the dead-letter queue must keep it for longer than its queue.
    assert resources["PoisonMessages"]["Properties"]["MessageRetentionPeriod"] > 3 * queue["MessageRetentionPeriod"]
    query = template["Parameters"]["EventQuery"]["Default"]
    assert (ROOT / "queries" / f"{query}.sql").is_file()


def alarms(template):
    return {n: r["Properties"] for n, r in template["Resources"].items() if r["Type"] == "AWS::CloudWatch::Alarm"}


OWN_ALARMS = ["Errors", "Throttles", "Duration", "DroppedEvents", "Undelivered"]


def test_alarms_cover_what_can_go_wrong(template):
    found = alarms(template)
    assert {alarm["MetricName"] for alarm in found.values()} == {
        "Errors",
        "AccessErrors",
        "AvailabilityErrors",
        "CheckViolations",
        "Throttles",
        "Duration",
        "AsyncEventsDropped",
        "DestinationDeliveryFailures",
        "Invocations",
        "ApproximateNumberOfMessagesVisible",
        "ApproximateAgeOfOldestMessage",
        "ExecutionsStarted",
        "ExecutionsFailed",
        "stalled",
    }
    for name, alarm in found.items():
        assert alarm["AlarmActions"], name
    for name, function in functions(template).items():
        own = name.removesuffix("Function")
        wanted = {f"{own}{kind}Alarm" for kind in OWN_ALARMS}
        # It works until its time ends.
        assert wanted - set(found) == ({"BatchJobDurationAlarm"} if own == "BatchJob" else set())
        if f"{own}DurationAlarm" in wanted & set(found):
            assert found[f"{own}DurationAlarm"]["Threshold"] == 0.8 * function["Timeout"] * 1000


def test_filters_count_an_invocation_once(template):
    """An invocation has one summary line; lines of single records have an errorType too."""
    summary = (ROOT / "shared/src/lambda/logs.rs").read_text()
    assert '"invocation failed"' in summary
    filters = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::Logs::MetricFilter"]
    assert filters
    for properties in filters:
        assert properties["FilterPattern"].startswith('{ ($.message = "invocation failed") && (')


def dashboard(template, conditions):
    """The dashboard's body, as CloudFormation makes it where these conditions hold."""
    join = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Join"]
    assert join[0] == ""
    pieces = []
    for piece in join[1]:
        if isinstance(piece, dict) and "Fn::If" in piece:
            condition, yes, no = piece["Fn::If"]
            piece = yes if condition in conditions else no
        text = piece["Fn::Sub"] if isinstance(piece, dict) else piece
        if isinstance(text, list):
            text = text[0].replace("${Database}", "db")
        pieces.append(text)
    return json.loads("".join(pieces))


def test_the_dashboard_shows_what_the_stack_has(template):
    resources = template["Resources"]
    switches = sorted({resources[n]["Condition"] for n in [*functions(template), "HeartbeatAlarm", "BatchJobHeartbeatAlarm"]})
    for count in range(len(switches) + 1):
        for conditions in itertools.combinations(switches, count):
            body = dashboard(template, conditions)
            there = {n for n in alarms(template) if resources[n].get("Condition") in (None, *conditions)}
            shown = body["widgets"][0]["properties"]["alarms"]
            assert sorted(shown) == sorted("${%s.Arn}" % name for name in there)
            for name in re.findall(r"\$\{(\w+)[.}]", json.dumps(body)):
                assert resources[name].get("Condition") in (None, *conditions), name
            titles = [w["properties"]["title"] for w in body["widgets"]]
            for name, function in functions(template).items():
                rows = [t for t in titles if t.startswith(name_of(function) + ": ")]
                assert bool(rows) == (resources[name]["Condition"] in conditions)


def test_expressions_quote_their_namespace(template):
    """CloudWatch reads an unquoted namespace with a slash or a hyphen as several words."""
    body = json.dumps(dashboard(template, ["WithScheduledQuery"]))
    for namespace in re.findall(r"SEARCH\('\{([^,]+),", json.loads(json.dumps(body))):
        assert namespace.strip("\\").startswith('"'), namespace


def test_the_sources_of_the_documents_are_valid_beside_the_template(tmp_path):
    """The yaml blocks of docs/events.md, in the template's Resources."""
    written = (ROOT / "template.yaml").read_text()
    blocks = re.findall(r"(?s)```yaml\n(.*?)```", (ROOT / "docs/events.md").read_text())
    assert len(blocks) == 4
    file = tmp_path / "template.yaml"
    file.write_text(written.replace("\nResources:\n", "\nResources:\n" + "\n".join(blocks), 1))
    lint = pathlib.Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_gradual_releases_are_a_few_lines(tmp_path):
    """The yaml block of docs/deploy.md, in Globals: each event then goes to the alias."""
    [block] = re.findall(r"(?s)```yaml\n(.*?)```", (ROOT / "docs/deploy.md").read_text())
    for name in ["local/template", "."]:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for file in [*(ROOT / "local/template").iterdir()]:
        if file.is_file():
            shutil.copy(file, tmp_path / "local/template")
    written = (ROOT / "template.yaml").read_text()
    written = written.replace("\nGlobals:\n  Function:\n", "\nGlobals:\n  Function:\n" + block, 1)
    (tmp_path / "template.yaml").write_text(written)
    subprocess.run([sys.executable, tmp_path / "local/template/generate.py"], check=True)
    lint = pathlib.Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, tmp_path / "template.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    template = yaml_parse((tmp_path / "template.yaml").read_text())
    template["Globals"]["Function"]["CodeUri"] = {"Bucket": "code", "Key": "code.zip"}
    resources = transform(template, {}, NoManagedPolicies())["Resources"]
    for function in ["ScheduledQueryFunction", "EventQueryFunction", "ExportQueryFunction"]:
        alias = resources[f"{function}Aliaslive"]
        assert alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"], function
        destinations = resources[function.removesuffix("Function") + "Destinations"]
        assert destinations["Properties"]["Qualifier"] == "live"
        assert destinations["DependsOn"] == f"{function}Aliaslive"
    schedules = [r for r in resources.values() if r["Type"] == "AWS::Scheduler::Schedule"]
    targets = [schedule["Properties"]["Target"]["Arn"]["Ref"] for schedule in schedules]
    assert {"ExportQueryFunctionAliaslive", "ScheduledQueryFunctionAliaslive"} < set(targets)


# moto's CloudFormation has no model for these; their properties are checked by cfn-lint, against
# AWS's own schemas.
NOT_IN_MOTO = {
    "AWS::CloudWatch::Alarm",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Logs::MetricFilter",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
}


def without_what_moto_cannot_make(template):
    """The template for moto, with references to what it leaves out as plain text."""
    known = set(parsing.get_model_map())
    left_out = {n: r["Type"] for n, r in template["Resources"].items() if r["Type"] not in known}
    assert set(left_out.values()) <= NOT_IN_MOTO, "moto knows less than it did"
    for name, kind in sorted(left_out.items()):
        print(f"moto cannot make {kind} {name}: no CloudFormation model")
        del template["Resources"][name]
    for function in functions(template):
        if template["Resources"][function].get("DependsOn") in left_out:
            del template["Resources"][function]["DependsOn"]
    body = json.dumps(template["Resources"]["Dashboard"]["Properties"])
    for name in left_out:
        body = body.replace("${%s.Arn}" % name, name)
    template["Resources"]["Dashboard"]["Properties"] = json.loads(body)
    return template


@mock_aws
def test_it_deploys():
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24")["Subnet"]["SubnetId"] for i in range(2)
    ]
    database = ec2.create_security_group(GroupName="db", Description="db", VpcId=vpc)["GroupId"]
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="code")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("bootstrap", "")
    s3.put_object(Bucket="code", Key="code.zip", Body=archive.getvalue())

    parameters = {
        "DatabaseHost": "db.c1a2b3.us-east-1.rds.amazonaws.com",
        "DatabaseResourceId": "db-EXAMPLE",
        "DatabaseName": "sample_db",
        "SubnetIds": ",".join(subnets),
        "VpcId": vpc,
        "DatabaseSecurityGroupId": database,
        "WithEventQuery": "true",
    }
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(without_what_moto_cannot_make(translated(parameters))),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"

    function = boto3.client("lambda").get_function(FunctionName=f"{STACK}-scheduled-query")["Configuration"]
    assert function["Runtime"] == "provided.al2023"
    variables = function["Environment"]["Variables"]
    assert variables["PGHOST"] == parameters["DatabaseHost"] and variables["PGUSER"] == "iam_ro_user"
    assert set(function["VpcConfig"]["SubnetIds"]) == set(subnets)
    writer = boto3.client("lambda").get_function(FunctionName=f"{STACK}-event-query")["Configuration"]
    assert writer["Environment"]["Variables"]["PGUSER"] == "iam_rw_user"
    [source] = boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert source["FunctionArn"] == writer["FunctionArn"] and source["BatchSize"] == 100
    assert len(boto3.client("sqs").list_queues()["QueueUrls"]) == 4
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    assert sorted((g["logGroupName"], g["retentionInDays"]) for g in groups) == [
        (f"/aws/lambda/{STACK}-event-query", 30),
        (f"/aws/lambda/{STACK}-scheduled-query", 30),
    ]
    dashboards = boto3.client("cloudwatch").list_dashboards()["DashboardEntries"]
    assert [d["DashboardName"] for d in dashboards] == [f"{STACK}-us-east-1"]
    assert len(boto3.client("iam").list_roles()["Roles"]) == 3
    rules = ec2.describe_security_groups(GroupIds=[database])["SecurityGroups"][0]["IpPermissions"]
    assert [(r["FromPort"], r["ToPort"]) for r in rules] == [(5432, 5432)]


# What an example puts out beyond parameters of the stack.
MORE_OUTPUTS = {"AdministratorSecurityGroupId", "AdministratorSecretArn"}


@pytest.mark.parametrize("example", ["private-rds", "aurora-mysql", "export-bucket"])
def test_an_examples_outputs_are_parameters_of_the_stack(example):
    made = yaml_parse((ROOT / "examples" / example / "template.yaml").read_text())
    unknown = set(made["Outputs"]) - set(source()["Parameters"])
    assert unknown <= MORE_OUTPUTS, unknown - MORE_OUTPUTS
