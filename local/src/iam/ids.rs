//! Numbers of accounts, ids of principals, and secrets.

use sha2::{Digest, Sha256};

use crate::Result;

/// Checks that an account is a number of 12 digits.
pub(crate) fn check_account(account: &str) -> Result<()> {
    if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(format!("the account {account:?} is not a number of 12 digits"))
}

/// Letters and digits that nobody can guess.
pub(crate) fn random(length: usize) -> String {
    // fastrand is seeded from the OS; these secrets guard demo data on one's own machine.
    (0..length).map(|_| fastrand::alphanumeric()).collect()
}

/// The end of a principal's unique id: the same for the same ARN.
pub(super) fn id_of(arn: &str) -> String {
    let hash = Sha256::digest(arn);
    hash.iter().take(8).map(|byte| format!("{byte:02X}")).collect()
}
