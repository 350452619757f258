-- The database's side of IAM authentication. An administrator runs it in each database, before or
-- after sql/ledger.sql and sql/jobs.sql, and again whenever another role has begun to own tables.
--   psql -h <endpoint> -U postgres -d <database> -f sql/roles.sql
--     -v schemas=public,billing     whose tables are granted, present and future; public, unless given
--     -v reader=shop_ro_user -v writer=shop_rw_user -v readers=shop_readers
-- The group `readers` reads the tables, and `reader` is its member; `writer` may also write. They are
-- readonly_role, iam_ro_user and iam_rw_user, unless given. Roles belong to the whole instance or cluster: give
-- each stack its own, or a user of one database can log in to another. Membership in rds_iam makes them
-- logins that only a token opens.
-- The administrator need not own the tables: inside the transaction, the script makes the administrator
-- a member of each owner, as only an owner grants. Where that is refused, nothing changes.
\set ON_ERROR_STOP on
\if :{?schemas}
\else
\set schemas public
\endif
\if :{?reader}
\else
\set reader iam_ro_user
\endif
\if :{?writer}
\else
\set writer iam_rw_user
\endif
\if :{?readers}
\else
\set readers readonly_role
\endif

BEGIN;

-- A DO block sees no variable of psql.
SELECT set_config('roles.schemas', :'schemas', true) AS schemas, set_config('roles.reader', :'reader', true) AS reader,
       set_config('roles.writer', :'writer', true) AS writer, set_config('roles.readers', :'readers', true) AS readers
\gset

DO $$
DECLARE
    schemas text[] := regexp_split_to_array(trim(current_setting('roles.schemas')), '\s*,\s*');
    reader text := current_setting('roles.reader');
    readers text := current_setting('roles.readers');
    unknown text;
    grantee text;
BEGIN
    SELECT string_agg(s, ', ') INTO unknown FROM unnest(schemas) s WHERE to_regnamespace(quote_ident(s)) IS NULL;
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'database % has no schema %', current_database(), unknown
            USING ERRCODE = 'invalid_schema_name', HINT = 'Name those that hold the tables: -v schemas=public,billing';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = readers) THEN
        EXECUTE format('CREATE ROLE %I', readers);
    END IF;
    FOREACH grantee IN ARRAY ARRAY[reader, current_setting('roles.writer')] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = grantee) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', grantee);
        END IF;
        IF NOT pg_has_role(grantee, 'rds_iam', 'MEMBER') THEN
            EXECUTE format('GRANT rds_iam TO %I', grantee);
        END IF;
        IF NOT has_database_privilege(grantee, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), grantee);
        END IF;
    END LOOP;
    IF NOT pg_has_role(reader, readers, 'MEMBER') THEN
        EXECUTE format('GRANT %I TO %I', readers, reader);
    END IF;
END
$$;

DO $$
DECLARE
    schemas text[] := regexp_split_to_array(trim(current_setting('roles.schemas')), '\s*,\s*');
    reader text := current_setting('roles.reader');
    writer text := current_setting('roles.writer');
    readers text := current_setting('roles.readers');
    role_owner name;
    schema_name text;
    later text;
    owned record;
    joined boolean;
BEGIN
    -- Objects of extensions keep the rights that their extension gave them.
    CREATE TEMPORARY TABLE granted ON COMMIT DROP AS
        SELECT c.oid::regclass AS relation, n.nspname, c.relname, c.relkind, r.rolname AS owner
        FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (schemas) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
          AND NOT EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');

    FOR role_owner IN
        SELECT g.owner FROM granted g UNION SELECT current_user
        UNION SELECT r.rolname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
        WHERE n.nspname = ANY (schemas)
          AND NOT (has_schema_privilege(readers, n.oid, 'USAGE') AND has_schema_privilege(writer, n.oid, 'USAGE'))
    LOOP
        joined := NOT pg_has_role(current_user, role_owner, 'USAGE');
        IF joined THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', role_owner, current_user);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'tables of schema % belong to %, and % may not grant on them',
                    array_to_string(schemas, ', '), role_owner, current_user
                    USING ERRCODE = 'insufficient_privilege',
                          HINT = format('Let an administrator of %1$I run: GRANT %1$I TO %2$I', role_owner, current_user);
            END;
        END IF;

        FOR schema_name IN
            SELECT n.nspname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
            WHERE n.nspname = ANY (schemas) AND r.rolname = role_owner
              AND NOT (has_schema_privilege(readers, n.oid, 'USAGE') AND has_schema_privilege(writer, n.oid, 'USAGE'))
        LOOP
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I, %I', schema_name, readers, writer);
        END LOOP;

        FOR owned IN SELECT * FROM granted g WHERE g.owner = role_owner LOOP
            IF owned.relkind = 'S' THEN
                EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %I', owned.relation, writer);
            ELSIF owned.relname = 'message_ledger' THEN
                -- As in sql/ledger.sql: an entry that could be removed would prevent no repetition.
                EXECUTE format('REVOKE ALL ON %s FROM %I, %I', owned.relation, writer, readers);
                EXECUTE format('GRANT INSERT ON %s TO %I', owned.relation, writer);
            ELSE
                EXECUTE format('GRANT SELECT ON %s TO %I', owned.relation, readers);
                EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', owned.relation, writer);
            END IF;
        END LOOP;

        -- What this role creates later.
        FOREACH schema_name IN ARRAY schemas LOOP
            later := format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I ', role_owner, schema_name);
            EXECUTE later || format('GRANT SELECT ON TABLES TO %I', readers);
            EXECUTE later || format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', writer);
            EXECUTE later || format('GRANT USAGE ON SEQUENCES TO %I', writer);
        END LOOP;

        IF joined THEN
            EXECUTE format('REVOKE %I FROM %I', role_owner, current_user);
        END IF;
    END LOOP;

    FOR owned IN
        SELECT s AS schema, count(g.relation) FILTER (WHERE g.relkind <> 'S') AS tables
        FROM unnest(schemas) s LEFT JOIN granted g ON g.nspname = s GROUP BY s ORDER BY s
    LOOP
        RAISE NOTICE 'schema %: % reads % tables and views, % also writes them; the same holds for later ones of their owners and of %',
            owned.schema, reader, owned.tables, writer, current_user;
    END LOOP;
    FOR owned IN
        SELECT n.nspname AS schema, count(*) AS tables FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> ALL (schemas)
          AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
          AND NOT EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        GROUP BY n.nspname ORDER BY n.nspname
    LOOP
        RAISE NOTICE 'schema %: nothing is granted on its % tables and views; to grant: -v schemas=%',
            owned.schema, owned.tables, array_to_string(schemas || owned.schema::text, ',');
    END LOOP;
END
$$;

COMMIT;
