//! bb8-postgres, by a manager around its own: a token for each connection.

use bb8::{ManageConnection, Pool};
use bb8_postgres::PostgresConnectionManager;
use bb8_postgres::tokio_postgres::config::SslMode;
use bb8_postgres::tokio_postgres::{Client, Config as PgConfig};
use pools::Tokens;
use rds_iam::Config;
use rds_iam::config::Dial;
use rds_iam::postgres::tls_connector;

#[derive(Debug)]
struct IamManager {
    config: Config,
    tokens: Tokens,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl ManageConnection for IamManager {
    type Connection = Client;
    type Error = Failure;

    async fn connect(&self) -> Result<Client, Failure> {
        let token = self.tokens.sign().await?;
        let mut pg_config = PgConfig::new();
        pg_config
            .host(&self.config.endpoint.host)
            .port(self.config.endpoint.port)
            .user(&self.config.user)
            .password(token.as_str())
            .dbname(&self.config.database)
            .ssl_mode(SslMode::Require);
        if let Dial::Address(address) = self.config.dial {
            pg_config.hostaddr(address);
        }
        let tls = tls_connector(&self.config)?;
        Ok(PostgresConnectionManager::new(pg_config, tls).connect().await?)
    }

    async fn is_valid(&self, client: &mut Client) -> Result<(), Failure> {
        Ok(client.simple_query("").await.map(drop)?)
    }

    fn has_broken(&self, client: &mut Client) -> bool {
        client.is_closed()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let config = Config::from_env()?;
    let manager = IamManager { tokens: Tokens::new(&config), config };
    let pool = Pool::builder().max_size(4).build(manager).await?;
    let client = pool.get().await.map_err(|error| format!("{error:?}"))?;
    let row = client.query_one("SELECT count(*) FROM customers", &[]).await?;
    println!("{} customers", row.get::<_, i64>(0));
    Ok(())
}
