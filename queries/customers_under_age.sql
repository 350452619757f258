/*+++
description = "Customers are of age"
params = [{ name = "age", default = 18 }]
result = "check"
+++*/
SELECT customer_id, age FROM customers WHERE age < $1 ORDER BY age
