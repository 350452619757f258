/*+++
description = "The oldest customer"
result = "one"
timeout = 5
+++*/
SELECT customer_id, name, age FROM customers ORDER BY age DESC, customer_id LIMIT 1
