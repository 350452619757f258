//! Lambda's 6 MB: what fits goes out, what does not is told early, and neither takes much memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

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
    // What stopped early left nothing running, and is no harm to the next.
    let active =
        "SELECT 1 FROM pg_stat_activity WHERE usename = 'iam_ro_user' AND state = 'active'";
    assert!(world.rows(active).await.is_empty());
    function.stop().await;
    world.stop().await;
}
