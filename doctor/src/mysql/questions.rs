//! The database's own report of itself and of the user, asked over the functions' own driver and settings.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, IoError, Row};
use rds_iam::config::MysqlConfig;
use rds_iam::mysql::login_settings;
use rds_iam::token::AuthToken;
use tokio::time::{Instant, timeout_at};

use super::evidence::{Facts, code};
use crate::clock::evidence::Clock;
use crate::login::evidence::Login;
use crate::outcome::Outcome;
use crate::report::{Status, Step};
use crate::tls::evidence::{Tls, Verdict};

/// On a reader of Aurora, `innodb_read_only` is on.
const FACTS: &str = "SELECT VERSION(), CURRENT_USER(), \
    @@GLOBAL.read_only OR @@GLOBAL.innodb_read_only, NOT @@GLOBAL.require_secure_transport, \
    @@GLOBAL.max_connections, \
    (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()), \
    UNIX_TIMESTAMP(SYSDATE(6))";
const CONNECTIONS: &str = "SHOW GLOBAL STATUS LIKE 'Threads_connected'";
/// Every user may use it.
const SCHEMA: &str = "information_schema";
const GOODBYE: Duration = Duration::from_millis(200);

pub(super) async fn ask(
    own: &MysqlConfig,
    token: &AuthToken,
    address: SocketAddr,
    (clock, deadline): (&SharedTimeSource, Instant),
    outcome: &mut Outcome,
) {
    let start = Instant::now();
    let unknown = [code::NO_DATABASE, code::DATABASE_DENIED];
    if unknown.iter().any(|code| outcome.mysql.refused(*code)) {
        let list = timeout_at(deadline, databases(own, token, address)).await;
        outcome.mysql.databases = list.ok().and_then(Result::ok).unwrap_or_default();
    }
    if outcome.login != Login::Works {
        outcome.steps.push(Step::skipped("database", "there is no login"));
        return;
    }
    let (status, found) = match timeout_at(deadline, facts(own, token, address, clock)).await {
        Ok(Ok((facts, server_clock))) => {
            outcome.clock = server_clock;
            let found = said(&facts);
            outcome.mysql.facts = Some(facts);
            (Status::Ok, found)
        }
        Ok(Err(Error::Io(IoError::Tls(_)))) => {
            if let Tls::Presented(presented) = &mut outcome.tls {
                presented.verdict = Verdict::Other;
            }
            outcome.login = Login::Closed;
            (Status::Failed, "the functions' own TLS refuses the certificate".to_owned())
        }
        // A session of an expired password is open, and takes no statement but ALTER USER.
        Ok(Err(Error::Server(error))) if code::PASSWORD_EXPIRED.contains(&error.code) => {
            outcome.mysql.error = Some(error.code);
            outcome.login = outcome.mysql.refusal();
            (Status::Failed, format!("the session takes no statement: error {}", error.code))
        }
        _ => (Status::Unknown, "the database did not answer".to_owned()),
    };
    outcome.steps.push(Step::new("database", status, start.elapsed(), found));
}

async fn facts(
    own: &MysqlConfig,
    token: &AuthToken,
    address: SocketAddr,
    clock: &SharedTimeSource,
) -> Result<(Facts, Option<Clock>), Error> {
    let mut conn = Conn::new(login_settings(own, token, address)).await?;
    let start = Instant::now();
    conn.ping().await?;
    let round_trip = start.elapsed();
    let row: Option<Row> = conn.query_first(FACTS).await?;
    let here = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let connections: Option<(String, String)> = conn.query_first(CONNECTIONS).await?;
    let _ = tokio::time::timeout(GOODBYE, conn.disconnect()).await;
    let text = |index: usize| -> String {
        row.as_ref()
            .and_then(|row| row.get::<Option<String>, _>(index))
            .flatten()
            .unwrap_or_default()
    };
    let number = |text: String| text.parse().unwrap_or(0);
    let there = text(6).parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let server_clock = there.map(|there| Clock {
        ahead: seconds(here) - seconds(there),
        source: "the database's clock",
    });
    let facts = Facts {
        version: text(0),
        account: text(1),
        read_only: text(2) == "1",
        insecure: text(3) == "1",
        connections: number(connections.map(|(_, count)| count).unwrap_or_default()),
        max_connections: number(text(4)),
        tables: number(text(5)),
        round_trip_ms: (round_trip.as_secs_f64() * 10_000.0).round() / 10.0,
    };
    Ok((facts, server_clock))
}

/// The databases that the user may use.
async fn databases(
    own: &MysqlConfig,
    token: &AuthToken,
    address: SocketAddr,
) -> Result<Vec<String>, Error> {
    let mut other = own.clone();
    other.database = SCHEMA.into();
    let mut conn = Conn::new(login_settings(&other, token, address)).await?;
    let names: Vec<String> = conn.query("SHOW DATABASES").await?;
    let _ = tokio::time::timeout(GOODBYE, conn.disconnect()).await;
    Ok(names.into_iter().filter(|name| !name.eq_ignore_ascii_case(SCHEMA)).take(50).collect())
}

fn said(facts: &Facts) -> String {
    let Facts { version, account, connections, max_connections, tables, round_trip_ms, .. } = facts;
    let kind = if facts.read_only { "takes no writes" } else { "a writer" };
    format!(
        "MySQL {version}, {kind}, {round_trip_ms:.1} ms a round trip, {connections} of {max_connections} connections; logged in as {account}, which sees {tables} tables"
    )
}
