/*+++
description = "The last runs of batch jobs, of one job or of all"
params = [
    { name = "job", required = false },
    { name = "last", default = 20 },
]
+++*/
SELECT job, run, status, step, query, chunks, rows, invocations, started_at, progressed_at, finished_at,
    round(extract(epoch FROM coalesce(finished_at, progressed_at) - started_at)) AS seconds,
    error_type, message
FROM job_runs
WHERE job = $1 OR $1::text IS NULL
ORDER BY started_at DESC, run DESC
LIMIT $2
