/*+++
description = "No order has a total of zero or less"
result = "check"
fail = true
params = [{ name = "least", default = 0.01 }]
+++*/
SELECT order_id, total FROM orders WHERE total < $1 ORDER BY order_id
