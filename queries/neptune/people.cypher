/*+++
description = "People of this age and older"
params = [{ name = "min_age", default = 18 }]
+++*/
MATCH (p:Person)
WHERE p.age >= $min_age
RETURN p.name AS name, p.age AS age
ORDER BY name
