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
-- By row address: no join, and no second look-up. The condition needs an index on received_at.
DELETE FROM orders WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM orders
    WHERE received_at < now() - make_interval(days => $1)
    LIMIT $2))
