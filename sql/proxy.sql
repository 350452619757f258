-- Only behind RDS Proxy, where a SET would pin the session and is not sent: time-outs of the
-- function's users, a little below the function's own of 30 s. May be run again.
--   psql -h <endpoint> -U postgres -d <database> -f sql/proxy.sql
\set ON_ERROR_STOP on

ALTER ROLE iam_ro_user SET statement_timeout = '25s';
ALTER ROLE iam_rw_user SET statement_timeout = '25s';
ALTER ROLE iam_ro_user SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE iam_rw_user SET idle_in_transaction_session_timeout = '30s';

ALTER ROLE iam_ro_user SET lock_timeout = '12s';
ALTER ROLE iam_rw_user SET lock_timeout = '12s';
