-- The database's side of IAM authentication on Aurora MySQL. An administrator runs it in each database;
-- running it again changes nothing.
--   mysql -h <endpoint> -u admin -p <database> < sql/mysql/users.sql
-- iam_ro_user reads the tables of that database, present and future; iam_rw_user may also write. The
-- plugin makes them logins that only a token opens.
CREATE USER IF NOT EXISTS 'iam_ro_user'@'%' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' REQUIRE SSL;
CREATE USER IF NOT EXISTS 'iam_rw_user'@'%' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' REQUIRE SSL;

-- Without a name, the database that the client has chosen.
GRANT SELECT ON * TO 'iam_ro_user'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON * TO 'iam_rw_user'@'%';
