//! How far a file is, for somebody who watches.

use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::time::{Duration, Instant};

use antiphon_media_frame::Span;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::format::clock;
use super::hearing::Transcript;

/// A bar on standard error where that is a terminal; nothing anywhere else.
pub(super) struct Progress {
    bar: ProgressBar,
    began: Instant,
    shown: bool,
}

impl Progress {
    pub(super) fn start(file: &Path) -> Self {
        let shown = stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            None,
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        bar.set_prefix(name.into_owned());
        bar.set_style(style("{prefix} {spinner} {audio}  {speed}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, began: Instant::now(), shown }
    }

    /// Shows how much of the file was heard.
    pub(super) fn at(&mut self, position: Span, duration: Option<Span>) {
        if let Some(duration) = duration
            && self.bar.length().is_none()
        {
            self.bar.set_length(duration.millis());
            self.bar.set_style(style("{prefix} [{bar:30}] {audio} of {whole}  {speed}"));
        }
        self.bar.set_position(position.millis());
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// One line about a file that is done.
    pub(super) fn summarise(&self, transcript: &Transcript) {
        if self.shown {
            eprintln!(
                "{}: {} of audio, {} utterances, {}",
                transcript.path.display(),
                clock(transcript.duration.millis()),
                transcript.spoken.len(),
                speed(transcript.duration.millis(), self.began.elapsed())
            );
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let audio = |state: &ProgressState, w: &mut dyn Write| {
        // A terminal that cannot be written to shows nothing; there is nobody to tell.
        let _ = w.write_str(&clock(state.pos()));
    };
    let whole = |state: &ProgressState, w: &mut dyn Write| {
        let _ = w.write_str(&clock(state.len().unwrap_or(0)));
    };
    let pace = |state: &ProgressState, w: &mut dyn Write| {
        let _ = w.write_str(&speed(state.pos(), state.elapsed()));
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("audio", audio)
        .with_key("whole", whole)
        .with_key("speed", pace)
        .progress_chars("=> ")
}

fn speed(audio_ms: u64, taken: Duration) -> String {
    let taken = taken.as_secs_f64().max(0.001);
    format!("{:.1} times real time", audio_ms as f64 / 1_000.0 / taken)
}
