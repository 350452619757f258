/*+++
description = "Records an order from a message: {\"orderId\": …, \"total\": …}"
mode = "write"
id = "/orderId"
params = [
    { name = "order_id", from = "/orderId" },
    { name = "total", from = "/total" },
    { name = "received_at", from = "timestamp" },
]
+++*/
INSERT INTO orders (order_id, total, received_at) VALUES ($1, $2, $3) RETURNING order_id
