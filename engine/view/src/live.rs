//! The transcript of a call as it grows, in two columns.

mod block;

use std::io::{self, Write};

use antiphon_engine_call::{Decision, Event, EventBody, PromptEnd, PromptId, Side};
use antiphon_media_frame::MediaTime;

use crate::columns::printable;
use block::{Block, Style};

/// What the transcript is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    columns: usize,
    ansi: bool,
}

impl Terminal {
    /// Narrower ones are treated as this wide.
    const NARROWEST: usize = 48;

    /// A terminal that understands escapes: two columns, partial words rewritten in place.
    #[must_use]
    pub fn ansi(columns: usize) -> Self {
        Self { columns: columns.max(Self::NARROWEST), ansi: true }
    }

    /// A file, a pipe or a plain terminal: a line for everything final.
    #[must_use]
    pub fn plain() -> Self {
        Self { columns: Self::NARROWEST, ansi: false }
    }

    /// Chooses by what is known: `tty` where the output is a terminal, `columns` where its width is known (80 else).
    /// `NO_COLOR` (any value but the empty one) and `TERM=dumb` mean plain.
    #[must_use]
    pub fn detect(tty: bool, columns: Option<usize>) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !tty || no_color || dumb { Self::plain() } else { Self::ansi(columns.unwrap_or(80)) }
    }
}

/// Words that may still change.
#[derive(Clone, Debug)]
struct Pending {
    at: MediaTime,
    text: String,
}

/// Shows the events of one call, in order, on `out`.
///
/// The machine's column is what its prompts say; words recognised on the machine's track are shown only in calls
/// without prompts of our own. Text is cleaned of control characters before it is shown.
pub struct LiveView<W> {
    out: W,
    terminal: Terminal,
    caller: Option<Pending>,
    machine: Option<Pending>,
    prompt: Option<PromptId>,
    /// Whether the machine's words are known from prompts.
    prompted: bool,
    /// Lines at the bottom that the next event may rewrite.
    volatile: usize,
}

impl<W: Write> LiveView<W> {
    /// Shows nothing yet.
    pub fn new(out: W, terminal: Terminal) -> Self {
        Self { out, terminal, caller: None, machine: None, prompt: None, prompted: false, volatile: 0 }
    }

    /// Shows what an event changes.
    ///
    /// # Errors
    /// The output's.
    pub fn show(&mut self, event: &Event) -> io::Result<()> {
        let mut done = Vec::new();
        self.take(event, &mut done);
        if !self.terminal.ansi {
            for block in &done {
                self.out.write_all(block.plain().as_bytes())?;
            }
            return self.out.flush();
        }
        let mut screen = String::new();
        if self.volatile > 0 {
            screen.push_str(&format!("\x1b[{}A\r\x1b[J", self.volatile));
        }
        for block in &done {
            block.render(self.terminal.columns, &mut screen);
        }
        self.volatile = self.pending().map_or(0, |block| block.render(self.terminal.columns, &mut screen));
        self.out.write_all(screen.as_bytes())?;
        self.out.flush()
    }

    /// Leaves what was still changing as it is and gives the output back.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// What is not final yet, both sides in one block.
    fn pending(&self) -> Option<Block> {
        let at = self.caller.iter().chain(&self.machine).map(|p| p.at).min()?;
        let text = |side: &Option<Pending>| side.as_ref().map_or_else(String::new, |p| p.text.clone());
        Some(Block::partial(at, text(&self.caller), text(&self.machine)))
    }

