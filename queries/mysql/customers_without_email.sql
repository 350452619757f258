/*+++
description = "Every customer has an email address"
result = "check"
+++*/
SELECT customer_id, name FROM customers WHERE email IS NULL
