//! Conditions on a second reading that are, or are not, checked again for the rows of the table themselves.
//!
//! One form of each kind (CASE, NOT IN, a join, a weaker condition, MERGE) was run against PostgreSQL 15 and 17:
//! what is found here deletes a row that another session is renewing, and what is right does not.

use super::tests::{WRITE, each, none};

const OLD: &str = "received_at < now() - interval '30 days'";

/// `{old}` stands for the condition.
fn filled(statements: &[&str]) -> Vec<String> {
    statements.iter().map(|sql| sql.replace("{old}", OLD)).collect()
}

fn each_old(expected: &str, statements: &[&str]) {
    let filled = filled(statements);
    each(WRITE, expected, &filled.iter().map(String::as_str).collect::<Vec<_>>());
}

fn none_old(statements: &[&str]) {
    let filled = filled(statements);
    none(WRITE, &filled.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_condition_is_found_wherever_the_rows_are_chosen() {
    each_old(
        "its condition on received_at is on a second reading of",
        &[
            // CASE and FILTER
            "DELETE FROM orders WHERE CASE WHEN id IN (SELECT id FROM orders WHERE {old}) THEN true END",
            "DELETE FROM orders WHERE CASE WHEN total > 5 THEN id IN (SELECT id FROM orders WHERE {old}) ELSE false END",
            "DELETE FROM orders WHERE CASE WHEN id IN (SELECT id FROM orders WHERE NOT ({old})) THEN false ELSE true END",
            "DELETE FROM orders WHERE id IN (SELECT CASE WHEN {old} THEN id END FROM orders)",
            "DELETE FROM orders WHERE id IN (SELECT CASE WHEN {old} THEN id ELSE -1 END FROM orders)",
            "DELETE FROM orders o USING (SELECT CASE WHEN {old} THEN id END AS k FROM orders) d WHERE o.id = d.k",
            "WITH due AS (SELECT CASE WHEN {old} THEN id END AS k FROM orders) DELETE FROM orders WHERE id IN (SELECT k FROM due)",
            "DELETE FROM orders WHERE id = ANY ((SELECT array_agg(id) FILTER (WHERE {old}) FROM orders)::int[])",
            "DELETE FROM orders WHERE coalesce(id IN (SELECT id FROM orders WHERE {old}), false)",
            "DELETE FROM orders WHERE (id IN (SELECT id FROM orders WHERE {old})) IS NOT FALSE",
            "DELETE FROM orders WHERE (SELECT count(*) FROM orders d WHERE d.id = orders.id AND d.{old}) > 0",
            // What is not among the others
            "DELETE FROM orders WHERE id NOT IN (SELECT id FROM orders WHERE NOT {old})",
            "DELETE FROM orders WHERE NOT id IN (SELECT id FROM orders WHERE NOT {old})",
            "DELETE FROM orders WHERE NOT (id NOT IN (SELECT id FROM orders WHERE {old}))",
            "DELETE FROM orders WHERE id <> ALL (SELECT id FROM orders WHERE NOT {old})",
            "DELETE FROM orders WHERE NOT EXISTS (SELECT FROM orders d WHERE d.id = orders.id AND NOT d.{old})",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders EXCEPT SELECT id FROM orders WHERE NOT {old})",
            "DELETE FROM orders WHERE id IN (SELECT o.id FROM orders o LEFT JOIN orders n ON n.id = o.id AND NOT n.{old} WHERE n.id IS NULL)",
            // Joins
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders NATURAL JOIN (SELECT id FROM orders WHERE {old}) d)",
            "DELETE FROM orders WHERE id IN (SELECT o.id FROM orders o NATURAL JOIN orders d WHERE d.{old})",
            "DELETE FROM orders o USING customers c NATURAL JOIN (SELECT id, customer FROM orders WHERE {old}) d WHERE o.id = d.id",
            "DELETE FROM orders o USING customers c, LATERAL (SELECT id FROM orders d WHERE d.customer = c.id AND d.{old} LIMIT 5) x WHERE o.id = x.id",
            "DELETE FROM orders o USING customers c CROSS JOIN LATERAL (SELECT id FROM orders d WHERE d.customer = c.id AND d.{old}) x WHERE o.id = x.id",
            "UPDATE orders o SET total = 0 FROM orders d JOIN customers c USING (customer) WHERE o.id = d.id AND d.{old}",
            // Rows, WITH in WITH, names
            "DELETE FROM orders WHERE (id, customer) IN (SELECT id, customer FROM orders WHERE {old})",
            "DELETE FROM orders WHERE id IN (WITH a AS (WITH b AS (SELECT id FROM orders WHERE {old}) SELECT id FROM b) SELECT id FROM a)",
            "WITH a AS (SELECT id FROM orders WHERE {old}), b AS (SELECT id FROM a) DELETE FROM orders WHERE id = ANY (ARRAY(SELECT id FROM b))",
            "DELETE FROM \"orders\" WHERE ID IN (SELECT \"id\" FROM Orders WHERE {old})",
            "DELETE FROM ONLY orders WHERE id IN (SELECT id FROM orders WHERE {old})",
            "DELETE FROM public.orders WHERE id IN (SELECT id FROM orders WHERE {old})",
            "DELETE FROM a.orders WHERE id IN (SELECT id FROM a.orders_2024 WHERE {old})",
            "MERGE INTO orders o USING (SELECT id FROM orders WHERE {old}) d ON o.id = d.id WHEN NOT MATCHED THEN DO NOTHING WHEN MATCHED THEN DELETE",
        ],
    );
}

