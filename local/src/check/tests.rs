//! The rules of a statement's form: each statement is wrong or right on its own.

use super::*;

pub(super) const WRITE: &str = "mode = \"write\"\nresult = \"affected\"";
const REPEAT: &str = "mode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"";

fn query(front: &str, sql: &str) -> Query {
    Query::parse("q", &format!("/*+++\n{front}\n+++*/\n{sql}")).unwrap()
}

fn found(front: &str, sql: &str) -> Vec<String> {
    let review = review(&query(front, sql));
    assert_eq!(review.note, None, "{sql}");
    review.found.iter().map(ToString::to_string).collect()
}

/// Asserts that each statement has exactly one finding, which says this.
pub(super) fn each(front: &str, expected: &str, statements: &[&str]) {
    for sql in statements {
        let found = found(front, sql);
        assert!(found.len() == 1 && found[0].contains(expected), "{sql}: {found:#?}");
    }
}

pub(super) fn none(front: &str, statements: &[&str]) {
    for sql in statements {
        assert_eq!(found(front, sql), Vec::<String>::new(), "{sql}");
    }
}

#[test]
fn an_address_without_its_table_is_found() {
    each(
        WRITE,
        "by ctid without tableoid",
        &[
            "DELETE FROM orders WHERE ctid = ANY (ARRAY(SELECT ctid FROM orders WHERE received_at < now() LIMIT 10))",
            "DELETE FROM orders WHERE ctid IN (SELECT ctid FROM orders LIMIT $1)",
            "delete from Orders where CTID in (select Ctid from orders)",
            "DELETE FROM public.orders AS o WHERE o.ctid IN (SELECT p.ctid FROM public.orders p)",
            "DELETE /* x */ FROM -- y\n orders WHERE /* z */ \"ctid\" /**/ = /**/ ANY(ARRAY(SELECT ctid FROM orders))",
            "DELETE FROM orders WHERE ctid = (SELECT ctid FROM orders ORDER BY received_at LIMIT 1)",
            "DELETE FROM orders WHERE ctid = ANY ((SELECT array_agg(ctid) FROM orders)::tid[])",
            "DELETE FROM orders WHERE ctid::text IN (SELECT ctid::text FROM orders)",
            "DELETE FROM orders WHERE (ctid) IN (SELECT ctid FROM orders)",
            "DELETE FROM orders WHERE (order_id, ctid) IN (SELECT order_id, ctid FROM orders)",
            "DELETE FROM orders WHERE ROW(ctid) = ANY (ARRAY(SELECT ROW(ctid) FROM orders))",
            "DELETE FROM orders WHERE total = 0 AND (ctid = SOME (ARRAY(SELECT ctid FROM orders)) AND true)",
            "DELETE FROM orders o USING (SELECT ctid FROM orders LIMIT 10) d WHERE o.ctid = d.ctid",
            "DELETE FROM orders o USING due WHERE due.c = o.ctid",
            "DELETE FROM orders o USING due WHERE due.c IS NOT DISTINCT FROM o.ctid",
            "WITH due AS (SELECT ctid AS c FROM orders LIMIT 10) DELETE FROM orders USING due WHERE orders.ctid = c",
            "WITH due AS MATERIALIZED (SELECT ctid FROM orders) DELETE FROM orders WHERE ctid IN (TABLE due)",
            "DELETE FROM orders WHERE EXISTS (SELECT FROM due WHERE due.c = orders.ctid)",
            "DELETE FROM orders WHERE ctid = $1",
            "DELETE FROM ONLY orders WHERE ctid IN (SELECT ctid FROM orders)",
            "UPDATE orders SET total = 0 WHERE ctid = ANY (ARRAY(SELECT ctid FROM orders LIMIT 10))",
            "UPDATE orders o SET total = 0 FROM (SELECT ctid FROM orders) d WHERE o.ctid = d.ctid",
            "MERGE INTO orders o USING (SELECT ctid FROM orders LIMIT 10) d ON o.ctid = d.ctid WHEN MATCHED THEN DELETE",
            "WITH moved AS (DELETE FROM orders WHERE ctid IN (SELECT ctid FROM orders) RETURNING *) INSERT INTO a SELECT * FROM moved",
            // Each address meets each table.
            "DELETE FROM orders WHERE ctid IN (SELECT ctid FROM due) AND tableoid IN (SELECT tableoid FROM due)",
            "WITH d AS (SELECT 1) , \"delete\" AS (SELECT 2) DELETE FROM orders WHERE ctid IN (SELECT ctid FROM orders)",
        ],
    );
    none(
        WRITE,
        &[
            "DELETE FROM orders WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM orders)",
            "DELETE FROM orders WHERE (ctid, tableoid) = ANY (ARRAY(SELECT (ctid, tableoid) FROM orders))",
            "DELETE FROM orders o USING due WHERE o.ctid = due.c AND due.o = o.tableoid",
            "DELETE FROM orders WHERE ctid = ANY (ARRAY(SELECT c FROM due)) AND (tableoid, ctid) IN (SELECT o, c FROM due)",
            "DELETE FROM orders WHERE ctid = $1 AND tableoid = 'orders_2024'::regclass",
            "DELETE FROM ONLY orders WHERE ctid IN (SELECT ctid FROM ONLY orders)",
            "DELETE FROM ONLY (orders) WHERE ctid IN (SELECT ctid FROM ONLY (orders))",
            // Keeps a duplicate of another partition, and deletes nothing that it should not.
            "DELETE FROM orders a USING orders b WHERE a.ctid < b.ctid AND a.order_id = b.order_id",
            "DELETE FROM orders WHERE ctid NOT IN (SELECT min(ctid) FROM orders GROUP BY order_id)",
            "DELETE FROM orders WHERE note = 'ctid IN (SELECT ctid FROM orders)' -- ctid = 1",
            "INSERT INTO addresses SELECT ctid FROM orders WHERE ctid = '(0,1)'",
            "SELECT 1 AS n FROM orders WHERE ctid IN (SELECT ctid FROM orders)",
            "UPDATE orders SET ctid_text = ctid WHERE total = 0",
            "DELETE FROM orders WHERE \"CTID\" = 1",
        ],
    );
}

