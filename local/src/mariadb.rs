//! A private MariaDB, made from the machine's own server binaries, in the place of Aurora MySQL. Only a
//! socket in its own folder reaches it, and it is removed when it stops.
//!
//! MariaDB has no `AWSAuthenticationPlugin`. A user who is created with it gets a password instead that
//! only the gate knows: see [`MariaDb::run_script`].

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use crate::gate::{Secret, native_hash, script_for_mariadb};
use crate::process::{Home, Process, Program, without_variables};
use crate::template::make_data;
use crate::{Result, process};

const SOCKET: &str = "mariadb.sock";
const PID: &str = "mariadb.pid";
/// A running server.
#[derive(Debug)]
pub struct MariaDb {
    client: PathBuf,
    administrator: Secret,
    secret: Secret,
    process: Process,
}

impl MariaDb {
    /// Starts a new, empty server under `parent`, with the log in `parent/mariadb.log`.
    ///
    /// # Errors
    /// If MariaDB is not installed or does not start.
    pub async fn start(parent: &Path) -> Result<Self> {
        let [install, server, client] =
            ["mariadb-install-db", "mariadbd", "mariadb"].map(find_program);
        let (install, server, client) = (install?, server?, client?);
        let home = Home::prepare(&Program {
            name: "MariaDB",
            users: ["mysql", "nobody"],
            variables: "MYSQL",
            parent,
            folder: "mariadb",
            socket: SOCKET,
        })?;
        let (administrator, secret) = (new_secret(), new_secret());
        let data = format!("--datadir={}", home.folder.join("data").display());
        make_data(&home, &install, |setup, folder| {
            setup
                .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"])
                .arg(format!("--datadir={}", folder.join("data").display()))
                // The data lives as long as the process: a small log is made sooner.
                .args(["--auth-root-authentication-method=normal", "--innodb-log-file-size=4M"])
                // Two concurrent set-ups would use the same file names in /tmp.
                .arg(format!("--tmpdir={}", folder.display()));
        })
        .await?;

        let first = home.folder.join("first.sql");
        crate::environment::write_private(&first, first_statements(&administrator))?;
        home.give(&first)?;
        let settings = settings(&home.folder, data, &first);
        let log = home.log.clone();
        let process = home.start(&server, &settings)?;
        let mariadb = Self { client, administrator, secret, process };
        match mariadb.wait_until_ready().await {
            Ok(()) => {
                let _ = std::fs::write(&first, "");
                Ok(mariadb)
            }
            Err(why) => {
                let _ = mariadb.stop().await;
                Err(format!("{why}; see {}", log.display()))
            }
        }
    }

    /// Returns when the server has ended.
    pub async fn ended(&mut self) {
        self.process.ended().await;
    }

    /// Its socket, for clients on this machine that the server's user lets in.
    pub fn socket(&self) -> PathBuf {
        self.process.home.folder.join(SOCKET)
    }

