//! The S3 of `rds-local serve --s3`, as the AWS CLI sees it.

use std::process::{Command, Output};

use rds_local::testing::World;

fn aws(world: &World, arguments: &[&str]) -> Output {
    let root = rds_local::testing::root(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    Command::new(root.join("target/venv/bin/aws"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(&world.variables)
        .args(arguments)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_leads_to_a_bucket_that_keeps_what_is_there() {
    let world = World::with_s3("").await;
    assert_eq!(world.variables["EXPORT_PREFIX"], "s3://exports/");
    let put =
        ["s3api", "put-object", "--bucket", "exports", "--key", "a/b", "--if-none-match", "*"];
    let first = aws(&world, &put);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let second = aws(&world, &put);
    let refusal = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(refusal.contains("PreconditionFailed"), "{refusal}");
    assert_eq!(world.s3().keys().await, ["a/b"]);
    assert_eq!(world.s3().get("a/b").await, Some(Vec::new()));
    let endpoint = world.variables["AWS_ENDPOINT_URL_S3"].clone();
    let folder = world.folder().join("s3");
    assert!(endpoint.starts_with("http://127.0.0.1:") && folder.is_dir());
    world.stop().await;
    assert!(!folder.exists());
    let address = endpoint.trim_start_matches("http://");
    assert!(std::net::TcpStream::connect(address).is_err(), "it still listens");
}
