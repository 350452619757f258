//! deadpool-postgres, by its own seam: a `Connect` that signs a token for each connection.

use deadpool_postgres::tokio_postgres::config::SslMode;
use deadpool_postgres::tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use deadpool_postgres::tokio_postgres::{Client, Config as PgConfig, Error as PgError, Socket};
use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool};
use pools::Tokens;
use rds_iam::Config;
use rds_iam::config::Dial;
use rds_iam::postgres::tls_connector;
use tokio::task::JoinHandle;

struct IamConnect<T> {
    tls: T,
    tokens: Tokens,
}

type Connected = Result<(Client, JoinHandle<()>), PgError>;

impl<T> Connect for IamConnect<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn connect(
        &self,
        pg_config: &PgConfig,
    ) -> std::pin::Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let mut pg_config = pg_config.clone();
        Box::pin(async move {
            // deadpool wants tokio-postgres's error: without a token it is "password missing".
            match self.tokens.sign().await {
                Ok(token) => drop(pg_config.password(token.as_str())),
                Err(error) => eprintln!("{error}"),
            }
            let (client, connection) = pg_config.connect(self.tls.clone()).await?;
            let driver = tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok((client, driver))
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_env()?;
    let mut pg_config = PgConfig::new();
    pg_config
        .host(&config.endpoint.host)
        .port(config.endpoint.port)
        .user(&config.user)
        .dbname(&config.database)
        .ssl_mode(SslMode::Require);
    if let Dial::Address(address) = config.dial {
        pg_config.hostaddr(address);
    }
    let connect = IamConnect { tls: tls_connector(&config)?, tokens: Tokens::new(&config) };
    let manager = Manager::from_connect(pg_config, connect, ManagerConfig::default());
    let pool = Pool::builder(manager).max_size(4).build()?;
    let row = pool.get().await?.query_one("SELECT count(*) FROM customers", &[]).await?;
    println!("{} customers", row.get::<_, i64>(0));
    Ok(())
}
