//! Processes that end together, however the first one ends, `kill -9` included: each waits for the end of a pipe
//! whose other end only the process before it holds. Linux's `PR_SET_PDEATHSIG` would not do: it strikes when the
//! thread ends that started the child, and macOS has none.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::oneshot;

use crate::Result;

/// Leads a process group, and kills it when standard input closes. While the leader lives, no other group can get
/// its number. A group whose parent has ended gets SIGHUP if a member is stopped.
const KILL_GROUP: &str = "trap '' INT HUP TERM; read -r _; kill -KILL 0";

/// Removes its arguments when standard input closes. A server may still be ending, and write into its folder.
const REMOVE: &str = r#"trap '' INT HUP TERM
cat >/dev/null
for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$@" 2>/dev/null && exit; sleep 1; done"#;

/// A process group for children. It is killed when this value is dropped, and when this process ends in any way.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Child,
    id: i32,
}

impl Group {
    /// Starts the group's leader.
    ///
    /// # Errors
    /// If `/bin/sh` does not start.
    pub(crate) fn start() -> Result<Self> {
        let leader = shell(KILL_GROUP, "rds-local-group", &[])?;
        let id = i32::try_from(leader.id()).map_err(|error| error.to_string())?;
        Ok(Self { leader, id })
    }

    /// The number for a child's `Command::process_group`. Ctrl-C does not reach the group.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.id), Signal::SIGKILL);
        let _ = self.leader.wait();
    }
}

/// Removes folders and files when this value is dropped, and when this process ends in any way.
#[derive(Debug)]
pub(crate) struct Removal {
    _lifeline: Option<ChildStdin>,
}

impl Removal {
    /// Of these.
    ///
    /// # Errors
    /// If `/bin/sh` does not start.
    pub(crate) fn of(paths: &[PathBuf]) -> Result<Self> {
        let mut child = shell(REMOVE, "rds-local-removal", paths)?;
        Ok(Self { _lifeline: child.stdin.take() })
    }
}

/// A shell in a process group of its own, so that Ctrl-C does not end it before it has done its work.
fn shell(script: &str, name: &str, arguments: &[PathBuf]) -> Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", script, name])
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot start /bin/sh: {error}"))
}

/// Returns when standard input ends, if the program that started this one holds its other end: a pipe, or a socket,
/// as Node makes one. Never returns for a terminal, a file or `/dev/null`. Reads from this call on.
pub fn parent_ended() -> impl Future<Output = ()> {
    let input = std::io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let watched = input.ok().filter(|input| {
        let kind = input.metadata().map(|metadata| metadata.file_type());
        kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket())
    });
    let ended = watched.map(|mut input| {
        let (ended, receiver) = oneshot::channel::<()>();
        // Blocks in a thread that ends with the process.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut input, &mut std::io::sink());
            drop(ended);
        });
        receiver
    });
    async {
        match ended {
            // The sender is dropped at the end.
            Some(ended) => drop(ended.await),
            None => std::future::pending().await,
        }
    }
}