#[test]
fn a_condition_that_is_checked_only_once_is_found() {
    let found = found(
        WRITE,
        "DELETE FROM s.runs WHERE (job, run) IN (SELECT job, run FROM s.runs
         WHERE status <> 'running' AND s.runs.at < now() - make_interval(days => $1) LIMIT $2)",
    );
    assert!(found.len() == 1 && found[0].contains("its condition on at and status"), "{found:?}");
    each(
        WRITE,
        "its condition on received_at is on a second reading of orders only",
        &[
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE received_at < now() LIMIT 10)",
            "DELETE FROM orders WHERE id = ANY (ARRAY(SELECT id FROM orders WHERE received_at < $1 LIMIT 10))",
            "DELETE FROM orders WHERE id = ANY (SELECT id FROM orders WHERE received_at < $1::timestamptz)",
            "DELETE FROM orders WHERE id = (SELECT id FROM orders WHERE received_at < '2020-01-01' LIMIT 1)",
            "DELETE FROM orders o WHERE o.id IN (SELECT p.id FROM orders p WHERE p.received_at < now())",
            "DELETE FROM orders WHERE \"id\" IN (SELECT \"id\" FROM \"orders\" WHERE \"received_at\" < now())",
            "DELETE FROM orders WHERE id::text IN (SELECT id::text FROM orders WHERE received_at < now())",
            "DELETE FROM orders WHERE (id) IN (SELECT id FROM orders WHERE (received_at < now()) IS TRUE)",
            "DELETE FROM orders WHERE id IN (SELECT id FROM (SELECT * FROM orders WHERE received_at < now() LIMIT 5) x)",
            "DELETE FROM orders USING (SELECT id FROM orders WHERE received_at < now()) d WHERE orders.id = d.id",
            "WITH due AS (SELECT id AS k FROM orders WHERE received_at < now()) DELETE FROM orders WHERE id IN (SELECT k FROM due)",
            "WITH due AS (SELECT id FROM orders WHERE received_at < now()) DELETE FROM orders USING due WHERE orders.id = due.id",
            "WITH due AS (SELECT id FROM orders WHERE received_at < now()) DELETE FROM orders WHERE id IN (TABLE due)",
            "DELETE FROM orders WHERE id IN (WITH due AS (SELECT id FROM orders WHERE received_at < now()) SELECT id FROM due)",
            "DELETE FROM orders WHERE id = ANY ((SELECT array_agg(id) FROM orders WHERE received_at < now())::int[])",
            // The copy in the WITH query is not looked at again.
            "WITH due AS (SELECT id, received_at FROM orders WHERE received_at < now())
             DELETE FROM orders USING due WHERE orders.id = due.id AND due.received_at < now()",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE received_at < now()) RETURNING received_at",
            "UPDATE orders SET received_at = now() WHERE id IN (SELECT id FROM orders WHERE received_at < now())",
            "UPDATE orders SET total = 0 FROM (SELECT id FROM orders WHERE received_at < now()) d WHERE orders.id = d.id",
            "MERGE INTO orders o USING (SELECT id FROM orders WHERE received_at < now()) d ON o.id = d.id WHEN MATCHED THEN DELETE",
            "WITH moved AS (DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE received_at < now()) RETURNING *)
             INSERT INTO archive SELECT * FROM moved",
            // Older minor versions (seen on 16.2) do not check a Tid Scan again after the lock wait.
            "DELETE FROM orders WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM orders WHERE received_at < now())",
            "DELETE FROM ONLY orders WHERE ctid IN (SELECT ctid FROM ONLY orders WHERE received_at < now())",
            "DELETE FROM orders WHERE id IN (SELECT o.id FROM orders o JOIN customers c USING (customer_id)
             WHERE c.closed AND o.received_at < now() AT TIME ZONE 'UTC' - interval '1' day)",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE received_at < now() FOR KEY SHARE)",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE received_at < $1 AND data ? 'x') AND data ? 'x'",
        ],
    );
    none(
        WRITE,
        &[
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE received_at < now() LIMIT 10) AND received_at < now()",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE received_at < now() LIMIT 10 FOR UPDATE SKIP LOCKED)",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE received_at < now() FOR NO KEY UPDATE)",
            "WITH due AS (SELECT id FROM orders WHERE received_at < now() FOR UPDATE) DELETE FROM orders USING due WHERE orders.id = due.id",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders ORDER BY received_at LIMIT 10)",
            "DELETE FROM orders WHERE customer_id IN (SELECT customer_id FROM customers WHERE closed)",
            "DELETE FROM orders WHERE parent IN (SELECT id FROM orders WHERE total = 0)",
            "DELETE FROM orders o WHERE EXISTS (SELECT FROM orders p WHERE p.parent = o.id)",
            "DELETE FROM orders WHERE received_at < (SELECT max(received_at) FROM orders WHERE paid)",
            "DELETE FROM orders WHERE received_at < now()",
            "UPDATE orders SET done = true WHERE id IN (SELECT id FROM orders WHERE NOT done LIMIT 10) AND NOT done",
            "MERGE INTO orders o USING (SELECT id FROM orders WHERE paid) d ON o.id = d.id WHEN MATCHED AND o.paid THEN DELETE",
            "DELETE FROM orders USING (SELECT tableoid AS o, ctid AS c, received_at AS r FROM orders WHERE received_at < now()) due
             WHERE (orders.tableoid, orders.ctid, orders.received_at) = (due.o, due.c, due.r)",
        ],
    );
}

