/*+++
description = "Removes a customer"
mode = "write"
params = [{ name = "email" }]
result = "affected"
+++*/
DELETE FROM customers WHERE email = $1
