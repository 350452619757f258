/*+++
description = "Adds a customer"
mode = "write"
params = [{ name = "name" }, { name = "email" }, { name = "age" }]
+++*/
INSERT INTO customers (name, email, age) VALUES ($1, $2, $3) RETURNING customer_id
