-- The database's side of IAM authentication. An administrator runs it in each database, before or
-- after sql/ledger.sql and sql/jobs.sql, and again whenever another role has begun to own tables.
--   psql -h <endpoint> -U postgres -d <database> -f sql/roles.sql
-- readonly_role reads the tables of schema public, present and future. iam_ro_user has that role;
-- iam_rw_user may also write. Membership in rds_iam makes them logins that only a token opens.
-- The administrator need not own the tables: inside the transaction, the script makes the administrator
-- a member of each owner, as only an owner grants. Where that is refused, nothing changes.
\set ON_ERROR_STOP on

BEGIN;

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
        IF NOT pg_has_role(login, 'rds_iam', 'MEMBER') THEN
            EXECUTE format('GRANT rds_iam TO %I', login);
        END IF;
        IF NOT has_database_privilege(login, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), login);
        END IF;
        IF NOT has_schema_privilege(login, 'public', 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', login);
        END IF;
    END LOOP;
    IF NOT pg_has_role('iam_ro_user', 'readonly_role', 'MEMBER') THEN
        GRANT readonly_role TO iam_ro_user;
    END IF;
    IF NOT has_schema_privilege('readonly_role', 'public', 'USAGE') THEN
        GRANT USAGE ON SCHEMA public TO readonly_role;
    END IF;
END
$$;

DO $$
DECLARE
    table_owner name;
    later text;
    owned record;
    joined boolean;
BEGIN
    -- Objects of extensions keep the rights that their extension gave them.
    CREATE TEMPORARY TABLE granted ON COMMIT DROP AS
        SELECT c.oid::regclass AS relation, c.relname, c.relkind, r.rolname AS owner
        FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
          AND NOT EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');

    FOR table_owner IN SELECT g.owner FROM granted g UNION SELECT current_user LOOP
        joined := NOT pg_has_role(current_user, table_owner, 'USAGE');
        IF joined THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', table_owner, current_user);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'tables of schema public belong to %, and % may not grant on them', table_owner, current_user
                    USING ERRCODE = 'insufficient_privilege',
                          HINT = format('Let an administrator of %1$I run: GRANT %1$I TO %2$I', table_owner, current_user);
            END;
        END IF;

        FOR owned IN SELECT * FROM granted g WHERE g.owner = table_owner LOOP
            IF owned.relkind = 'S' THEN
                EXECUTE format('GRANT USAGE ON SEQUENCE %s TO iam_rw_user', owned.relation);
            ELSIF owned.relname = 'message_ledger' THEN
                -- As in sql/ledger.sql: an entry that could be removed would prevent no repetition.
                EXECUTE format('REVOKE ALL ON %s FROM iam_rw_user, readonly_role', owned.relation);
                EXECUTE format('GRANT INSERT ON %s TO iam_rw_user', owned.relation);
            ELSE
                EXECUTE format('GRANT SELECT ON %s TO readonly_role', owned.relation);
                EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO iam_rw_user', owned.relation);
            END IF;
        END LOOP;

        -- Objects that this role creates later; the administrator's in every schema.
        later := format('ALTER DEFAULT PRIVILEGES FOR ROLE %I ', table_owner);
        IF table_owner = current_user THEN
            EXECUTE later || 'GRANT USAGE ON SCHEMAS TO readonly_role, iam_rw_user';
        ELSE
            later := later || 'IN SCHEMA public ';
        END IF;
        EXECUTE later || 'GRANT SELECT ON TABLES TO readonly_role';
        EXECUTE later || 'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO iam_rw_user';
        EXECUTE later || 'GRANT USAGE ON SEQUENCES TO iam_rw_user';

        IF joined THEN
            EXECUTE format('REVOKE %I FROM %I', table_owner, current_user);
        END IF;
    END LOOP;
END
$$;

COMMIT;
