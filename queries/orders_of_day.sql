/*+++
description = "Orders of one day in UTC: by default, of the day before the event"
params = [{ name = "day", type = "date", default = "{date-1d}" }]
to = "orders/day={day}/orders.parquet"
+++*/
SELECT order_id, total, received_at FROM orders
WHERE received_at >= $1::date::timestamp AT TIME ZONE 'UTC'
    AND received_at < ($1::date + 1)::timestamp AT TIME ZONE 'UTC'
ORDER BY received_at
