-- The ledger of processed messages. A function that writes for a message records it here, by a plain
-- INSERT in the same transaction: a message that arrives again violates the primary key, and changes
-- nothing. An administrator runs this before or after sql/roles.sql; running it again changes nothing.
--   psql -h <endpoint> -U postgres -d <database> -f sql/ledger.sql
-- An id can arrive again for as long as queues keep its message: 14 days, and after a redrive as long
-- again, in the queue and in its dead-letter queue. Older entries can go:
--   DELETE FROM message_ledger WHERE recorded_at < now() - interval '60 days';
\set ON_ERROR_STOP on

BEGIN;

CREATE TABLE IF NOT EXISTS message_ledger (
    query text NOT NULL,
    message_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_ledger_pkey PRIMARY KEY (query, message_id)
);
CREATE INDEX IF NOT EXISTS message_ledger_recorded_at ON message_ledger (recorded_at);

-- INSERT only: an entry that the function could change or remove would not prevent a repetition.
-- Where sql/roles.sql has not run yet, it grants this.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'iam_rw_user') THEN
        REVOKE ALL ON message_ledger FROM iam_rw_user, readonly_role;
        GRANT INSERT ON message_ledger TO iam_rw_user;
    END IF;
END
$$;

COMMIT;
