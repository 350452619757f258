"""The functions' templates: who may do what, exactly; what goes where; and that each deploys.

The templates are translated by AWS's own translator, as CloudFormation does it, and deployed into
moto's CloudFormation.
"""

import io
import json
import pathlib
import re
import subprocess
import sys
import zipfile

import boto3
import pytest
from moto import mock_aws
from moto.cloudformation import parsing
from samcli.yamlhelper import yaml_parse

from templates import FUNCTIONS, ROOT, arn, generate, of_type, path_of, source, translate, translated

STACK = "rds-iam-example"
EVERY = pytest.mark.parametrize("function", FUNCTIONS)


def lint(file):
    done = subprocess.run([pathlib.Path(sys.executable).with_name("cfn-lint"), file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def statements(role):
    return [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]


NETWORK = [
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
]
SELF = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${Name}"
DATABASE_USER = "arn:${AWS::Partition}:rds-db:*:${AWS::AccountId}:dbuser:${DatabaseResourceId}/${DatabaseUser}"
NOTHING = {"Ref": "AWS::NoValue"}
DELIVER = {
    "Fn::If": [
        "HasOnSuccess",
        {
            "Sid": "DeliverResponses",
            "Effect": "Allow",
            "Action": ["sns:Publish", "sqs:SendMessage"],
            "Resource": {"Ref": "OnSuccessDestinationArn"},
        },
        NOTHING,
    ]
}
LOG_IN = {
    "Sid": "LogIn",
    "Effect": "Allow",
    "Action": {"Fn::If": ["HasRoleArn", "sts:AssumeRole", "rds-db:connect"]},
    "Resource": {"Fn::If": ["HasRoleArn", {"Ref": "RoleArn"}, {"Fn::Sub": DATABASE_USER}]},
}
DELIVERS_RESPONSES = {"scheduled-query", "mysql-query", "neptune-query"}


def what_a_function_may_do(function):
    """Log in as its user, write its log, report its failures and responses, and let Lambda attach it to the VPC."""
    # neptune-query's right on its cluster is in a policy of its own.
    login = [] if function == "neptune-query" else [LOG_IN]
    return [
        *login,
        {
            "Sid": "WriteLog",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": arn("LogGroup"),
        },
        {"Sid": "ReportFailedRuns", "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn("FailedRuns")},
        {"Sid": "AttachToVpc", "Effect": "Allow", "Action": NETWORK, "Resource": "*"},
        {
            "Sid": "AttachToVpcNotFromCode",
            "Effect": "Deny",
            "Action": "ec2:*",
            "Resource": "*",
            "Condition": {
                "ArnEquals": {"lambda:SourceFunctionArn": {"Fn::Sub": [SELF, {"Name": {"Ref": "AWS::StackName"}}]}}
            },
        },
        *([DELIVER] if function in DELIVERS_RESPONSES else []),
    ]


# What a function may do beyond that: policies that are written by hand.
MORE = {
    "db-check": [
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
            "Resource": arn("Role"),
        },
    ],
    "neptune-query": [
        {
            "Effect": "Allow",
            "Action": [
                "neptune-db:ReadDataViaQuery",
                "neptune-db:GetQueryStatus",
                "neptune-db:CancelQuery",
                {"Fn::If": ["Writes", "neptune-db:WriteDataViaQuery", NOTHING]},
                {"Fn::If": ["Deletes", "neptune-db:DeleteDataViaQuery", NOTHING]},
            ],
            "Resource": {
                "Fn::Sub": "arn:${AWS::Partition}:neptune-db:${AWS::Region}:${AWS::AccountId}:${DatabaseResourceId}/*"
            },
            "Condition": {"StringEquals": {"neptune-db:QueryLanguage": {"Ref": "Languages"}}},
        }
    ],
    "export-query": [
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::${Bucket}/${Folder}*"},
        },
        {
            "Fn::If": [
                "HasKmsKey",
                {
                    "Effect": "Allow",
                    "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                    "Resource": {"Ref": "KmsKeyArn"},
                },
                NOTHING,
            ]
        },
    ],
    "event-query": [
        {
            "Effect": "Allow",
            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
            "Resource": arn("Messages"),
        }
    ],
}
SCHEDULED = {
    "scheduled-query": ("ScheduledQueryFunctionScheduledRole", "lambda:InvokeFunction", arn("ScheduledQueryFunction")),
    "mysql-query": ("MysqlQueryFunctionScheduledRole", "lambda:InvokeFunction", arn("MysqlQueryFunction")),
    "neptune-query": ("NeptuneQueryFunctionScheduledRole", "lambda:InvokeFunction", arn("NeptuneQueryFunction")),
    "export-query": ("ExportQueryFunctionNightlyRole", "lambda:InvokeFunction", arn("ExportQueryFunction")),
    "batch-job": ("MachineScheduledRole", "states:StartExecution", {"Ref": "Machine"}),
}
BOUNDARY = {"Fn::If": ["HasPermissionsBoundary", {"Ref": "PermissionsBoundaryArn"}, NOTHING]}


def trusts(role, service):
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    services = statement["Principal"]["Service"]
    assert services in (service, [service]) and statement["Action"] in ("sts:AssumeRole", ["sts:AssumeRole"])
    assert statement["Effect"] == "Allow" and set(statement) == {"Effect", "Principal", "Action"}


@EVERY
def test_each_role_may_do_exactly_this(function):
    template = translated(function)
    found = of_type(template, "AWS::IAM::Role")
    for name, role in found.items():
        assert not role.get("ManagedPolicyArns"), name
        assert role["PermissionsBoundary"] == BOUNDARY, name
    own = found.pop("Role")
    trusts(own, "lambda.amazonaws.com")
    assert statements(own) == what_a_function_may_do(function)
    more = of_type(template, "AWS::IAM::Policy").values()
    assert all(policy["Roles"] == [{"Ref": "Role"}] for policy in more)
    assert [s for policy in more for s in policy["PolicyDocument"]["Statement"]] == MORE.get(function, [])
    if function in SCHEDULED:
        name, action, resource = SCHEDULED[function]
        schedule = found.pop(name)
        trusts(schedule, "scheduler.amazonaws.com")
        assert statements(schedule) == [
            {"Effect": "Allow", "Action": action, "Resource": resource},
            {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn("FailedRuns")},
        ]
    if function == "batch-job":
        machine = found.pop("MachineRole")
        trusts(machine, "states.amazonaws.com")
        assert statements(machine) == [
            {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn("BatchJobFunction")},
            {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn("FailedRuns")},
        ]
    assert not found, "a role that nobody expected"


@EVERY
def test_nothing_is_public(function):
    template = translated(function)
    kinds = {r["Type"] for r in template["Resources"].values()}
    assert not kinds & {"AWS::Lambda::Url", "AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api"}
    assert "AWS::Lambda::Permission" not in kinds, "somebody else may invoke the function"
    [properties] = of_type(template, "AWS::Lambda::Function").values()
    assert properties["VpcConfig"]["SubnetIds"] == {"Ref": "SubnetIds"}


def variables_of(document, heading):
    """The names in the first column of a document's table."""
    text = (ROOT / "docs" / document).read_text()
    table = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {word.strip("`") for cell in cells for word in cell.replace(",", " ").split()}


@EVERY
def test_every_variable_of_the_contract_can_be_overridden_by_sam_local(function):
    names = variables_of("reference.md", "Environment")
    assert len(names) >= 18
    # Only event-query takes messages out of envelopes, only batch-job has a lease, and only export-query writes to S3.
    others = {
        "EVENT_ENVELOPES": "event-query",
        "JOB_LEASE": "batch-job",
        "EXPORT_PREFIX": "export-query",
        "AWS_ENDPOINT_URL_S3": "export-query",
    }
    names = {variable for variable in names if others.get(variable, function) == function}
    if function in ("mysql-query", "neptune-query"):
        names = {variable for variable in names if not variable.startswith("PG") and variable != "DB_PROXY"}
        own = variables_of(function.replace("-query", ".md"), "Environment") if function == "mysql-query" else set()
        names |= {variable for variable in own if "…" not in variable}
        names |= {"NEPTUNE_HOST", "NEPTUNE_PORT", "NEPTUNE_SSLROOTCERT"} if function == "neptune-query" else set()
    [properties] = of_type(translated(function), "AWS::Lambda::Function").values()
    assert names <= set(properties["Environment"]["Variables"])
    assert all(isinstance(v, (str, dict)) for v in properties["Environment"]["Variables"].values())


QUERY_FILES = {"mysql-query": "mysql/{}.sql", "neptune-query": "neptune/{}.cypher"}


@EVERY
def test_schedules_are_retried_and_queries_exist(function):
    template = translated(function)
    default = template["Parameters"].get("Query", {}).get("Default")
    assert default or function == "db-check"
    schedules = of_type(template, "AWS::Scheduler::Schedule")
    assert len(schedules) == (1 if function in SCHEDULED else 0)
    for query in [default, *[json.loads(s["Target"]["Input"]).get("query") for s in schedules.values()]]:
        assert not query or (ROOT / "queries" / QUERY_FILES.get(function, "{}.sql").format(query)).is_file()
    for schedule in schedules.values():
        target = schedule["Target"]
        assert target["DeadLetterConfig"] == {"Arn": arn("FailedRuns")}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert schedule["FlexibleTimeWindow"]["Mode"] == "FLEXIBLE"
        if "ScheduleExpression" in template["Parameters"]:
            assert schedule["State"] == {"Fn::If": ["HasSchedule", "ENABLED", "DISABLED"]}
            assert schedule["ScheduleExpression"]["Fn::If"][:2] == ["HasSchedule", {"Ref": "ScheduleExpression"}]
            assert schedule["ScheduleExpressionTimezone"] == {"Ref": "ScheduleTimezone"}
            assert template["Parameters"]["ScheduleExpression"]["Default"] == "", "nothing runs unless it is asked for"
        else:
            assert schedule["State"] == "DISABLED"


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
        return argument in resources or argument == "AWS::StackName"
    return function == "Fn::Sub" and "${AWS::StackName}" in argument


@EVERY
def test_two_stacks_share_no_name(function):
    """Stacks stand side by side in one account: every name holds the stack's, or is generated."""
    template = translated(function)
    fixed = []
    for name, resource in template["Resources"].items():
        for key, value in resource.get("Properties", {}).items():
            names_it = key in NAMES or (key == "Name" and resource["Type"] in NAMED_BY_NAME)
            if names_it and not holds_the_stack(value, template["Resources"]):
                fixed.append(f"{name} {key}: {value}")
    for name, output in template["Outputs"].items():
        assert "Export" not in output, name
    assert not fixed
    # The metrics of the alarms are the stack's own, too.
    filters = of_type(template, "AWS::Logs::MetricFilter")
    assert filters
    for properties in filters.values():
        for transformation in properties["MetricTransformations"]:
            assert holds_the_stack(transformation["MetricNamespace"], {})


@EVERY
def test_a_queue_policy_speaks_of_its_own_queue(function):
    """SQS refuses a policy with an ARN of another queue, and takes a queue's last policy alone."""
    template = translated(function)
    over_tls = []
    for name, policy in of_type(template, "AWS::SQS::QueuePolicy").items():
        [queue] = policy["Queues"]
        over_tls.append(queue["Ref"])
        for statement in policy["PolicyDocument"]["Statement"]:
            statement = statement.get("Fn::If", [None, statement])[1]
            assert statement["Resource"] == arn(queue["Ref"]), name
    assert sorted(over_tls) == sorted(of_type(template, "AWS::SQS::Queue")), "each queue has one policy"


def test_a_bucket_may_send_only_from_this_account():
    """A bucket's ARN names no account, so the condition on it must."""
    policy = of_type(translated("event-query"), "AWS::SQS::QueuePolicy")["MessagesPolicy"]
    allowed = [s["Fn::If"][1] for s in policy["PolicyDocument"]["Statement"] if "Fn::If" in s]
    services = {service for s in allowed for service in [s["Principal"]["Service"]] if isinstance(service, str)}
    assert services == {"s3.amazonaws.com"}
    for statement in allowed:
        assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": {"Ref": "ProducerArns"}}
        assert statement["Action"] == "sqs:SendMessage"
        if statement["Principal"] == {"Service": "s3.amazonaws.com"}:
            assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        else:
            # Their ARNs name the account, which may be another.
            assert statement["Principal"] == {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]}


