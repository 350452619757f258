/*+++
description = "Removes runs of batch jobs that ended more than so many days ago, in chunks"
mode = "write"
result = "affected"
repeat = "until-no-rows"
params = [
    { name = "days", default = 90 },
    { name = "chunk", default = 1000 },
]
+++*/
-- The condition stands twice, so that a run that is sent again meanwhile stays.
DELETE FROM job_runs
WHERE (job, run) IN (
        SELECT job, run FROM job_runs
        WHERE status <> 'running' AND progressed_at < now() - make_interval(days => $1)
        LIMIT $2)
    AND status <> 'running' AND progressed_at < now() - make_interval(days => $1)
