//! The SQLSTATEs that a query file can meet, and what each asks its author to do: one line for each.
//!
//! Codes and names: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use crate::error::ErrorKind;

/// The meaning of a SQLSTATE for the caller.
pub(super) struct State {
    /// A code, or the beginning of one.
    pub(super) code: &'static str,
    /// PostgreSQL's name for the condition.
    pub(super) condition: &'static str,
    pub(super) kind: ErrorKind,
    /// Goes after "query NAME".
    pub(super) what: &'static str,
    pub(super) why: Why,
    pub(super) remedy: &'static str,
}

/// The reason in the error.
pub(super) enum Why {
    /// PostgreSQL's name for the condition.
    Condition,
    /// The server's message, where it is the server's own.
    Message,
    /// The same, for a refusal that names an object of the catalogue and nothing else.
    Privilege,
    /// The server's message and the line of the query file, for errors of parsing.
    Located,
    /// The time-out that applied.
    TimedOut,
    /// The condition, and the names of constraint, table and column.
    Names,
}

const fn row(
    (code, condition): (&'static str, &'static str),
    (kind, what, why): (ErrorKind, &'static str, Why),
    remedy: &'static str,
) -> State {
    State { code, condition, kind, what, why, remedy }
}

/// The file's text is wrong.
const fn invalid(code: &'static str, condition: &'static str, remedy: &'static str) -> State {
    row((code, condition), (ErrorKind::QueryInvalid, "is not valid", Why::Located), remedy)
}

/// The text is right, and does not fit the data, the parameters or the database's state.
const fn failed(code: &'static str, condition: &'static str, remedy: &'static str) -> State {
    row((code, condition), (ErrorKind::QueryFailed, "failed", Why::Names), remedy)
}

const fn denied(what: &'static str, why: Why) -> (ErrorKind, &'static str, Why) {
    (ErrorKind::QueryDenied, what, why)
}

const fn too_late(what: &'static str, why: Why) -> (ErrorKind, &'static str, Why) {
    (ErrorKind::QueryTimeout, what, why)
}

/// The server is going down, or is full.
const fn unavailable(code: &'static str, condition: &'static str) -> State {
    let meaning = (ErrorKind::DatabaseUnavailable, "could not run", Why::Message);
    row((code, condition), meaning, "Try again when the database has recovered")
}

/// The row of a code: the first whose code begins it. The last row takes everything.
pub(super) fn of(code: &str) -> &'static State {
    STATES.iter().find(|state| code.starts_with(state.code)).unwrap_or(&OTHER)
}

const ONE_STATEMENT: &str = "A query file holds one statement, with one semicolon at its end or none: a SELECT, VALUES, TABLE or WITH, or with mode = \"write\" an INSERT, UPDATE or DELETE … RETURNING; anything else needs result = \"affected\"";
const NO_BLOCK: &str = "Each statement runs in a transaction here, which VACUUM, CREATE INDEX CONCURRENTLY, CREATE DATABASE and the like do not take: run it with psql or pg_cron, and SET TRANSACTION before any other statement";
const NAME: &str = "Check its spelling and schema; a name with capitals needs double quotes";
const EXISTS: &str = "Give it another name, or say IF NOT EXISTS or OR REPLACE";
const OF_ITS_TYPE: &str = "Send a value that the type can hold, or cast to a wider type";
const AGAIN: &str = "Another transaction was in its way: run it again";
const JSON: &str = "Correct the path or the JSON value; jsonb_path_query with silent => true ignores what does not fit";
const XML: &str = "Send well-formed XML, or test it with xml_is_well_formed";
const LOOK_IN_THE_LOG: &str =
    "Look up the SQLSTATE in PostgreSQL's manual, and the values in the server's own log";

const OTHER: State = failed("", "", LOOK_IN_THE_LOG);

