"""The filter of docs/deploy.md passes on the responses of checks with violations, and no others."""

import json
import re

import boto3
from moto import mock_aws

from templates import ROOT


def response(payload):
    """As Lambda sends it to a destination."""
    return json.dumps({
        "version": "1.0", "timestamp": "2026-11-28T06:00:00.000Z",
        "requestContext": {"requestId": "r", "condition": "Success", "approximateInvokeCount": 1},
        "requestPayload": {"query": "customers_under_age"},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": payload,
    })


@mock_aws
def test_a_subscription_gets_violations_only():
    section = (ROOT / "docs/deploy.md").read_text().split("**A check that tells a person.**")[1]
    attributes = json.loads(re.search(r"--attributes '(.+)'\n", section)[1])
    sns, sqs = (boto3.client(name, region_name="us-east-1") for name in ("sns", "sqs"))
    topic = sns.create_topic(Name="reports")["TopicArn"]
    queue = sqs.create_queue(QueueName="person")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    rows = [{"customer_id": 2, "age": 25}]
    for payload in (
        {"query": "customers_under_age", "violations": 0, "rows": []},
        {"query": "customers_under_age", "violations": 1, "rows": rows},
        {"query": "customers", "rows": rows, "row_count": 1},
    ):
        sns.publish(TopicArn=topic, Message=response(payload))
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    bodies = [json.loads(json.loads(message["Body"])["Message"])["responsePayload"] for message in messages]
    assert bodies == [{"query": "customers_under_age", "violations": 1, "rows": rows}]
