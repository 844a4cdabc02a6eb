//! Stereo recordings on the call's clock: timeline, WAV, sidecar, reader.
//!
//! [`StereoRecording`] places every frame by its time, never by its order of arrival, so that the two channels of a
//! call stay aligned under loss, silence suppression and clock drift. [`recover`] repairs what a killed process left.
//! [`AudioReader`] reads any audio file for prompts and transcription.
//!
//! File I/O only: no threads, no sockets, no clock.

mod gsm;
mod reader;
mod recording;
mod sidecar;
mod timeline;
mod wav;

pub use reader::{AudioReader, Pcm, ReadError, read_all};
pub use recording::{RecordError, RecordingSummary, StereoRecording, TrackSummary};
pub use sidecar::{
    Key, MediaEntry, ResponseEntry, Sidecar, SidecarError, Stretch, TranscriptEntry, TranscriptWord,
    write_whole,
};
pub use timeline::{Channel, Gap, GapCause};
pub use wav::{RecoverError, Recovered, recover, wav_mono, write_wav_mono};
