//! Statements that are refused by their text, before a login: those that a connection cannot take, and steps
//! of a batch job that would never end, or end at once with rows left.
//!
//! The rules look at tokens, as far as a function needs. `rds-local check` parses the statement, and finds
//! more.

use crate::error::{Error, ErrorKind};
use crate::query::{Parameters, Query, extra_parenthesis, line_of, tokens};

/// Aggregates that give one row for no rows.
const AGGREGATES: [&str; 5] = ["avg", "count", "max", "min", "sum"];
/// Clauses that change the number of groups or rows, and ON CONFLICT.
const CLAUSES: [&str; 7] =
    ["group", "having", "offset", "intersect", "except", "union", "conflict"];

/// Checks a query file without a server: what functions refuse whatever an event says.
///
/// # Errors
/// [`QueryInvalid`](ErrorKind::QueryInvalid).
pub fn check(query: &Query) -> Result<(), Error> {
    refuse(query)?;
    refuse_second_statement(query)?;
    let chunks = if query.repeat.is_some() { chunk_sizes(query) } else { Vec::new() };
    let empty = chunks.into_iter().find_map(|size| match size {
        Size::Zero => Some("its LIMIT is 0".to_owned()),
        Size::Parameter(index) => {
            let param = query.params.get(index)?;
            let default = param.default.as_ref()?.get().trim().trim_matches('"');
            is_empty(default).then(|| format!("the default of {} is {default}", param.name))
        }
    });
    empty.map_or(Ok(()), |why| Err(empty_chunks(query, &why)))
}

/// Refuses a statement that a connection cannot take: after COPY, PostgreSQL sends rows or waits for them
/// in messages that are no part of an answer; and a text that closes the parenthesis around it could say
/// anything behind.
pub(crate) fn refuse(query: &Query) -> Result<(), Error> {
    let invalid =
        || Error::new(ErrorKind::QueryInvalid, format!("query {} is not valid", query.name));
    if let Some(place) = extra_parenthesis(&query.sql) {
        let line = line_of(&query.sql, place);
        return Err(invalid()
            .because(format!("line {line}: it has a ) that closes no parenthesis"))
            .remedy("Remove it, or add the ( that is missing"));
    }
    // PostgreSQL ignores a semicolon with nothing before it.
    let first = tokens(&query.sql).find(|token| *token != ";");
    if !first.is_some_and(|first| first.eq_ignore_ascii_case("copy")) {
        return Ok(());
    }
    Err(invalid()
        .because("COPY moves its rows beside the answer, where no function reads or sends them")
        .remedy("Read with SELECT and write with INSERT; export-query writes the rows of a SELECT to S3 as CSV, JSON or Parquet"))
}

/// PostgreSQL refuses a second statement when it prepares the text, which only a login can tell.
fn refuse_second_statement(query: &Query) -> Result<(), Error> {
    let tokens: Vec<&str> = tokens(&query.sql).collect();
    let is = |token: &str, word: &str| token.eq_ignore_ascii_case(word);
    // Statements of a function's or a rule's body have semicolons of their own.
    let has_body = tokens.windows(2).any(|pair| is(pair[0], "begin") && is(pair[1], "atomic"));
    let mut depth = 0_i32;
    let outside = tokens.iter().map(|token| {
        depth += i32::from(*token == "(") - i32::from(*token == ")");
        (depth == 0, *token)
    });
    let mut statement = outside.skip_while(|(_, token)| *token == ";");
    let ends = statement.any(|(is_outside, token)| is_outside && token == ";");
    if has_body || !ends || statement.all(|(_, token)| token == ";") {
        return Ok(());
    }
    Err(Error::new(ErrorKind::QueryInvalid, format!("query {} is not valid", query.name))
        .because("it has a second statement behind a semicolon")
        .remedy("Put each statement into a query file of its own, or join them by WITH"))
}

