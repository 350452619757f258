-- The demo's table and rows.
CREATE TABLE customers (
    customer_id int AUTO_INCREMENT PRIMARY KEY,
    name varchar(100),
    email varchar(100),
    age int
);

INSERT INTO customers (name, email, age) VALUES
    ('Alice Smith', 'alice@example.com', 30),
    ('Bob Johnson', 'bob@example.com', 25),
    ('Charlie Brown', 'charlie@example.com', 35);

-- What the examples of events write.
CREATE TABLE orders (
    order_id varchar(100) PRIMARY KEY,
    total decimal(20, 2) NOT NULL CHECK (total >= 0),
    received_at datetime(3)
);
