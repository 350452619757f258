//! sqlx, which has no hook before it connects
//! (<https://github.com/launchbadge/sqlx/issues/3117>): the pool's options get a fresh token before a
//! connection is taken from it.
//!
//! This holds while the pool opens connections only when one is taken: leave `min_connections` at 0. A
//! token lives for 15 minutes, and is renewed here when it has 5 left.

use std::time::{Duration, SystemTime};

use pools::Tokens;
use rds_iam::Config;
use rds_iam::config::Dial;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{Postgres, Row};
use tokio::sync::Mutex;

struct IamPool {
    pool: PgPool,
    options: PgConnectOptions,
    tokens: Tokens,
    good_until: Mutex<SystemTime>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl IamPool {
    fn new(config: &Config) -> Self {
        let options = PgConnectOptions::new_without_pgpass()
            .port(config.endpoint.port)
            .username(&config.user)
            .database(&config.database)
            .ssl_root_cert_from_pem(config.roots.pem().into());
        let options = match config.dial {
            // sqlx checks the certificate against the name that it dials. Of another address it can
            // check the chain only, so trust only your own root there, such as rds-local's.
            Dial::Address(address) => {
                options.host(&address.to_string()).ssl_mode(PgSslMode::VerifyCa)
            }
            _ => options.host(&config.endpoint.host).ssl_mode(PgSslMode::VerifyFull),
        };
        Self {
            pool: PgPoolOptions::new().max_connections(4).connect_lazy_with(options.clone()),
            options,
            tokens: Tokens::new(config),
            good_until: Mutex::new(SystemTime::UNIX_EPOCH),
        }
    }

    async fn acquire(&self) -> Result<PoolConnection<Postgres>, Failure> {
        let mut good_until = self.good_until.lock().await;
        #[expect(clippy::disallowed_methods, reason = "an example has no clock of its own")]
        let now = SystemTime::now();
        if *good_until <= now {
            let token = self.tokens.sign().await?;
            self.pool.set_connect_options(self.options.clone().password(token.as_str()));
            *good_until = token.expires_at() - Duration::from_secs(300);
        }
        drop(good_until);
        Ok(self.pool.acquire().await?)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let pool = IamPool::new(&Config::from_env()?);
    let mut connection = pool.acquire().await?;
    let row = sqlx::query("SELECT count(*) FROM customers").fetch_one(&mut *connection).await?;
    println!("{} customers", row.get::<i64, _>(0));
    Ok(())
}