/// A class stands behind its codes.
#[rustfmt::skip]
static STATES: &[State] = &[
    row(("08P01", "protocol violation"), (ErrorKind::QueryInvalid, "has other parameters than its front matter declares", Why::Condition), "Declare one entry in params for each of $1…$n, in that order"),
    invalid("0A000", "feature not supported", ONE_STATEMENT),
    failed("21000", "cardinality violation", "Let the sub-select return one row, with LIMIT 1 or an aggregate; in ON CONFLICT, propose each row once"),
    // 22: data
    failed("22001", "string data right truncation", "Send a shorter value, shorten it with left(…), or widen the column"),
    failed("22003", "numeric value out of range", OF_ITS_TYPE),
    failed("22004", "null value not allowed", "Replace NULL with coalesce(…), or filter it out with IS NOT NULL"),
    failed("22007", "invalid datetime format", "Send dates as YYYY-MM-DD and times as ISO 8601, or read them with to_timestamp(…, format)"),
    failed("22008", "datetime field overflow", "Send a date that exists; datestyle decides the order of day and month, except in YYYY-MM-DD"),
    failed("22009", "invalid time zone displacement value", "Send an offset between -15:59 and +15:59, or a name of pg_timezone_names"),
    failed("2200B", "escape character conflict", "Choose an escape character that the pattern does not use otherwise"),
    failed("2200C", "invalid use of escape character", "Correct the escape character in the pattern"),
    failed("2200D", "invalid escape octet", "Correct the escape sequence of the bytea value, or send it in hex: \\x…"),
    failed("2200F", "zero length character string", "Send a string that is not empty, or nullif(…, '')"),
    failed("2200H", "sequence generator limit exceeded", "ALTER SEQUENCE … MAXVALUE, or AS bigint, or let it CYCLE"),
    failed("2200L", "not an XML document", XML),
    failed("2200M", "invalid XML document", XML),
    failed("2200N", "invalid XML content", XML),
    failed("2200S", "invalid XML comment", XML),
    failed("2200T", "invalid XML processing instruction", XML),
    failed("22010", "invalid indicator parameter value", OF_ITS_TYPE),
    failed("22011", "substring error", "Give substring a length of 0 or more"),
    failed("22012", "division by zero", "Divide by nullif(…, 0), which makes the quotient NULL"),
    failed("22013", "invalid preceding or following size in window function", "Give the window's frame an offset of 0 or more that is not NULL"),
    failed("22014", "invalid argument for ntile function", "Give ntile a number above 0"),
    failed("22015", "interval field overflow", "Use a shorter interval"),
    failed("22016", "invalid argument for nth_value function", "Give nth_value a number above 0"),
    failed("22018", "invalid character value for cast", OF_ITS_TYPE),
    failed("22019", "invalid escape character", "ESCAPE takes one character, or none"),
    failed("2201B", "invalid regular expression", "Correct the regular expression, or compare with LIKE or strpos if the text is no pattern"),
    failed("2201E", "invalid argument for logarithm", "Take the logarithm of numbers above 0 only"),
    failed("2201F", "invalid argument for power function", "A negative number takes whole exponents only, and 0 none below 0"),
    failed("2201G", "invalid argument for width_bucket function", "Give width_bucket a count above 0 and two bounds that differ"),
    failed("2201W", "invalid row count in LIMIT clause", "Send a LIMIT of 0 or more; NULL is no limit"),
    failed("2201X", "invalid row count in result OFFSET clause", "Send an OFFSET of 0 or more"),
    failed("22021", "character not in repertoire", "Send text without NUL characters, and bytes as bytea"),
    failed("22022", "indicator overflow", OF_ITS_TYPE),
    failed("22023", "invalid parameter value", "Correct the argument of the function: a step of 0, say, or a time zone or a unit that does not exist"),
    failed("22024", "unterminated C string", "Send text without NUL characters"),
    failed("22025", "invalid escape sequence", "Write a backslash twice in a LIKE pattern and in E'…', or choose another character with ESCAPE"),
    failed("22026", "string data length mismatch", "Send as many bits as the column has, or make it bit varying"),
    failed("22027", "trim error", "Trim a bytea with bytes, and a text with characters"),
    failed("2202E", "array subscript error", "Use subscripts inside the array's bounds, and arrays of the same dimensions"),
    failed("2202G", "invalid TABLESAMPLE repeat", "Give REPEATABLE a number that is not NULL"),
    failed("2202H", "invalid TABLESAMPLE argument", "Give TABLESAMPLE a percentage between 0 and 100"),
    failed("22030", "duplicate JSON object key value", "Give each key once, or build the object without UNIQUE KEYS"),
    failed("22031", "invalid argument for SQL/JSON datetime function", JSON),
    failed("22032", "invalid JSON text", "Send valid JSON: type = \"json\" in params writes any value as JSON"),
    failed("22033", "invalid SQL/JSON subscript", JSON),
    failed("22034", "more than one SQL/JSON item", JSON),
    failed("22035", "no SQL/JSON item", JSON),
    failed("22036", "non-numeric SQL/JSON item", JSON),
    failed("22037", "non-unique keys in a JSON object", JSON),
    failed("22038", "singleton SQL/JSON item required", JSON),
    failed("22039", "SQL/JSON array not found", JSON),
    failed("2203", "SQL/JSON item not found", JSON),
    failed("22P01", "floating point exception", "Cast to numeric, or leave out values that are too large, too small or NaN"),
    failed("22P02", "invalid text representation", "Cast only text that the type can read; test it first, with a CASE or a pattern"),
    failed("22P03", "invalid binary representation", OF_ITS_TYPE),
    failed("22P05", "untranslatable character", "Leave out characters that the encoding of the database does not have; jsonb takes no \\u0000"),
    failed("22P06", "nonstandard use of escape character", "Write E'…' for a string with backslashes"),
    failed("22", "data exception", "A value does not fit the expression: look in the server's own log for it"),
    // 23: constraints
    failed("23502", "not-null violation", "Send a value for the column, or give it a DEFAULT"),
    failed("23503", "foreign key violation", "Write the row that is referred to first, or delete the rows that refer to it"),
    failed("23505", "unique violation", "It is there already: ON CONFLICT DO NOTHING or DO UPDATE, if that may be"),
    failed("23514", "check violation", "Send a value that the constraint allows"),
    failed("23P01", "exclusion violation", "It conflicts with a row that is there: ON CONFLICT DO NOTHING, if that may be"),
    // 25: transactions
    invalid("25001", "active SQL transaction", NO_BLOCK),
    row(("25006", "read-only SQL transaction"), denied("tried to write in a read-only transaction", Why::Condition), "A query that writes needs mode = \"write\" and a function that allows writes; a standby takes no writes"),
    failed("25007", "schema and data statement mixing not supported", "Change the schema and the data in two statements"),
    invalid("25P01", "no active SQL transaction", "The statement needs a transaction, which the file has ended: leave COMMIT and ROLLBACK out"),
    failed("25P02", "in failed SQL transaction", "An error before it ended the transaction, in a procedure's own code: look in the server's log for the first"),
    row(("25P03", "idle in transaction session timeout"), too_late("lost its transaction", Why::Condition), "The function was stopped in the middle: run it again"),
    row(("25P04", "transaction timeout"), too_late("timed out", Why::Condition), "Make it faster (look at EXPLAIN), or raise transaction_timeout of the user or database"),
    failed("25", "invalid transaction state", "Leave the transaction to the function: no BEGIN, COMMIT, ROLLBACK or SAVEPOINT in the file"),
    // What an earlier statement would have left in the session.
    failed("26000", "invalid SQL statement name", "A statement of PREPARE lasts for one run of a file: write the statement itself"),
    invalid("2D", "invalid transaction termination", "Each statement runs in a transaction here: leave COMMIT and ROLLBACK out of the procedure, or CALL it with psql or pg_cron"),
    failed("34000", "invalid cursor name", "A cursor lasts for one run of a file: write its query instead"),
    invalid("3F000", "invalid schema name", "Create the schema, or correct its name; PGDATABASE must be the database that has it"),
    row(("40001", "serialization failure"), (ErrorKind::QueryFailed, "failed", Why::Names), AGAIN),
    row(("40P01", "deadlock detected"), (ErrorKind::QueryFailed, "failed", Why::Names), AGAIN),
    // 42: the statement's text
    row(("42501", "insufficient privilege"), denied("is not permitted", Why::Privilege), "GRANT the right that the message names to the database user, and USAGE on the schema, or use a user that has them"),
    invalid("42601", "syntax error", ONE_STATEMENT),
    invalid("42602", "invalid name", NAME),
    invalid("42611", "invalid column definition", "Correct the column's definition"),
    invalid("42622", "name too long", "Shorten the name to 63 bytes"),
    invalid("42701", "duplicate column", "Name each column once"),
    invalid("42702", "ambiguous column", "Put the table's name or alias in front of the column"),
    invalid("42703", "undefined column", "Check the column's spelling and its table; a name with capitals needs double quotes, and a string single ones"),
    invalid("42704", "undefined object", NAME),
    invalid("42710", "duplicate object", EXISTS),
    invalid("42712", "duplicate alias", "Give each table in FROM its own alias"),
    invalid("42723", "duplicate function", EXISTS),
    invalid("42725", "ambiguous function", "Several functions fit: cast the arguments, $1::int say"),
    invalid("42803", "grouping error", "Add the column to GROUP BY, or aggregate it; aggregates belong into HAVING, not WHERE"),
    invalid("42804", "datatype mismatch", "Cast one side to the type of the other, $1::int say"),
    invalid("42809", "wrong object type", "The statement needs another kind of object: a function where there is a procedure (CALL), or a table where there is a view"),
    invalid("42830", "invalid foreign key", "The columns referred to need a primary key or a unique constraint"),
    invalid("42846", "cannot coerce", "There is no cast between the two types: go by text, x::text::int say"),
    invalid("42883", "undefined function", "Check the name and the types of its arguments, and cast them, $1::int say; a function of another schema needs that in front"),
    invalid("428C9", "generated always", "Leave the generated column out, or say OVERRIDING SYSTEM VALUE"),
    invalid("42939", "reserved name", "Choose a name that does not begin with pg_"),
    invalid("42P01", "undefined table", "Check the table's spelling and the database in PGDATABASE; put the schema in front, or into the user's search_path, and GRANT USAGE on it, or its tables are not found; a name with capitals needs double quotes"),
    invalid("42P02", "undefined parameter", "Number the parameters $1…$n, with one entry in params for each"),
    invalid("42P03", "duplicate cursor", EXISTS),
    invalid("42P04", "duplicate database", EXISTS),
    invalid("42P05", "duplicate prepared statement", EXISTS),
    invalid("42P06", "duplicate schema", EXISTS),
    invalid("42P07", "duplicate table", EXISTS),
    invalid("42P08", "ambiguous parameter", "The places where the parameter stands do not agree on its type: cast it at each, $1::int IS NULL OR age >= $1::int say"),
    invalid("42P09", "ambiguous alias", "Give each table in FROM its own alias"),
    invalid("42P10", "invalid column reference", "ON CONFLICT needs a unique index on its columns; ORDER BY and DISTINCT need columns of the select list"),
    invalid("42P11", "invalid cursor definition", "Correct the cursor's options"),
    invalid("42P13", "invalid function definition", "Correct the function's definition"),
    invalid("42P14", "invalid prepared statement definition", "Write the statement itself, without PREPARE"),
    invalid("42P16", "invalid table definition", "Correct the table's definition"),
    invalid("42P17", "invalid object definition", "Correct the definition: a policy or a view may refer to itself, or an index use a function that is not IMMUTABLE"),
    row(("42P18", "parameter of unclear type"), (ErrorKind::QueryInvalid, "is not valid", Why::Condition), "Use each parameter that params declares, and cast one whose type the statement does not give: $1::text"),
    invalid("42P19", "invalid recursion", "WITH RECURSIVE is a first part, UNION ALL, and a part that names the query once"),
    invalid("42P20", "windowing error", "Window functions belong into the select list or ORDER BY: wrap the query, and filter outside"),
    invalid("42P21", "collation mismatch", "Say which collation applies: x COLLATE \"C\" < y"),
    invalid("42P22", "indeterminate collation", "Say which collation applies: x COLLATE \"C\" < y"),
    invalid("42", "syntax error or access rule violation", ONE_STATEMENT),
    unavailable("53100", "disk full"),
    unavailable("53200", "out of memory"),
    unavailable("53300", "too many connections"),
    unavailable("53400", "configuration limit exceeded"),
    unavailable("53", "insufficient resources"),
    // 55: the database's state
    failed("55000", "object not in prerequisite state", "The object is not ready for it: REFRESH a materialized view first; currval and lastval know only this file's own nextval; a view takes writes only if it is simple or has a trigger"),
    failed("55006", "object in use", "Something else uses it, a cursor or a trigger of the same session, or another session: run it when that has ended"),
    invalid("55P02", "cannot change runtime parameter", "The setting takes effect at the start of the server or of the session: change the parameter group, or ALTER ROLE … SET"),
    row(("55P03", "lock not available"), too_late("got no lock in time", Why::Condition), "Look in pg_locks for the session that holds it"),
    failed("55P04", "unsafe new enum value usage", "Use the new value of the enum in a run of its own, after the one that adds it"),
    failed("55", "object not in prerequisite state", "The object is not ready for it: look up the SQLSTATE in PostgreSQL's manual"),
    row(("57014", "query canceled"), too_late("timed out", Why::TimedOut), "Make it faster (look at EXPLAIN), or give the function a longer Timeout"),
    unavailable("57P01", "admin shutdown"),
    unavailable("57P02", "crash shutdown"),
    unavailable("57P03", "cannot connect now"),
    failed("P0001", "raised by the database's own code", LOOK_IN_THE_LOG),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_class_stands_behind_its_codes_and_no_code_twice() {
        let mut seen = BTreeSet::new();
        for state in STATES {
            let State { code, condition, remedy, .. } = state;
            assert!(seen.insert(code), "{code} has two rows");
            assert!(std::ptr::eq(of(code), state), "{code} is behind its class");
            assert!(
                !condition.is_empty() && !remedy.is_empty() && !remedy.ends_with('.'),
                "{code}"
            );
        }
    }

    #[test]
    fn each_class_of_a_query_file_has_words_for_a_code_without_a_row() {
        for class in ["22", "25", "2D", "42", "55"] {
            assert_ne!(of(&format!("{class}ZZZ")).remedy, LOOK_IN_THE_LOG, "{class}");
        }
        assert_eq!(of("XX000").remedy, LOOK_IN_THE_LOG);
    }
}
