//! The text that the function writes by type is PostgreSQL's own, byte for byte: random values of each such
//! type, beside COPY and `row_to_json`, with several settings of the session.

use rds_local::testing::World;

use crate::formats::{export, psql, text};

/// One value in twenty is NULL.
fn column(name: &str, value: &str) -> String {
    format!("CASE WHEN random() < 0.05 THEN NULL ELSE {value} END AS {name}")
}

/// A table of random values. `n` makes each subquery run once for each row.
fn table(rows: u64) -> String {
    let bits = "('x' || md5(random()::text))::bit(64)::bigint";
    // Digits of which every second is 0, so that whole groups of four are.
    let digits = |most: u8| {
        format!(
            "left(translate(md5(random()::text), 'abcdef89', '00000000'), floor(random() * {most})::int)"
        )
    };
    let sign = "(ARRAY['', '-'])[floor(random() * 2 + 1)]";
    let any = format!(
        "CASE floor(random() * 40) WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity'
         ELSE ({sign} || '0' || {} || '.' || {})::numeric END",
        digits(32),
        digits(32)
    );
    let string = "(SELECT coalesce(string_agg(CASE WHEN random() < 0.2
            THEN (ARRAY['\"', ',', '\\', E'\\n', E'\\r', E'\\t', '.', ' '])[floor(random() * 8 + 1)]
            ELSE chr(CASE WHEN random() < 0.8 THEN 1 + floor(random() * 127)
                WHEN random() < 0.8 THEN 128 + floor(random() * 50000)
                ELSE 128512 + floor(random() * 60) END::int) END, ''), '')
        FROM generate_series(1, floor(random() * 12)::int + 0 * n::int))";
    let near = "floor(random() * 2000000 - 1000000)::int";
    let day = format!(
        "CASE floor(random() * 20) WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity'
         WHEN 2 THEN date '4713-01-01 BC' WHEN 3 THEN date '5874897-12-31'
         WHEN 4 THEN date '2000-01-01' + floor(random() * 2145031948)::int
         ELSE date '2000-01-01' + greatest({near}, -2451507) END"
    );
    let micros = "floor(random() * 86400000000) * interval '1 microsecond'";
    let moment = |kind: &str| {
        format!(
            "CASE floor(random() * 20) WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity'
             WHEN 2 THEN {kind} '2000-01-01' + floor(random() * 100000000)::int * interval '1 day' + {micros}
             WHEN 3 THEN date_trunc('second', {kind} '2000-01-01' + {near} * interval '1 day' + {micros})
             ELSE {kind} '2000-01-01' + greatest({near}, -2451000) * interval '1 day' + {micros} END"
        )
    };
    let columns = [
        ("bool", "random() < 0.5".to_owned()),
        ("int2", "floor(random() * 65536 - 32768)::int2".into()),
        ("int4", format!("(({bits}) >> 32 >> floor(random() * 32)::int)::int4")),
        ("int8", format!("({bits}) >> floor(random() * 64)::int")),
        ("oid", "floor(random() * 4294967296)::bigint::oid".into()),
        ("any_numeric", any),
        ("money_like", format!("(({bits}) / 1000)::numeric(20, 4) / 1000")),
        ("text", string.into()),
        ("\"a \"\"name\"\"\\\"", string.into()),
        ("padded", format!("{string}::bpchar(5)")),
        ("uuid", "gen_random_uuid()".into()),
        ("bytes", "substr(uuid_send(gen_random_uuid()), 1, floor(random() * 17)::int)".into()),
        ("day", day),
        (
            "clock",
            format!("CASE WHEN random() < 0.1 THEN '24:00' ELSE time '00:00' + {micros} END"),
        ),
        ("local", moment("timestamp")),
        ("moment", moment("timestamptz")),
        ("json", format!("to_json({string})")),
        ("jsonb", format!("jsonb_build_object({string}, {bits}, 'x', ARRAY[{string}])")),
        ("mood", "(ARRAY['good', 'so-so', 'a,b', 'q\"']::mood[])[floor(random() * 4 + 1)]".into()),
        ("domain", "floor(random() * 9 + 1)::positive".into()),
        ("domain_of_text", format!("{string}::word")),
        ("float8", format!("({bits})::float8 * 10 ^ floor(random() * 60 - 40)::int")),
        ("span", format!("{near} * interval '1 day' + {micros}")),
        ("few", "ARRAY[n, NULL]".into()),
    ];
    let columns: Vec<String> = columns.iter().map(|(name, value)| column(name, value)).collect();
    format!(
        "CREATE TYPE mood AS ENUM ('good', 'so-so', 'a,b', 'q\"');
         CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN word AS text;
         CREATE TABLE random AS SELECT n, {} FROM generate_series(1, {rows}) n;
         GRANT SELECT ON random TO iam_ro_user",
        columns.join(", ")
    )
}

