-- PostgreSQL's own view shows the gate's connection, which is a socket of this machine. This one shows the
-- client's: every user but the superuser comes through the gate, which takes no connection without TLS and
-- describes it in the session's parameter rds_local.tls.
SET allow_system_table_mods = on;
CREATE OR REPLACE VIEW pg_catalog.pg_stat_ssl AS
SELECT s.pid,
       s.ssl OR (s.ssl IS NOT NULL AND s.usesysid <> 10) AS ssl,
       coalesce(s.sslversion, own.tls[1]) AS version,
       coalesce(s.sslcipher, own.tls[2]) AS cipher,
       coalesce(s.sslbits, own.tls[3]::int4) AS bits,
       s.ssl_client_dn AS client_dn,
       s.ssl_client_serial AS client_serial,
       s.ssl_issuer_dn AS issuer_dn
FROM pg_stat_get_activity(NULL) AS s
LEFT JOIN (SELECT pg_backend_pid() AS pid,
                  string_to_array(nullif(current_setting('rds_local.tls', true), ''), ' ') AS tls) AS own
       ON own.pid = s.pid
WHERE s.client_port IS NOT NULL;
RESET allow_system_table_mods;
