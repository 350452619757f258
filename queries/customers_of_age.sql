/*+++
description = "Customers at least this old, for export-query"
params = [{ name = "min_age", default = 18 }]
to = "customers/{date}/{run}.ndjson.gz"
+++*/
SELECT customer_id, name, email, age FROM customers WHERE age >= $1 ORDER BY customer_id