def test_a_queue_tells_each_records_fate_and_sets_poison_aside():
    template = translated("event-query")
    resources = template["Resources"]
    [mapping] = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    assert mapping["EventSourceArn"] == arn("Messages")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "Concurrency"}}
    # More than ten at a time need a window.
    assert mapping["BatchSize"] > 10 and mapping["MaximumBatchingWindowInSeconds"] >= 1
    queue = resources["Messages"]["Properties"]
    timeout = resources["EventQueryFunction"]["Properties"]["Timeout"]
    assert queue["VisibilityTimeout"] >= 6 * timeout
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": arn("PoisonMessages"), "maxReceiveCount": 5}
    # A message takes its age along, so the dead-letter queue must keep it for longer than its queue.
    assert resources["PoisonMessages"]["Properties"]["MessageRetentionPeriod"] > 3 * queue["MessageRetentionPeriod"]


def test_the_sources_of_the_documents_are_valid_beside_the_template(tmp_path):
    """The yaml blocks of docs/events.md, in the template's Resources."""
    blocks = re.findall(r"(?s)```yaml\n(.*?)```", (ROOT / "docs/events.md").read_text())
    assert len(blocks) == 4
    file = tmp_path / "template.yaml"
    written = path_of("event-query").read_text()
    file.write_text(written.replace("\nResources:\n", "\nResources:\n" + "\n".join(blocks), 1))
    lint(file)


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
    """The template for moto, without the kinds of resources that it does not know."""
    known = set(parsing.get_model_map())
    left_out = {n: r["Type"] for n, r in template["Resources"].items() if r["Type"] not in known}
    assert set(left_out.values()) <= NOT_IN_MOTO, "moto knows less than it did"
    for name, kind in sorted(left_out.items()):
        print(f"moto cannot make {kind} {name}: no CloudFormation model")
        del template["Resources"][name]
    return template


