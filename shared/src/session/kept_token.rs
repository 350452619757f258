//! The token of the last login, which the next one takes while it is fresh.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;

use crate::token::AuthToken;

/// A token with less life left is not used again.
const LIFE_TO_REUSE: Duration = Duration::from_secs(300);

/// The token of the last login. RDS does not throttle a login with a token that is in use already, so
/// a reconnect takes the same one.
pub(super) struct KeptToken {
    pub(super) token: AuthToken,
    pub(super) access_key_id: String,
    pub(super) signed_at: SystemTime,
}

impl KeptToken {
    /// Whether a login with these credentials can take it.
    pub(super) fn is_good(&self, credentials: &Credentials, now: SystemTime) -> bool {
        self.access_key_id == credentials.access_key_id()
            && self.signed_at <= now
            && now + LIFE_TO_REUSE < self.token.expires_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenSigner;

    #[test]
    fn a_token_is_kept_while_it_is_fresh_and_its_credentials_are_the_same() {
        let signer = TokenSigner {
            host: "db.c1a2b3.us-east-1.rds.amazonaws.com".into(),
            port: 5432,
            region: "us-east-1".into(),
            user: "u".into(),
        };
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let credentials = |id: &str, life: u64| {
            let expiry = start + Duration::from_secs(life);
            Credentials::new(id, "secret", None, Some(expiry), "test")
        };
        let kept = |life: u64| {
            let token = signer.sign(&credentials("A", life), start).unwrap();
            KeptToken { token, access_key_id: "A".into(), signed_at: start }
        };
        let good = |kept: &KeptToken, id: &str, after: u64| {
            kept.is_good(&credentials(id, 3600), start + Duration::from_secs(after))
        };
        assert!(good(&kept(3600), "A", 0) && good(&kept(3600), "A", 599));
        assert!(!good(&kept(3600), "A", 600), "it has five minutes left");
        assert!(!good(&kept(3600), "B", 0), "the credentials were renewed");
        assert!(!good(&kept(310), "A", 11), "it dies with its credentials");
        let before = start - Duration::from_secs(1);
        assert!(!kept(3600).is_good(&credentials("A", 3600), before), "the clock went back");
    }
}
