//! The members of `rds_iam`, as PostgreSQL itself knows them; one connection is kept for the question.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::Client;

use crate::postgres::superuser;

/// Membership directly or through other roles, for logins only. Superusers count as members of
/// everything in `pg_has_role`, but not in `pg_hba.conf`, and so not here.
const IS_MEMBER: &str = "
    WITH RECURSIVE member(oid) AS (
        SELECT oid FROM pg_roles WHERE rolname = $1
        UNION SELECT roleid FROM pg_auth_members a JOIN member m ON a.member = m.oid)
    SELECT 1 FROM member JOIN pg_roles USING (oid) WHERE rolname = 'rds_iam'";

/// Reads roles as PostgreSQL's superuser.
#[derive(Debug)]
pub(super) struct Members {
    socket_folder: PathBuf,
    client: Mutex<Option<Arc<Client>>>,
}

impl Members {
    pub(super) fn new(socket_folder: PathBuf) -> Self {
        Self { socket_folder, client: Mutex::default() }
    }

    /// Whether this user logs in with a token. A name that is no text is nobody's.
    pub(super) async fn contains(&self, user: &[u8]) -> io::Result<bool> {
        let Ok(user) = std::str::from_utf8(user) else { return Ok(false) };
        let client = self.client().await?;
        let row = client.query_opt(IS_MEMBER, &[&user]).await.map_err(io::Error::other)?;
        Ok(row.is_some())
    }

    async fn client(&self) -> io::Result<Arc<Client>> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let client = superuser(&self.socket_folder, "postgres").await.map_err(io::Error::other)?;
        Ok(kept.insert(Arc::new(client)).clone())
    }
}
