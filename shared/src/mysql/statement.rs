//! The kind of a statement, from its words: whether it only reads.
//!
//! `START TRANSACTION READ ONLY` alone does not keep a read from writing: DDL commits that transaction
//! before the server checks it, and `SELECT … INTO OUTFILE`, ANALYZE and FLUSH ignore it; so do functions
//! that write on another server, and on MariaDB sequences. So a read is one of a few statements without
//! those, which is checked before anything is sent.

use super::effects::effect;
use super::lexer::{Kind, Reading, Token, readings, tokens};
use crate::error::{Error, ErrorKind};
use crate::query::{Mode, Query};

/// The rest of a sentence that begins with "query NAME", and its remedy.
pub(super) const OTHER_PARAMETERS: &str = "has other parameters than its front matter declares";
pub(super) const DECLARE_THEM: &str = "Declare one entry in params for each ?, in that order";
const VERBS_OF_ROWS: [&str; 3] = ["SELECT", "VALUES", "TABLE"];
const VERBS_OF_WRITES: [&str; 4] = ["DELETE", "UPDATE", "INSERT", "REPLACE"];
/// Statements with others inside, whose bodies have semicolons: MariaDB runs some outside of procedures too.
const WITH_BODIES: [&str; 8] = ["BEGIN", "IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR", "CREATE"];

/// Checks a query file without a server: whether a read can only read, and whether the statement has one `?`
/// for each of `params`.
///
/// # Errors
/// [`QueryInvalid`](ErrorKind::QueryInvalid).
pub fn check(query: &Query) -> Result<(), Error> {
    check_read(query)?;
    check_single(query)?;
    match placeholders(query) {
        Some(found) if found != query.params.len() => {
            let what = format!("query {} {OTHER_PARAMETERS}", query.name);
            let declared = query.params.len();
            Err(Error::new(ErrorKind::QueryInvalid, what)
                .because(format!("it declares {declared}, and the statement has {found}"))
                .remedy(DECLARE_THEM))
        }
        _ => Ok(()),
    }
}

/// Refuses a text with two statements, which no server prepares.
fn check_single(query: &Query) -> Result<(), Error> {
    let Some(mut readings) = readings(&query.sql) else { return Ok(()) };
    if !readings.all(|reading| has_second_statement(&tokens(&query.sql, reading))) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::QueryInvalid, format!("query {} is not valid", query.name))
        .because("it has a second statement behind a semicolon")
        .remedy("Put each statement into a query file of its own"))
}

fn has_second_statement(tokens: &[Token<'_>]) -> bool {
    let is_end = |token: &Token<'_>| token.is_mark(";");
    let mut statements = tokens.split(is_end).filter(|statement| !statement.is_empty());
    let has_body = statements.next().is_some_and(|first| {
        first.first().is_some_and(|verb| verb.is_one_of(&WITH_BODIES))
            || first.iter().any(|word| word.is("BEGIN"))
    });
    !has_body && statements.next().is_some()
}

/// Refuses a query whose mode is not `"write"`, and whose statement may be more than a read on some server, by
/// its version or its `sql_mode`.
pub(crate) fn check_read(query: &Query) -> Result<(), Error> {
    if query.mode == Mode::Write {
        return Ok(());
    }
    let Some(mut readings) = readings(&query.sql) else {
        let why = "it has more than eight comments /*! … */, which a server may run".to_owned();
        return Err(not_a_read(query, why));
    };
    let judged = readings.try_for_each(|reading| read(&tokens(&query.sql, reading)));
    judged.map_err(|why| not_a_read(query, why))
}

/// How many parameters the statement takes; `None` if that depends on the server.
pub(super) fn placeholders(query: &Query) -> Option<usize> {
    let marks = |reading: Reading| {
        tokens(&query.sql, reading).into_iter().filter(|token| token.is_mark("?")).count()
    };
    let mut counts = readings(&query.sql)?.map(marks);
    let first = counts.next()?;
    counts.all(|count| count == first).then_some(first)
}

fn not_a_read(query: &Query, why: String) -> Error {
    Error::new(ErrorKind::QueryInvalid, format!("query {} is not a read", query.name))
        .because(why)
        .remedy("A read is a SELECT, WITH … SELECT, VALUES, TABLE, SHOW, EXPLAIN or DESCRIBE; a statement that changes something needs mode = \"write\"")
}

/// The tokens from the first that is no opening parenthesis.
pub(super) fn without_parentheses<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let start = tokens.iter().position(|token| !token.is_mark("("));
    &tokens[start.unwrap_or(tokens.len())..]
}

