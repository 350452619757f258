//! The packet of one run: statements of the text protocol, one after another.
//!
//! PREPARE takes one statement only, whose text it gets as a literal, and whose `?` take the parameters as
//! variables: neither can become SQL. After a statement that fails, the server runs none of the rest.

use std::time::Duration;

use super::connect::{LOGIN_COLLATION, SessionState};
use super::leftovers::Leftovers;
use super::{ledger, literal};
use crate::error::Error;
use crate::query::{Mode, Parameters, Query};

/// A few warnings are enough to know that there are some.
pub(super) const SHOW_WARNINGS: &str = "SHOW WARNINGS LIMIT 8";

/// Shows the session's own `max_statement_time` (MariaDB) or `max_execution_time` (MySQL) in milliseconds; 0 is
/// none. Only MariaDB reads the first comment, and only MySQL the second.
const SHOW_LIMIT: &str =
    "SELECT 0 /*M!100101 + @@max_statement_time * 1000 */ /*!50704 + @@max_execution_time */";

/// Everything up to EXECUTE, and for a read the end of the transaction too.
pub(super) struct Script {
    pub(super) text: String,
    /// Which of its statements makes the entry in the ledger.
    pub(super) entry: Option<usize>,
    /// Which of them is PREPARE; EXECUTE follows.
    pub(super) prepare: usize,
    /// Which of them shows the warnings of EXECUTE.
    pub(super) warnings: Option<usize>,
    /// Which of them shows the session's own time limit.
    pub(super) limit: Option<usize>,
    /// The SET after the transaction.
    release: Option<String>,
}

impl Script {
    pub(super) fn new(
        query: &Query,
        parameters: &Parameters,
        message_id: Option<&str>,
        timeout: Duration,
        left: &Leftovers,
        session: SessionState<'_>,
    ) -> Result<Self, Error> {
        let literals = literal::literals(query, parameters)?;
        let mut statements = Vec::new();
        let mut set = String::from("SET ");
        let limit = session.limit.is_none().then_some(0);
        if limit.is_some() {
            statements.push(SHOW_LIMIT.to_owned());
        }
        if let Some(database) = session.database {
            statements.push(format!("USE `{}`", database.replace('`', "``")));
            set.push_str(&format!("NAMES utf8mb4 COLLATE {LOGIN_COLLATION}, "));
        }
        let start = match query.mode {
            Mode::Read => "START TRANSACTION READ ONLY",
            Mode::Write => "START TRANSACTION",
        };
        statements.push(start.to_owned());
        set.push_str(&bounds(query.mode, timeout, session.limit));
        set.push_str(&format!(", @rds_iam_sql = {}", literal::text(&query.sql)));
        for (index, literal) in literals.iter().enumerate() {
            set.push_str(&format!(", @rds_iam_{index} = {literal}"));
        }
        statements.push(set);
        if left.found_rows {
            // Its count meets no other event. Without a row, the variable keeps its value.
            statements.push("SELECT 1 FROM DUAL WHERE FALSE INTO @rds_iam_sql".to_owned());
        }
        let message_id = message_id.filter(|_| query.mode == Mode::Write);
        let entry = message_id.map(|id| ledger::entry(query, id)).transpose()?;
        let entry = entry.map(|entry| {
            statements.push(entry);
            statements.len() - 1
        });
        let prepare = statements.len();
        statements.push("PREPARE rds_iam FROM @rds_iam_sql".to_owned());
        statements.push(execute(literals.len()));
        let release = release(query.mode, left);
        let mut warnings = None;
        if query.mode == Mode::Read {
            // Only a value of an event can fit today and not tomorrow.
            if !literals.is_empty() {
                warnings = Some(statements.len());
                statements.push(SHOW_WARNINGS.to_owned());
            }
            statements.push("COMMIT".to_owned());
            statements.extend(release.clone());
        }
        Ok(Self { text: statements.join("; "), entry, prepare, warnings, limit, release })
    }

    /// The packet that ends a transaction by this statement.
    pub(super) fn end(&self, by: &str, shows_warnings: bool) -> String {
        let warnings = shows_warnings.then_some(SHOW_WARNINGS);
        let statements = warnings.into_iter().chain([by]).chain(self.release.as_deref());
        statements.collect::<Vec<_>>().join("; ")
    }
}

fn execute(parameters: usize) -> String {
    let variables: Vec<String> = (0..parameters).map(|index| format!("@rds_iam_{index}")).collect();
    match variables.is_empty() {
        true => "EXECUTE rds_iam".to_owned(),
        false => format!("EXECUTE rds_iam USING {}", variables.join(", ")),
    }
}