def network_in_moto():
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24")["Subnet"]["SubnetId"] for i in range(2)]
    database = ec2.create_security_group(GroupName="db", Description="db", VpcId=vpc)["GroupId"]
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="code")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("bootstrap", "")
    s3.put_object(Bucket="code", Key="code.zip", Body=archive.getvalue())
    return vpc, subnets, database


HOSTS = {"mysql-query": "MYSQL_HOST", "neptune-query": "NEPTUNE_HOST"}
PORTS = {"mysql-query": 3306, "neptune-query": 8182}
QUEUES = {"event-query": 3}
ROLES = {"scheduled-query": 1, "mysql-query": 1, "neptune-query": 1, "export-query": 1, "batch-job": 2}


@EVERY
@mock_aws
def test_it_deploys(function):
    vpc, subnets, database = network_in_moto()
    written = source(function)["Parameters"]
    parameters = {
        "DatabaseHost": "db.c1a2b3.us-east-1.rds.amazonaws.com",
        "DatabaseResourceId": "cluster-EXAMPLE",
        "DatabaseName": "sample_db",
        "SubnetIds": ",".join(subnets),
        "VpcId": vpc,
        "DatabaseSecurityGroupId": database,
        "Bucket": "exports",
    }
    assert all("Default" in p for n, p in written.items() if n not in parameters), "configure knows all that is needed"
    # moto leaves a null where AWS::NoValue takes an element out of a policy's list.
    parameters |= {"Access": "read-write-delete", "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/example"}
    parameters = {name: value for name, value in parameters.items() if name in written}
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(without_what_moto_cannot_make(translated(function, parameters))),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"

    deployed = boto3.client("lambda").get_function(FunctionName=STACK)["Configuration"]
    assert deployed["Runtime"] == "provided.al2023"
    variables = deployed["Environment"]["Variables"]
    assert variables[HOSTS.get(function, "PGHOST")] == parameters["DatabaseHost"]
    assert set(deployed["VpcConfig"]["SubnetIds"]) == set(subnets)
    assert len(boto3.client("sqs").list_queues()["QueueUrls"]) == QUEUES.get(function, 1)
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    assert [(g["logGroupName"], g["retentionInDays"]) for g in groups] == [(f"/aws/lambda/{STACK}", 30)]
    # Its own, and that of its schedule, which moto makes without the schedule.
    assert len(boto3.client("iam").list_roles()["Roles"]) == 1 + ROLES.get(function, 0)
    rules = boto3.client("ec2").describe_security_groups(GroupIds=[database])["SecurityGroups"][0]["IpPermissions"]
    assert [(r["FromPort"], r["ToPort"]) for r in rules] == [(PORTS.get(function, 5432),) * 2]
    if function == "event-query":
        [mapping] = boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        assert mapping["FunctionArn"] == deployed["FunctionArn"] and mapping["BatchSize"] == 100