/// Whether a statement only reads, or why not.
fn read(tokens: &[Token<'_>]) -> Result<(), String> {
    if let Some(target) = into_target(tokens) {
        return Err(format!("it has INTO {target}"));
    }
    if let Some(why) = effect(tokens) {
        return Err(why);
    }
    let tokens = without_parentheses(tokens);
    // Nothing at all changes nothing.
    let Some(first) = tokens.first() else { return Ok(()) };
    if first.is("SHOW") {
        return show(&tokens[1..]);
    }
    if first.is_one_of(&["EXPLAIN", "DESCRIBE", "DESC"]) {
        return explain(&tokens[1..]);
    }
    // MariaDB's EXPLAIN ANALYZE; without a query behind it, it writes statistics.
    if first.is("ANALYZE") {
        let (explained, _) = without_options(&tokens[1..]);
        return match explained.first() {
            Some(table) if table.is_one_of(&["TABLE", "LOCAL", "NO_WRITE_TO_BINLOG"]) => {
                Err("it begins with ANALYZE TABLE".to_owned())
            }
            _ => rows(explained, "ANALYZE runs "),
        };
    }
    rows(tokens, "it begins with ")
}

/// Where INTO puts the rows: into a file of the server, or into a variable. A word of an INSERT that is
/// explained is neither.
fn into_target<'a>(tokens: &[Token<'a>]) -> Option<&'a str> {
    let target = |pair: &[Token<'a>]| {
        let target = pair[1];
        let written = target.is_one_of(&["OUTFILE", "DUMPFILE"]) || target.kind == Kind::Variable;
        (pair[0].is("INTO") && written).then_some(target.text)
    };
    tokens.windows(2).find_map(target)
}

/// The server's warnings and errors are of the statement before, with its values.
fn show(tokens: &[Token<'_>]) -> Result<(), String> {
    match tokens.first() {
        Some(what) if what.is_one_of(&["WARNINGS", "ERRORS", "COUNT"]) => {
            Err("it shows the warnings or errors of an earlier statement".to_owned())
        }
        _ => Ok(()),
    }
}

/// EXPLAIN runs nothing, and EXPLAIN ANALYZE runs what it explains.
fn explain(tokens: &[Token<'_>]) -> Result<(), String> {
    let (explained, runs) = without_options(tokens);
    if runs { rows(explained, "EXPLAIN ANALYZE runs ") } else { Ok(()) }
}

/// The statement that is explained, and whether ANALYZE is among the options before it.
fn without_options<'t, 'a>(mut tokens: &'t [Token<'a>]) -> (&'t [Token<'a>], bool) {
    let mut runs = false;
    loop {
        let taken = match tokens {
            [option, equals, _, ..] if option.is("FORMAT") && equals.is_mark("=") => 3,
            [option, kind, _, ..]
                if option.is("FOR") && kind.is_one_of(&["SCHEMA", "DATABASE"]) =>
            {
                3
            }
            [option, ..] if option.is_one_of(&["EXTENDED", "PARTITIONS"]) => 1,
            [option, ..] if option.is("ANALYZE") => {
                runs = true;
                1
            }
            _ => return (tokens, runs),
        };
        tokens = &tokens[taken..];
    }
}

