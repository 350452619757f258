//! Tokens from anywhere: mutated texts go through the gate's check and through `explain`, and none
//! makes either panic, or is accepted.
//!
//! `make test` gives it some seconds; `make soak` sets `FUZZ_EXECUTIONS`.

use crate::common;

use std::time::{Duration, SystemTime};

use rds_local::gate::{Expected, verify};
use rds_local::iam::{Iam, Identity, dbuser_arn};
use rds_local::testing::mutate;
use tokio::time::Instant;

const A_WHILE: Duration = Duration::from_secs(15);

/// What parsers trip over.
const PIECES: [&str; 14] = [
    "&",
    "=",
    "%",
    "%2",
    "%00",
    "%FF",
    "/?",
    ":",
    "\u{0}",
    "\u{1f418}",
    "&X-Amz-Date=",
    "&X-Amz-Expires=-1",
    "&DBUser=",
    "99999999999999999999",
];

fn seeds() -> Vec<String> {
    let folder = common::root().join("local/tests/corpus/tokens");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn no_token_makes_the_check_or_explain_panic() {
    let executions: Option<u64> =
        std::env::var("FUZZ_EXECUTIONS").ok().map(|count| count.parse().unwrap());
    let seeds = seeds();
    assert!(seeds.len() >= 10);
    let iam = Iam::new("unused");
    iam.add(Identity::with_key("AKIAIOSFODNN7EXAMPLE", "secret", None, "arn", &[dbuser_arn("*")]));
    let expected = Expected {
        host: "db.c1a2b3.us-east-1.rds.amazonaws.com",
        port: 5432,
        region: "us-east-1",
        user: "iam_ro_user",
        strict: false,
        source_ip: None,
    };
    // A minute after the seeds were signed, so that the check gets as far as the signature.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_260);
    let reaches_the_signature = |text: &str| {
        let checked = verify(text, expected, &iam, now);
        checked.is_err_and(|reason| reason.contains("signature does not"))
    };
    assert!(seeds.iter().any(|seed| reaches_the_signature(seed)), "no seed is nearly right");
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let (mut count, mut to_the_signature) = (0u64, 0u64);
    while executions.map_or_else(|| start.elapsed() < A_WHILE, |executions| count < executions) {
        for _ in 0..1000 {
            let mut text = seeds[random.usize(0..seeds.len())].clone();
            mutate(&mut text, &seeds, &PIECES, &mut random);
            match verify(&text, expected, &iam, now) {
                Ok(_) => panic!("accepted, seed {seed}: {text:?}"),
                Err(reason) => to_the_signature += u64::from(reason.contains("signature does not")),
            }
            let _ = rds_local::explain::explain(&text, now);
            count += 1;
        }
    }
    println!("{count} executions, {to_the_signature} of them as far as the signature, no panic");
    // About one in 15,000, so none in 300,000 is no chance.
    assert!(count < 300_000 || to_the_signature > 0, "{count}, seed {seed}");
}