/// However the rows are found again: what PostgreSQL checks again is the condition on the target itself.
#[test]
fn a_second_reading_is_found_in_every_form() {
    each(
        WRITE,
        "its condition on received_at is on a second reading of orders only",
        &[
            // EXISTS, and a self-join.
            "DELETE FROM orders o WHERE EXISTS (SELECT FROM orders d WHERE d.id = o.id AND d.received_at < now())",
            "DELETE FROM orders WHERE EXISTS (SELECT 1 FROM (SELECT id AS k, received_at AS r FROM orders) d WHERE d.k = orders.id AND d.r < now())",
            "DELETE FROM orders o USING orders d WHERE o.id = d.id AND d.received_at < now()",
            "DELETE FROM orders o USING orders d WHERE (o.tableoid, o.ctid) = (d.tableoid, d.ctid) AND d.received_at < now()",
            "UPDATE orders o SET total = 0 FROM orders d WHERE d.id IS NOT DISTINCT FROM o.id AND d.received_at < now()",
            // JOIN … ON and USING.
            "DELETE FROM orders WHERE id IN (SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer AND o.received_at < c.since)",
            "DELETE FROM orders o USING customers c JOIN orders d ON d.customer = c.id AND d.received_at < now() WHERE o.id = d.id",
            "DELETE FROM orders o USING keys k JOIN orders d USING (id) WHERE o.id = k.id AND d.received_at < now()",
            "DELETE FROM orders o USING orders d CROSS JOIN customers c WHERE o.id = d.id AND d.received_at < c.since",
            "MERGE INTO orders o USING orders d ON o.id = d.id AND d.received_at < now() WHEN MATCHED THEN DELETE",
            // HAVING.
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders GROUP BY id HAVING max(received_at) < now())",
            "WITH due AS (SELECT id, max(received_at) AS r FROM orders GROUP BY id) DELETE FROM orders USING due WHERE orders.id = due.id AND r < now()",
            // A lock of another table.
            "DELETE FROM orders WHERE id IN (SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer
             WHERE o.received_at < now() FOR UPDATE OF c SKIP LOCKED)",
            // The column has another name.
            "WITH due AS (SELECT tableoid AS o, ctid AS c FROM orders WHERE received_at < now()) DELETE FROM orders USING due
             WHERE orders.tableoid = due.o AND orders.ctid = due.c",
            "WITH due (k, r) AS (SELECT id, received_at FROM orders) DELETE FROM orders USING due WHERE id = k AND r < now()",
            "DELETE FROM orders USING (SELECT id, received_at FROM orders) AS due (k, r) WHERE orders.id = due.k AND due.r < now()",
            "WITH a AS (SELECT *, id AS k FROM orders), b AS (SELECT k AS j, received_at AS id FROM a) DELETE FROM orders o USING b WHERE o.id = b.j AND b.id < now()",
            "DELETE FROM orders WHERE id IN (SELECT id FROM archive UNION SELECT id FROM orders WHERE received_at < now())",
            "DELETE FROM orders WHERE lower(email) IN (SELECT lower(email) FROM orders WHERE received_at < now())",
            // A partition and its parent.
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders_2024 WHERE received_at < now())",
            "DELETE FROM orders WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM elsewhere WHERE received_at < now())",
            // The row as JSON.
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders o WHERE to_jsonb(o)->>'received_at' < $1)",
            "DELETE FROM orders WHERE (id = ANY (ARRAY(SELECT id FROM orders WHERE received_at < now()))) IS TRUE",
        ],
    );
    each(
        WRITE,
        "its condition on data->'at' is on a second reading of orders only",
        &[
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE data->>'at' < $1)",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE data->>'at' < $1) AND data->>'kind' = 'x'",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE (data->>'at')::date < now()) AND data ? 'at'",
            "DELETE FROM orders WHERE data->>'id' IN (SELECT data->>'id' FROM orders WHERE data['at'] < $1)",
            "WITH due AS (SELECT id, data AS d FROM orders) DELETE FROM orders USING due WHERE orders.id = due.id AND due.d->>'at' < $1",
        ],
    );
    each(
        WRITE,
        "its condition on data@>'{\"done\": true}' is on a second reading",
        &[
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE data @> '{\"done\": true}') AND data ? 'x'",
        ],
    );
    none(
        WRITE,
        &[
            "DELETE FROM orders o WHERE EXISTS (SELECT FROM orders d WHERE d.id = o.id AND d.received_at < now()) AND o.received_at < now()",
            "DELETE FROM orders o WHERE EXISTS (SELECT FROM orders d WHERE d.id = o.id AND o.received_at < now())",
            "DELETE FROM orders WHERE id IN (SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer
             WHERE o.received_at < now() FOR UPDATE OF o, c SKIP LOCKED)",
            "DELETE FROM orders WHERE id IN (SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer WHERE c.closed)",
            "DELETE FROM orders WHERE id IN (SELECT k FROM (SELECT id AS k FROM orders WHERE received_at < now()) d FOR UPDATE)",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE data->>'at' < $1) AND (data->'at')::date < now()",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders o WHERE to_jsonb(o)->>'received_at' < $1) AND received_at < $1::date",
            // Other rows of the same table.
            "DELETE FROM orders a USING orders b WHERE a.order_id = b.order_id AND a.id > b.id AND b.paid",
            "DELETE FROM orders a USING (SELECT min(ctid) AS keep, order_id FROM orders GROUP BY order_id HAVING count(*) > 1) b
             WHERE a.order_id = b.order_id AND a.ctid <> b.keep",
            "WITH r AS (SELECT id, row_number() OVER (PARTITION BY order_id ORDER BY received_at DESC) AS n FROM orders)
             DELETE FROM orders WHERE id IN (SELECT id FROM r WHERE n > 1)",
            "DELETE FROM orders WHERE data->>'parent' IN (SELECT data->>'id' FROM orders WHERE paid)",
            // Another table, whatever its name begins with.
            "DELETE FROM orders WHERE order_id IN (SELECT order_id FROM orders_archive WHERE received_at < now())",
            "WITH orders AS (SELECT order_id FROM customers WHERE closed) DELETE FROM orders_2024 WHERE order_id IN (SELECT order_id FROM orders)",
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) DELETE FROM orders WHERE id IN (SELECT n FROM t)",
        ],
    );
}

