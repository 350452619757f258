/*+++
description = "Removes orders that are older than so many days, in chunks"
mode = "write"
result = "affected"
repeat = "until-no-rows"
params = [
    { name = "days", default = 365 },
    { name = "chunk", default = 1000 },
]
+++*/
-- By the rows' addresses, which are unique only together with the table. The last condition keeps a row that
-- another session renews meanwhile. It needs the index on placed_at.
WITH due AS MATERIALIZED (
    SELECT tableoid AS o, ctid AS c, placed_at AS p FROM orders
    WHERE placed_at < now() - make_interval(days => $1)
    ORDER BY placed_at LIMIT $2)
DELETE FROM orders WHERE (tableoid, ctid) IN (SELECT o, c FROM due)
    AND placed_at BETWEEN (SELECT min(p) FROM due) AND (SELECT max(p) FROM due)
