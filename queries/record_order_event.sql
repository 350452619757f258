/*+++
description = "Records an order from an event of EventBridge"
mode = "write"
id = "/detail/orderId"
selectable = true
params = [
    { name = "order_id", from = "/detail/orderId" },
    { name = "total", from = "/detail/total", default = 0 },
    { name = "received_at", from = "timestamp" },
]
+++*/
INSERT INTO orders (order_id, total, received_at) VALUES ($1, $2, $3) RETURNING order_id