#[tokio::test]
async fn random_values_are_written_as_the_server_writes_them() {
    let rows = std::env::var("TEXTS").map_or(1000, |text| text.parse().unwrap());
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    world.run(&table(rows)).await;
    world.queries(&[("random", "SELECT * FROM random")]);
    for settings in [
        "SET TimeZone = 'UTC'",
        "SET TimeZone = 'Asia/Kolkata'; SET bytea_output = 'escape'",
        "SET TimeZone = 'UTC'; SET DateStyle = 'German'; SET extra_float_digits = 0",
        "SET TimeZone = 'GMT'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'iso_8601'",
        "SET TimeZone = 'Etc/UTC'; SET DateStyle = 'Postgres'",
    ] {
        world.run("ALTER ROLE iam_ro_user RESET ALL").await;
        world.run(&settings.replace("SET ", "ALTER ROLE iam_ro_user SET ")).await;
        let mut function = world.function_with_timeout(std::time::Duration::from_secs(300)).await;
        let csv = export(&world, &mut function, "random", "csv").await;
        let copy =
            format!("{settings}; COPY (SELECT * FROM random) TO STDOUT (FORMAT csv, HEADER)");
        same(&csv, &psql(&world, &copy), settings);
        let ndjson = export(&world, &mut function, "random", "ndjson").await;
        let json = format!("{settings}; SELECT row_to_json(_) FROM (SELECT * FROM random) _");
        same(&ndjson, &psql(&world, &json), settings);
        function.stop().await;
        for ending in ["csv", "ndjson"] {
            world.s3().delete(&format!("random.{ending}")).await;
        }
    }
    world.stop().await;
}

/// Shows the first place that differs, and not megabytes.
fn same(written: &[u8], expected: &[u8], settings: &str) {
    let at = written.iter().zip(expected).position(|(a, b)| a != b);
    let at = at.or((written.len() != expected.len()).then(|| written.len().min(expected.len())));
    let Some(at) = at else { return };
    let near = |bytes: &[u8]| {
        let near = at.saturating_sub(80)..(at + 40).min(bytes.len());
        String::from_utf8_lossy(&bytes[near]).into_owned()
    };
    panic!("{settings}, at {at}:\n  written: {}\n expected: {}", near(written), near(expected));
}

#[tokio::test]
async fn a_query_that_changes_its_settings_gets_the_servers_text() {
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    let changed = "SELECT set_config('DateStyle', 'German', true) AS s, n, date '2026-01-02' AS d,
        timestamptz '2026-01-02 03:04:05+00' AS t FROM generate_series(1, 2) n";
    world.queries(&[("changed", changed), ("void", "SELECT pg_sleep(0) AS v, 1::\"char\" AS c")]);
    let mut function = world.function().await;
    for query in ["changed", "void"] {
        let sql =
            if query == "void" { "SELECT pg_sleep(0) AS v, 1::\"char\" AS c" } else { changed };
        let csv = export(&world, &mut function, query, "csv").await;
        let copy = format!("COPY ({sql}) TO STDOUT (FORMAT csv, HEADER)");
        assert_eq!(text(csv), text(psql(&world, &copy)), "{query}");
        let ndjson = export(&world, &mut function, query, "ndjson").await;
        let json = format!("SELECT row_to_json(_) FROM ({sql}) _");
        assert_eq!(text(ndjson), text(psql(&world, &json)), "{query}");
    }
    function.stop().await;
    world.stop().await;
}
