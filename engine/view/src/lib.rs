//! What people look at: live transcript, summary, waveform picture, reports of inspected calls, the manual of
//! causes.
//!
//! Views are made for the operator and show personal data; they write where they are told to and nowhere else. No
//! clock, no threads.

mod causes;
mod columns;
mod fonts;
mod live;
mod report;
mod summary;
mod waveform;

pub use causes::causes_markdown;
pub use live::{LiveView, Terminal};
pub use report::{Embed, IndexRow, InsightLine, InsightPage, Report, RuleCount, Sound, index_page};
pub use summary::{Distribution, MediaLine, Summary};
pub use waveform::{
    Annotations, Mark, MarkKind, Picture, RenderError, Track, TrackWord, WaveformInput, render,
    render_recording,
};
