//! A database server as a private child process: its user, its folder, and its end.
//!
//! Database servers refuse to run as root, so as root they run as another user. A small shell supervises
//! the server, and stops it when this process ends in any way.

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

use crate::Result;

/// How long a server may take to start.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// A socket's path may have 107 bytes on Linux, 103 on macOS.
const LONGEST_SOCKET: usize = 103;

/// Runs the server until it ends or standard input closes, which happens when this process ends in
/// any way, `kill -9` included. Then removes the server's folder. Starts the server again if the
/// folder has a file `restart` when the server ends.
pub(crate) const SUPERVISOR: &str = r#"
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

/// What is to run.
pub(crate) struct Program<'a> {
    /// Its name in messages.
    pub(crate) name: &'static str,
    /// Its users, the first that exists.
    pub(crate) users: [&'static str; 2],
    /// Variables that begin so would mislead it.
    pub(crate) variables: &'static str,
    /// The folder for its folder and its log.
    pub(crate) parent: &'a Path,
    /// The name of its folder, and of its log.
    pub(crate) folder: &'static str,
    /// Its socket's name in that folder.
    pub(crate) socket: &'static str,
}

/// A prepared folder, and the user whom it belongs to.
#[derive(Debug)]
pub(crate) struct Home {
    name: &'static str,
    variables: &'static str,
    owner: Option<User>,
    /// The server's own folder.
    pub(crate) folder: PathBuf,
    /// The server's log, beside that folder.
    pub(crate) log: PathBuf,
}

impl Home {
    /// Makes the folder: `parent/NAME`, or a temporary one if the socket's path would be too long there
    /// or the server's user cannot reach it.
    pub(crate) fn prepare(program: &Program<'_>) -> Result<Self> {
        let owner = owner(program)?;
        let folder = make_folder(program, owner.as_ref())?;
        let log = program.parent.join(format!("{}.log", program.folder));
        Ok(Self { name: program.name, variables: program.variables, owner, folder, log })
    }

    /// Gives a private file to the server's user.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        give(path, self.owner.as_ref(), 0o600)
    }

    /// Another private folder of the server's user, which the caller removes.
    pub(crate) fn folder_in_tmp(&self) -> Result<PathBuf> {
        folder_in_tmp(self.owner.as_ref())
    }

    /// A command that runs as the server's user.
    pub(crate) fn command(&self, path: &Path) -> Command {
        let mut command = without_variables(path, self.variables);
        // Its own process group: Ctrl-C reaches this process, which then stops the server in order.
        command.process_group(0).current_dir("/");
        if let Some(user) = &self.owner {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Runs a command that prepares the server's files.
    pub(crate) async fn run(&self, mut command: Command, what: &str) -> Result<()> {
        command.kill_on_drop(true).stdin(Stdio::null());
        let made = command.output().await.map_err(|error| format!("cannot run {what}: {error}"))?;
        if made.status.success() {
            return Ok(());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
        Err(format!(
            "{what} could not make a server in {}: {}",
            self.folder.display(),
            String::from_utf8_lossy(&made.stderr).trim()
        ))
    }

    /// Starts the server under the supervisor.
    pub(crate) fn start(self, server: &Path, arguments: &[String]) -> Result<Process> {
        let log = std::fs::File::create(&self.log)
            .map_err(|error| cannot("create", &self.log, &error))?;
        let mut supervisor = self.command(Path::new("/bin/sh"));
        supervisor
            .args(["-c", SUPERVISOR, "rds-local-server"])
            .arg(&self.folder)
            .arg(server)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        let mut supervisor =
            supervisor.spawn().map_err(|error| format!("cannot start {}: {error}", self.name))?;
        let lifeline = supervisor.stdin.take();
        Ok(Process { home: self, supervisor, lifeline })
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its folder and user.
    pub(crate) home: Home,
    supervisor: Child,
    lifeline: Option<ChildStdin>,
}

impl Process {
    /// Returns when the server has ended.
    pub(crate) async fn ended(&mut self) {
        let _ = self.supervisor.wait().await;
    }

    /// Bounds the wait for a server that starts.
    pub(crate) async fn within_start_timeout(&self, ready: impl Future<Output = ()>) -> Result<()> {
        timeout(START_TIMEOUT, ready)
            .await
            .map_err(|_| format!("{} did not start within a minute", self.home.name))
    }

    /// Stops the server with this signal, and returns when it has been started again.
    pub(crate) async fn restart(&self, pid_file: &Path, signal: Signal) -> Result<()> {
        let name = self.home.name;
        let before = pid(pid_file)?;
        let mark = self.home.folder.join("restart");
        std::fs::write(&mark, "").map_err(|error| cannot("write", &mark, &error))?;
        nix::sys::signal::kill(before, signal)
            .map_err(|error| format!("cannot stop {name}: {error}"))?;
        let restarted = async {
            while pid(pid_file).ok().is_none_or(|pid| pid == before) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(START_TIMEOUT, restarted)
            .await
            .map_err(|_| format!("{name} did not restart within a minute"))
    }

    /// Stops the server and removes its folder.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.lifeline = None;
        let stopped = timeout(STOP_TIMEOUT, self.supervisor.wait()).await;
        if stopped.is_err() {
            return Err(format!(
                "{} did not stop within 20 seconds; its processes are still running",
                self.home.name
            ));
        }
        match std::fs::remove_dir_all(&self.home.folder) {
            // As root, the server's user could clear the folder and not remove it from its parent.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(cannot("remove", &self.home.folder, &error))
            }
            _ => Ok(()),
        }
    }
}

/// The server's process id, from its own file.
fn pid(path: &Path) -> Result<Pid> {
    let text = std::fs::read_to_string(path).map_err(|error| cannot("read", path, &error))?;
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    pid.map(Pid::from_raw).ok_or_else(|| format!("{} contains no process id", path.display()))
}

/// The user that the server runs as when this process is root.
fn owner(program: &Program<'_>) -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in program.users {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok(Some(user));
        }
    }
    Err(format!(
        "{} refuses to run as root, and there is no user {} to run it as",
        program.name,
        program.users.join(" or ")
    ))
}

/// A command without the variables that begin so: a sourced environment file, for example, would
/// send a client to another server.
pub(crate) fn without_variables(path: &Path, prefix: &str) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(prefix) {
            command.env_remove(name);
        }
    }
    command
}

fn make_folder(program: &Program<'_>, owner: Option<&User>) -> Result<PathBuf> {
    let preferred = program.parent.join(program.folder);
    let fits = preferred.join(program.socket).as_os_str().len() <= LONGEST_SOCKET;
    let folder = if fits && owner.is_none_or(|user| can_reach(program.parent, user)) {
        match std::fs::remove_dir_all(&preferred) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("clear", &preferred, &error));
            }
            _ => {}
        }
        std::fs::create_dir(&preferred).map_err(|error| cannot("create", &preferred, &error))?;
        preferred
    } else {
        return folder_in_tmp(owner);
    };
    give(&folder, owner, 0o700)?;
    Ok(folder)
}

fn folder_in_tmp(owner: Option<&User>) -> Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix("rds-local-")
        .tempdir_in("/tmp")
        .map_err(|error| cannot("create a folder in", Path::new("/tmp"), &error))?
        .keep();
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

pub(crate) fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
