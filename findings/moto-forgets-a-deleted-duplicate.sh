#!/usr/bin/env bash
# moto's FIFO queue delivers a duplicate again as soon as the first copy is deleted.
#
# SQS documents that a message with the deduplication id of one sent within five minutes is accepted and not delivered, also
# after the first was received and deleted. moto 5.2.5 (PyPI) compares with the messages that are still in the queue: while the first is
# there, the second is dropped, in another message group as well; once it is deleted, the second is delivered. The answer
# to the dropped one has a new MessageId in both cases.
#
# Why it matters with Lambda and RDS: a consumer deletes at once, so a test of "the producer retries, the row is inserted once" sees two
# messages with moto, and one with SQS: one writes code for a case that SQS covers, or takes moto's drop in the other
# order for proof. Test the consumer's own idempotence, which is needed after five minutes anyway.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check 'moto[sqs]==5.2.5' boto3==1.44.5
cat >run.py <<'END'
import os

import boto3
import moto

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")


@moto.mock_aws
def second_copy(delete_first, group):
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]

    def send(group):
        return sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId=group, MessageDeduplicationId="one")["MessageId"]

    first = send("a")
    if delete_first:
        message = sqs.receive_message(QueueUrl=url)["Messages"][0]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    second = send(group)
    count = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    left = int(count["ApproximateNumberOfMessages"]) - (not delete_first)
    return f"the second copy is {'in the queue' if left else 'dropped'}, its MessageId is {'the same' if first == second else 'new'}"


for delete_first in (False, True):
    for group in ("a", "b"):
        state = "deleted" if delete_first else "still there"
        print(f"first copy {state}, second in group {group}: {second_copy(delete_first, group)}")
END

echo "$(venv/bin/python --version), moto 5.2.5"
venv/bin/python run.py | tee seen
diff - seen <<'END'
first copy still there, second in group a: the second copy is dropped, its MessageId is new
first copy still there, second in group b: the second copy is dropped, its MessageId is new
first copy deleted, second in group a: the second copy is in the queue, its MessageId is new
first copy deleted, second in group b: the second copy is in the queue, its MessageId is new
END
echo "The behaviour is as described."