#[test]
fn a_condition_that_lets_more_rows_through_is_found() {
    let again = |condition: &str| {
        format!(
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE {OLD}) AND {condition}"
        )
    };
    for weaker in [
        "received_at < now()",
        "received_at <= now()",
        "now() > received_at",
        "received_at < now() - interval '1 day'",
        "received_at < now() - interval '720 seconds'",
        "received_at < now() - interval '30 days' + interval '1 day'",
        "received_at > now() - interval '90 days'",
        "received_at IS NOT NULL",
        "received_at NOTNULL",
        "received_at <> now()",
        "({old} OR total = 0)",
        "CASE WHEN total = 0 THEN true ELSE {old} END",
        "NOT (received_at >= now() AND total > 0)",
    ] {
        let told = "its condition on received_at lets more rows of orders through";
        each(WRITE, told, &[&again(&weaker.replace("{old}", OLD))]);
    }
    for strict in [
        "{old}",
        "orders.received_at<now()-INTERVAL '30 days'",
        "now() - interval '30 days' > received_at",
        "NOT (received_at >= now() - interval '30 days')",
        "received_at < now() - interval '31 days'",
        "received_at < now() - interval '1 year'",
        "received_at < now() - interval '30 days' - interval '1 day'",
        "received_at < now() - make_interval(days => $1)",
        "received_at <= date_trunc('day', now()) - interval '30 days'",
        "received_at BETWEEN '2001-01-01' AND now() - interval '30 days'",
        "received_at::date < current_date - 30",
        "age(received_at) > interval '30 days'",
        "({old} OR {old} AND total = 0)",
        "CASE WHEN {old} THEN true ELSE false END",
        "CASE WHEN NOT {old} THEN false ELSE true END",
        "({old}) IS TRUE",
        "(received_at, id) < (now() - interval '30 days', 5)",
        "received_at = '2001-01-01'",
    ] {
        none(WRITE, &[&again(&strict.replace("{old}", OLD))]);
    }
    each(
        WRITE,
        "its condition on status lets more rows",
        &[
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE status = 'done') AND status <> 'new'",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE status = 'done') AND status IS NOT NULL",
        ],
    );
    each(
        WRITE,
        "its condition on total lets more rows",
        &[
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE total > 100) AND total > 10",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE total > 5 + 1) AND total > 5",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE total BETWEEN 5 AND 10) AND total > 5",
            "MERGE INTO orders o USING (SELECT id FROM orders WHERE total = 0) d ON o.id = d.id
             WHEN MATCHED AND o.total = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET seen = true",
        ],
    );
    each(
        WRITE,
        "its condition on day lets more rows",
        &[
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE day < '2024-01-01') AND day < '2025-01-01'",
        ],
    );
}

