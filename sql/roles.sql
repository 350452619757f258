-- The database's side of IAM authentication. An administrator runs it once in each database, and
-- may run it again: nothing happens twice.
--   psql -h <endpoint> -U postgres -d <database> -f sql/roles.sql
-- readonly_role reads everything in schema public, present and future. iam_ro_user has that role;
-- iam_rw_user may also write. Membership in rds_iam makes them logins that only a token opens.

DO $$
DECLARE
    login text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'readonly_role') THEN
        CREATE ROLE readonly_role;
    END IF;
    FOREACH login IN ARRAY ARRAY['iam_ro_user', 'iam_rw_user'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', login);
        END IF;
        EXECUTE format('GRANT rds_iam TO %I', login);
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), login);
    END LOOP;
END
$$;

GRANT readonly_role TO iam_ro_user;

GRANT USAGE ON SCHEMA public TO readonly_role, iam_rw_user;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO readonly_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO iam_rw_user;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO iam_rw_user;

-- What whoever runs this creates later, schemas too.
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO readonly_role, iam_rw_user;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO readonly_role;
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO iam_rw_user;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO iam_rw_user;
