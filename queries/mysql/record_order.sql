/*+++
description = "Records an order from a message: {\"orderId\": …, \"total\": …}"
mode = "write"
result = "affected"
id = "/orderId"
params = [
    { name = "order_id", from = "/orderId" },
    { name = "total", from = "/total" },
]
+++*/
INSERT INTO orders (order_id, total, received_at) VALUES (?, ?, NOW(3))
