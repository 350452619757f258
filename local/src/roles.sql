-- Roles as on RDS: membership in rds_iam makes a login one that only a token opens. What is
-- created after this, by a schema script too, is readable by readonly_role.
CREATE ROLE rds_iam;
CREATE ROLE readonly_role;
CREATE ROLE iam_ro_user LOGIN;
CREATE ROLE iam_rw_user LOGIN;
GRANT rds_iam, readonly_role TO iam_ro_user;
GRANT rds_iam TO iam_rw_user;

GRANT USAGE ON SCHEMA public TO readonly_role, iam_rw_user;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO readonly_role, iam_rw_user;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO readonly_role;
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO iam_rw_user;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO iam_rw_user;
