/*+++
description = "Moves orders that are older than so many days into the archive, in chunks"
mode = "write"
result = "affected"
repeat = "until-no-rows"
params = [
    { name = "days", default = 365 },
    { name = "chunk", default = 1000 },
]
+++*/
WITH moved AS (
    DELETE FROM orders WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM orders
        WHERE received_at < now() - make_interval(days => $1)
        LIMIT $2))
    RETURNING order_id, total, received_at)
INSERT INTO orders_archive (order_id, total, received_at)
SELECT order_id, total, received_at FROM moved
