/*+++
description = "Records the order of a message, once"
mode = "write"
id = "/order_id"
params = [
    { name = "order_id" },
    { name = "customer" },
    { name = "total" },
]
+++*/
INSERT INTO orders (order_id, customer, total) VALUES ($1, $2, $3) RETURNING order_id