    /// The password of the users that were created with the plugin.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Runs SQL as the administrator, and returns its rows as the client prints them: columns are
    /// separated by tabs, and there are no names.
    ///
    /// # Errors
    /// MariaDB's message, if it refuses a statement.
    pub async fn run(&self, database: &str, sql: &str) -> Result<String> {
        // Without the variables of a sourced environment file, which would send it to the gate.
        let mut client = without_variables(&self.client, "MYSQL");
        client
            .args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"])
            .args(["--default-character-set=utf8mb4", "--socket"])
            .arg(self.socket())
            .arg(database)
            .env("MYSQL_PWD", &self.administrator.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let failed = |error| format!("cannot run mariadb: {error}");
        let mut child = client.spawn().map_err(failed)?;
        let input = child.stdin.take();
        let write = async {
            if let Some(mut input) = input {
                // A client that stops at an error does not read the rest.
                let replaced = script_for_mariadb(sql, &self.secret);
                let _ = input.write_all(replaced.as_deref().unwrap_or(sql.as_bytes())).await;
            }
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        let output = output.map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Runs a script as the administrator. `IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'`, which
    /// MariaDB does not know, becomes a password that only the gate knows. The gate fulfils `REQUIRE SSL`,
    /// which the socket behind it cannot.
    ///
    /// # Errors
    /// With the script's name and MariaDB's message, which names the line.
    pub async fn run_script(&self, database: &str, script: &Path) -> Result<()> {
        let text = std::fs::read_to_string(script)
            .map_err(|error| process::cannot("read", script, &error))?;
        let done = self.run(database, &text).await;
        done.map_err(|why| format!("{} failed: {why}", script.display()))?;
        self.require_no_ssl().await
    }

    /// Lets users with `REQUIRE SSL` in over the socket.
    pub(crate) async fn require_no_ssl(&self) -> Result<()> {
        let sql = "UPDATE mysql.global_priv SET Priv = JSON_REMOVE(Priv, '$.ssl_type') \
                   WHERE JSON_VALUE(Priv, '$.ssl_type') = 1; FLUSH PRIVILEGES";
        self.run("mysql", sql).await.map(|_| ())
    }

    /// Stops the server as an administrator would, open sessions included, and starts it again.
    ///
    /// # Errors
    /// If it does not stop, or not start again.
    pub async fn restart(&self) -> Result<()> {
        self.process.restart(&self.process.home.folder.join(PID), Signal::SIGTERM).await?;
        self.wait_until_ready().await
    }

    /// Makes the server refuse writes, as a reader of Aurora does, or accept them again.
    ///
    /// # Errors
    /// MariaDB's message.
    pub async fn set_read_only(&self, read_only: bool) -> Result<()> {
        let sql = format!("SET GLOBAL read_only = {}", u8::from(read_only));
        self.run("mysql", &sql).await.map(|_| ())
    }

    /// Stops the server and removes its folder.
    ///
    /// # Errors
    /// If it does not stop within 20 seconds.
    pub async fn stop(self) -> Result<()> {
        self.process.stop().await
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let ready = async {
            while self.run("mysql", "SELECT 1").await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        self.process.within_start_timeout(ready).await
    }
}

/// Sets the administrator's password, and removes the users that would shadow others on a socket.
fn first_statements(administrator: &Secret) -> String {
    format!(
        "DELETE FROM mysql.global_priv WHERE User = '' OR User = 'root' AND Host <> 'localhost';\n\
         UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.plugin', 'mysql_native_password', \
         '$.authentication_string', '{}') WHERE User = 'root';\n\
         FLUSH PRIVILEGES;\n",
        native_hash(&administrator.0)
    )
}

fn settings(folder: &Path, data: String, first: &Path) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut settings = vec![
        "--no-defaults".to_owned(),
        data,
        format!("--socket={}", path(SOCKET)),
        format!("--pid-file={}", path(PID)),
        format!("--init-file={}", first.display()),
        format!("--tmpdir={}", folder.display()),
    ];
    let fixed = [
        "--skip-networking",
        "--skip-name-resolve",
        // As in RDS for MySQL 8.4. The gate's socket counts as secure.
        "--require-secure-transport=ON",
        "--character-set-server=utf8mb4",
        "--max-connections=200",
        // The gate bounds a login.
        "--connect-timeout=60",
        "--default-time-zone=+00:00",
        "--performance-schema=OFF",
        "--innodb-log-file-size=4M",
        "--innodb-buffer-pool-size=32M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
        "--innodb-fast-shutdown=2",
        "--innodb-doublewrite=OFF",
    ];
    settings.extend(fixed.map(str::to_owned));
    settings
}

fn new_secret() -> Secret {
    Secret(format!("{:x}{:x}", uuid::Uuid::new_v4().as_simple(), uuid::Uuid::new_v4().as_simple()))
}

fn find_program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Where servers lie, which an ordinary user's path leaves out.
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file()).ok_or_else(
        || format!("cannot find {name}: run make setup, or install the package mariadb-server"),
    )
}
