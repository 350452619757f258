//! What `serve` says to whoever started it: who can reach it, and that clients can connect.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde_json::json;

use crate::Result;
use crate::database::Loaded;
use crate::dump::Adapted;

/// Why an address that other machines reach needs a flag of its own.
const RISK: &str = "other machines can connect, and STS sends keys without TLS: treat every key \
                    of this server as known to everyone";

/// Refuses an address that other machines can reach, unless that is intended. Returns a warning
/// to print when it is.
///
/// # Errors
///
/// If the address is not a loopback address and `public` is not set.
pub fn check_listen(address: IpAddr, public: bool) -> Result<Option<String>> {
    match (address.to_canonical().is_loopback(), public) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(format!("listening on {address}: {RISK}"))),
        (false, false) => Err(format!(
            "--listen {address} is refused: {RISK}. Add --public if you want that, for a container \
             for example"
        )),
    }
}

/// What was added to a schema's script and left out of it; and what to do about schemas whose tables no user of a
/// function may read, here as on RDS.
pub fn warnings(schemas: &str, loaded: &Loaded) -> Vec<String> {
    let Loaded { adapted: Adapted { roles, extensions }, ungranted } = loaded;
    let names = ungranted.join(",");
    let warnings = [
        (roles, format!("created the roles that the script names: {}", roles.join(", "))),
        (
            extensions,
            format!(
                "skipped the extensions {}, which are not installed here: what calls them fails",
                extensions.join(", ")
            ),
        ),
        (
            ungranted,
            format!(
                "nothing is granted on the tables of {}: add --schemas {schemas},{names}, and on RDS run \
                 sql/roles.sql with -v schemas={schemas},{names}",
                ungranted.join(" and ")
            ),
        ),
    ];
    let said = warnings.into_iter().filter(|(names, _)| !names.is_empty());
    said.map(|(_, warning)| warning).collect()
}

/// The ready line for a person.
pub fn for_people(address: SocketAddr, dir: &Path) -> String {
    format!("rds-local: ready on {address}; run:  . {}", dir.join("env").display())
}

/// The ready line for a program (`--json`): one JSON object, with the variables of `DIR/env`. It holds
/// the keys, so it belongs in no log.
///
/// # Errors
///
/// If the folder is gone.
pub fn for_programs(
    address: SocketAddr,
    dir: &Path,
    mut variables: BTreeMap<String, String>,
) -> Result<String> {
    let dir = std::fs::canonicalize(dir)
        .map_err(|error| format!("cannot use {}: {error}", dir.display()))?;
    variables.insert("RDS_LOCAL_DIR".into(), dir.display().to_string());
    let line = json!({
        "event": "ready",
        "address": address.to_string(),
        "env_file": dir.join("env").display().to_string(),
        "variables": variables,
    });
    Ok(line.to_string())
}

/// In the ready line's place, for a program that waits for it: why the server did not start, or has ended.
pub fn failed(reason: &str) -> String {
    json!({ "event": "failed", "reason": reason }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_address_needs_no_flag() {
        for (address, public, wanted) in [
            ("127.0.0.1", false, Ok(false)),
            ("127.8.9.10", true, Ok(false)),
            ("::1", false, Ok(false)),
            ("0.0.0.0", true, Ok(true)),
            ("0.0.0.0", false, Err(())),
            ("::", false, Err(())),
            ("10.0.0.5", false, Err(())),
            ("::ffff:127.0.0.1", false, Ok(false)),
        ] {
            let told = check_listen(address.parse().unwrap(), public);
            let warned = told.as_ref().map(Option::is_some).map_err(|_| ());
            assert_eq!(warned, wanted, "{address} {public}");
            let told = told.unwrap_or_else(Some);
            assert!(told.is_none_or(|text| text.contains("known to everyone")));
        }
    }
}
