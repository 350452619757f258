//! A private PostgreSQL cluster, made from the machine's own server binaries. Only a socket in its own
//! folder reaches it, and it is removed when it stops.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};

use crate::Result;
use crate::process::{Home, Process, Program, START_TIMEOUT, without_variables};
use crate::template::make_data;

/// The socket in a cluster's folder.
pub(crate) const SOCKET: &str = ".s.PGSQL.5432";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    psql: PathBuf,
    process: Process,
}

impl Postgres {
    /// Starts a new, empty cluster under `parent`, with the log in `parent/postgres.log`.
    pub async fn start(parent: &Path) -> Result<Self> {
        Self::start_from(None, parent).await
    }

    /// Starts the server whose initdb and postgres are in the folder `bin`, or the machine's own. psql is
    /// the machine's in either case: a folder of programs may have none.
    pub(crate) async fn start_from(bin: Option<&Path>, parent: &Path) -> Result<Self> {
        let machine = find_binaries()?;
        let bin = bin.unwrap_or(&machine);
        let home = Home::prepare(&Program {
            name: "PostgreSQL",
            users: ["postgres", "nobody"],
            variables: "PG",
            parent,
            folder: "postgres",
            socket: SOCKET,
        })?;
        make_data(&home, &bin.join("initdb"), |initdb, folder| {
            initdb
                .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
                .args(["--no-sync", "--no-instructions", "-D"])
                .arg(folder.join("data"));
        })
        .await?;

        let data = home.folder.join("data").display().to_string();
        let folder = home.folder.display().to_string();
        let mut arguments = vec!["-D".to_owned(), data, "-k".to_owned(), folder];
        for setting in [
            "listen_addresses=",
            // The data lives as long as the process: durability would only cost time.
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=200",
            "unix_socket_permissions=0700",
        ] {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let log = home.log.clone();
        let postgres = Self {
            process: home.start(&bin.join("postgres"), &arguments)?,
            psql: machine.join("psql"),
        };
        match postgres.wait_until_ready().await {
            Ok(()) => Ok(postgres),
            Err(why) => {
                let _ = postgres.stop().await;
                Err(format!("{why}; see {}", log.display()))
            }
        }
    }

    /// Returns when the server has ended.
    pub async fn ended(&mut self) {
        self.process.ended().await;
    }

    /// The folder of its socket.
    pub fn socket_folder(&self) -> &Path {
        &self.process.home.folder
    }

    /// A connection as the superuser.
    pub async fn superuser(&self, database: &str) -> Result<Client> {
        superuser(self.socket_folder(), database).await
    }

    /// Runs a file as the superuser, as psql does: several statements, COPY, psql's own commands.
    pub async fn run_script(&self, database: &str, script: &Path) -> Result<()> {
        let mut psql = self.psql(database);
        // An error comes with its statement, and notices do not hide it.
        psql.arg("--echo-errors").env("PGOPTIONS", "-c client_min_messages=warning");
        let psql = psql.arg("-f").arg(script).stdin(Stdio::null()).output().await;
        outcome(&script.display().to_string(), psql)
    }

    /// The same for a text of `sql/`, with variables of psql.
    pub(crate) async fn run_text(
        &self,
        database: &str,
        (name, text): (&str, &str),
        variables: &[(&str, &str)],
    ) -> Result<()> {
        let mut psql = self.psql(database);
        for (name, value) in variables {
            psql.arg("-v").arg(format!("{name}={value}"));
        }
        let failed = |error| format!("cannot run psql: {error}");
        let psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = psql.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A script that fails closes it early; psql says why.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
        outcome(name, child.wait_with_output().await)
    }

    /// In this process group, so that Ctrl-C ends a script that hangs.
    fn psql(&self, database: &str) -> Command {
        let mut psql = without_variables(&self.psql, "PG");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"])
            .arg(self.socket_folder());
        psql
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let ready = async {
            while self.superuser("postgres").await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        self.process.within_start_timeout(ready).await
    }

    /// Stops the server as an administrator would, open sessions included, and starts it again.
    pub async fn restart(&self) -> Result<()> {
        let pid_file = self.socket_folder().join("data/postmaster.pid");
        self.process.restart(&pid_file, Signal::SIGINT).await?;
        self.wait_until_ready().await
    }

    /// Makes the server refuse writes, or accept them again. It is a setting of the whole server, which
    /// clients tell from one of a user or a database. With `new_may_write`, new sessions of this database
    /// are not affected.
    pub async fn set_read_only(
        &self,
        database: &str,
        read_only: bool,
        new_may_write: bool,
    ) -> Result<()> {
        let admin = self.superuser("postgres").await?;
        let default = "default_transaction_read_only";
        let new =
            if new_may_write { format!("SET {default} = off") } else { format!("RESET {default}") };
        let open =
            if read_only { format!("SET {default} = on") } else { format!("RESET {default}") };
        for statement in [
            format!("SET {default} = off"),
            format!("ALTER DATABASE {database} {new}"),
            format!("ALTER SYSTEM {open}"),
            "SELECT pg_reload_conf()".into(),
        ] {
            admin
                .batch_execute(&statement)
                .await
                .map_err(|error| format!("PostgreSQL refused {statement}: {error}"))?;
        }
        // The postmaster reads the file first, then signals every session.
        let expected = if read_only { "on" } else { "off" };
        let told = async {
            loop {
                let other = self.superuser("postgres").await?;
                let row = other.query_one("SELECT current_setting($1)", &[&default]).await;
                let now: String = row.map_err(|error| error.to_string())?.get(0);
                if now == expected {
                    return Ok(());
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(START_TIMEOUT, told)
            .await
            .map_err(|_| "PostgreSQL did not reload its configuration within a minute".to_owned())?
    }

    /// Stops the server and removes its folder.
    pub async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}

fn outcome(script: &str, psql: std::io::Result<Output>) -> Result<()> {
    let output = psql.map_err(|error| format!("cannot run psql: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    // A statement may be a function of a thousand lines.
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<String> =
        said.trim().lines().take(8).map(|line| line.chars().take(300).collect()).collect();
    Err(format!("{script} failed: {}", said.join("\n")))
}

/// The message of a statement that a set-up needs.
pub(crate) fn refused(error: tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("PostgreSQL refused the set-up: {}", db.message()),
        None => format!("PostgreSQL refused the set-up: {error}"),
    }
}

/// A connection as the superuser of the cluster whose socket lies in this folder.
pub(crate) async fn superuser(socket_folder: &Path, database: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::Config::new()
        .host_path(socket_folder)
        .user("postgres")
        .dbname(database)
        .connect(NoTls)
        .await
        .map_err(|error| format!("cannot connect to PostgreSQL: {error}"))?;
    // It ends with the client, or with the server.
    tokio::spawn(connection);
    Ok(client)
}

/// The folder that holds initdb, postgres and psql.
fn find_binaries() -> Result<PathBuf> {
    let complete =
        |dir: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| dir.join(name).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for base in ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt"] {
        let mut versions: Vec<PathBuf> = std::fs::read_dir(base)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                base == "/usr/lib/postgresql"
                    || name.starts_with("postgresql")
                    || name.starts_with("pgsql-")
            })
            .collect();
        versions.sort();
        folders.extend(versions.into_iter().rev().map(|version| version.join("bin")));
    }
    folders.into_iter().find(complete).ok_or_else(|| {
        "no PostgreSQL server found (initdb, postgres and psql): install the package postgresql \
         (Debian, Homebrew) or postgresql-server (Fedora), or put the folder of its programs into PATH"
            .into()
    })
}