#[test]
fn right_forms_are_not_found() {
    none_old(&[
        // The row as it was read.
        "DELETE FROM orders o USING orders d WHERE d.id = o.id AND d.received_at = o.received_at AND d.{old}",
        "DELETE FROM orders WHERE (id, received_at) IN (SELECT id, received_at FROM orders WHERE {old})",
        // An OR that has the condition in each part, or an inner one of several.
        "DELETE FROM orders WHERE (id IN (SELECT id FROM orders WHERE {old}) AND {old}) OR total = 0",
        "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE {old} OR total = 0) AND ({old} OR total = 0)",
        "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE {old} OR total = 0) AND {old}",
        // Kept if it is among the others, and looked at again.
        "DELETE FROM orders WHERE id NOT IN (SELECT id FROM orders WHERE NOT {old}) AND {old}",
        "DELETE FROM orders WHERE NOT EXISTS (SELECT FROM orders d WHERE d.id = orders.id AND NOT d.{old}) AND {old}",
        "DELETE FROM orders WHERE id IN (SELECT id FROM orders EXCEPT SELECT id FROM orders WHERE NOT {old}) AND {old}",
        "DELETE FROM orders WHERE (SELECT count(*) FROM orders d WHERE d.id = orders.id AND NOT d.{old}) = 0 AND {old}",
        "DELETE FROM orders WHERE id IN (SELECT o.id FROM orders o LEFT JOIN orders n ON n.id = o.id AND NOT n.{old} WHERE n.id IS NULL) AND {old}",
        "DELETE FROM orders WHERE id NOT IN (SELECT max(id) FROM orders WHERE paid GROUP BY customer)",
        // Of another schema. Without one, a table is of public.
        "DELETE FROM a.orders WHERE id IN (SELECT id FROM b.orders WHERE {old})",
        "DELETE FROM orders WHERE id IN (SELECT id FROM archive.orders WHERE {old})",
        "DELETE FROM a.orders WHERE id IN (SELECT id FROM orders WHERE {old})",
        "DELETE FROM orders WHERE id IN (SELECT id FROM \"Orders\" WHERE {old})",
        "DELETE FROM orders o USING b.orders d WHERE o.id = d.id AND d.{old}",
        // A value that no row is found by.
        "UPDATE orders o SET amount = d.amount FROM (SELECT id, CASE WHEN total > 5 THEN total END AS amount FROM orders FOR UPDATE) d WHERE o.id = d.id",
        "UPDATE orders o SET amount = d.amount FROM (SELECT id, CASE WHEN total > 5 THEN total END AS amount FROM orders) d WHERE o.id = d.id",
        "UPDATE orders o SET n = d.n FROM (SELECT id, count(*) FILTER (WHERE {old}) AS n FROM orders GROUP BY id) d WHERE o.id = d.id",
        "DELETE FROM orders o USING customers c NATURAL JOIN due d WHERE o.customer = c.customer",
        "DELETE FROM orders WHERE CASE WHEN {old} THEN id IN (SELECT id FROM orders WHERE {old}) ELSE false END",
        "DELETE FROM orders WHERE CURRENT OF c",
        // No row of the target is changed by what is not matched.
        "MERGE INTO orders o USING (SELECT id FROM orders WHERE {old}) d ON o.id = d.id WHEN MATCHED THEN DO NOTHING",
        "MERGE INTO orders o USING (SELECT id FROM orders WHERE {old}) d ON o.id = d.id WHEN MATCHED AND o.{old} THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (d.id)",
        "MERGE INTO orders o USING (SELECT id FROM orders WHERE {old}) d ON o.id = d.id AND o.{old} WHEN MATCHED AND o.total = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET seen = true",
    ]);
    each(
        WRITE,
        "by ctid without tableoid",
        &["DELETE FROM ONLY a.orders WHERE ctid IN (SELECT ctid FROM ONLY b.orders)"],
    );
    none(WRITE, &["DELETE FROM ONLY orders WHERE ctid IN (SELECT ctid FROM ONLY public.orders)"]);
}

/// However many OR a text has, it is judged.
#[test]
fn many_alternatives_have_an_end() {
    let either = "(total = 1 OR total = 2) AND ".repeat(60);
    let sql =
        format!("DELETE FROM orders WHERE {either} id IN (SELECT id FROM orders WHERE {OLD})");
    each(WRITE, "its condition on received_at", &[&sql]);
    none(WRITE, &[&format!("{sql} AND {OLD}")]);
}
