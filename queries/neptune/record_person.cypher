/*+++
description = "Creates a person, or changes the age of one that exists: the same message twice is one person"
mode = "write"
params = [{ name = "name" }, { name = "age", required = false }]
+++*/
MERGE (p:Person {name: $name})
SET p.age = $age
RETURN p.name AS name
