//! A private PostgreSQL cluster, made from the machine's own server binaries. Only a socket in its own
//! folder reaches it, and it is removed when it stops.
//!
//! PostgreSQL refuses to run as root, so as root it runs as another user. A small shell supervises the
//! server, and stops it when this process ends in any way.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Pid, Uid, User, chown};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};

use crate::Result;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// A socket's path may have 107 bytes on Linux, 103 on macOS.
const LONGEST_SOCKET: usize = 103;
/// The socket in a cluster's folder.
pub(crate) const SOCKET: &str = ".s.PGSQL.5432";

/// Runs the server until it ends or standard input closes, which happens when this process ends in
/// any way, `kill -9` included. Then removes the cluster's folder. Starts the server again if the
/// folder has a file `restart` when the server ends.
const SUPERVISOR: &str = r#"
folder=$1; shift
exec 3<&0
stop=; server=
trap 'stop=1; kill -QUIT $server 2>/dev/null' TERM
(cat <&3 >/dev/null; kill -TERM $$ 2>/dev/null) &
while [ -z "$stop" ]; do
  rm -f "$folder/restart"
  "$@" </dev/null 3<&- &
  server=$!
  [ -z "$stop" ] || kill -QUIT $server 2>/dev/null
  # A signal cuts wait short.
  while kill -0 $server 2>/dev/null; do wait $server; done
  [ -e "$folder/restart" ] || break
done
rm -rf "$folder" 2>/dev/null
"#;

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    bin: PathBuf,
    supervisor: Child,
    lifeline: Option<ChildStdin>,
}

impl Postgres {
    /// Starts a new, empty cluster under `parent`, with the log in `parent/postgres.log`.
    pub async fn start(parent: &Path) -> Result<Self> {
        let bin = find_binaries()?;
        let owner = owner()?;
        let folder = cluster_folder(parent, owner.as_ref())?;
        let data = folder.join("data");
        let log = parent.join("postgres.log");

        let mut initdb = command(&bin.join("initdb"), owner.as_ref());
        initdb
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "--no-instructions", "-D"])
            .arg(&data)
            .kill_on_drop(true);
        let made = initdb.output().await.map_err(|error| format!("cannot run initdb: {error}"))?;
        if !made.status.success() {
            let _ = std::fs::remove_dir_all(&folder);
            return Err(format!(
                "initdb could not make a cluster in {}: {}",
                data.display(),
                String::from_utf8_lossy(&made.stderr).trim()
            ));
        }
        let log_file =
            std::fs::File::create(&log).map_err(|error| cannot("create", &log, &error))?;
        let mut supervisor = command(Path::new("/bin/sh"), owner.as_ref());
        supervisor
            .args(["-c", SUPERVISOR, "rds-local-postgres"])
            .arg(&folder)
            .arg(bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            // The data lives as long as the process: durability would only cost time.
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "synchronous_commit=off"])
            .args(["-c", "full_page_writes=off", "-c", "max_connections=200"])
            .args(["-c", "unix_socket_permissions=0700"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log_file);
        let mut supervisor =
            supervisor.spawn().map_err(|error| format!("cannot start PostgreSQL: {error}"))?;
        let lifeline = supervisor.stdin.take();
        let postgres = Self { folder, bin, supervisor, lifeline };
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
        let _ = self.supervisor.wait().await;
    }

    /// The folder of its socket.
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// A connection as the superuser.
    pub async fn superuser(&self, database: &str) -> Result<Client> {
        superuser(&self.folder, database).await
    }

    /// Runs SQL as the superuser, as psql does: several statements, COPY, psql's own commands.
    pub async fn run_script(&self, database: &str, script: &Path) -> Result<()> {
        // In this process group, so that Ctrl-C ends a script that hangs.
        let output = program(&self.bin.join("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"])
            .arg(&self.folder)
            .arg("-f")
            .arg(script)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| format!("cannot run psql: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} failed: {}", script.display(), told.trim()))
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let ready = async {
            while self.superuser("postgres").await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(START_TIMEOUT, ready)
            .await
            .map_err(|_| "PostgreSQL did not start within a minute".to_owned())
    }

    /// Stops the server as an administrator would, open sessions included, and starts it again.
    pub async fn restart(&self) -> Result<()> {
        let before = self.pid()?;
        let mark = self.folder.join("restart");
        std::fs::write(&mark, "").map_err(|error| cannot("write", &mark, &error))?;
        nix::sys::signal::kill(before, Signal::SIGINT)
            .map_err(|error| format!("cannot stop PostgreSQL: {error}"))?;
        let restarted = async {
            while self.pid().ok().is_none_or(|pid| pid == before) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(START_TIMEOUT, restarted)
            .await
            .map_err(|_| "PostgreSQL did not restart within a minute".to_owned())?;
        self.wait_until_ready().await
    }

    /// The server's process id, from its own file.
    fn pid(&self) -> Result<Pid> {
        let path = self.folder.join("data/postmaster.pid");
        let text = std::fs::read_to_string(&path).map_err(|error| cannot("read", &path, &error))?;
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        pid.map(Pid::from_raw).ok_or_else(|| format!("{} contains no process id", path.display()))
    }

    /// Makes the server refuse writes in open sessions. New sessions of this database start with
    /// `default_transaction_read_only` set to `new`. `None` resets both.
    pub async fn set_read_only(&self, database: &str, new: Option<&str>) -> Result<()> {
        let admin = self.superuser("postgres").await?;
        let default = "default_transaction_read_only";
        let statements = match new {
            Some(new) => vec![
                format!("ALTER DATABASE {database} SET {default} = {new}"),
                format!("ALTER SYSTEM SET {default} = on"),
            ],
            None => vec![
                format!("ALTER DATABASE {database} RESET {default}"),
                format!("ALTER SYSTEM RESET {default}"),
            ],
        };
        let mut all = vec![format!("SET {default} = off")];
        all.extend(statements);
        all.push("SELECT pg_reload_conf()".into());
        for statement in all {
            admin
                .batch_execute(&statement)
                .await
                .map_err(|error| format!("PostgreSQL refused {statement}: {error}"))?;
        }
        // The postmaster reads the file first, then signals every session.
        let expected = if new.is_some() { "on" } else { "off" };
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
    pub async fn stop(mut self) -> Result<()> {
        self.lifeline = None;
        let stopped = timeout(STOP_TIMEOUT, self.supervisor.wait()).await;
        if stopped.is_err() {
            return Err(
                "PostgreSQL did not stop within 20 seconds; its processes are still running".into(),
            );
        }
        match std::fs::remove_dir_all(&self.folder) {
            // As root, the server's user could clear the folder and not remove it from its parent.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(cannot("remove", &self.folder, &error))
            }
            _ => Ok(()),
        }
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

/// The user that the server runs as when this process is root.
fn owner() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok(Some(user));
        }
    }
    Err("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as"
        .into())
}

