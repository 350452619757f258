/*+++
description = "Records an order from a new item of a DynamoDB table"
mode = "write"
params = [
    { name = "order_id", from = "/dynamodb/NewImage/orderId/S" },
    { name = "total", from = "/dynamodb/NewImage/total/N" },
    { name = "received_at", from = "timestamp" },
]
+++*/
INSERT INTO orders (order_id, total, received_at) VALUES ($1, $2, $3) RETURNING order_id
