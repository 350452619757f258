/*+++
description = "Customers at least this old, oldest first"
params = [{ name = "min_age", default = 0 }]
+++*/
SELECT customer_id, name, email, age FROM customers WHERE age >= ? ORDER BY age DESC
