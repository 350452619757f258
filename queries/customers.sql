/*+++
description = "Customers at least this old, oldest first"
params = [{ name = "min_age", default = 0 }]
+++*/
SELECT customer_id, name, email, age FROM customers WHERE age >= $1 ORDER BY age DESC
