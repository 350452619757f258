-- The ledger of processed messages. A function that writes for a message records it here, by a plain
-- INSERT in the same transaction: a message that arrives again violates the primary key, and changes
-- nothing. An administrator runs this once on a cluster, after sql/mysql/users.sql.
--   mysql -h <endpoint> -u admin -p < sql/mysql/ledger.sql
-- An id can arrive again for as long as queues keep its message: 14 days, and after a redrive as long
-- again, in the queue and in its dead-letter queue. Older entries can go:
--   DELETE FROM rds_iam.message_ledger WHERE recorded_at < NOW() - INTERVAL 60 DAY;

-- A database of its own: rights on another database as a whole would include this table, and an entry
-- that the function could change or remove would not prevent a repetition.
CREATE DATABASE IF NOT EXISTS rds_iam;

-- Bytes, because a collation can take two different ids for equal.
CREATE TABLE IF NOT EXISTS rds_iam.message_ledger (
    database_name varbinary(256) NOT NULL,
    query varbinary(255) NOT NULL,
    message_id varbinary(2048) NOT NULL,
    recorded_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (database_name, query, message_id),
    KEY message_ledger_recorded_at (recorded_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

GRANT INSERT ON rds_iam.message_ledger TO 'iam_rw_user'@'%';
