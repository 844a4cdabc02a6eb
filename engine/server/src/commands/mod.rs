//! What the command line offers.

pub(crate) mod call;
pub(crate) mod cdr;
pub(crate) mod demo;
pub(crate) mod docs;
pub(crate) mod flow;
pub(crate) mod knowledge;
pub(crate) mod load;
pub(crate) mod models;
pub(crate) mod output;
pub(crate) mod pool;
pub(crate) mod qa;
pub(crate) mod serve;
#[cfg(feature = "talk")]
pub(crate) mod talk;
pub(crate) mod train;
pub(crate) mod transcribe;

/// How wide the terminal is; 80 where that is not known.
pub(crate) fn columns() -> usize {
    terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0))
}
