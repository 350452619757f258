-- Optional: tables and rows of the demo and of the example queries. Once, in an empty database, before or
-- after sql/roles.sql:
--   psql -h <endpoint> -U postgres -d <database> -f sql/examples.sql
CREATE TABLE customers (
    customer_id serial PRIMARY KEY,
    name varchar(100),
    email varchar(100),
    age int
);

INSERT INTO customers (name, email, age) VALUES
    ('Alice Smith', 'alice@example.com', 30),
    ('Bob Johnson', 'bob@example.com', 25),
    ('Charlie Brown', 'charlie@example.com', 35);

-- What event-query's examples write.
CREATE TABLE orders (
    order_id text PRIMARY KEY,
    total numeric NOT NULL CHECK (total >= 0),
    received_at timestamptz
);
-- For the jobs that remove what is old.
CREATE INDEX orders_received_at ON orders (received_at);
CREATE TABLE uploads (
    bucket text NOT NULL,
    key text NOT NULL,
    size bigint,
    uploaded_at timestamptz
);

-- What batch-job's examples work on.
CREATE TABLE orders_archive (LIKE orders INCLUDING ALL);
CREATE MATERIALIZED VIEW order_totals AS
    SELECT received_at::date AS day, count(*) AS orders, sum(total) AS total FROM orders GROUP BY 1;
CREATE UNIQUE INDEX order_totals_day ON order_totals (day);
-- Only its owner may refresh it.
ALTER MATERIALIZED VIEW order_totals OWNER TO iam_rw_user;