/// Refuses a step of a batch job that would never end, or end with rows left.
pub(crate) fn refuse_step(query: &Query, parameters: &Parameters) -> Result<(), Error> {
    refuse(query)?;
    let Some(repeat) = &query.repeat else { return Ok(()) };
    if repeat.max_chunks.is_none() && counts_only(&tokens(&query.sql).collect::<Vec<_>>()) {
        let what = format!("query {} would be repeated for ever", query.name);
        return Err(Error::new(ErrorKind::QueryInvalid, what)
            .because("its repeat ends with a chunk of no rows, and its aggregate gives a row also when there was nothing to do")
            .remedy("Let the statement count the rows that it works on: a plain DELETE, or SELECT … FROM the WITH query without an aggregate; or set max_chunks"));
    }
    let values: Vec<Option<&str>> = parameters.texts().collect();
    for size in chunk_sizes(query) {
        let Size::Parameter(index) = size else {
            return Err(empty_chunks(query, "its LIMIT is 0"));
        };
        let (Some(Some(value)), Some(param)) = (values.get(index), query.params.get(index)) else {
            continue;
        };
        if is_empty(value) {
            let what = format!("query {} refuses parameter {}", query.name, param.name);
            return Err(Error::new(ErrorKind::QueryBadParameter, what)
                .because("it is the size of a chunk, and below 1: the job would end at once, with every row left")
                .remedy("Send 1 or more"));
        }
    }
    Ok(())
}

fn empty_chunks(query: &Query, why: &str) -> Error {
    Error::new(ErrorKind::QueryInvalid, format!("query {} has chunks of no rows", query.name))
        .because(format!("{why}, so its repeat ends at once, with every row left"))
        .remedy("Give a chunk one row or more, 1000 say")
}

/// Whether a statement's own SELECT, perhaps of an INSERT, has an aggregate over all rows. Sub-selects and
/// windows are left to `rds-local check`.
fn counts_only(tokens: &[&str]) -> bool {
    let (mut depth, mut outside) = (0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        depth -= i32::from(*token == ")");
        if depth == 0 {
            outside.push(at);
        }
        depth += i32::from(*token == "(");
    }
    let is_any =
        |at: usize, words: &[&str]| words.iter().any(|word| tokens[at].eq_ignore_ascii_case(word));
    let Some(select) = outside.iter().position(|at| is_any(*at, &["select"])) else { return false };
    let clauses = &outside[select..];
    let end = clauses.iter().copied().find(|at| is_any(*at, &["from"])).unwrap_or(tokens.len());
    let mut list = clauses[0] + 1..end;
    let is_simple = !list.clone().any(|at| is_any(at, &["select", "over"]));
    let aggregate = list.any(|at| is_any(at, &AGGREGATES) && tokens.get(at + 1) == Some(&"("));
    aggregate && is_simple && !clauses.iter().any(|at| is_any(*at, &CLAUSES))
}

/// The number of rows of a LIMIT or FETCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// The value of the parameter with this index.
    Parameter(usize),
    /// None.
    Zero,
}

/// The sizes of the statement's chunks: of each LIMIT, and the parameter that is adapted.
fn chunk_sizes(query: &Query) -> Vec<Size> {
    let tokens: Vec<&str> = tokens(&query.sql).collect();
    let limits = tokens.iter().enumerate().filter_map(|(at, token)| {
        let after = match token.to_ascii_lowercase().as_str() {
            "limit" => 1,
            "fetch" => 2,
            _ => return None,
        };
        size(tokens.get(at + after..)?)
    });
    let adapt = query.repeat.as_ref().and_then(|repeat| repeat.adapt.as_ref());
    limits.chain(adapt.map(|adapt| Size::Parameter(adapt.param))).collect()
}

/// The size in a LIMIT that begins so, if it is a parameter or 0 and no expression.
fn size(tokens: &[&str]) -> Option<Size> {
    let is_before = |token: &&&str| **token == "(" || token.eq_ignore_ascii_case("cast");
    let skipped = tokens.iter().take_while(is_before).count();
    let opened = tokens[..skipped].iter().filter(|token| **token == "(").count();
    let (number, behind) = tokens[skipped..].split_first()?;
    let size = match number.strip_prefix('$') {
        Some(digits) => Size::Parameter(digits.parse::<usize>().ok()?.checked_sub(1)?),
        None if is_empty(number) => Size::Zero,
        None => return None,
    };
    let closed = behind.iter().take(opened).take_while(|token| **token == ")").count();
    let operator = behind.get(closed).and_then(|token| token.chars().next());
    let is_expression = operator.is_some_and(|c| "+-*/%^|&#<>=~!".contains(c));
    (!is_expression).then_some(size)
}

