//! Lists that are read page by page.

use super::problem::{Kind, Problem};

/// Entries of a page where the client does not say.
const PAGE: usize = 100;
/// Entries of a page at most.
const LONGEST_PAGE: usize = 1_000;

/// How many entries a page has that was asked for with `limit`; `kind` is what to answer where that is out of range.
pub(super) fn page_length(limit: Option<usize>, kind: &'static Kind) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Problem::because(kind, format!("limit is {limit}")));
    }
    Ok(limit)
}

/// The place in a list that `next` of the page before names.
pub(super) fn place(after: &str, kind: &'static Kind) -> Result<(i64, String), Problem> {
    after
        .split_once('-')
        .and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())))
        .ok_or_else(|| Problem::because(kind, "after is not the `next` of a page"))
}
