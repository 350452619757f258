//! What a script of pg_dump's takes for granted on RDS: the roles that own things and hold rights, and the
//! extensions that only RDS has. A line that merely looks like such a statement costs a role without a login.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::Result;
use crate::postgres::refused;

/// Names that are no roles.
const NO_ROLES: [&str; 6] =
    ["public", "current_user", "current_role", "session_user", "none", "default"];
/// A setting that pg_dump 17 writes, and servers before 17 do not know.
const NEW_SETTING: &[u8] = b"SET transaction_timeout = 0;";

/// What was added for a script, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adapted {
    /// The roles that were created because the script names them.
    pub roles: Vec<String>,
    /// The extensions that this server does not have.
    pub extensions: Vec<String>,
}

/// Creates the roles that the script names and neither it nor the server has: without a login, except for the
/// user of the environment file. Returns the script without what this server cannot run, if that is anything; the
/// numbers of its lines stay.
pub(crate) async fn adapt(
    admin: &Client,
    script: &[u8],
    user: &str,
) -> Result<(Adapted, Option<Vec<u8>>)> {
    let named = Named::read(&String::from_utf8_lossy(script));
    let names = async |sql: &str| -> Result<BTreeSet<String>> {
        let rows = admin.query(sql, &[]).await.map_err(refused)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let existing = names("SELECT rolname::text FROM pg_roles").await?;
    let available = names("SELECT name::text FROM pg_available_extensions").await?;
    let roles: Vec<String> = named.roles.difference(&existing).cloned().collect();
    for role in &roles {
        let login = if role == user { "LOGIN" } else { "NOLOGIN" };
        let sql = format!("CREATE ROLE \"{}\" {login}", role.replace('"', "\"\""));
        admin.batch_execute(&sql).await.map_err(refused)?;
    }
    let extensions: Vec<String> = named.extensions.difference(&available).cloned().collect();
    let sql = "SELECT current_setting('server_version_num')::int < 170000";
    let old = admin.query_one(sql, &[]).await.map_err(refused)?.get(0);
    let rest = without(script, &extensions, old);
    Ok((Adapted { roles, extensions }, rest))
}

/// The script without the lines that create or describe these extensions, and without pg_dump's setting that an
/// old server does not know. `None` if nothing is left out.
fn without(script: &[u8], extensions: &[String], old: bool) -> Option<Vec<u8>> {
    let unwanted = |line: &[u8]| {
        if old && line.trim_ascii() == NEW_SETTING {
            return true;
        }
        // A line each, as pg_dump writes them.
        let begins = |with: &[u8]| {
            line.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        (begins(b"create extension") || begins(b"comment on extension"))
            && line.trim_ascii_end().ends_with(b";")
            && extension(&words(&String::from_utf8_lossy(line)))
                .is_some_and(|name| extensions.contains(&name))
    };
    let mut left_out = false;
    let mut rest = Vec::with_capacity(script.len());
    for line in script.split_inclusive(|byte| *byte == b'\n') {
        if unwanted(line) {
            left_out = true;
            rest.push(b'\n');
        } else {
            rest.extend(line);
        }
    }
    left_out.then_some(rest)
}

/// What a script names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    /// Roles that it does not create itself.
    roles: BTreeSet<String>,
    extensions: BTreeSet<String>,
}

impl Named {
    fn read(script: &str) -> Self {
        let (mut named, mut created) = (Self::default(), BTreeSet::new());
        let (mut statement, mut data) = (Vec::new(), false);
        for line in script.lines() {
            if data {
                data = line != "\\.";
                continue;
            }
            if line.starts_with('\\') {
                // psql's own commands end with their line.
                continue;
            }
            statement.extend(words(line));
            if !line.trim_end().ends_with(';') {
                continue;
            }
            let is = |at: usize, word: &str| statement.get(at).is_some_and(|found| found.is(word));
            data = is(0, "copy") && statement.iter().any(|word| word.is("stdin"));
            named.extensions.extend(extension(&statement));
            named.roles.extend(roles(&statement));
            // In a DO block too, which asks first whether the role exists.
            let role =
                |pair: &[Word]| ["role", "user", "group"].iter().any(|kind| pair[1].is(kind));
            let creates = statement.windows(3).filter(|w| w[0].is("create") && role(w));
            created.extend(creates.map(|w| w[2].text.clone()));
            statement.clear();
        }
        named.roles.retain(|role| {
            !created.contains(role)
                && !NO_ROLES.contains(&role.as_str())
                && !role.starts_with("pg_")
        });
        named
    }
}

/// A word, or a character that is in none.
#[derive(Debug)]
struct Word {
    text: String,
    quoted: bool,
}

impl Word {
    /// Whether it is this word of SQL.
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }
}

/// The words of a line, as the server reads names: those without quotes in small letters.
fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("--") {
            break;
        }
        let bare = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let (text, quoted, length) = match rest.strip_prefix('"').and_then(until_quote) {
            Some((text, length)) => (text, true, length + 1),
            None => {
                let length = rest.find(|c| !bare(c)).unwrap_or(rest.len()).max(first.len_utf8());
                (rest[..length].to_lowercase(), false, length)
            }
        };
        if quoted || !first.is_whitespace() {
            words.push(Word { text, quoted });
        }
        rest = &rest[length..];
    }
    words
}

/// The name before the closing quote, and the length with it.
fn until_quote(rest: &str) -> Option<(String, usize)> {
    let mut quotes = rest.match_indices('"').map(|(at, _)| at);
    loop {
        let end = quotes.next()?;
        if !rest[end + 1..].starts_with('"') {
            return Some((rest[..end].replace("\"\"", "\""), end + 1));
        }
        quotes.next();
    }
}