/// Whether a value is a whole number below 1, in PostgreSQL's spellings.
fn is_empty(value: &str) -> bool {
    let value = value.trim();
    if value.parse().is_ok_and(|number: i128| number < 1) {
        return true;
    }
    let digits = value.trim_start_matches(['+', '-']);
    let digits = match digits.get(..2) {
        Some("0x" | "0X" | "0o" | "0O" | "0b" | "0B") => &digits[2..],
        _ => digits,
    };
    !digits.is_empty() && digits.chars().all(|c| matches!(c, '0' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = "mode = \"write\"\nresult = \"affected\"";
    const REPEAT: &str = "mode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"";

    fn query(front: &str, sql: &str) -> Query {
        Query::parse("q", &format!("/*+++\n{front}\n+++*/\n{sql}")).unwrap()
    }

    #[test]
    fn copy_is_refused_wherever_it_hides() {
        for sql in [
            "COPY t TO STDOUT",
            "copy t FROM stdin",
            "Copy(SELECT 1) TO STDOUT",
            "-- first\n/* second /* third */ */ COPY t TO STDOUT",
            ";; COPY t TO STDOUT;",
            "COPY\"t\" TO STDOUT",
            "COPY/**/t TO PROGRAM 'cat'",
            "COPY BINARY t TO '/tmp/x'",
            "COPY $x$ FROM STDIN",
        ] {
            for front in ["result = \"affected\"", WRITE, REPEAT, "mode = \"write\"", ""] {
                let error = check(&query(front, sql)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::QueryInvalid);
                assert!(!error.is_transient(), "{sql}");
            }
        }
        for sql in [
            "SELECT 'COPY t TO STDOUT' AS copy",
            "SELECT copy FROM copy",
            "SELECT 1 AS n /* COPY t TO STDOUT */",
            "-- COPY t TO STDOUT\nSELECT 1 AS n",
            "copy_all",
            "copy$1",
            "kopieré",
            "\"copy\" x",
            "SELECT copy(1)",
            "DO $$ BEGIN NULL; END $$",
            "WITH copy AS (SELECT 1 AS n) SELECT n FROM copy",
            "SELECT $$\nCOPY t TO STDOUT\n$$ AS text",
        ] {
            assert!(check(&query(WRITE, sql)).is_ok(), "{sql}");
        }
    }

    #[test]
    fn a_second_statement_is_found() {
        for sql in [
            "SELECT 1; DELETE FROM t",
            "SELECT 1;SELECT 2;",
            ";; SELECT 1 /* ; */ ; -- next\n SELECT 2",
            "SELECT ';' ; SELECT $x$;$x$",
            "BEGIN; DELETE FROM t; COMMIT",
        ] {
            let error = check(&query(WRITE, sql)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{sql}");
            assert!(error.to_string().contains("second statement"), "{sql}: {error}");
        }
        for sql in [
            "SELECT 1;",
            ";SELECT 1 ;; -- ;",
            "SELECT ';', \";\", $$ ; SELECT 2 $$, E'\\';' /* ; x */",
            "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b)",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
        ] {
            assert_eq!(check(&query(WRITE, sql)), Ok(()), "{sql}");
        }
    }

    #[test]
    fn a_text_that_closes_the_parenthesis_around_it_is_refused() {
        for (sql, line) in [
            ("SELECT 1 AS a) x, (SELECT 2 AS b", 4),
            ("SELECT 1 AS a\n) x, (SELECT 2 AS b", 5),
            ("SELECT 1), x AS (DELETE FROM t RETURNING *", 4),
            ("SELECT ')' || E'\\')' || $a$)$a$ /* ) /* ) */ */ -- )\n) x, (SELECT 1", 5),
            ("SELECT (1)) x --", 4),
            ("SELECT ARRAY[1) x, (SELECT 2]", 4),
            ("SELECT 'a'')', \"b\"\")\" )", 4),
        ] {
            let error = check(&query("", sql)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{sql}");
            let expected = format!("line {line}: it has a ) that closes no parenthesis");
            assert!(error.to_string().contains(&expected), "{sql}: {error}");
        }
        for sql in [
            "SELECT (1), (SELECT 2)",
            "SELECT ')'",
            "SELECT E'\\')' AS a",
            "SELECT $$)$$ AS \"a)\" -- )\n/* ) */",
            "SELECT $1::text || $a$ ) $b$ ) $a$",
            // The server says what is missing.
            "SELECT (1",
        ] {
            assert_eq!(check(&query("", sql)), Ok(()), "{sql}");
        }
    }

    #[test]
    fn a_step_that_only_counts_is_refused() {
        let with = "WITH d AS (DELETE FROM t WHERE n < 5 RETURNING *)";
        for (tail, refused) in [
            ("SELECT count(*) FROM d", true),
            ("select\ncoalesce(sum(n), 0)\nfrom d;", true),
            ("SELECT count(*) FILTER (WHERE n > 1) + 1 FROM d WHERE n > 1", true),
            ("INSERT INTO log (n) SELECT count(*) FROM d RETURNING n", true),
            (", delete AS (SELECT 1) SELECT count(*) FROM d", true),
            ("SELECT * FROM d", false),
            ("SELECT d.count FROM d", false),
            ("SELECT n, count(*) FROM d GROUP BY n", false),
            ("SELECT count(*) FROM d HAVING count(*) > 0", false),
            ("SELECT count(*) OVER () FROM d", false),
            ("SELECT purge_more()", false),
            ("INSERT INTO archive SELECT * FROM d", false),
            ("INSERT INTO log SELECT count(*) FROM d ON CONFLICT DO NOTHING", false),
            ("DELETE FROM t WHERE n < (SELECT max(n) FROM d)", false),
            ("UPDATE t SET n = (SELECT count(*) FROM d) WHERE n > 0", false),
        ] {
            let sql = format!("{with} {tail}");
            let step = refuse_step(&query(REPEAT, &sql), &Parameters::default());
            assert_eq!(
                step.err().map(|e| e.kind()),
                refused.then_some(ErrorKind::QueryInvalid),
                "{sql}"
            );
            let bounded = query(&format!("{REPEAT}\nmax_chunks = 5"), &sql);
            assert_eq!(refuse_step(&bounded, &Parameters::default()), Ok(()), "{sql}");
        }
    }

    #[test]
    fn a_chunk_of_no_rows_is_found() {
        let delete = |limit: &str| format!("DELETE FROM t WHERE n IN (SELECT n FROM t {limit})");
        let told = |front: &str, sql: &str| {
            check(&query(front, sql)).err().map(|error| error.to_string()).unwrap_or_default()
        };
        for limit in [
            "LIMIT 0",
            "limit 000",
            "FETCH FIRST 0 ROWS ONLY",
            "FETCH NEXT (0) ROWS ONLY",
            "LIMIT (0)::int",
            "LIMIT 0 ) + (SELECT 1",
        ] {
            assert!(told(REPEAT, &delete(limit)).contains("its LIMIT is 0"), "{limit}");
            let step = refuse_step(&query(REPEAT, &delete(limit)), &Parameters::default());
            assert_eq!(step.unwrap_err().kind(), ErrorKind::QueryInvalid, "{limit}");
            assert_eq!(told(WRITE, &delete(limit)), "");
        }
        for limit in ["LIMIT 10", "LIMIT ALL", "LIMIT 0 + 5", "LIMIT (0) + 5", "OFFSET 0", "LIMIT"]
        {
            assert_eq!(told(REPEAT, &delete(limit)), "", "{limit}");
        }
        let front = |default: &str| {
            format!("{REPEAT}\nparams = [{{ name = \"chunk\", default = {default} }}]")
        };
        for limit in [
            "LIMIT $1",
            "LIMIT ($1)",
            "LIMIT $1::bigint",
            "LIMIT CAST($1 AS int)",
            "FETCH FIRST $1 ROWS ONLY",
            "FETCH FIRST ($1) ROWS ONLY",
        ] {
            assert!(
                told(&front("0"), &delete(limit)).contains("the default of chunk is 0"),
                "{limit}"
            );
            assert_eq!(told(&front("10"), &delete(limit)), "", "{limit}");
            for (value, refused) in [
                ("0", true),
                ("-5", true),
                (" 00 ", true),
                ("+0", true),
                ("0x0", true),
                ("0b0_0", true),
                ("1", false),
                ("0x1", false),
                ("1e3", false),
                ("abc", false),
                ("", false),
            ] {
                let query = query(&front("10"), &delete(limit));
                let given =
                    [("chunk", value)].into_iter().collect::<std::collections::BTreeMap<_, _>>();
                let parameters = Parameters::of(&query, &given).unwrap();
                let error = refuse_step(&query, &parameters).err();
                let kind = error.as_ref().map(Error::kind);
                assert_eq!(
                    kind,
                    refused.then_some(ErrorKind::QueryBadParameter),
                    "{limit} {value}"
                );
                assert!(error.is_none_or(|error| error.to_string().contains("parameter chunk")));
            }
        }
        // The size of a chunk need not be a LIMIT.
        let adapt = format!("{}\nadapt = {{ param = \"chunk\", seconds = 1 }}", front("0"));
        let by_key = "DELETE FROM t WHERE n < (SELECT min(n) + $1 FROM t)";
        assert!(told(&adapt, by_key).contains("the default of chunk is 0"));
    }
}