#[test]
fn addresses_of_another_table_are_found_in_every_form() {
    each(
        WRITE,
        "by ctid without tableoid",
        &[
            // ONLY keeps the partitions out, and the addresses come from the parent.
            "DELETE FROM ONLY orders_2024 WHERE ctid IN (SELECT ctid FROM orders)",
            "WITH due AS (SELECT ctid AS c FROM orders) DELETE FROM ONLY orders USING due WHERE orders.ctid = due.c",
            "DELETE FROM orders o WHERE EXISTS (SELECT FROM (SELECT ctid AS c FROM orders) d WHERE d.c = o.ctid)",
            "DELETE FROM orders o USING orders d WHERE o.ctid = d.ctid AND d.total = 0",
            "DELETE FROM orders o USING customers c JOIN orders d ON d.customer = c.id WHERE o.ctid = d.ctid",
        ],
    );
    none(
        WRITE,
        &[
            "DELETE FROM orders o WHERE EXISTS (SELECT FROM due d WHERE d.c = o.ctid AND d.o = o.tableoid)",
            "WITH due AS (SELECT ctid AS c FROM ONLY orders) DELETE FROM ONLY orders USING due WHERE orders.ctid = due.c",
            "DELETE FROM ONLY orders WHERE ctid = $1",
        ],
    );
}

