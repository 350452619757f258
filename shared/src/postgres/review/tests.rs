use super::*;

const WRITE: &str = "mode = \"write\"\nresult = \"affected\"";
const REPEAT: &str = "mode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"";

fn query(front: &str, sql: &str) -> Query {
    Query::parse("q", &format!("/*+++\n{front}\n+++*/\n{sql}")).unwrap()
}

fn found(front: &str, sql: &str) -> Vec<String> {
    review(&query(front, sql)).iter().map(ToString::to_string).collect()
}

/// Asserts that each statement has exactly one finding, which says this.
fn each(front: &str, expected: &str, statements: &[&str]) {
    for sql in statements {
        let found = found(front, sql);
        assert!(found.len() == 1 && found[0].contains(expected), "{sql}: {found:#?}");
    }
}

fn none(front: &str, statements: &[&str]) {
    for sql in statements {
        assert_eq!(found(front, sql), Vec::<String>::new(), "{sql}");
    }
}

#[test]
fn copy_is_refused_wherever_it_hides() {
    for sql in [
        "COPY t TO STDOUT",
        "copy t FROM stdin",
        "Copy(SELECT 1) TO STDOUT",
        "-- first\n/* second /* third */ */ COPY t TO STDOUT",
        ";; COPY t TO STDOUT;",
        "COPY\"t\" TO STDOUT",
        "COPY/**/t TO PROGRAM 'cat'",
        "COPY BINARY t TO '/tmp/x'",
        "COPY $x$ FROM STDIN",
    ] {
        for front in ["result = \"affected\"", WRITE, REPEAT, "mode = \"write\"", ""] {
            let error = refuse(&query(front, sql)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryInvalid);
            assert!(!error.is_transient(), "{sql}");
            assert_eq!(found(front, sql), [error.to_string()]);
        }
    }
    for sql in [
        "SELECT 'COPY t TO STDOUT' AS copy",
        "SELECT copy FROM copy",
        "SELECT 1 AS n /* COPY t TO STDOUT */",
        "-- COPY t TO STDOUT\nSELECT 1 AS n",
        "copy_all",
        "copy$1",
        "kopieré",
        "\"copy\" x",
        "SELECT copy(1)",
        "DO $$ BEGIN NULL; END $$",
        "WITH copy AS (SELECT 1 AS n) SELECT n FROM copy",
        "SELECT $$\nCOPY t TO STDOUT\n$$ AS text",
    ] {
        assert!(refuse(&query(WRITE, sql)).is_ok(), "{sql}");
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
            "WITH d AS (SELECT 1) , delete AS (SELECT 2) DELETE FROM orders WHERE ctid IN (SELECT ctid FROM orders)",
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
        "its condition on received_at stands in a sub-select of orders only",
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
            "DELETE FROM orders WHERE id NOT IN (SELECT id FROM orders WHERE total = 0)",
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
        (", c AS (SELECT count(*) FROM d) TABLE c", ""),
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
        let step = refuse_step(&query(REPEAT, &sql), &Parameters::default());
        assert_eq!(step.is_err(), !why.is_empty(), "{sql}");
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
fn a_chunk_of_no_rows_is_found() {
    let delete = |limit: &str| format!("DELETE FROM t WHERE n IN (SELECT n FROM t {limit})");
    for limit in [
        "LIMIT 0",
        "limit 000",
        "FETCH FIRST 0 ROWS ONLY",
        "FETCH NEXT (0) ROWS ONLY",
        "LIMIT (0)::int",
    ] {
        each(REPEAT, "its LIMIT is 0", &[&delete(limit)]);
        let step = refuse_step(&query(REPEAT, &delete(limit)), &Parameters::default());
        assert_eq!(step.unwrap_err().kind(), ErrorKind::QueryInvalid, "{limit}");
        none(WRITE, &[&delete(limit)]);
    }
    none(
        REPEAT,
        &[&delete("LIMIT 10"), &delete("LIMIT ALL"), &delete("LIMIT 0 + 5"), &delete("OFFSET 0")],
    );
    let front =
        |default: &str| format!("{REPEAT}\nparams = [{{ name = \"chunk\", default = {default} }}]");
    for limit in [
        "LIMIT $1",
        "LIMIT ($1)",
        "LIMIT $1::bigint",
        "LIMIT CAST($1 AS int)",
        "FETCH FIRST $1 ROWS ONLY",
    ] {
        each(&front("0"), "the default of chunk is 0", &[&delete(limit)]);
        none(&front("10"), &[&delete(limit)]);
        for (value, refused) in [
            ("0", true),
            ("-5", true),
            (" 00 ", true),
            ("+0", true),
            ("0x0", true),
            ("0b0_0", true),
            ("1", false),
            ("0x1", false),
            ("1e3", false),
            ("abc", false),
            ("", false),
        ] {
            let query = query(&front("10"), &delete(limit));
            let given =
                [("chunk", value)].into_iter().collect::<std::collections::BTreeMap<_, _>>();
            let parameters = Parameters::of(&query, &given).unwrap();
            let error = refuse_step(&query, &parameters).err();
            let kind = error.as_ref().map(Error::kind);
            assert_eq!(kind, refused.then_some(ErrorKind::QueryBadParameter), "{limit} {value}");
            assert!(error.is_none_or(|error| error.to_string().contains("parameter chunk")));
        }
    }
    // The size of a chunk need not be a LIMIT.
    let adapt = format!("{}\nadapt = {{ param = \"chunk\", seconds = 1 }}", front("0"));
    each(
        &adapt,
        "the default of chunk is 0",
        &["DELETE FROM t WHERE n < (SELECT min(n) + $1 FROM t)"],
    );
}

#[test]
fn the_repositorys_own_files_are_right() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../queries");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let found = review(&Query::load(&folder, &name).unwrap());
            assert!(found.is_empty(), "{name}: {found:?}");
        }
    }
}
