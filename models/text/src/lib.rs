//! After the words: what happens to what a recogniser heard before anybody reads it.
//!
//! [`Normalizer`] writes numbers, money, dates and times in figures; a [`Punctuator`] puts marks, [`Capitals`] capitals;
//! a [`Masker`] hides what a [`Policy`] names, in finals, in partials, and over two finals where a number was said in
//! two halves. [`Finisher`] is all of them in order. Every written token knows the spoken words it came from, so that
//! word times survive. [`Reader`] does so for a stream whose language may turn out to be another. English and Chinese; other languages pass through the marks and the masks alone.

mod capitals;
mod chinese;
mod english;
mod finish;
mod mask;
mod normalize;
mod punctuation;
mod reader;
mod token;

pub use capitals::Capitals;
pub use finish::{Finished, Finisher, Style};
pub use mask::{Action, Category, Masker, Policy, PolicyError, Redaction};
pub use normalize::{Normalizer, Script};
pub use punctuation::{Pausing, Punctuator, Spoken};
pub use reader::{Readable, Reader};
pub use token::{Kind, Mark, Piece, Written, join};
