//! An export in several objects: together they hold every row once, and nothing appears before all can.

use crate::common;

use common::{Fault, FaultyS3, Plan};
use rds_local::testing::World;
use serde_json::{Value, json};

/// 34 MB, which do not compress well.
const BIG: &str =
    "/*+++\nparams = [{ name = \"first\", default = 1 }, { name = \"last\", default = 340 }]\n+++*/
    SELECT n, (SELECT string_agg(md5(n::text || i::text), '') FROM generate_series(1, 3125) i) AS t
    FROM generate_series($1::int, $2::int) n";
const ROWS: u64 = 340;

async fn world() -> World {
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    world.queries(&[("big", BIG), ("none", "SELECT 1 AS n WHERE false")]);
    world
}

/// The objects that a manifest names, each with the number of its rows.
async fn objects(world: &World, answer: &Value) -> Vec<(Vec<u8>, u64)> {
    let manifest = world.s3().get(answer["key"].as_str().unwrap()).await.unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut objects = Vec::new();
    for entry in manifest["entries"].as_array().unwrap() {
        let key = entry["url"].as_str().unwrap().strip_prefix("s3://exports/").unwrap();
        let object = world.s3().get(key).await.unwrap();
        assert_eq!(entry["meta"]["content_length"], json!(object.len()), "{key}");
        objects.push((object, entry["meta"]["record_count"].as_u64().unwrap()));
    }
    assert_eq!(answer["objects"], json!(objects.len()));
    let bytes: usize = objects.iter().map(|(object, _)| object.len()).sum();
    assert_eq!(answer["bytes"], json!(bytes));
    assert_eq!(answer["rows"], json!(objects.iter().map(|(_, rows)| rows).sum::<u64>()));
    objects
}

/// The values of `n`, in the objects' order.
fn numbers(objects: &[(Vec<u8>, u64)]) -> Vec<u64> {
    let mut numbers = Vec::new();
    for (object, rows) in objects {
        let before = numbers.len();
        for line in object.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            numbers.push(serde_json::from_slice::<Value>(line).unwrap()["n"].as_u64().unwrap());
        }
        assert_eq!((numbers.len() - before) as u64, *rows);
    }
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_objects_hold_every_row_once() {
    let world = world().await;
    let mut function = world.function().await;
    let event = json!({ "query": "big", "to": "a/{run}.{part}.ndjson", "split_mb": 10 });
    let answer = function.ok(event.to_string()).await;
    let there = objects(&world, &answer).await;
    assert_eq!(there.len(), 4);
    assert_eq!(numbers(&there), (1..=ROWS).collect::<Vec<_>>());
    for (object, _) in &there[..3] {
        assert!((10_000_000..11_000_000).contains(&object.len()), "{}", object.len());
    }
    let run = answer["key"].as_str().unwrap().strip_suffix(".manifest.json").unwrap();
    let names = ["00001.ndjson", "00002.ndjson", "00003.ndjson", "00004.ndjson", "manifest.json"];
    assert_eq!(world.s3().keys().await, names.map(|name| format!("{run}.{name}")));

    // Each object of each format is a file of its own.
    for ending in ["csv.gz", "ndjson.zst"] {
        let event =
            json!({ "query": "big", "to": format!("{{run}}.{{part}}.{ending}"), "split_mb": 10 });
        let answer = function.ok(event.to_string()).await;
        let there = objects(&world, &answer).await;
        assert!(there.len() >= 2, "{ending}: {}", there.len());
        for (object, rows) in there {
            let lines = unpacked(&object).iter().filter(|byte| **byte == b'\n').count() as u64;
            assert_eq!(lines - u64::from(ending == "csv.gz"), rows, "{ending}");
        }
    }
    let event = json!({ "query": "big", "to": "{run}.{part}.parquet", "split_mb": 10 });
    let answer = function.ok(event.to_string()).await;
    for (object, _) in objects(&world, &answer).await {
        assert!(object.starts_with(b"PAR1") && object.ends_with(b"PAR1"));
    }
    // Without rows there is one object.
    let event = json!({ "query": "none", "split_mb": 10 });
    let answer = function.ok(event.to_string()).await;
    let there = objects(&world, &answer).await;
    assert_eq!((unpacked(&there[0].0).len(), there[0].1, there.len()), (0, 0, 1));
    assert!(answer["key"].as_str().unwrap().ends_with(".manifest.json"), "{answer}");
    world.stop().await;
}

