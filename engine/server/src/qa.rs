//! Inspection of recordings: jobs, the workers that hear and judge, and what comes of it.
//!
//! A job lies in the store with its files. Workers claim them one by one, hear them through the pool as batch work, so
//! that live calls never notice, judge what was heard, and keep the result in one step with the file's state.

pub(crate) mod hear;
pub(crate) mod insight;
pub(crate) mod intervene;
pub(crate) mod job;
pub(crate) mod kept;
pub(crate) mod live;
pub(crate) mod report;
mod result;
pub(crate) mod sound;
pub(crate) mod source;
mod uploads;
mod work;

pub(crate) use result::{FileResult, HeardBy, judge};
pub(crate) use uploads::upload_name;
pub(crate) use work::{Inspected, Inspection, OfferError};
