//! AWS credentials: where they come from, and a cache in front. Nothing here knows about databases.
//!
//! | type | what it does |
//! |---|---|
//! | [`EnvironmentProvider`] | reads Lambda's environment variables |
//! | `RawProvider` (feature `role`) | the same, else the SDK's default chain; and a role assumed with those |
//! | [`CachingProvider`] | one load at a time, ahead of expiry, in front of any provider |

mod cache;
mod environment;
mod explain;
mod failure;
mod keys;
#[cfg(feature = "role")]
mod role;
#[cfg(feature = "role")]
mod sts_error;

pub use cache::{
    CachingProvider, FAILURE_BACKOFF, REFRESH_BUFFER, RENEWAL_BACKOFF, RENEWAL_TIMEOUT,
};
pub use environment::EnvironmentProvider;
pub use explain::unavailable;
pub use failure::Failure;
pub use keys::{KEY_VARIABLES, KeyFlaw, KeyKind, key_flaws};
#[cfg(feature = "role")]
pub use role::RawProvider;

/// A role to assume before signing (`DB_ROLE_ARN` and its companions).
#[derive(Clone, PartialEq, Eq)]
pub struct Role {
    /// `arn:<partition>:iam::<account>:role/<name>`
    pub arn: String,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// The role session's name, as CloudTrail shows it.
    pub session_name: String,
}

/// Shows no external id: it is a shared secret with the owner of the role.
impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Role")
            .field("arn", &self.arn)
            .field("external_id", &self.external_id.as_ref().map(|_| "<hidden>"))
            .field("session_name", &self.session_name)
            .finish()
    }
}

impl Role {
    /// A role without an external id. Characters that STS refuses in a session's name become `-`.
    pub fn new(arn: impl Into<String>, session_name: &str) -> Self {
        Self { arn: arn.into(), external_id: None, session_name: role_session_name(session_name) }
    }

    /// Adds the external id that the role's trust policy asks for.
    #[must_use]
    pub fn external_id(mut self, external_id: impl Into<String>) -> Self {
        self.external_id = Some(external_id.into());
        self
    }
}

/// Makes a role session name that STS accepts, `[\w+=,.@-]{2,64}`, out of any text
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
pub(crate) fn role_session_name(name: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let mut clean: String = name.chars().map(|c| if legal(c) { c } else { '-' }).take(64).collect();
    while clean.len() < 2 {
        clean.push('-');
    }
    clean
}