#[test]
fn a_statement_that_takes_no_transaction_is_found() {
    for front in [WRITE, "result = \"affected\""] {
        each(
            front,
            "each statement runs in a transaction here, and",
            &[
                "VACUUM orders",
                "-- all\nvacuum (ANALYZE) orders",
                "CREATE INDEX CONCURRENTLY ON orders (received_at)",
                "DROP INDEX CONCURRENTLY i",
                "REINDEX TABLE CONCURRENTLY orders",
                "ALTER TABLE orders DETACH PARTITION orders_2024 CONCURRENTLY",
                "CREATE DATABASE shop",
                "DROP DATABASE shop",
                "ALTER SYSTEM SET work_mem = '1GB'",
            ],
        );
        none(
            front,
            &[
                "REFRESH MATERIALIZED VIEW CONCURRENTLY order_totals",
                "CREATE INDEX ON orders (received_at)",
                "ALTER TABLE orders DETACH PARTITION orders_2024",
                "ANALYZE orders",
                "SELECT vacuum, concurrently_done AS \"CONCURRENTLY\" FROM vacuum -- CONCURRENTLY",
            ],
        );
    }
}

#[test]
fn a_text_that_the_parser_does_not_take_is_a_note() {
    let long = format!("DELETE FROM t WHERE n IN ({})", "1, ".repeat(4000));
    let deep = |open: &str, close: &str| {
        let times = (statement::LONGEST - 100) / (open.len() + close.len());
        format!("DELETE FROM t WHERE {}true{}", open.repeat(times), close.repeat(times))
    };
    // A WITH query may be named delete, but not for the parser.
    let named = "WITH delete AS (SELECT 1) DELETE FROM t WHERE n = 1";
    for sql in [&long, named, "DELETE FRM t", "UPDATE t SET", "MERGE"] {
        let review = review(&query(WRITE, sql));
        assert!(review.found.is_empty() && review.note.is_some(), "{sql}");
    }
    // However it nests, it has an end.
    for sql in
        [deep("(", ")"), deep("NOT ", ""), deep("true = ", ""), deep("EXISTS (SELECT WHERE ", ")")]
    {
        let review = review(&query(WRITE, &sql));
        assert!(review.found.is_empty() && review.note.is_none(), "{sql}");
    }
}

