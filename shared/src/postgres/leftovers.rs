//! State that a statement leaves in its session, and its release: the next invocation finds the session as
//! the first one did.
//!
//! The release travels with the COMMIT or ROLLBACK that ends the statement's transaction, so it costs no
//! round trip, and a sandbox that freezes holds nothing. Whether it is needed is judged by the text: a
//! plain read sends nothing. Behind RDS Proxy a release would pin the session; there a connection whose
//! statement has pinned it is not kept.

use futures_util::future::join;

use super::Connection;
use crate::query::{Mode, Query, tokens};

/// Everything that DISCARD ALL does, except DISCARD PLANS: a plan shows nothing, and triggers and foreign
/// keys would be planned again for each write. ALTER ROLE can set a role too, hence RESET ROLE.
pub(super) const RELEASE: &str = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DEALLOCATE ALL; \
     CLOSE ALL; UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// The state that a statement may leave in its session, by its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leaves {
    /// Nothing.
    Nothing,
    /// Its text does not tell: it calls a function that may do anything, or fires triggers.
    Unseen,
    /// The text names state of the session: RDS Proxy pins such a session.
    State,
}

impl Leaves {
    /// Of one statement.
    pub(crate) fn of(query: &Query) -> Self {
        let tokens: Vec<&str> = tokens(&query.sql).collect();
        let words: Vec<String> =
            tokens.iter().take(64).map(|token| token.to_ascii_uppercase()).collect();
        let mut words = words.iter().map(String::as_str).filter(|word| *word != "(");
        let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        // With standard_conforming_strings off, the backslash hides where the string ends.
        let unclear = query.sql.contains("\\'");
        if names_state(first, second) || makes_temporary(&tokens) || calls(&tokens).any(holds) {
            return Self::State;
        }
        let reads = matches!(first, "SELECT" | "VALUES" | "TABLE" | "WITH" | "SHOW");
        let plain =
            reads && query.mode == Mode::Read && !unclear && calls(&tokens).all(leaves_nothing);
        if plain { Self::Nothing } else { Self::Unseen }
    }

    /// Of several statements on one connection.
    pub(crate) fn of_any<'q>(queries: impl Iterator<Item = &'q Query>) -> Self {
        queries.map(Self::of).max().unwrap_or(Self::Nothing)
    }
}

fn names_state(first: &str, second: &str) -> bool {
    match first {
        "SET" => !matches!(second, "LOCAL" | "TRANSACTION" | "CONSTRAINTS"),
        "PREPARE" => second != "TRANSACTION",
        "DECLARE" | "LISTEN" | "LOAD" => true,
        _ => false,
    }
}

/// `CREATE TEMP TABLE`, `SELECT … INTO TEMPORARY`, `pg_temp.t`.
fn makes_temporary(tokens: &[&str]) -> bool {
    let is = |token: &str, any: &[&str]| any.iter().any(|word| token.eq_ignore_ascii_case(word));
    tokens.windows(2).any(|pair| {
        is(pair[1], &["temp", "temporary"])
            && is(pair[0], &["create", "replace", "local", "global", "into"])
            || is(pair[0], &["pg_temp", "\"pg_temp\""]) && pair[1] == "."
    })
}

/// A name in front of a parenthesis.
#[derive(Clone, Copy)]
struct Call<'a> {
    /// `None` unless the name is qualified.
    schema: Option<&'a str>,
    /// The token in front of the name.
    before: &'a str,
    name: &'a str,
    /// The tokens from the parenthesis on.
    rest: &'a [&'a str],
}

