//! Regions and names of every partition that the SDKs know.

use std::path::Path;

use rds_iam::endpoint::{Endpoint, EndpointKind, partition as partition_of};
use serde_json::Value;

/// botocore's copy of the SDKs' partitions.json.
fn partitions() -> Vec<Value> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/lib");
    let python = std::fs::read_dir(&venv).unwrap_or_else(|_| panic!("run make setup")).next();
    let file = python.unwrap().unwrap().path().join("site-packages/botocore/data/partitions.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("run make setup"));
    let partitions: Value = serde_json::from_str(&text).unwrap();
    partitions["partitions"].as_array().unwrap().clone()
}

#[test]
fn every_region_of_every_partition_is_read_from_its_name() {
    let mut seen = 0;
    for partition in partitions() {
        let suffix = partition["outputs"]["dnsSuffix"].as_str().unwrap();
        for region in partition["regions"].as_object().unwrap().keys() {
            if region.contains("global") {
                continue;
            }
            seen += 1;
            assert_eq!(partition_of(region), partition["id"], "{region}");
            for (name, kind) in [
                ("db.c1a2b3", EndpointKind::Instance),
                ("a.cluster-c1a2b3", EndpointKind::ClusterWriter),
                ("p.proxy-c1a2b3", EndpointKind::Proxy),
            ] {
                let host = format!("{name}.{region}.rds.{suffix}");
                let endpoint = Endpoint::parse(&host, 5432).unwrap();
                assert_eq!(
                    (endpoint.kind, endpoint.region.as_deref()),
                    (kind, Some(&**region)),
                    "{host}"
                );
            }
        }
    }
    assert!(seen > 40, "only {seen} regions");
}
