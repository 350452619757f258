/*+++
description = "Records an order from an event of EventBridge"
mode = "write"
result = "affected"
id = "/detail/orderId"
params = [
    { name = "order_id", from = "/detail/orderId" },
    { name = "total", from = "/detail/total", default = 0 },
    { name = "received_at", from = "/time" },
]
+++*/
-- EventBridge writes 2026-11-23T06:00:00Z, which MySQL does not take as a DATETIME.
INSERT INTO orders (order_id, total, received_at) VALUES (?, ?, STR_TO_DATE(?, '%Y-%m-%dT%H:%i:%sZ'))
