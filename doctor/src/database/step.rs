//! Asks the database about itself and about the user, after a login.

use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;
use rds_iam::Config;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::clock::evidence::Clock;
use crate::database::evidence::{Facts, Schema};
use crate::report::{Status, Step};

/// The ledgers of the functions that write, and what each needs.
const LEDGERS: [(&str, &str); 2] = [("message_ledger", "INSERT"), ("job_runs", "INSERT")];

const FACTS: &str = "SELECT current_setting('server_version'), \
    pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on', \
    pg_is_in_recovery(), \
    (SELECT sum(numbackends) FROM pg_stat_database), \
    current_setting('max_connections'), \
    (SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = 'rds_iam'), \
    extract(epoch FROM clock_timestamp()), \
    (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only')";

const TABLES: &str = "SELECT n.nspname, count(*), \
    count(*) FILTER (WHERE has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')), \
    count(*) FILTER (WHERE has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'INSERT')) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' \
    AND n.nspname <> 'information_schema' AND c.relname NOT IN ('message_ledger', 'job_runs') \
    GROUP BY n.nspname ORDER BY n.nspname";

pub(crate) async fn ask(
    config: &Config,
    client: &Client,
    clock: &SharedTimeSource,
    deadline: Instant,
) -> (Option<(Facts, Clock)>, Vec<Step>) {
    let start = Instant::now();
    let answers = timeout_at(deadline, facts(client, clock)).await;
    let Ok(Some((facts, server_clock))) = answers else {
        let found = "the database did not answer";
        return (None, vec![Step::new("database", Status::Unknown, start.elapsed(), found)]);
    };
    let step = Step::new("database", Status::Ok, start.elapsed(), said(&facts));
    let steps = vec![step, rights(config, &facts)];
    (Some((facts, server_clock)), steps)
}

async fn facts(client: &Client, clock: &SharedTimeSource) -> Option<(Facts, Clock)> {
    let start = Instant::now();
    client.simple_query("SELECT 1").await.ok()?;
    let round_trip = start.elapsed();
    let row = one(client, FACTS).await?;
    let here = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let text = |index: usize| row.get(index).unwrap_or_default();
    let number = |row: &SimpleQueryRow, index: usize| {
        row.get(index).and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let there = Duration::try_from_secs_f64(text(6).parse().ok()?).ok()?;
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let ahead = seconds(here) - seconds(there);
    let schemas = rows(client, TABLES).await?;
    let schemas = schemas.iter().map(|row| Schema {
        name: row.get(0).unwrap_or_default().to_owned(),
        tables: number(row, 1),
        readable: number(row, 2),
        writable: number(row, 3),
    });
    let mut ledgers = Vec::new();
    for (name, right) in LEDGERS {
        let sql = format!("SELECT has_table_privilege(to_regclass('{name}'), '{right}')");
        let may = one(client, &sql).await?.get(0).map(|text| text == "t");
        ledgers.push((name, may));
    }
    let facts = Facts {
        version: text(0).to_owned(),
        read_only: text(1) == "t",
        read_only_source: text(7).to_owned(),
        standby: text(2) == "t",
        round_trip_ms: (round_trip.as_secs_f64() * 10_000.0).round() / 10.0,
        connections: number(&row, 3),
        max_connections: number(&row, 4),
        rds_iam: row.get(5).map(|text| text == "t"),
        schemas: schemas.collect(),
        ledgers,
    };
    Some((facts, Clock { ahead, source: "the database's clock" }))
}

async fn one(client: &Client, sql: &str) -> Option<SimpleQueryRow> {
    rows(client, sql).await?.into_iter().next()
}

async fn rows(client: &Client, sql: &str) -> Option<Vec<SimpleQueryRow>> {
    let answers = client.simple_query(sql).await.ok()?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    };
    Some(answers.into_iter().filter_map(row).collect())
}

fn said(facts: &Facts) -> String {
    let kind = if facts.standby {
        "a standby"
    } else if facts.read_only {
        "takes no writes"
    } else {
        "a writer"
    };
    format!(
        "PostgreSQL {}, {kind}, {:.1} ms a round trip, {} of {} connections",
        facts.version, facts.round_trip_ms, facts.connections, facts.max_connections
    )
}

fn rights(config: &Config, facts: &Facts) -> Step {
    let mut said = vec![match facts.rds_iam {
        Some(true) => format!("{} is a member of rds_iam", config.user),
        Some(false) => format!("{} is NOT a member of rds_iam", config.user),
        None => "there is no role rds_iam: this is not an RDS database".to_owned(),
    }];
    let sum = |of: fn(&Schema) -> i64| facts.schemas.iter().map(of).sum::<i64>();
    let (readable, writable) = (sum(|schema| schema.readable), sum(|schema| schema.writable));
    said.push(format!("reads {readable} and writes {writable} of {} tables", facts.tables()));
    let closed = facts.schemas.iter().filter(|schema| schema.readable == 0);
    let closed: Vec<&str> = closed.map(|schema| schema.name.as_str()).collect();
    if !closed.is_empty() {
        said.push(format!("reads no table of schema {}", closed.join(", ")));
    }
    for (name, may) in &facts.ledgers {
        said.push(match may {
            Some(true) => format!("may use {name}"),
            Some(false) => format!("may not use {name}"),
            None => format!("there is no {name}"),
        });
    }
    let status =
        if facts.blind() || facts.rds_iam == Some(false) { Status::Warning } else { Status::Ok };
    Step::new("rights", status, Duration::ZERO, said.join("; "))
}
