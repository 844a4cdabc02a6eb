//! What agents are helped with on calls in progress: which calls, by what book and what knowledge, and each call's stream.

mod desk;
mod profile;

pub(crate) use desk::{Desk, Told, Watch};
pub(crate) use profile::{About, Profile, Profiles, keep_fresh};
