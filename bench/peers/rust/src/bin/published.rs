//! AWS's published way (<https://docs.aws.amazon.com/lambda/latest/dg/services-rds.html>): every invocation
//! loads the SDK's configuration, generates a token and opens a pool of sqlx.

use std::env::var;

use aws_config::BehaviorVersion;
use aws_sdk_rds::auth_token::{AuthTokenGenerator, Config};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};

const QUERY: &str =
    "SELECT customer_id, name, email, age FROM customers WHERE age >= $1 ORDER BY age DESC";

async fn token() -> Result<String, Error> {
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let config = Config::builder()
        .hostname(var("PGHOST")?)
        .port(var("PGPORT")?.parse()?)
        .username(var("PGUSER")?)
        .build()?;
    Ok(AuthTokenGenerator::new(config).auth_token(&sdk).await?.as_str().to_owned())
}

async fn handler(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let options = PgConnectOptions::new_without_pgpass()
        // The certificate names it, too; sqlx knows no address besides the name.
        .host("localhost")
        .port(var("PGPORT")?.parse()?)
        .username(&var("PGUSER")?)
        .password(&token().await?)
        .database(&var("PGDATABASE")?)
        .ssl_root_cert(var("PGSSLROOTCERT")?)
        .ssl_mode(PgSslMode::VerifyFull);
    let pool = PgPoolOptions::new().connect_with(options).await?;
    let age = i32::try_from(event.payload["params"]["min_age"].as_i64().unwrap_or(0))?;
    let rows = sqlx::query(QUERY).bind(age).fetch_all(&pool).await?;
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "customer_id": row.get::<i32, _>("customer_id"),
                "name": row.get::<String, _>("name"),
                "email": row.get::<Option<String>, _>("email"),
                "age": row.get::<Option<i32>, _>("age"),
            })
        })
        .collect();
    Ok(json!({ "row_count": rows.len(), "rows": rows }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handler)).await
}
