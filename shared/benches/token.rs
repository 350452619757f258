//! The cost of signing and of the cache, beside the AWS SDK's own generator, in one run: as lines of JSON, which
//! `bench/run.py` reads.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_rds::auth_token::{AuthTokenGenerator, Config};
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::credentials::CachingProvider;
use rds_iam::token::TokenSigner;
use serde_json::json;
use tokio::time::Instant;

const HOST: &str = "db.c1a2b3c4d5e6.us-east-1.rds.amazonaws.com";
const ROUNDS: usize = 31;
const PER_ROUND: u32 = 2_000;

fn credentials() -> Credentials {
    let token = "FwoGZXIvYXdzE".repeat(60);
    Credentials::new(
        "ASIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCY",
        Some(token),
        None,
        "bench",
    )
}

/// Nanoseconds for one call, of each round.
fn each(rounds: &[Duration]) -> Vec<f64> {
    rounds.iter().map(|round| round.as_nanos() as f64 / f64::from(PER_ROUND)).collect()
}

/// Prints the rounds by name; the first is ours.
fn report(what: &str, rounds: &[(&str, &[Duration])]) {
    let named: Vec<String> = rounds
        .iter()
        .map(|(name, rounds)| format!("{}:{}", json!(name), json!(each(rounds))))
        .collect();
    let (what, values) = (json!(what), named.join(","));
    println!(r#"{{"part":"signing","what":{what},"unit":"ns","values":{{{values}}}}}"#);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = SharedTimeSource::default();
        let signer = TokenSigner {
            host: HOST.into(),
            port: 5432,
            region: "us-east-1".into(),
            user: "iam_ro_user".into(),
        };
        let generator = AuthTokenGenerator::new(
            Config::builder()
                .hostname(HOST)
                .port(5432)
                .username("iam_ro_user")
                .region(aws_types::region::Region::from_static("us-east-1"))
                .credentials(credentials())
                .build()
                .unwrap(),
        );
        let sdk = aws_types::SdkConfig::builder().time_source(clock.clone()).build();
        let cache =
            CachingProvider::new(SharedCredentialsProvider::new(credentials()), clock.clone());
        let ours = credentials();

        let (mut sign, mut generate, mut get) = (Vec::new(), Vec::new(), Vec::new());
        // Interleaved, so that a slow moment of the machine meets all of them.
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..PER_ROUND {
                black_box(signer.sign(&ours, clock.now()).unwrap());
            }
            sign.push(start.elapsed());
            let start = Instant::now();
            for _ in 0..PER_ROUND {
                black_box(generator.auth_token(&sdk).await.unwrap());
            }
            generate.push(start.elapsed());
            let start = Instant::now();
            for _ in 0..PER_ROUND {
                black_box(cache.get().await.unwrap());
            }
            get.push(start.elapsed());
        }
        report("signing a token", &[("TokenSigner", &sign), ("AWS SDK's generator", &generate)]);
        report("credentials from the cache", &[("CachingProvider", &get)]);
    });
}
