/*+++
description = "Brings the totals of each day up to date, without locking readers out"
mode = "write"
result = "affected"
+++*/
REFRESH MATERIALIZED VIEW CONCURRENTLY order_totals