/// What was compressed, with gzip or zstd.
fn unpacked(object: &[u8]) -> Vec<u8> {
    if !object.starts_with(&[31, 139]) {
        return zstd::decode_all(object).unwrap();
    }
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(object), &mut out).unwrap();
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_of_keys_make_up_the_whole() {
    let world = world().await;
    let mut function = world.function().await;
    let to = "ranges/{first}-{last}.{part}.ndjson";
    let mut all = Vec::new();
    for (first, last) in [(1, 170), (171, ROWS)] {
        let event = json!({ "query": "big", "params": { "first": first, "last": last }, "to": to, "split_mb": 10 });
        let answer = function.ok(event.to_string()).await;
        all.extend(numbers(&objects(&world, &answer).await));
        // A range that is there is not written again.
        let error = function.error(event.to_string()).await;
        assert_eq!(error.error_type, "Export.Exists", "{error:?}");
    }
    assert_eq!(all, (1..=ROWS).collect::<Vec<_>>());
    assert!(world.s3().open_uploads().await.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_before_the_end_leaves_nothing() {
    let mut world = world().await;
    let s3 = FaultyS3::start(&world.s3().endpoint).await;
    world.set("AWS_ENDPOINT_URL_S3", s3.endpoint.clone());
    let mut function = world.function().await;
    let event = json!({ "query": "big", "to": "x.{part}.ndjson", "split_mb": 10 }).to_string();
    // Two parts of the first object and more are there by then.
    let plan = |operation, from| Plan { operation, from, times: 1, fault: Fault::Denied };
    for plan in [plan("part", 4), plan("create", 2)] {
        s3.plan(Some(plan));
        let error = function.error(event.as_str()).await;
        assert_eq!(error.error_type, "Export.Denied", "{plan:?}: {error:?}");
        assert!(world.s3().keys().await.is_empty(), "{plan:?}");
        assert!(world.s3().open_uploads().await.is_empty(), "{plan:?}");
    }
    // At the end each object appears by itself: the error says how many did.
    s3.plan(Some(plan("complete", 2)));
    let error = function.error(event.as_str()).await;
    let message = &error.error_message;
    assert!(message.contains("3 of 4 objects are there, and no manifest names them"), "{message}");
    let left = world.s3().keys().await;
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(world.s3().open_uploads().await.is_empty());
    s3.plan(None);
    let overwrite = event.replacen('{', "{\"overwrite\":true,", 1);
    let answer = function.ok(overwrite).await;
    assert_eq!(numbers(&objects(&world, &answer).await), (1..=ROWS).collect::<Vec<_>>());
    world.stop().await;
}

#[tokio::test]
async fn several_objects_need_their_numbers_in_the_key() {
    let world = world().await;
    let mut function = world.function().await;
    for event in [
        json!({ "query": "big", "to": "x.ndjson", "split_mb": 10 }),
        json!({ "query": "big", "to": "{part}/x.{part}.txt", "split_mb": 10 }),
        json!({ "query": "big", "to": "x.{part}.ndjson" }),
        json!({ "query": "big", "to": "x.{part}.ndjson", "split_mb": 9 }),
        // 1,024 bytes with a number, and one more with the name of the manifest.
        json!({ "query": "big", "to": format!("yy{}/{{part}}.ndjson", vec!["x".repeat(100); 10].join("/")), "split_mb": 10 }),
    ] {
        let error = function.error(event.to_string()).await;
        assert_eq!(error.error_type, "Event.Invalid", "{event}: {error:?}");
    }
    assert!(world.s3().keys().await.is_empty());
    world.stop().await;
}
