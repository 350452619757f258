//! Calls that change something which no read-only transaction protects.

use super::lexer::{Kind, Token};

/// MariaDB's functions that change a sequence. LASTVAL changes nothing, and a reset of the session ends its value.
const OF_SEQUENCES: [&str; 2] = ["NEXTVAL", "SETVAL"];
/// Functions with effects elsewhere: Spider's, which send SQL to another server, Aurora's, which invoke a Lambda
/// function, and those that run a command on the server's machine.
const WITH_EFFECTS: [&str; 8] = [
    "SPIDER_DIRECT_SQL",
    "SPIDER_BG_DIRECT_SQL",
    "SPIDER_COPY_TABLES",
    "SPIDER_FLUSH_TABLE_MON_CACHE",
    "LAMBDA_SYNC",
    "LAMBDA_ASYNC",
    "SYS_EXEC",
    "SYS_EVAL",
];

/// The first effect of a statement that a read-only transaction does not prevent. A stored function of the same name
/// counts too.
pub(super) fn effect(tokens: &[Token<'_>]) -> Option<String> {
    let is_sequence =
        |three: &[Token<'_>]| three[0].is("NEXT") && three[1].is("VALUE") && three[2].is("FOR");
    if tokens.windows(3).any(is_sequence) {
        return Some("it uses a sequence, with NEXT VALUE FOR".to_owned());
    }
    tokens.windows(2).find_map(|pair| {
        // With ANSI_QUOTES, a name can be in double quotes.
        let name = pair[0].text.trim_matches(['`', '"']).to_ascii_uppercase();
        let is_called = pair[0].kind != Kind::Mark && pair[1].is_mark("(");
        let is_one_of = |names: &[&str]| is_called && names.contains(&name.as_str());
        if is_one_of(&OF_SEQUENCES) {
            return Some(format!("it uses a sequence, with {name}"));
        }
        let why = || format!("{name} has effects outside of the transaction");
        is_one_of(&WITH_EFFECTS).then(why)
    })
}
