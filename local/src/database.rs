//! The real database behind the gate: PostgreSQL, or MariaDB in the place of Aurora MySQL.

use std::fs;
use std::path::Path;

use tokio_postgres::Client;

use crate::dump::{self, Adapted};
use crate::gate::{Fault, Upstream};
use crate::mariadb::MariaDb;
use crate::postgres::{Postgres, refused};
use crate::{DATABASE, READ_ONLY_USER, READ_WRITE_USER, Result, environment};

/// Which protocol the gate speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// PostgreSQL
    #[default]
    Postgres,
    /// MySQL, with MariaDB behind the gate (docs/mysql.md says what differs)
    Mysql,
}

impl Engine {
    /// RDS's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }
}

/// A running database.
#[derive(Debug)]
pub enum Database {
    /// PostgreSQL.
    Postgres(Postgres),
    /// MariaDB.
    Mysql(MariaDb),
}

impl Database {
    /// Starts an empty one under `parent`; PostgreSQL with the programs of this folder, if one is given.
    pub(crate) async fn start(
        engine: Engine,
        programs: Option<&Path>,
        parent: &Path,
    ) -> Result<Self> {
        match engine {
            Engine::Postgres => Postgres::start_from(programs, parent).await.map(Self::Postgres),
            Engine::Mysql => MariaDb::start(parent).await.map(Self::Mysql),
        }
    }