# What an example puts out beyond parameters of the stack.
MORE_OUTPUTS = {"AdministratorSecurityGroupId", "AdministratorSecretArn"}
EXAMPLES = {"private-rds": "scheduled-query", "aurora-mysql": "mysql-query", "export-bucket": "export-query"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_examples_outputs_are_parameters_of_the_stack(example):
    made = yaml_parse((ROOT / "examples" / example / "template.yaml").read_text())
    unknown = set(made["Outputs"]) - set(source(EXAMPLES[example])["Parameters"])
    assert unknown <= MORE_OUTPUTS, unknown - MORE_OUTPUTS


# In the block of docs/deploy.md: what stands in the function's Properties, and in Parameters.
RELEASE = {"Release": {"Type": "String"}}


def released(release):
    """event-query with the block of docs/deploy.md, translated with a value of Release."""
    [block] = re.findall(r"(?s)```yaml\n(.*?)```", (ROOT / "docs/deploy.md").read_text())
    template = source("event-query")
    template["Resources"]["EventQueryFunction"]["Properties"] |= yaml_parse(block)
    template["Parameters"] |= RELEASE
    return translate(template, {"Release": release})["Resources"]


def test_a_release_publishes_a_version_even_if_only_parameters_changed():
    first, second = released("1764500001"), released("1764500002")
    versions = [[n for n, r in made.items() if r["Type"] == "AWS::Lambda::Version"] for made in (first, second)]
    assert len(versions[0]) == len(versions[1]) == 1
    assert versions[0] != versions[1], "another Release is another version"
    # The translator takes the first ten characters only, so docs/deploy.md names values that differ there.
    long = [released(f"20261130{n:04}") for n in (1, 2)]
    assert [n for n in long[0] if n.startswith("EventQueryFunctionVersion")] == [
        n for n in long[1] if n.startswith("EventQueryFunctionVersion")
    ]
    alias = first["EventQueryFunctionAliaslive"]
    assert alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    [mapping] = [r for r in first.values() if r["Type"] == "AWS::Lambda::EventSourceMapping"]
    assert mapping["Properties"]["FunctionName"] == {"Ref": "EventQueryFunctionAliaslive"}


def test_gradual_releases_are_a_few_lines(tmp_path):
    """The same block written into the template by hand: the generated part follows the alias."""
    [block] = re.findall(r"(?s)```yaml\n(.*?)```", (ROOT / "docs/deploy.md").read_text())
    written = path_of("event-query").read_text().split(generate.MARK)[0]
    marker = "      FunctionName: !Ref AWS::StackName\n"
    indented = "".join(f"      {line}\n" for line in block.splitlines())
    written = written.replace(marker, marker + indented, 1)
    written = written.replace("\nParameters:\n", "\nParameters:\n  Release: { Type: String }\n", 1)
    file = tmp_path / "template.yaml"
    file.write_text(written + generate.MARK + generate.tail("event-query", written))
    lint(file)
    destinations = yaml_parse(file.read_text())["Resources"]["Destinations"]
    assert destinations["Properties"]["Qualifier"] == "live"
    assert destinations["DependsOn"] == "EventQueryFunctionAliaslive"