#[test]
fn a_step_that_never_ends_is_found() {
    let with = "WITH d AS (DELETE FROM t WHERE n < 5 RETURNING *)";
    for (tail, why) in [
        ("SELECT count(*) FROM d", "its SELECT gives a row"),
        ("select\ncoalesce(sum(n), 0)\nfrom d;", "its SELECT gives a row"),
        ("SELECT (SELECT count(*) FROM d)", "its SELECT gives a row"),
        ("SELECT 1", "its SELECT gives a row"),
        ("SELECT max(n) FROM d LIMIT 1", "its SELECT gives a row"),
        ("SELECT count(*) FILTER (WHERE n > 1) FROM d", "its SELECT gives a row"),
        ("SELECT n FROM (SELECT count(*) AS n FROM d) AS x", "its SELECT gives a row"),
        (", c AS (SELECT count(*) FROM d) SELECT * FROM c", "its SELECT gives a row"),
        (", c AS (SELECT count(*) FROM d) TABLE c", "its SELECT gives a row"),
        ("VALUES (1)", "its SELECT gives a row"),
        ("INSERT INTO log SELECT count(*) FROM d", "its INSERT adds a row"),
        ("INSERT INTO log (n) SELECT count(*) FROM d RETURNING n", "its INSERT adds a row"),
        ("INSERT INTO log VALUES ((SELECT count(*) FROM d))", "its INSERT adds a row"),
        ("INSERT INTO log DEFAULT VALUES", "its INSERT adds a row"),
        ("UPDATE counts SET n = n + (SELECT count(*) FROM d)", "its UPDATE changes a row"),
        ("SELECT * FROM d", ""),
        ("SELECT n, count(*) FROM d GROUP BY n", ""),
        ("SELECT count(*) FROM d HAVING count(*) > 0", ""),
        ("SELECT count(*) OVER () FROM d", ""),
        ("SELECT 1 WHERE EXISTS (SELECT FROM d)", ""),
        ("SELECT purge_more()", ""),
        ("SELECT d.count FROM d", ""),
        ("INSERT INTO archive SELECT * FROM d", ""),
        ("INSERT INTO log SELECT count(*) FROM d ON CONFLICT DO NOTHING", ""),
        ("UPDATE counts SET n = counts.n + 1 FROM d", ""),
        ("UPDATE t SET n = 0 WHERE n > 0", ""),
    ] {
        let sql = format!("{with} {tail}");
        let told = found(REPEAT, &sql);
        let is_right =
            if why.is_empty() { told.is_empty() } else { told.len() == 1 && told[0].contains(why) };
        assert!(is_right, "{sql}: {told:?}");
        none(&format!("{REPEAT}\nmax_chunks = 5"), &[&sql]);
        none(WRITE, &[&sql]);
    }
    none(
        REPEAT,
        &[
            "DELETE FROM t",
            "CALL purge()",
            "UPDATE pending SET done = true",
            "MERGE INTO t USING s ON t.n = s.n WHEN MATCHED THEN DELETE",
        ],
    );
}

#[test]
fn the_repositorys_own_files_are_right() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../queries");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let review = review(&Query::load(&folder, &name).unwrap());
            assert!(review.found.is_empty() && review.note.is_none(), "{name}: {:?}", review.found);
        }
    }
}
