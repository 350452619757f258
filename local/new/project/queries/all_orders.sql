/*+++
description = "Every order, for an export"
to = "orders/{date}/{run}.parquet"
+++*/
SELECT order_id, customer, total, placed_at FROM orders ORDER BY order_id
