//! The floor: the least that one writes by hand for the same query over the same login. It signs a token with
//! the environment's credentials, keeps one connection, and reads in one round trip. It bounds no wait, explains
//! no error, logs nothing, and never renews its connection.

use std::env::var;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

const QUERY: &str =
    "SELECT row_to_json(c)::text FROM (SELECT customer_id, name, email, age FROM customers
    WHERE age >= $1 ORDER BY age DESC) c";

static CLIENT: OnceCell<Client> = OnceCell::const_new();

fn token() -> Result<String, Error> {
    let credentials = Credentials::new(
        var("AWS_ACCESS_KEY_ID")?,
        var("AWS_SECRET_ACCESS_KEY")?,
        var("AWS_SESSION_TOKEN").ok(),
        None,
        "environment",
    );
    let (region, identity) = (var("AWS_REGION")?, credentials.into());
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(Duration::from_secs(900));
    settings.signature_location = SignatureLocation::QueryParams;
    #[expect(clippy::disallowed_methods, reason = "a peer has no clock of its own")]
    let now = SystemTime::now();
    let signing = v4::SigningParams::builder()
        .identity(&identity)
        .region(&region)
        .name("rds-db")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let user = var("PGUSER")?;
    let url =
        format!("https://{}:{}/?Action=connect&DBUser={user}", var("PGHOST")?, var("PGPORT")?);
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))?;
    let (signed, _) = sign(request, &signing)?.into_parts();
    let mut token = url.trim_start_matches("https://").to_owned();
    for (name, value) in signed.params() {
        // Of what is signed, credential and session token hold these characters.
        let value = value.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
        token.extend(["&", name, "=", &value]);
    }
    Ok(token)
}

async fn connect() -> Result<Client, Error> {
    let root = Certificate::from_pem(&std::fs::read(var("PGSSLROOTCERT")?)?)?;
    let tls =
        TlsConnector::builder().disable_built_in_roots(true).add_root_certificate(root).build()?;
    let (client, connection) = tokio_postgres::Config::new()
        .host(var("PGHOST")?)
        .hostaddr(var("PGHOSTADDR")?.parse()?)
        .port(var("PGPORT")?.parse()?)
        .user(var("PGUSER")?)
        .dbname(var("PGDATABASE")?)
        .password(token()?)
        .ssl_mode(tokio_postgres::config::SslMode::Require)
        .connect(MakeTlsConnector::new(tls))
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn handler(event: LambdaEvent<Value>) -> Result<Box<RawValue>, Error> {
    let client = CLIENT.get_or_try_init(connect).await?;
    let age = i32::try_from(event.payload["params"]["min_age"].as_i64().unwrap_or(0))?;
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&age, Type::INT4)];
    let (begun, rows, committed) = tokio::join!(
        client.batch_execute("BEGIN READ ONLY"),
        client.query_typed(QUERY, &parameters),
        client.batch_execute("COMMIT"),
    );
    begun?;
    committed?;
    let rows = rows?;
    let texts = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<&str>, _>>()?;
    let answer = format!(r#"{{"rows":[{}],"row_count":{}}}"#, texts.join(","), texts.len());
    Ok(RawValue::from_string(answer)?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handler)).await
}
