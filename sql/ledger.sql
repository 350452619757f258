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

-- INSERT only: an entry that a function could change or remove would not prevent a repetition. Here for those
-- whom sql/roles.sql gave rights on later tables; where it runs afterwards, it grants the same.
DO $$
DECLARE
    grantee record;
BEGIN
    FOR grantee IN
        SELECT r.rolname AS name, bool_or(a.privilege_type = 'INSERT') AS writes
        FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE c.oid = 'message_ledger'::regclass AND a.grantee <> c.relowner GROUP BY r.rolname
    LOOP
        EXECUTE format('REVOKE ALL ON message_ledger FROM %I', grantee.name);
        IF grantee.writes THEN
            EXECUTE format('GRANT INSERT ON message_ledger TO %I', grantee.name);
        END IF;
    END LOOP;
END
$$;

COMMIT;
