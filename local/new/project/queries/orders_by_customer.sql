/*+++
description = "Orders and their total by customer, in the last so many days"
params = [{ name = "days", default = 30 }]
+++*/
SELECT customer, count(*) AS orders, sum(total) AS total FROM orders
WHERE placed_at >= now() - make_interval(days => $1)
GROUP BY customer ORDER BY customer
