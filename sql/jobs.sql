-- The runs of batch jobs: their history, and the lease that keeps a job from running twice at the same
-- time. batch-job updates a run's row in the transaction of every chunk. An administrator runs this before
-- or after sql/roles.sql; running it again changes nothing.
--   psql -h <endpoint> -U postgres -d <database> -f sql/jobs.sql
-- Rows of runs that have ended can go; queries/purge_job_runs.sql is a job that removes them.
\set ON_ERROR_STOP on

BEGIN;

-- Each chunk updates a row of few columns: room in its page keeps the updates cheap (HOT).
CREATE TABLE IF NOT EXISTS job_runs (
    job text NOT NULL,
    -- What tells a job's runs apart: the time of its schedule, say.
    run text NOT NULL,
    status text NOT NULL
        CHECK (status IN ('running', 'finished', 'failed', 'abandoned', 'skipped')),
    -- The step that runs, or ran last, and its query.
    step integer NOT NULL,
    query text NOT NULL,
    -- Statements that were committed, in this step and in all, and the rows that they affected.
    step_chunks bigint NOT NULL DEFAULT 0,
    chunks bigint NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    -- How many invocations have worked on it.
    invocations integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    progressed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    error_type text,
    message text,
    -- The fencing token of the invocation that works on it; NULL between two invocations.
    owner bigint,
    -- By this database's clock. Until then, no other invocation takes the run over.
    lease_until timestamptz NOT NULL,
    -- A digest of the queries and parameters that the run began with.
    input text NOT NULL,
    CONSTRAINT job_runs_pkey PRIMARY KEY (job, run)
) WITH (fillfactor = 50);

-- One run of a job at a time. No other index: an update of a chunk must not touch one.
CREATE UNIQUE INDEX IF NOT EXISTS job_runs_one_running ON job_runs (job) WHERE status = 'running';

-- Rights are those on tables of the application, which sql/roles.sql grants before or afterwards: who may read
-- sees the history, who may write runs jobs. DELETE is for the job that removes old runs.

COMMIT;
