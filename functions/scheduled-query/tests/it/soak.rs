//! Thousands of warm invocations of the real binary with a fault now and then: no wrong answer, one
//! connection at a time, and no growth. `SOAK` sets how many.

use crate::common;

use std::time::Duration;

use common::World;
use rds_local::gate::Fault;
use rds_local::runtime_api::Outcome;
use tokio::time::{sleep, timeout};

const QUERIES: [(&str, &str); 1] =
    [("echo", "/*+++\nparams = [{ name = \"n\" }]\n+++*/ SELECT $1::int AS n, 'told' AS what")];

/// What strikes in turn, for one invocation; and what may come of it besides the right answer.
const FAULTS: [(Fault, &[&str]); 9] = [
    (Fault::Reset, &["Network.Unreachable"]),
    (Fault::ResetBeforeQuery, &["Network.Unreachable"]),
    (Fault::ResetBeforeAnswer, &["Network.Unreachable"]),
    (Fault::ResetAtCommit, &["Network.Unreachable"]),
    (Fault::Refuse, &[]),
    (Fault::Throttle, &[]),
    (Fault::Restart, &["Network.Unreachable", "Database.Unavailable"]),
    (Fault::Failover, &[]),
    (Fault::Stall, &["Query.Timeout"]),
];

/// A lost client's backend ends when it notices; then there is one, or none.
async fn at_most_one_connection(world: &World) {
    let count = "SELECT 1 FROM pg_stat_activity WHERE usename = 'iam_ro_user'";
    let settled = async {
        while world.rows(count).await.len() > 1 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let settled = timeout(Duration::from_secs(30), settled).await;
    assert!(settled.is_ok(), "more than one connection");
}

#[tokio::test]
async fn thousands_of_invocations_give_no_wrong_answer_and_no_growth() {
    let count: usize = std::env::var("SOAK").map_or(4_000, |text| text.parse().unwrap());
    let every = if count >= 100_000 { 400 } else { 200 };
    let mut world = common::start().await;
    world.queries(&QUERIES);
    let mut function = world.function_with_timeout(Duration::from_secs(2)).await;
    let (mut failed, mut struck, mut early) = (0, 0, 0);
    for n in 0..count {
        let fault = (n % every == every - 1).then(|| FAULTS[n / every % FAULTS.len()]);
        if let Some((fault, _)) = fault {
            world.server.inject(fault).await.unwrap();
            struck += 1;
        }
        let outcome = function.invoke(format!(r#"{{"query":"echo","params":{{"n":{n}}}}}"#)).await;
        match (&outcome, fault) {
            (Outcome::Response(body), _) => {
                let expected = format!(
                    r#"{{"query":"echo","rows":[{{"n":{n},"what":"told"}}],"row_count":1}}"#
                );
                assert_eq!(String::from_utf8_lossy(body), expected);
            }
            (Outcome::Error(_), Some((fault, allowed))) => {
                let error = outcome.error().unwrap();
                assert!(allowed.contains(&&*error.error_type), "{fault:?}: {error:?}");
                failed += 1;
            }
            (Outcome::Error(body), None) => panic!("{n}: {}", String::from_utf8_lossy(body)),
        }
        if fault.is_some() {
            world.server.inject(Fault::None).await.unwrap();
            at_most_one_connection(&world).await;
        }
        if n == count / 4 {
            early = function.memory_kib("VmRSS");
        }
        if n % 20_000 == 19_999 {
            println!("{} invocations, {} KiB resident", n + 1, function.memory_kib("VmRSS"));
        }
    }
    let late = function.memory_kib("VmRSS");
    println!(
        "{count} invocations, {struck} faults, {failed} reported as errors; {early} KiB resident after \
         a quarter, {late} KiB at the end"
    );
    assert!(struck > 0 && failed < struck);
    assert!(late <= early + 2048, "{early} then {late} KiB");
    function.stop().await;
    world.stop().await;
}
