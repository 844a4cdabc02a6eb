//! How far a pull is, for somebody who watches.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use antiphon_models_catalog::Watch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error where that is a terminal; a line for each file anywhere else.
pub(super) struct Bar {
    bar: ProgressBar,
    model: String,
    shown: bool,
}

impl Bar {
    pub(super) fn new(model: &str) -> Self {
        let shown = stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("{prefix} {spinner} {bytes}  {msg}"));
        bar.set_prefix(model.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, model: model.to_owned(), shown }
    }

    /// Bytes of a file that is verified.
    pub(super) fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, line: &str) {
        if self.shown {
            self.bar.set_message(line.to_owned());
        } else {
            eprintln!("{}: {line}", self.model);
        }
    }
}

impl Watch for Bar {
    fn file(&mut self, name: &str, number: usize, count: usize) {
        self.bar.set_message("");
        self.bar.set_prefix(format!("{} {number}/{count} {name}", self.model));
        if !self.shown {
            eprintln!("{}: {number}/{count} {name}", self.model);
        }
    }

    fn begin(&mut self, have: u64, total: Option<u64>) {
        if let Some(total) = total {
            self.bar.set_length(total);
            self.bar.set_style(style(
                "{prefix} [{bar:24}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left  {msg}",
            ));
        }
        self.bar.set_position(have);
        self.bar.reset_eta();
    }

    fn more(&mut self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn retry(&mut self, reason: &str) {
        self.say(&format!("{reason}; trying again"));
    }

    fn check(&mut self, _: &str) {
        if self.shown {
            self.bar.set_message("checking");
        }
    }

    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