/// The SET that leaves the session as it was.
fn release(mode: Mode, left: &Leftovers) -> Option<String> {
    let own = (mode == Mode::Write).then(|| "wait_timeout = DEFAULT".to_owned());
    let assignments: Vec<String> =
        own.into_iter().chain(left.assignments().iter().cloned()).collect();
    (!assignments.is_empty()).then(|| format!("SET {}", assignments.join(", ")))
}

/// The bounds of a transaction, as a SET takes them. Of the function's time and the session's own limit, the
/// shorter one is set; the server compares them if no packet has shown the session's yet.
fn bounds(mode: Mode, timeout: Duration, limit: Option<Duration>) -> String {
    // Half for locks, so that there is time to run once they are granted; and a sandbox that freezes or
    // dies half-way holds its own locks no longer than it could have worked.
    let lock = (timeout.as_secs() / 2).max(1);
    let idle = match mode {
        Mode::Read => String::new(),
        Mode::Write => format!("wait_timeout = {}, ", timeout.as_secs() + 1),
    };
    let time = match limit {
        Some(limit) if !limit.is_zero() => timeout.min(limit),
        _ => timeout,
    };
    let (seconds, milliseconds) = (time.as_secs_f64(), time.as_millis().max(1));
    let (seconds, milliseconds) = match limit {
        Some(_) => (format!("{seconds:.3}"), milliseconds.to_string()),
        // NULLIF takes a session without a limit out. max_execution_time takes integers only.
        None => (
            format!("LEAST(IFNULL(NULLIF(@@max_statement_time, 0), {seconds:.3}), {seconds:.3})"),
            format!(
                "CAST(LEAST(IFNULL(NULLIF(@@max_execution_time, 0), {milliseconds}), {milliseconds}) AS UNSIGNED)"
            ),
        ),
    };
    // Only MariaDB reads the first comment, and only MySQL the second: each has the variable in it.
    format!(
        "{idle}innodb_lock_wait_timeout = {lock}, lock_wait_timeout = {lock}\
         /*M!100101 , max_statement_time = {seconds} */\
         /*!50704 , max_execution_time = {milliseconds} */"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(front: &str, sql: &str, id: Option<&str>, database: Option<&str>) -> Script {
        let query = Query::parse("q", &format!("/*+++\n{front}\n+++*/ {sql}")).unwrap();
        let parameters = Parameters::none(&query).unwrap();
        let left = Leftovers::of(&query);
        let session = SessionState { database, limit: Some(Duration::ZERO) };
        Script::new(&query, &parameters, id, Duration::from_secs(9), &left, session).unwrap()
    }

    /// The statements, without what is in the SET.
    fn statements(script: &Script) -> Vec<String> {
        let first_words = |statement: &str| {
            let words: Vec<&str> = statement.split_whitespace().take(2).collect();
            words.join(" ")
        };
        script.text.split("; ").map(first_words).collect()
    }

    #[test]
    fn places_are_those_of_the_statements() {
        let plain = script("", "SELECT 1", None, None);
        let expected = [
            "START TRANSACTION",
            "SET innodb_lock_wait_timeout",
            "PREPARE rds_iam",
            "EXECUTE rds_iam",
            "COMMIT",
        ];
        assert_eq!(statements(&plain), expected);
        assert_eq!((plain.prepare, plain.warnings, plain.entry), (2, None, None));

        let front = "params = [{ name = \"a\", default = 1 }]";
        let read = script(front, "SELECT FOUND_ROWS(), ?", Some("id"), Some("a`b"));
        let all = statements(&read);
        assert!(read.text.starts_with("USE `a``b`; START TRANSACTION READ ONLY; SET NAMES "));
        assert_eq!((all[read.prepare].as_str(), read.entry), ("PREPARE rds_iam", None));
        assert_eq!(read.warnings.map(|at| all[at].as_str()), Some("SHOW WARNINGS"));
        assert!(read.text.ends_with("; COMMIT; SET @rds_iam_0 = NULL"), "{}", read.text);

        let front = format!("mode = \"write\"\n{front}");
        let write = script(&front, "INSERT INTO t VALUES (?)", Some("id"), None);
        let all = statements(&write);
        assert_eq!(write.entry.map(|at| all[at].as_str()), Some("INSERT INTO"));
        assert_eq!(
            (all[write.prepare].as_str(), all.last().unwrap().as_str()),
            ("PREPARE rds_iam", "EXECUTE rds_iam")
        );
        let set = "SET wait_timeout = DEFAULT, last_insert_id = 0, @rds_iam_0 = NULL";
        assert_eq!(write.end("COMMIT", true), format!("SHOW WARNINGS LIMIT 8; COMMIT; {set}"));
    }
}
