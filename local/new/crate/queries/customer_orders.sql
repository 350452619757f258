/*+++
description = "A customer's orders"
params = [{ name = "customer" }]
+++*/
SELECT order_id, (total * 100)::bigint AS cents FROM orders
WHERE customer = $1 ORDER BY order_id
