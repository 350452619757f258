"""An openCypher read on Neptune in Python: boto3's client."""

import json

import boto3

QUERY = "MATCH (p:Person) WHERE p.age >= $min_age RETURN p.name AS name"
client = boto3.client("neptunedata")


def handler(event, context):
    answer = client.execute_open_cypher_query(openCypherQuery=QUERY, parameters=json.dumps({"min_age": 18}))
    return {"rows": answer["results"], "row_count": len(answer["results"])}
