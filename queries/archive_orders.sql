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
WITH due AS MATERIALIZED (
    SELECT tableoid AS o, ctid AS c, received_at AS r FROM orders
    WHERE received_at < now() - make_interval(days => $1)
    ORDER BY received_at LIMIT $2
), moved AS (
    DELETE FROM orders WHERE (tableoid, ctid) IN (SELECT o, c FROM due)
        AND received_at BETWEEN (SELECT min(r) FROM due) AND (SELECT max(r) FROM due)
    RETURNING order_id, total, received_at)
INSERT INTO orders_archive (order_id, total, received_at)
SELECT order_id, total, received_at FROM moved