/// The extension that a statement creates or describes.
fn extension(statement: &[Word]) -> Option<String> {
    let first = statement.first()?;
    if !first.is("create") && !first.is("comment") {
        return None;
    }
    let at = statement.iter().position(|word| word.is("extension")).filter(|at| *at <= 2)?;
    let rest = &statement[at + 1..];
    let name =
        rest.iter().find(|word| !["if", "not", "exists"].iter().any(|skip| word.is(skip)))?;
    Some(name.text.clone())
}

/// The roles that a statement names.
fn roles(statement: &[Word]) -> Vec<String> {
    let Some(first) = statement.first() else { return Vec::new() };
    let find = |word: &str| statement.iter().rposition(|found| found.is(word));
    let pair = |a: &str, b: &str| statement.windows(2).position(|w| w[0].is(a) && w[1].is(b));
    let after = |at: Option<usize>| at.map(|at| list(&statement[at + 1..])).unwrap_or_default();
    let alters_rights = first.is("alter") && pair("default", "privileges") == Some(1);
    let mut roles = Vec::new();
    if first.is("set") || pair("create", "schema") == Some(0) {
        roles.extend(after(find("authorization")));
    }
    if first.is("grant") || alters_rights || first.is("create") && find("policy").is_some() {
        roles.extend(after(find("to")));
    }
    if first.is("revoke") || alters_rights {
        roles.extend(after(find("from")));
    }
    if (first.is("grant") || first.is("revoke")) && find("on").is_none() {
        // A membership.
        roles.extend(after(Some(0)));
    }
    if first.is("alter") {
        for (a, b) in [("owner", "to"), ("for", "role"), ("for", "user")] {
            roles.extend(after(pair(a, b).map(|at| at + 1)));
        }
    }
    roles.extend(after(pair("set", "role").filter(|at| *at == 0).map(|_| 1)));
    roles
}

/// The names of a list that begins here.
fn list(words: &[Word]) -> Vec<String> {
    let mut names = Vec::new();
    let mut words = words.iter().filter(|word| !word.is("group") && !word.is("'"));
    while let Some(name) = words.next() {
        names.push(name.text.clone());
        if !words.next().is_some_and(|next| next.is(",")) {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_roles_and_extensions() {
        for (script, roles, extensions) in [
            ("ALTER TABLE public.t OWNER TO app_owner;", &["app_owner"][..], &[][..]),
            ("ALTER FUNCTION f(a text) OWNER TO \"Bob \"\"B\"\"\";", &["Bob \"B\""], &[]),
            ("GRANT SELECT ON TABLE t TO a, \"B\" WITH GRANT OPTION;", &["B", "a"], &[]),
            ("GRANT ALL ON FUNCTION f(interval day to second) TO\n  a;", &["a"], &[]),
            ("REVOKE ALL ON SCHEMA public FROM PUBLIC;\nREVOKE ALL ON t FROM a;", &["a"], &[]),
            ("GRANT boss TO a;", &["a", "boss"], &[]),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s GRANT SELECT ON TABLES TO b;",
                &["a", "b"],
                &[],
            ),
            ("CREATE POLICY p ON t FOR SELECT TO a USING (true);", &["a"], &[]),
            ("CREATE SCHEMA s AUTHORIZATION a;\nSET SESSION AUTHORIZATION 'b';", &["a", "b"], &[]),
            ("CREATE EXTENSION IF NOT EXISTS aws_s3 WITH SCHEMA public;", &[], &["aws_s3"]),
            ("COMMENT ON EXTENSION \"uuid-ossp\" IS 'x';", &[], &["uuid-ossp"]),
            // Not roles, or the script's own.
            (
                "ALTER TABLE t RENAME TO u;\nGRANT SELECT ON t TO pg_monitor, CURRENT_USER;",
                &[],
                &[],
            ),
            ("CREATE ROLE a;\nALTER TABLE t OWNER TO a;", &[], &[]),
            ("DO $$ BEGIN\n  CREATE USER a;\nEND $$;\nGRANT SELECT ON t TO a;", &[], &[]),
            (
                "COPY t (x) FROM stdin;\nGRANT SELECT ON t TO a;\n\\.\nGRANT ALL ON t TO b;",
                &["b"],
                &[],
            ),
            ("-- GRANT SELECT ON t TO a;", &[], &[]),
            ("COMMENT ON TABLE t IS 'the authorization code; owner to a';", &[], &[]),
            ("\\restrict x\nSET ROLE a;", &["a"], &[]),
        ] {
            let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let wanted = Named { roles: set(roles), extensions: set(extensions) };
            assert_eq!(Named::read(script), wanted, "{script}");
        }
    }

    #[test]
    fn only_what_the_server_lacks_is_left_out() {
        let script =
            b"SET transaction_timeout = 0;\nCREATE EXTENSION IF NOT EXISTS aws_s3;\nSELECT 1;\n";
        let missing = ["aws_s3".to_owned()];
        let rest = |extensions, old| {
            without(script, extensions, old).map(|rest| String::from_utf8(rest).unwrap())
        };
        assert_eq!(rest(&missing, true).unwrap(), "\n\nSELECT 1;\n");
        assert_eq!(
            rest(&[], true).unwrap(),
            "\nCREATE EXTENSION IF NOT EXISTS aws_s3;\nSELECT 1;\n"
        );
        assert_eq!(rest(&[], false), None);
    }
}
