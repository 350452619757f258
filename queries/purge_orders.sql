/*+++
description = "Removes orders that are older than so many days, in chunks"
mode = "write"
result = "affected"
repeat = "until-no-rows"
pause = 0.05
adapt = { param = "chunk", seconds = 1 }
params = [
    { name = "days", default = 365 },
    { name = "chunk", default = 1000 },
]
+++*/
-- By the rows' addresses, which are unique only together with the table. The last condition keeps a row that
-- another session renews meanwhile, and spares the partitions that have no row of the chunk. It needs an index
-- on received_at.
WITH due AS MATERIALIZED (
    SELECT tableoid AS o, ctid AS c, received_at AS r FROM orders
    WHERE received_at < now() - make_interval(days => $1)
    ORDER BY received_at LIMIT $2)
DELETE FROM orders WHERE (tableoid, ctid) IN (SELECT o, c FROM due)
    AND received_at BETWEEN (SELECT min(r) FROM due) AND (SELECT max(r) FROM due)
