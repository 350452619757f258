//! Lambda's limit of 6 MB: more is an error early, and neither case takes much memory.

use std::time::Duration;

use crate::common;

#[tokio::test]
async fn a_million_rows_are_too_large_and_almost_six_megabytes_are_not() {
    let mut world = common::start().await;
    // A row is 100 bytes of text, and 8 around it.
    let rows = "/*+++\nparams = [{ name = \"n\" }]\n+++*/
        SELECT repeat('x', 100) AS t FROM generate_series(1, $1::int)";
    world.queries(&[("rows", rows)]);
    let mut function = world.function().await;
    let error = function.error(r#"{"query":"rows","params":{"n":1000000}}"#).await;
    assert_eq!(error.error_type, "Result.TooLarge");
    for told in ["6 MB", "LIMIT", "reached after"] {
        assert!(error.error_message.contains(told), "{}", error.error_message);
    }
    let after_a_million = function.memory_kib("VmHWM");
    let fits = 5_900_000 / 109;
    let response = function.ok(format!(r#"{{"query":"rows","params":{{"n":{fits}}}}}"#)).await;
    assert_eq!(response["row_count"], fits);
    let peak = function.memory_kib("VmHWM");
    println!("peak: {after_a_million} KiB after a million rows, {peak} KiB after 5.9 MB");
    assert!(peak < 64 * 1024, "{peak} KiB");
    // A query that stopped early leaves nothing running.
    let active =
        "SELECT 1 FROM pg_stat_activity WHERE usename = 'iam_ro_user' AND state = 'active'";
    assert!(world.rows(active).await.is_empty());
    function.stop().await;
    world.stop().await;
}

/// tokio-postgres reads a whole message before it hands over any of it.
#[tokio::test]
async fn one_huge_row_is_too_large_and_never_in_memory() {
    let mut world = common::start().await;
    let row = "/*+++\nparams = [{ name = \"mb\" }]\nresult = \"RESULT\"\n+++*/
        SELECT repeat('x', $1::int * 1000000) AS t";
    let query = |result: &str| row.replace("RESULT", result);
    let (rows, one, check) = (query("rows"), query("one"), query("check"));
    let notice = "/*+++\nparams = [{ name = \"mb\", default = 1 }]\n+++*/ SELECT shout() AS t";
    world.queries(&[("rows", &rows), ("one", &one), ("check", &check), ("shout", notice)]);
    world
        .run(
            "CREATE FUNCTION shout() RETURNS text LANGUAGE plpgsql
             AS $$BEGIN RAISE EXCEPTION '%', repeat('s3cret', 20000000); END$$",
        )
        .await;
    let mut function = world.function_with_timeout(Duration::from_secs(600)).await;
    for name in ["rows", "one", "check"] {
        let event = format!(r#"{{"query":"{name}","params":{{"mb":250}}}}"#);
        let error = function.error(event).await;
        assert_eq!(error.error_type, "Result.TooLarge", "{name}: {}", error.error_message);
        assert!(error.error_message.contains("one row alone"), "{}", error.error_message);
        // The next invocation works, and 5 MB fit.
        let event = format!(r#"{{"query":"{name}","params":{{"mb":5}}}}"#);
        function.ok(event).await;
    }
    let error = function.error(r#"{"query":"shout"}"#).await;
    assert!(!error.error_message.contains("s3cret"), "{}", error.error_type);
    let peak = function.memory_kib("VmHWM");
    println!("peak: {peak} KiB after rows of 250 MB");
    assert!(peak < 64 * 1024, "{peak} KiB");
    function.stop().await;
    world.stop().await;
}
