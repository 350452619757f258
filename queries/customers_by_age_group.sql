/*+++
description = "How many customers each age group has, and their mean age"
result = "metric"
namespace = "Shop"
unit = { customers = "Count" }
dimensions = ["age_group"]
+++*/
SELECT CASE WHEN age < 30 THEN 'under 30' ELSE '30 and over' END AS age_group,
       count(*) AS customers, round(avg(age), 1) AS mean_age
FROM customers GROUP BY age_group
