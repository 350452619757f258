-- An example. Replace it by your own: pg_dump --schema-only --no-owner --no-privileges
CREATE TABLE orders (
    order_id bigint PRIMARY KEY,
    customer text NOT NULL,
    total numeric(10, 2) NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX ON orders (placed_at);
