/*+++
description = "Every customer has an e-mail address"
result = "check"
fail = true
+++*/
SELECT customer_id FROM customers WHERE email IS NULL OR email = ''
