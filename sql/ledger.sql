-- The ledger of processed messages. A function that writes on a message's behalf records it here, by
-- a plain INSERT in the same transaction: a message that is delivered again then violates the primary
-- key, and changes nothing. An administrator runs this once, after sql/roles.sql; it may be run again.
--   psql -h <endpoint> -U postgres -d <database> -f sql/ledger.sql
-- Queues keep a message for 14 days at most, so older entries can go:
--   DELETE FROM message_ledger WHERE recorded_at < now() - interval '15 days';

CREATE TABLE IF NOT EXISTS message_ledger (
    query text NOT NULL,
    message_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_ledger_pkey PRIMARY KEY (query, message_id)
);
CREATE INDEX IF NOT EXISTS message_ledger_recorded_at ON message_ledger (recorded_at);

-- Only to add: an entry that could be changed or removed would not keep anything from happening twice.
REVOKE ALL ON message_ledger FROM iam_rw_user, readonly_role;
GRANT INSERT ON message_ledger TO iam_rw_user;
