//! Figures over many calls: what is kept of each, and how questions about them are answered.

mod board;
mod collect;
mod keep;
mod parquet;
mod period;
mod rows;
mod table;

pub(crate) use board::{Board, Told};
pub(crate) use collect::{
    AgreementBy, AgreementQuestion, By, Collected, Periods, Question, TooMany, agreement, board, collect,
    number,
};
pub(crate) use keep::{About, Judgements, judged_calls, keep_live, verdict};
pub(crate) use period::Per;
pub(crate) use rows::{Listed, agreements, calls, figures, reasons, rules, topics};
pub(crate) use table::Table;
