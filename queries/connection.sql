/*+++
description = "Who is connected, to what, and how: works on every database"
result = "one"
+++*/
SELECT
    current_user AS "user",
    current_database() AS database,
    current_setting('server_version') AS server_version,
    pg_is_in_recovery() AS is_standby,
    current_setting('transaction_read_only') = 'on' AS reads_only
