//! Users of Aurora's plugin, in SQL for MariaDB, which has no such plugin: they get a password that only the
//! gate knows.

use super::handshake::native_hash;
use super::words::{Token, first_words, tokens};
use crate::gate::Secret;

/// What Aurora's users are created with (<https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html>).
const PLUGIN: &str = "AWSAuthenticationPlugin";
/// Statements that make users, or change how they log in.
const OF_USERS: [&str; 3] = ["CREATE", "ALTER", "GRANT"];

/// SQL with `IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'` replaced, in each spelling that MySQL takes, and
/// with `REQUIRE SSL` removed, which the gate fulfils. `None` if it has neither.
pub(crate) fn for_mariadb(sql: &[u8], secret: &Secret) -> Option<Vec<u8>> {
    if !first_words(sql).iter().any(|word| OF_USERS.contains(&word.as_str())) {
        return None;
    }
    let tokens = tokens(sql);
    let mut replaced = Vec::with_capacity(sql.len());
    let (mut copied, mut at) = (0, 0);
    while at < tokens.len() {
        let rest = &tokens[at..];
        let (length, by) = if is_plugin(rest) {
            (5, format!("IDENTIFIED BY PASSWORD '{}'", native_hash(&secret.0)))
        } else if matches!(rest, [require, ssl, ..] if require.is_word("REQUIRE") && ssl.is_word("SSL"))
        {
            (2, "REQUIRE NONE".to_owned())
        } else {
            at += 1;
            continue;
        };
        let (from, to) = (rest[0].place.start, rest[length - 1].place.end);
        replaced.extend_from_slice(&sql[copied..from]);
        replaced.extend_from_slice(by.as_bytes());
        // Lines keep their numbers, which messages name.
        replaced.extend(sql[from..to].iter().filter(|byte| **byte == b'\n'));
        (copied, at) = (to, at + length);
    }
    replaced.extend_from_slice(&sql[copied..]);
    (copied > 0).then_some(replaced)
}

/// `SHOW CREATE USER` prints the plugin's name between quotes.
fn is_plugin(tokens: &[Token<'_>]) -> bool {
    let [identified, with, plugin, by, rds, ..] = tokens else { return false };
    identified.is_word("IDENTIFIED")
        && ["WITH", "VIA"].iter().any(|word| with.is_word(word))
        && plugin.is(PLUGIN)
        && ["AS", "BY", "USING"].iter().any(|word| by.is_word(word))
        && rds.is_quoted("RDS")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(sql: &str) -> Option<String> {
        let secret = Secret("password".into());
        let replaced = for_mariadb(sql.as_bytes(), &secret)?;
        // SELECT PASSWORD('password')
        let password = "IDENTIFIED BY PASSWORD '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'";
        Some(String::from_utf8(replaced).unwrap().replace(password, "X"))
    }

    #[test]
    fn every_spelling_of_the_plugin_becomes_a_password() {
        for (sql, expected) in [
            ("CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS';", "CREATE USER a X;"),
            ("create user a identified with 'AWSAuthenticationPlugin' as 'RDS'", "create user a X"),
            ("CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin AS \"RDS\"", "CREATE USER a X"),
            ("CREATE USER a IDENTIFIED WITH `AWSAuthenticationPlugin` AS 'RDS'", "CREATE USER a X"),
            (
                "CREATE USER a IDENTIFIED WITH \"AWSAuthenticationPlugin\" BY 'RDS'",
                "CREATE USER a X",
            ),
            ("ALTER USER a IDENTIFIED VIA AWSAuthenticationPlugin USING 'rds'", "ALTER USER a X"),
            (
                "/* x */ CREATE USER a IDENTIFIED /* y */ WITH\nawsauthenticationplugin AS 'RDS', b",
                "/* x */ CREATE USER a X\n, b",
            ),
            (
                "USE d; GRANT SELECT ON * TO a IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' REQUIRE SSL",
                "USE d; GRANT SELECT ON * TO a X REQUIRE NONE",
            ),
            ("ALTER USER a REQUIRE SSL", "ALTER USER a REQUIRE NONE"),
        ] {
            assert_eq!(replaced(sql).as_deref(), Some(expected), "{sql}");
        }
        for sql in [
            "CREATE USER a IDENTIFIED WITH mysql_native_password AS '*1'",
            "CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin",
            "CREATE USER a IDENTIFIED BY 'AWSAuthenticationPlugin AS'",
            "CREATE TABLE t (a varchar(99) DEFAULT 'IDENTIFIED WITH AWSAuthenticationPlugin AS RDS')",
            "SELECT 'CREATE', identified, with, AWSAuthenticationPlugin AS 'RDS'",
            "",
        ] {
            assert_eq!(replaced(sql), None, "{sql}");
        }
    }
}