fn calls<'a>(tokens: &'a [&'a str]) -> impl Iterator<Item = Call<'a>> {
    let before = |at: usize, n: usize| at.checked_sub(n).map_or("", |at| tokens[at]);
    tokens.iter().enumerate().filter(|(_, token)| **token == "(").filter_map(move |(at, _)| {
        let name = before(at, 1);
        let quoted = name.starts_with('"');
        // Columns of an alias: `AS t (a, b)`.
        let alias = before(at, 2).eq_ignore_ascii_case("as") && !quoted;
        let is_name = quoted || name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let schema = (before(at, 2) == ".").then(|| before(at, 3));
        (is_name && !alias).then_some(Call {
            schema,
            before: before(at, 2),
            name,
            rest: &tokens[at..],
        })
    })
}

/// Whether a function of PostgreSQL's own keeps something in the session.
fn holds(call: Call<'_>) -> bool {
    let name = call.name.trim_matches('"').to_ascii_lowercase();
    match name.as_str() {
        "set_config" => !is_local(call.rest),
        "pg_advisory_lock" | "pg_advisory_lock_shared" => true,
        "pg_try_advisory_lock" | "pg_try_advisory_lock_shared" => true,
        _ => false,
    }
}

/// Whether the last argument is `true`: `set_config(name, value, true)` ends with its transaction.
fn is_local(from_parenthesis: &[&str]) -> bool {
    let mut depth = 0;
    let end = from_parenthesis.iter().position(|token| {
        depth += i32::from(*token == "(") - i32::from(*token == ")");
        depth == 0
    });
    let last =
        |n: usize| end.and_then(|end| end.checked_sub(n)).map_or("", |at| from_parenthesis[at]);
    last(1).eq_ignore_ascii_case("true") && last(2) == ","
}

fn leaves_nothing(call: Call<'_>) -> bool {
    let own = call.schema.is_none_or(|schema| schema.eq_ignore_ascii_case("pg_catalog"));
    let name = call.name.to_ascii_lowercase();
    // Words that name functions too, unless these are in front of them.
    let is_behind =
        |words: &[&str]| words.iter().any(|word| call.before.eq_ignore_ascii_case(word));
    match name.as_str() {
        "filter" | "over" => return is_behind(&[")"]),
        "by" => return is_behind(&["order", "group", "partition"]),
        "sets" => return is_behind(&["grouping"]),
        "materialized" => return is_behind(&["as", "not"]),
        _ => {}
    }
    own && (HARMLESS.iter().any(|line| line.split(' ').any(|harmless| harmless == name))
        || name == "set_config" && is_local(call.rest))
}

/// Words in front of a parenthesis after which nothing is left: key words, types, and functions of
/// PostgreSQL's that queries use often. Any other name costs a release, not a wrong answer.
const HARMLESS: [&str; 12] = [
    "all and any array as between case cast distinct else except exists from group grouping having ilike \
     in intersect is join lateral like limit not offset on or row select some table then to union using \
     values when where with",
    "bit bpchar char character decimal float interval numeric time timestamp timestamptz timetz varbit \
     varchar varying",
    "array_agg avg bit_and bit_or bool_and bool_or corr count covar_pop covar_samp every json_agg \
     json_object_agg jsonb_agg jsonb_object_agg max min mode percentile_cont percentile_disc range_agg \
     regr_slope stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance xmlagg",
    "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number",
    "coalesce greatest least nullif num_nonnulls num_nulls",
    "age clock_timestamp date date_bin date_part date_trunc extract isfinite justify_days \
     justify_hours justify_interval make_date make_interval make_time make_timestamp make_timestamptz \
     now statement_timestamp timeofday timezone to_char to_date to_number to_timestamp \
     transaction_timestamp",
    "abs ceil ceiling div exp floor gcd lcm ln log mod pi power random round sign sqrt trunc \
     width_bucket",
    "ascii btrim char_length character_length chr concat concat_ws convert_from convert_to decode \
     encode format initcap left length lower lpad ltrim md5 normalize octet_length overlay position \
     quote_ident quote_literal quote_nullable regexp_count regexp_instr regexp_like regexp_match \
     regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr repeat \
     replace reverse right rpad rtrim sha256 sha512 split_part starts_with string_to_array \
     string_to_table strpos substr substring to_hex translate trim upper",
    "array_append array_cat array_dims array_length array_lower array_ndims array_position \
     array_positions array_prepend array_remove array_replace array_to_string array_upper cardinality \
     generate_series generate_subscripts unnest",
    "json_array_elements json_array_elements_text json_array_length json_build_array json_build_object \
     json_each json_each_text json_extract_path json_extract_path_text json_object json_object_keys \
     json_populate_record json_populate_recordset json_strip_nulls json_to_record json_to_recordset \
     json_typeof jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array \
     jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text \
     jsonb_object jsonb_object_keys jsonb_path_exists jsonb_path_match jsonb_path_query \
     jsonb_path_query_array jsonb_path_query_first jsonb_populate_record jsonb_populate_recordset \
     jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_typeof \
     row_to_json to_json to_jsonb",
    "isempty lower_inc lower_inf plainto_tsquery range_merge to_tsquery to_tsvector ts_headline ts_rank \
     upper_inc upper_inf websearch_to_tsquery",
    "col_description current_database current_schema current_schemas current_setting format_type \
     gen_random_uuid has_table_privilege obj_description pg_advisory_xact_lock \
     pg_advisory_xact_lock_shared pg_backend_pid pg_column_size pg_database_size pg_get_constraintdef \
     pg_get_indexdef pg_get_viewdef pg_indexes_size pg_is_in_recovery pg_relation_size pg_size_pretty \
     pg_sleep pg_sleep_for pg_table_size pg_total_relation_size pg_try_advisory_xact_lock \
     pg_try_advisory_xact_lock_shared pg_typeof to_regclass version",
];

impl Connection {
    /// Ends a transaction with `COMMIT` or `ROLLBACK`, and releases in the same flight what its statement
    /// may have left. Returns the answer to the first; a connection on which the release failed is not
    /// kept.
    pub(crate) async fn end(&self, end: &str, leaves: Leaves) -> Result<(), tokio_postgres::Error> {
        if !self.sends_release(leaves) {
            return self.client.batch_execute(end).await;
        }
        let (ended, released) =
            join(self.client.batch_execute(end), self.client.batch_execute(RELEASE)).await;
        if released.is_err() {
            self.spend();
        }
        ended
    }

    /// Whether a release is sent. Where it cannot be, the connection serves no other invocation if
    /// something may be left.
    pub(crate) fn sends_release(&self, leaves: Leaves) -> bool {
        match leaves {
            Leaves::Nothing => false,
            Leaves::Unseen if self.is_proxy() => false,
            // What hides in a function is hidden from the proxy too; what the text names has pinned it.
            Leaves::State if self.is_proxy() => {
                self.spend();
                false
            }
            // DEALLOCATE ALL would take the driver's own statements away.
            _ if self.has_statements() => {
                self.spend();
                false
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(mode: &str, sql: &str) -> Leaves {
        let text = format!("/*+++\nmode = \"{mode}\"\nresult = \"affected\"\n+++*/ {sql}");
        Leaves::of(&Query::parse("q", &text).unwrap())
    }

    #[test]
    fn a_plain_read_leaves_nothing() {
        for sql in [
            "SELECT customer_id, name, email, age FROM customers WHERE age >= $1 ORDER BY age DESC",
            "(SELECT 1) UNION ALL (VALUES (2), (3))",
            "WITH t (a) AS (SELECT count(*) FROM x) SELECT coalesce(max(a), 0)::numeric(10, 2) FROM t",
            "SELECT n FROM generate_series(1, 2) AS t (n) WHERE n IN (1, 2) AND (n > 0 OR (n = 0))",
            "SELECT pg_catalog.lower(name), 'set_config(' || $$ SET x $$ FROM t -- nextval('s')",
            "SELECT set_config('app.user', lower($1), true), * FROM t",
            "SELECT pg_try_advisory_xact_lock(1), settings, set, listen, temp FROM t",
            "SELECT sum(n) FILTER (WHERE n > 0) OVER (PARTITION BY (n) ORDER BY (n)) FROM t",
            "TABLE customers",
        ] {
            let expected = if sql.starts_with("WITH") { Leaves::Unseen } else { Leaves::Nothing };
            assert_eq!(leaves("read", sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_function_or_a_write_may_leave_anything() {
        for sql in [
            "SELECT my_function(1)",
            "SELECT app.lower('x')",
            "SELECT \"lower\"('x')",
            "SELECT U&\"set\\005fconfig\"('a', 'b', false)",
            "SELECT lastval()",
            "SELECT nextval ( 's' )",
            "SELECT setseed(0.5)",
            "SELECT query_to_xml('SELECT 1', true, true, '')",
            "DO $$ BEGIN PERFORM set_config('a.b', 'c', false); END $$",
            "CALL p()",
            "EXPLAIN ANALYZE SELECT 1",
            "RESET ALL",
            "SET LOCAL search_path TO x",
            "PREPARE TRANSACTION 'x'",
        ] {
            assert_eq!(leaves("read", sql), Leaves::Unseen, "{sql}");
        }
        // A trigger is a function too.
        assert_eq!(leaves("write", "INSERT INTO t VALUES (1)"), Leaves::Unseen);
        assert_eq!(leaves("write", "SELECT 1"), Leaves::Unseen);
    }

    #[test]
    fn state_that_the_text_names_is_seen() {
        for sql in [
            "SET TimeZone TO 'Asia/Tokyo'",
            "/* SELECT */ -- SELECT\n set session role x",
            "SELECT set_config('TimeZone', 'UTC', false)",
            "SELECT set_config('a.b', $1, $2)",
            "SELECT set_config('a.b', 'true', NOT true)",
            "SELECT pg_catalog . \"set_config\" /* ( */ ('a.b', (true)::text, (false))",
            "SELECT 1 WHERE pg_try_advisory_lock(7)",
            "SELECT pg_advisory_lock_shared(7)",
            "PREPARE p AS SELECT 1",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "LISTEN x",
            "LOAD 'auto_explain'",
            "CREATE TEMP TABLE t (n int)",
            "create local temporary view v as select 1",
            "SELECT 1 AS n INTO TEMPORARY t",
            "CREATE TABLE pg_temp.t (n int)",
        ] {
            assert_eq!(leaves("write", sql), Leaves::State, "{sql}");
        }
    }
}