/// Whether a statement is a query expression. `before` goes before what it is instead.
fn rows(tokens: &[Token<'_>], before: &str) -> Result<(), String> {
    let tokens = without_parentheses(tokens);
    match tokens.first() {
        None => Ok(()),
        Some(verb) if verb.is_one_of(&VERBS_OF_ROWS) => Ok(()),
        Some(verb) if verb.is("WITH") => match statement_after_with(tokens) {
            Some(verb) if verb.is_one_of(&VERBS_OF_WRITES) => {
                Err(format!("{before}WITH … {}", verb.text.to_ascii_uppercase()))
            }
            _ => Ok(()),
        },
        Some(verb) if verb.kind == Kind::Word => {
            Err(format!("{before}{}", verb.text.to_ascii_uppercase()))
        }
        Some(_) => Err(format!("{before}no keyword")),
    }
}

/// The verb behind the expressions of a WITH. They are in parentheses, and no name is one of these words,
/// which are reserved.
fn statement_after_with<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t Token<'a>> {
    let mut depth = 0_i32;
    tokens.iter().find(|token| {
        depth += i32::from(token.is_mark("(")) - i32::from(token.is_mark(")"));
        depth == 0 && (token.is_one_of(&VERBS_OF_ROWS) || token.is_one_of(&VERBS_OF_WRITES))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Query::parse` refuses a text of comments only.
    fn query(sql: &str) -> Query {
        Query { sql: sql.to_owned(), ..Query::parse("q", "SELECT 1").unwrap() }
    }

    #[test]
    fn reads_are_reads() {
        for sql in [
            "SELECT 1",
            "-- a comment\n  # another\n/* a third */ ((sElEcT 1) UNION SELECT 2)",
            "SELECT 'INTO OUTFILE', \"TRUNCATE t\", `DROP` FROM t WHERE a = 'it\\'s; DELETE'",
            "SELECT `into`, t.into FROM t -- INTO OUTFILE 'x'",
            "SELECT 1 FROM t FOR UPDATE",
            "SELECT 1 FROM t LOCK IN SHARE MODE",
            "SELECT 1 FROM t PROCEDURE ANALYSE()",
            "SELECT LOAD_FILE('/x'), SLEEP(1), BENCHMARK(1, 1), GET_LOCK('a', 1), LASTVAL(s), PREVIOUS VALUE FOR s",
            "SELECT nextval, t.setval, `sys_exec` FROM lambda_sync WHERE next = value",
            "SELECT 'NEXTVAL(s)', \"sys_exec(1)\" -- lambda_sync(1)",
            "SELECT 1 # NEXT VALUE FOR s",
            "SELECT REPLACE(a, 'b', 'c'), INSERT(a, 1, 2, 'x') FROM t",
            "WITH RECURSIVE a (n) AS (SELECT 1), `delete` AS (SELECT 2) SELECT * FROM a",
            "WITH a AS (SELECT 1) (SELECT * FROM a)",
            "WITH a AS (TABLE t) TABLE a",
            "(WITH a AS (SELECT 1) SELECT REPLACE('a', 'b', 'c'))",
            "VALUES ROW(1, 2), ROW(3, 4)",
            "VALUES (1, 2)",
            "TABLE t ORDER BY a LIMIT 1",
            "SHOW CREATE TABLE t",
            "EXPLAIN SELECT 1",
            "DESCRIBE t",
            "DESC t 'a%'",
            "EXPLAIN FORMAT=JSON DELETE FROM t",
            "EXPLAIN INSERT INTO t VALUES (1)",
            "EXPLAIN EXTENDED UPDATE t SET a = 1",
            "EXPLAIN ANALYZE SELECT 1",
            "EXPLAIN ANALYZE FORMAT=TREE (SELECT 1)",
            "EXPLAIN ANALYZE TABLE t",
            "EXPLAIN FOR CONNECTION 5",
            "ANALYZE SELECT 1",
            "ANALYZE FORMAT=JSON WITH a AS (SELECT 1) SELECT * FROM a",
            "SELECT /*!40001 SQL_NO_CACHE */ * FROM t /*!80000 LIMIT 1 */",
            "/*!50704 SELECT 1 */ /*M! SELECT 2 */ -- one of them",
        ] {
            assert_eq!(check_read(&query(sql)), Ok(()), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (sql, why) in [
            ("TRUNCATE TABLE t", "TRUNCATE"),
            ("  /* x */ -- y\n drop table t", "DROP"),
            ("(DELETE FROM t)", "DELETE"),
            ("/*! TRUNCATE TABLE t */ ", "TRUNCATE"),
            ("/*!50704 DROP TABLE t */ SELECT 1", "DROP"),
            ("/*M!100101TRUNCATE t */ -- x", "TRUNCATE"),
            ("/*!50704 SELECT 1 */ /*M! DROP TABLE t */", "DROP"),
            ("/*!99999 SELECT */ /*!40000 DROP */ TABLE t", "DROP"),
            ("/*!99999 '*/ DROP TABLE t -- '*/", "DROP"),
            ("SELECT 1 INTO OUTFILE '/tmp/x'", "INTO OUTFILE"),
            ("SELECT * FROM t INTO @x, @y", "INTO @x"),
            ("SELECT 1 INTO/**/DUMPFILE 'x'", "INTO DUMPFILE"),
            ("VALUES (1) INTO OUTFILE 'x'", "INTO OUTFILE"),
            ("(TABLE t) INTO OUTFILE 'x'", "INTO OUTFILE"),
            ("SELECT 1 --INTO OUTFILE\n INTO OUTFILE 'x'", "INTO OUTFILE"),
            ("SELECT NEXT VALUE FOR s", "NEXT VALUE FOR"),
            ("select next /* x */ value\nfor db.s", "NEXT VALUE FOR"),
            ("SELECT nextval(s)", "NEXTVAL"),
            ("SELECT SETVAL (s, 100)", "SETVAL"),
            ("SELECT 1 FROM t WHERE n = (SELECT /*! NEXTVAL(s) */ 1)", "NEXTVAL"),
            ("SELECT spider_direct_sql('DELETE FROM t', 'tmp', 'srv \"a\"')", "SPIDER_DIRECT_SQL"),
            ("SELECT SPIDER_BG_DIRECT_SQL('x', '', '')", "SPIDER_BG_DIRECT_SQL"),
            ("SELECT spider_copy_tables('t', '0', '1')", "SPIDER_COPY_TABLES"),
            ("SELECT lambda_sync('arn:aws:lambda:x', '{}')", "LAMBDA_SYNC"),
            ("SELECT mysql.`lambda_async`('arn', '{}')", "LAMBDA_ASYNC"),
            ("VALUES (sys_exec('id'))", "SYS_EXEC"),
            // With ANSI_QUOTES.
            ("SELECT \"sys_exec\"('id')", "SYS_EXEC"),
            ("WITH a AS (SELECT sys_eval('id') AS x) TABLE a", "SYS_EVAL"),
            ("EXPLAIN ANALYZE SELECT NEXTVAL(s)", "NEXTVAL"),
            ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "WITH … INSERT"),
            ("(((DELETE FROM t)))", "DELETE"),
            ("DO SLEEP(1)", "DO"),
            ("DO RELEASE_ALL_LOCKS()", "DO"),
            ("HANDLER t READ FIRST", "HANDLER"),
            ("#x\nDELETE FROM t", "DELETE"),
            ("--\tx\nDELETE FROM t", "DELETE"),
            ("/*! DELETE */ FROM t", "FROM"),
            ("/*!50000 DELETE FROM t */", "DELETE"),
            ("/*M!100500 DELETE FROM t */", "DELETE"),
            ("/*M!50701 EXPLAIN */ ANALYZE DELETE FROM t", "ANALYZE runs DELETE"),
            ("SELECT \"\\\" INTO OUTFILE 'x' -- \"", "INTO OUTFILE"),
            ("SELECT \\NINTO OUTFILE '/tmp/x'", "INTO OUTFILE"),
            // With NO_BACKSLASH_ESCAPES, and with ANSI_QUOTES.
            ("SELECT '\\', 1 INTO OUTFILE '/tmp/x' -- '", "INTO OUTFILE"),
            ("SELECT 1 AS \"\\\", 2 AS b INTO OUTFILE '/tmp/x' -- \"", "INTO OUTFILE"),
            ("SHOW WARNINGS", "earlier statement"),
            ("SHOW COUNT(*) ERRORS", "earlier statement"),
            ("SELECT 1 /*! INTO */ DUMPFILE '/tmp/x'", "INTO DUMPFILE"),
            ("SELECT 1.INTO @x", "INTO @x"),
            ("TABLE t INTO OUTFILE 'x'", "INTO OUTFILE"),
            ("(SELECT 1) UNION (SELECT 2) INTO @'a b'", "INTO @'a b'"),
            ("EXPLAIN FORMAT=JSON INTO @x SELECT 1", "INTO @x"),
            ("WITH a AS (SELECT 1) DELETE FROM t", "WITH … DELETE"),
            ("WITH RECURSIVE a AS (SELECT 1), b AS (SELECT 2) UPDATE t SET a = 1", "WITH … UPDATE"),
            ("WITH a AS (SELECT 1) /*!99999 SELECT */ DELETE FROM t", "WITH … DELETE"),
            ("EXPLAIN ANALYZE DELETE t FROM t", "EXPLAIN ANALYZE runs DELETE"),
            ("DESC FORMAT = TREE ANALYZE UPDATE t SET a = 1", "runs UPDATE"),
            ("EXPLAIN /*!80018 ANALYZE */ DELETE FROM t", "runs DELETE"),
            ("ANALYZE UPDATE t SET a = 1", "ANALYZE runs UPDATE"),
            ("ANALYZE FORMAT=JSON DELETE FROM t", "ANALYZE runs DELETE"),
            ("ANALYZE TABLE t", "ANALYZE TABLE"),
            ("ANALYZE LOCAL TABLE t", "ANALYZE TABLE"),
            ("BEGIN NOT ATOMIC DELETE FROM t; END", "BEGIN"),
            ("SET STATEMENT max_statement_time = 1 FOR DELETE FROM t", "SET"),
            ("CALL p()", "CALL"),
            ("HANDLER t OPEN", "HANDLER"),
            ("DO GET_LOCK('a', 1)", "DO"),
            ("FLUSH TABLES", "FLUSH"),
            ("REPLACE INTO t VALUES (1)", "REPLACE"),
            ("LOAD DATA INFILE 'x' INTO TABLE t", "LOAD"),
            ("'SELECT'", "no keyword"),
            ("`SELECT` 1", "no keyword"),
        ] {
            let error = check_read(&query(sql)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{sql}");
            assert!(error.to_string().contains(why) && !error.is_transient(), "{sql}: {error}");
            let write = Query { mode: Mode::Write, ..query(sql) };
            assert_eq!(check_read(&write), Ok(()), "{sql}");
        }
        let many = format!("SELECT 1 {}", "/*! + 1 */".repeat(9));
        assert!(check_read(&query(&many)).unwrap_err().to_string().contains("eight"));
    }

    #[test]
    fn a_second_statement_is_found() {
        for sql in [
            "SELECT 1; DELETE FROM t",
            "SELECT ';' ; SELECT 2",
            "DELETE FROM t; -- x\n DELETE FROM u;",
            "SELECT 1 /* ; */; /*! SELECT 2 */ SELECT 3",
            "SET @a = 1; SELECT @a",
        ] {
            let error = check(&Query { mode: Mode::Write, ..query(sql) }).unwrap_err();
            assert!(error.to_string().contains("second statement"), "{sql}: {error}");
        }
        assert!(check(&query("SELECT 1; DELETE FROM t")).is_err());
        for sql in [
            "SELECT 1;;",
            "SELECT ';', \"; x\", `;`, '\\'; x' -- ; SELECT 2",
            "BEGIN NOT ATOMIC DELETE FROM t; DELETE FROM u; END",
            "SET STATEMENT max_statement_time = 1 FOR BEGIN NOT ATOMIC DELETE FROM t; DELETE FROM u; END",
            "CREATE PROCEDURE p() BEGIN DELETE FROM t; DELETE FROM u; END",
            "IF 1 THEN DELETE FROM t; ELSE DELETE FROM u; END IF",
            "SELECT 1 /*!99999 ; SELECT 2 */",
        ] {
            assert_eq!(check(&Query { mode: Mode::Write, ..query(sql) }), Ok(()), "{sql}");
        }
    }

    #[test]
    fn placeholders_are_counted_outside_strings() {
        for (sql, count) in [
            ("SELECT ?, '?', \"?\", `?` -- ?\n, ?", Some(2)),
            ("SELECT 1 /* ? */ # ?", Some(0)),
            ("SELECT ? /*! , ? */", None),
        ] {
            assert_eq!(placeholders(&query(sql)), count, "{sql}");
        }
        let error = check(&query("SELECT ?")).unwrap_err();
        assert!(error.to_string().contains("declares 0"), "{error}");
    }
}
