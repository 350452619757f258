//! Statements that PostgreSQL prepares, and runs outside of a transaction only.

use rds_iam::query::Query;
use rds_iam::{Error, ErrorKind};
use squawk_syntax::SyntaxKind as K;
use squawk_syntax::SyntaxNode;

pub(super) fn check(query: &Query, root: &SyntaxNode) -> Option<Error> {
    let mut statements = root.children();
    let why = statements.find_map(|statement| match statement.kind() {
        K::VACUUM => Some("VACUUM"),
        K::CREATE_DATABASE | K::DROP_DATABASE => Some("CREATE or DROP DATABASE"),
        K::CREATE_TABLESPACE | K::DROP_TABLESPACE => Some("CREATE or DROP TABLESPACE"),
        K::ALTER_SYSTEM => Some("ALTER SYSTEM"),
        // A materialized view is refreshed in one.
        K::REFRESH => None,
        _ => {
            let mut tokens = statement.descendants_with_tokens();
            tokens.any(|token| token.kind() == K::CONCURRENTLY_KW).then_some("CONCURRENTLY")
        }
    })?;
    let error = Error::new(ErrorKind::QueryInvalid, format!("query {} is not valid", query.name));
    let error =
        error.because(format!("each statement runs in a transaction here, and {why} takes none"));
    Some(error.remedy("Run it with psql or pg_cron"))
}