    /// Takes an event in; whatever became final by it goes to `done`.
    fn take(&mut self, event: &Event, done: &mut Vec<Block>) {
        let at = event.at;
        let mut mark = |side, text: String| done.push(Block::one(at, side, &text, Style::Mark));
        match &event.body {
            EventBody::CallStarted { from, to, direction } => {
                let line = format!("{direction} call: {} → {}", from.expose(), to.expose());
                done.push(Block::wide(at, &line, Style::Head));
                if self.terminal.ansi {
                    done.push(Block::heads());
                }
            }
            EventBody::CallAnswered { codec, sample_rate_hz, .. } => {
                done.push(Block::wide(at, &format!("answered: {codec}, {sample_rate_hz} Hz"), Style::Mark));
            }
            EventBody::SpeechPartial { side, text, start, .. } if !self.known(*side) => {
                *self.side(*side) = Some(Pending { at: seconds(*start), text: printable(text.expose()) });
            }
            EventBody::SpeechFinal { side, text, start, .. } if !self.known(*side) => {
                *self.side(*side) = None;
                done.push(Block::one(seconds(*start), *side, text.expose(), Style::Word));
            }
            EventBody::SpeechEnded { side } if !self.known(*side) => {
                // Final words come before this; what is left never became words.
                *self.side(*side) = None;
            }
            EventBody::PromptStarted { id, text, .. } => {
                self.prompted = true;
                self.prompt = Some(*id);
                if self.terminal.ansi {
                    self.machine = Some(Pending { at, text: printable(text.expose()) });
                } else {
                    done.push(Block::one(at, Side::Machine, text.expose(), Style::Word));
                }
            }
            EventBody::PromptStopped { id, reason, played_ms } if self.prompt == Some(*id) => {
                self.prompt = None;
                if let Some(said) = self.machine.take() {
                    done.push(Block::one(said.at, Side::Machine, &said.text, Style::Word));
                }
                if let Some((how, style)) = cut(*reason) {
                    let text = format!("{how} after {}.{} s", played_ms / 1_000, played_ms % 1_000 / 100);
                    done.push(Block::one(at, Side::Machine, &text, style));
                }
            }
            EventBody::Dtmf { side, key, .. } => mark(*side, format!("key {}", key.expose())),
            EventBody::Intent { name, confidence, decision } => {
                let name = name.as_deref().unwrap_or("none");
                let what = match decision {
                    Decision::Accept => "",
                    Decision::Confirm => ", to be confirmed",
                    Decision::NoMatch => ", no match",
                };
                mark(Side::Caller, format!("intent {name} ({confidence:.2}{what})"));
            }
            EventBody::Slot { name, value } => {
                let value = match value.expose() {
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                mark(Side::Caller, format!("{name} = {value}"));
            }
            EventBody::NoInput { count } => mark(Side::Caller, format!("nothing said ({count})")),
            EventBody::NoMatch { count } => mark(Side::Caller, format!("not understood ({count})")),
            EventBody::ActionStarted { step, .. } => mark(Side::Machine, format!("asking a service: {step}")),
            EventBody::ActionFinished { outcome, status, .. } => {
                let status = status.map(|s| format!(" {s}")).unwrap_or_default();
                mark(Side::Machine, format!("service answered: {outcome}{status}"));
            }
            EventBody::Response(response) => {
                mark(Side::Machine, format!("answered after {} ms", response.first_audio_ms));
            }
            EventBody::CallEnded { cause, .. } => {
                for side in [Side::Caller, Side::Machine] {
                    if let Some(left) = self.side(side).take() {
                        done.push(Block::one(left.at, side, &left.text, Style::Partial));
                    }
                }
                done.push(Block::wide(at, &format!("{} ({})", cause.text, cause.code), Style::Head));
            }
            _ => {}
        }
    }

    /// Whether a side's words are known without recognising them.
    fn known(&self, side: Side) -> bool {
        side == Side::Machine && self.prompted
    }

    fn side(&mut self, side: Side) -> &mut Option<Pending> {
        match side {
            Side::Caller => &mut self.caller,
            Side::Machine => &mut self.machine,
        }
    }
}

/// What a prompt's end is called, where it is worth a word.
fn cut(reason: PromptEnd) -> Option<(&'static str, Style)> {
    match reason {
        PromptEnd::Completed | PromptEnd::HungUp => None,
        PromptEnd::BargeIn => Some(("barge-in", Style::Alarm)),
        PromptEnd::Key => Some(("cut by a key", Style::Mark)),
        PromptEnd::Cancelled => Some(("cancelled", Style::Mark)),
        PromptEnd::Failed => Some(("could not be said", Style::Alarm)),
    }
}

fn seconds(secs: f64) -> MediaTime {
    MediaTime::from_millis((secs * 1_000.0).round() as i64)
}

#[cfg(test)]
mod tests;