    /// The engine's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "PostgreSQL",
            Self::Mysql(_) => "MariaDB",
        }
    }

    /// PostgreSQL, if that is what runs.
    ///
    /// # Errors
    /// If MariaDB runs instead.
    pub fn postgres(&self) -> Result<&Postgres> {
        match self {
            Self::Postgres(postgres) => Ok(postgres),
            Self::Mysql(_) => Err("the server runs MariaDB, not PostgreSQL".into()),
        }
    }

    /// MariaDB, if that is what runs.
    ///
    /// # Errors
    /// If PostgreSQL runs instead.
    pub fn mariadb(&self) -> Result<&MariaDb> {
        match self {
            Self::Mysql(mariadb) => Ok(mariadb),
            Self::Postgres(_) => Err("the server runs PostgreSQL, not MariaDB".into()),
        }
    }

    /// A connection as PostgreSQL's superuser.
    ///
    /// # Errors
    /// If MariaDB runs instead, or PostgreSQL refuses.
    pub async fn superuser(&self, database: &str) -> Result<Client> {
        self.postgres()?.superuser(database).await
    }

    /// Runs a script as the administrator, as the engine's own client does.
    ///
    /// # Errors
    /// With the script's name, the line, and the engine's message.
    pub async fn run_script(&self, database: &str, script: &Path) -> Result<()> {
        match self {
            Self::Postgres(postgres) => postgres.run_script(database, script).await,
            Self::Mysql(mariadb) => mariadb.run_script(database, script).await,
        }
    }

    /// Returns when the database has ended.
    pub async fn ended(&mut self) {
        match self {
            Self::Postgres(postgres) => postgres.ended().await,
            Self::Mysql(mariadb) => mariadb.ended().await,
        }
    }

    /// How the gate reaches it.
    pub(crate) fn upstream(&self) -> Upstream {
        match self {
            Self::Postgres(postgres) => Upstream::Postgres(postgres.socket_folder().to_owned()),
            Self::Mysql(mariadb) => {
                Upstream::Mysql { socket: mariadb.socket(), secret: mariadb.secret().clone() }
            }
        }
    }

    /// Fails if this database cannot do what the fault asks.
    pub(crate) fn check(&self, fault: Fault) -> Result<()> {
        match (self, fault) {
            // Its read_only is one variable for all sessions, old and new.
            (Self::Mysql(_), Fault::Failover) => {
                Err("MariaDB cannot keep open sessions from writing and let new ones write: the \
                     fault failover needs PostgreSQL; use read-only or restart"
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// Does what a fault of the server asks; any other fault ends those.
    pub(crate) async fn inject(&self, fault: Fault) -> Result<()> {
        match (self, fault) {
            (Self::Postgres(postgres), Fault::Restart) => postgres.restart().await,
            (Self::Postgres(postgres), fault) => {
                let read_only = matches!(fault, Fault::ReadOnly | Fault::Failover);
                let new_may_write = fault == Fault::Failover;
                postgres.set_read_only(DATABASE, read_only, new_may_write).await
            }
            (Self::Mysql(mariadb), Fault::Restart) => mariadb.restart().await,
            (Self::Mysql(mariadb), fault) => mariadb.set_read_only(fault == Fault::ReadOnly).await,
        }
    }

    /// Stops it and removes its folder.
    pub(crate) async fn stop(self) -> Result<()> {
        match self {
            Self::Postgres(postgres) => postgres.stop().await,
            Self::Mysql(mariadb) => mariadb.stop().await,
        }
    }

    /// Creates the database, its users, and the demo's tables or those of a script.
    pub(crate) async fn prepare(
        &self,
        init: Option<&Path>,
        schemas: &str,
        user: &str,
    ) -> Result<Loaded> {
        let script = init.map(fs::canonicalize).transpose();
        let script = script.map_err(|error| format!("cannot read the script: {error}"))?;
        let own = (user != READ_ONLY_USER && user != READ_WRITE_USER).then_some(user);
        match self {
            Self::Postgres(postgres) => {
                prepare_postgres(postgres, script.as_deref(), schemas, own).await
            }
            Self::Mysql(mariadb) => {
                let prepared = prepare_mariadb(mariadb, script.as_deref(), own).await;
                prepared.map_err(|why| format!("MariaDB refused the set-up: {why}"))?;
                Ok(Loaded::default())
            }
        }
    }
}

/// What the script of a schema left to be known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What was added for the script, and what was left out.
    pub adapted: Adapted,
    /// The schemas on whose tables nothing is granted.
    pub ungranted: Vec<String>,
}

const ROLES: (&str, &str) = ("sql/roles.sql", include_str!("../../sql/roles.sql"));
const TABLES: (&str, &str) = (
    "sql/ledger.sql or sql/jobs.sql",
    concat!(include_str!("../../sql/ledger.sql"), include_str!("../../sql/jobs.sql")),
);

async fn prepare_postgres(
    postgres: &Postgres,
    script: Option<&Path>,
    schemas: &str,
    own_user: Option<&str>,
) -> Result<Loaded> {
    let admin = postgres.superuser("postgres").await?;
    admin.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await.map_err(refused)?;
    let admin = postgres.superuser(DATABASE).await?;
    // PostgreSQL before 13 has no such switch: its view shows sessions without TLS.
    let _ = admin.batch_execute(include_str!("pg_stat_ssl.sql")).await;
    // RDS has this role from the start; the rest is what an administrator runs there too, and no more.
    admin.batch_execute("CREATE ROLE rds_iam").await.map_err(refused)?;
    postgres.run_text(DATABASE, ROLES, &[]).await?;
    let mut loaded = Loaded::default();
    match script {
        None => {
            let examples = include_str!("../../sql/examples.sql");
            admin.batch_execute(examples).await.map_err(refused)?;
        }
        Some(script) => {
            loaded.adapted = load(postgres, &admin, script, own_user.unwrap_or_default()).await?;
        }
    }
    // event-query's and batch-job's, in whatever schema.
    postgres.run_text(DATABASE, TABLES, &[]).await?;
    if script.is_some() || own_user.is_some() {
        let variables = [("schemas", schemas), ("reader", own_user.unwrap_or(READ_ONLY_USER))];
        postgres.run_text(DATABASE, ROLES, &variables).await?;
    }
    if script.is_some() {
        loaded.ungranted = ungranted(&admin, schemas).await?;
    }
    Ok(loaded)
}

/// Runs the script of a schema, which pg_dump may have written.
async fn load(postgres: &Postgres, admin: &Client, script: &Path, user: &str) -> Result<Adapted> {
    let text = fs::read(script)
        .map_err(|error| format!("cannot read the script {}: {error}", script.display()))?;
    let (adapted, rest) = dump::adapt(admin, &text, user).await?;
    let copy = postgres.socket_folder().join("script.sql");
    let run = match rest {
        None => postgres.run_script(DATABASE, script).await,
        Some(rest) => {
            environment::write_private(&copy, rest)?;
            let run = postgres.run_script(DATABASE, &copy).await;
            let name =
                |why: String| why.replace(&*copy.to_string_lossy(), &script.to_string_lossy());
            run.map_err(name)
        }
    };
    if let Err(why) = run {
        let without = match adapted.extensions.as_slice() {
            [] => String::new(),
            missing => format!(
                ". Take out what needs the extensions that are not installed here: {}",
                missing.join(", ")
            ),
        };
        let row = admin.query_one("SHOW server_version", &[]).await.map_err(refused)?;
        let version: String = row.get(0);
        return Err(format!(
            "{why}\nThis is PostgreSQL {version}. If pg_dump wrote the script, leave roles and rights out of it: pg_dump \
             --schema-only --no-owner --no-privileges{without}"
        ));
    }
    check_database(admin).await?;
    Ok(adapted)
}

/// Refuses a script that left our database empty for one of its own, as `pg_dump --create` writes it.
async fn check_database(admin: &Client) -> Result<()> {
    let sql = "SELECT datname::text FROM pg_database
        WHERE NOT datistemplate AND datname NOT IN ('postgres', current_database())
          AND NOT EXISTS (SELECT FROM pg_tables WHERE schemaname !~ '^pg_'
                          AND schemaname <> 'information_schema') ORDER BY 1 LIMIT 1";
    match admin.query_opt(sql, &[]).await.map_err(refused)? {
        None => Ok(()),
        Some(row) => Err(format!(
            "the script makes its tables in the database {}, and functions here use {DATABASE}: remove \
             CREATE DATABASE and \\connect from it, or run pg_dump without --create",
            row.get::<_, String>(0)
        )),
    }
}

/// The schemas with tables whose name is not in this list.
async fn ungranted(admin: &Client, schemas: &str) -> Result<Vec<String>> {
    let sql = r"SELECT DISTINCT schemaname::text FROM pg_tables
        WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'
          AND schemaname <> ALL (regexp_split_to_array(trim($1), '\s*,\s*')) ORDER BY 1";
    let rows = admin.query(sql, &[&schemas]).await.map_err(refused)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn prepare_mariadb(
    mariadb: &MariaDb,
    script: Option<&Path>,
    own_user: Option<&str>,
) -> Result<()> {
    mariadb.run("mysql", &format!("CREATE DATABASE {DATABASE}")).await?;
    let mut setup = include_str!("../../sql/mysql/users.sql").to_owned();
    setup.push_str(include_str!("../../sql/mysql/ledger.sql"));
    match script {
        None => setup.push_str(include_str!("demo.mysql.sql")),
        Some(script) => mariadb.run_script(DATABASE, script).await?,
    }
    if let Some(user) = own_user {
        let account = format!("'{}'@'%'", user.replace('\\', r"\\").replace('\'', "''"));
        setup.push_str(&format!(
            "CREATE USER IF NOT EXISTS {account} IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS';\n\
             GRANT SELECT ON {DATABASE}.* TO {account};\n"
        ));
    }
    mariadb.run(DATABASE, &setup).await?;
    mariadb.require_no_ssl().await
}
