-- The demo's table and rows.
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
CREATE TABLE uploads (
    bucket text NOT NULL,
    key text NOT NULL,
    size bigint,
    uploaded_at timestamptz
);
