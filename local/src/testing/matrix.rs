//! Tables of documents whose cells a test produces.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The cells of a row of the document.
fn documented((path, text): (&str, &str), row: &str) -> Vec<String> {
    let start = format!("| {row} |");
    let line = text.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("{path} has no row {row}"));
    line.trim_matches('|').split('|').skip(1).map(|cell| cell.trim().to_owned()).collect()
}

/// Produces the rows, some at once, prints them, and compares each with the document's row of its name.
/// A cell of the document may allow several: `this or that`.
pub async fn holds<T, R>(
    document: (&str, &str),
    at_once: usize,
    rows: impl IntoIterator<Item = (&'static str, T)>,
    produce: impl Fn(&'static str, T) -> R,
) where
    R: Future<Output = Vec<String>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(at_once));
    let mut set = JoinSet::new();
    for (index, (name, row)) in rows.into_iter().enumerate() {
        let (permits, row) = (permits.clone(), produce(name, row));
        set.spawn(async move {
            let _permit = permits.acquire().await.unwrap();
            (index, name, row.await)
        });
    }
    let mut rows = set.join_all().await;
    rows.sort();
    let mut wrong = Vec::new();
    for (_, name, cells) in rows {
        println!("| {name} | {} |", cells.join(" | "));
        let expected = documented(document, name);
        let mut pairs = cells.iter().zip(&expected);
        let fits = cells.len() == expected.len()
            && pairs.all(|(cell, allowed)| allowed.split(" or ").any(|one| one == cell));
        if !fits {
            wrong.push(format!("{name}: {cells:?}, where {} has {expected:?}", document.0));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