/// A program of PostgreSQL's without libpq's variables: a sourced environment file, for example, would
/// send it to another server.
fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
}

/// A program that runs as the server's user.
fn command(path: &Path, owner: Option<&User>) -> Command {
    let mut command = program(path);
    // Its own process group: Ctrl-C reaches this process, which then stops the server in order.
    command.process_group(0).current_dir("/");
    if let Some(user) = owner {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// `parent/postgres`, or a temporary folder if the socket's path would be too long there or the
/// server's user cannot reach it.
fn cluster_folder(parent: &Path, owner: Option<&User>) -> Result<PathBuf> {
    let preferred = parent.join("postgres");
    let fits = preferred.join(SOCKET).as_os_str().len() <= LONGEST_SOCKET;
    let folder = if fits && owner.is_none_or(|user| can_reach(parent, user)) {
        match std::fs::remove_dir_all(&preferred) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("clear", &preferred, &error));
            }
            _ => {}
        }
        std::fs::create_dir(&preferred).map_err(|error| cannot("create", &preferred, &error))?;
        preferred
    } else {
        tempfile::Builder::new()
            .prefix("rds-local-")
            .tempdir_in("/tmp")
            .map_err(|error| cannot("create a folder in", Path::new("/tmp"), &error))?
            .keep()
    };
    give(&folder, owner, 0o700)?;
    Ok(folder)
}

fn can_reach(folder: &Path, user: &User) -> bool {
    std::process::Command::new("/bin/sh")
        .args(["-c", "test -x \"$1\"", "sh"])
        .arg(folder)
        .current_dir("/")
        .uid(user.uid.as_raw())
        .gid(user.gid.as_raw())
        .status()
        .is_ok_and(|status| status.success())
}

fn give(path: &Path, owner: Option<&User>, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| cannot("protect", path, &error))?;
    if let Some(user) = owner {
        let (uid, gid): (Uid, Gid) = (user.uid, user.gid);
        chown(path, Some(uid), Some(gid))
            .map_err(|error| format!("cannot give {} to {}: {error}", path.display(), user.name))?;
    }
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
