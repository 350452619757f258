//! The Neptune gate and AWS's own SDK for Rust.

use crate::common;

use aws_credential_types::Credentials;
use aws_sdk_neptunedata::config::{BehaviorVersion, Region};
use aws_sdk_neptunedata::error::ProvideErrorMetadata;
use aws_sdk_neptunedata::{Client, Config};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};
use rds_local::neptune::Cluster;

/// A client of HTTP that goes where the cluster's variables say, as others do by themselves.
fn http_client(cluster: &Cluster) -> SharedHttpClient {
    let variables = cluster.variables();
    let root = std::fs::read(&variables["NEPTUNE_SSLROOTCERT"]).unwrap();
    let trusted = TrustStore::empty().with_pem_certificate(root);
    let connector = Connector::builder()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .tls_context(TlsContext::builder().with_trust_store(trusted).build().unwrap())
        .proxy_config(ProxyConfig::all(variables["HTTPS_PROXY"].clone()).unwrap())
        .build();
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}

fn client(cluster: &Cluster, secret: &str) -> Client {
    let variables = cluster.variables();
    let credentials = Credentials::new(
        variables["AWS_ACCESS_KEY_ID"].clone(),
        secret,
        variables.get("AWS_SESSION_TOKEN").cloned(),
        None,
        "test",
    );
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variables["AWS_REGION"].clone()))
        .endpoint_url(variables["AWS_ENDPOINT_URL_NEPTUNEDATA"].clone())
        .credentials_provider(credentials)
        .http_client(http_client(cluster))
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn awss_sdk_for_rust_runs_queries() {
    let (cluster, _folder) = common::cluster::start(|options| options).await;
    let client_of = |secret: &str| client(&cluster, secret);
    let secret = cluster.variables()["AWS_SECRET_ACCESS_KEY"].clone();
    let ours = client_of(&secret);
    let status = ours.get_engine_status().send().await.unwrap();
    assert_eq!((status.status(), status.role()), (Some("healthy"), Some("writer")));
    let create = "CREATE (p:Person {name: $name}) RETURN p.name AS name";
    let create = ours.execute_open_cypher_query().open_cypher_query(create);
    let created = create.parameters(r#"{"name": "Ann 'x' \"y\" é"}"#).send().await.unwrap();
    let rows = created.results().as_array().unwrap();
    let name = rows[0].as_object().unwrap()["name"].as_string();
    assert_eq!(name, Some("Ann 'x' \"y\" é"));
    let wrong = ours.execute_open_cypher_query().open_cypher_query("RETURN").send().await;
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.code(), Some("MalformedQueryException"), "{wrong:?}");
    let refused = client_of("another").get_engine_status().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("AccessDeniedException"), "{refused:?}");
    cluster.stop().await.unwrap();
}
