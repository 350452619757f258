//! The gate's decisions and their reasons. Clients never see a reason, as on RDS.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::{Result, sigv4};

/// Records kept in memory, for tests and the demo.
const KEPT: usize = 10_000;

/// One decision about a login.
#[derive(Clone, Debug)]
pub struct Record {
    /// The database user.
    pub user: String,
    /// The ARN of the principal that signed the token, or the reason of the refusal.
    pub outcome: Result<String>,
    /// The TLS version, such as `TLSv1.3`.
    pub tls: Option<String>,
}

/// The log of the gate, or of STS: a file, standard error if wanted, and the last records.
#[derive(Debug)]
pub struct Log {
    file: Mutex<File>,
    /// Whose log it is, from the file's name.
    who: String,
    echo: bool,
    records: Mutex<VecDeque<Record>>,
}

impl Log {
    /// Starts an empty log file.
    pub fn create(path: &Path, echo: bool) -> Result<Self> {
        let file = File::create(path)
            .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        let who = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { file: Mutex::new(file), who, echo, records: Mutex::default() })
    }

    /// The last decisions, oldest first.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn login(&self, record: Record, now: SystemTime) {
        let tls = record.tls.as_deref().unwrap_or("none");
        let user = &record.user;
        self.line(
            &match &record.outcome {
                Ok(principal) => {
                    format!("login accepted user={user:?} principal={principal} tls={tls}")
                }
                Err(reason) => format!("login refused user={user:?} reason={reason:?} tls={tls}"),
            },
            now,
        );
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() == KEPT {
            records.pop_front();
        }
        records.push_back(record);
    }

    pub(crate) fn line(&self, text: &str, now: SystemTime) {
        let line = format!("{} {}: {text}\n", sigv4::iso8601(now), self.who);
        // A full disk must not stop logins.
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        if self.echo {
            // Nor must a program that does not read standard error any more.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}
