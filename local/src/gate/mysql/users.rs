//! Users of Aurora's plugin, in SQL for MariaDB, which has no such plugin: they get a password that only the
//! gate knows.

use super::handshake::native_hash;
use crate::gate::settings::Secret;
use crate::gate::sql::{Dialect, Token, tokens};

/// The plugin of Aurora's users (<https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html>).
const PLUGIN: &[u8] = b"AWSAuthenticationPlugin";
/// The text after the plugin's name, as a string or in hexadecimal digits.
const OPTION: [&[u8]; 2] = [b"RDS", b"524453"];

/// SQL with `IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'` replaced, in each spelling that MySQL takes, and
/// with `REQUIRE SSL` removed, which the gate fulfils. `None` if it has neither.
///
/// Both are reserved for statements about users, so it does not matter where in a text they stand.
pub(super) fn for_mariadb(sql: &[u8], dialect: Dialect, secret: &Secret) -> Option<Vec<u8>> {
    if !holds(sql, PLUGIN) && !holds(sql, b"REQUIRE") {
        return None;
    }
    let tokens: Vec<_> = tokens(sql, dialect).collect();
    let mut replaced = Vec::with_capacity(sql.len());
    let (mut copied, mut at) = (0, 0);
    while at < tokens.len() {
        let rest = &tokens[at..];
        let (length, by) = if let Some(length) = plugin(rest, sql) {
            (length, format!("IDENTIFIED BY PASSWORD '{}'", native_hash(&secret.0)))
        } else if matches!(rest, [require, ssl, ..] if require.is("REQUIRE") && ssl.is("SSL")) {
            (2, "REQUIRE NONE".to_owned())
        } else {
            at += 1;
            continue;
        };
        let (from, to) = (rest[0].place().start, rest[length - 1].place().end);
        replaced.extend_from_slice(&sql[copied..from]);
        replaced.extend_from_slice(by.as_bytes());
        // Lines keep their numbers, which messages name.
        replaced.extend(sql[from..to].iter().filter(|byte| **byte == b'\n'));
        (copied, at) = (to, at + length);
    }
    replaced.extend_from_slice(&sql[copied..]);
    (copied > 0).then_some(replaced)
}

/// The same, for a script, which begins with the server's own settings.
pub(crate) fn script_for_mariadb(script: &str, secret: &Secret) -> Option<Vec<u8>> {
    for_mariadb(script.as_bytes(), Dialect::Mysql { escapes: true }, secret)
}

/// Whether a text has this word, in any case, maybe in a string or comment.
fn holds(sql: &[u8], word: &[u8]) -> bool {
    sql.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// How many tokens name the plugin here, and what it is to do. `SHOW CREATE USER` prints the name between
/// quotes, and `RDS` in hexadecimal digits with print_identified_with_as_hex.
fn plugin(tokens: &[Token<'_>], sql: &[u8]) -> Option<usize> {
    let [identified, with, plugin, rest @ ..] = tokens else { return None };
    let is_plugin = identified.is("IDENTIFIED")
        && with.is_any(&["WITH", "VIA"])
        && plugin.text().eq_ignore_ascii_case(PLUGIN);
    let is_option = |token: &Token<'_>| {
        let hexadecimal = sql[token.place()].strip_prefix(b"0x");
        let text = hexadecimal.unwrap_or(token.text());
        token.is_literal() && OPTION.iter().any(|option| text.eq_ignore_ascii_case(option))
    };
    match rest {
        _ if !is_plugin => None,
        [by, option, ..] if by.is_any(&["AS", "BY", "USING"]) => is_option(option).then_some(5),
        _ => Some(3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(sql: &str) -> Option<String> {
        let secret = Secret("password".into());
        let replaced = for_mariadb(sql.as_bytes(), Dialect::Mysql { escapes: true }, &secret)?;
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
            ("CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin", "CREATE USER a X"),
            ("CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin, b", "CREATE USER a X, b"),
            (
                "CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin AS 0x524453",
                "CREATE USER a X",
            ),
            (
                "CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin AS x'524453'",
                "CREATE USER a X",
            ),
            (
                "SET STATEMENT a = 1 FOR CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'",
                "SET STATEMENT a = 1 FOR CREATE USER a X",
            ),
            (
                "BEGIN NOT ATOMIC CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'; END",
                "BEGIN NOT ATOMIC CREATE USER a X; END",
            ),
        ] {
            assert_eq!(replaced(sql).as_deref(), Some(expected), "{sql}");
        }
        for sql in [
            "CREATE USER a IDENTIFIED WITH mysql_native_password AS '*1'",
            "CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin AS 'other'",
            "CREATE USER a IDENTIFIED WITH AWSAuthenticationPlugin AS RDS",
            "CREATE USER a IDENTIFIED BY 'AWSAuthenticationPlugin AS'",
            "CREATE TABLE t (a varchar(99) DEFAULT 'IDENTIFIED WITH AWSAuthenticationPlugin AS RDS')",
            "SELECT 'CREATE', identified, with, AWSAuthenticationPlugin AS 'RDS'",
            "",
        ] {
            assert_eq!(replaced(sql), None, "{sql}");
        }
    }

    /// A string of one mode is SQL in the other.
    #[test]
    fn a_backslash_escapes_unless_the_session_says_otherwise() {
        let secret = Secret("password".into());
        let sql = br"SELECT 'a\', ' IDENTIFIED WITH AWSAuthenticationPlugin AS ', 'RDS', '\'";
        assert!(for_mariadb(sql, Dialect::Mysql { escapes: false }, &secret).is_none());
        let sql = br"SELECT 'a\' IDENTIFIED WITH AWSAuthenticationPlugin', 'b'";
        assert!(for_mariadb(sql, Dialect::Mysql { escapes: true }, &secret).is_none());
    }
}
