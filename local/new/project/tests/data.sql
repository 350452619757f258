-- The database of make serve and make test, a script for psql.
\ir ../schema.sql

INSERT INTO orders (order_id, customer, total, placed_at) VALUES
    (1, 'Alice', 10.00, now() - interval '1 day'),
    (2, 'Alice', 20.00, now() - interval '2 days'),
    (3, 'Bob', 5.50, now() - interval '3 days'),
    (4, 'Bob', 7.00, now() - interval '400 days');
