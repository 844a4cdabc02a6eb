//! Something said or noted: a few lines in one column or across both.

use antiphon_engine_call::Side;
use antiphon_media_frame::MediaTime;

use crate::columns::{padded, printable, width, wrapped};

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Final words.
    Word,
    /// Words that may still change.
    Partial,
    /// Beside the words.
    Mark,
    /// Worth noticing.
    Alarm,
    /// Headings.
    Head,
}

impl Style {
    fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Word => return text.to_owned(),
            Self::Partial => "90",
            Self::Mark => "2",
            Self::Alarm => "31",
            Self::Head => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Where a text stands.
#[derive(Clone, Debug)]
enum Place {
    One(Side, String),
    Both(String, String),
    Wide(String),
}

/// Something said or noted at a time.
#[derive(Clone, Debug)]
pub(super) struct Block {
    at: Option<MediaTime>,
    place: Place,
    style: Style,
}

/// Lines a partial text may take; a longer one shows its end.
const PARTIAL_LINES: usize = 6;
/// `12:34.5`, a blank.
const TIME: usize = 8;
/// Between the columns.
const BETWEEN: &str = " │ ";

impl Block {
    pub(super) fn one(at: MediaTime, side: Side, text: &str, style: Style) -> Self {
        Self { at: Some(at), place: Place::One(side, printable(text)), style }
    }

    pub(super) fn partial(at: MediaTime, caller: String, machine: String) -> Self {
        Self { at: Some(at), place: Place::Both(caller, machine), style: Style::Partial }
    }

    pub(super) fn wide(at: MediaTime, text: &str, style: Style) -> Self {
        Self { at: Some(at), place: Place::Wide(printable(text)), style }
    }

    pub(super) fn heads() -> Self {
        Self { at: None, place: Place::Both("caller".into(), "machine".into()), style: Style::Head }
    }

    /// A line of text without escapes.
    pub(super) fn plain(&self) -> String {
        let time = self.at.map(clock).unwrap_or_default();
        match &self.place {
            Place::Wide(text) => format!("{time} {text}\n"),
            Place::Both(caller, machine) => format!("{time} {caller}{BETWEEN}{machine}\n"),
            Place::One(side, text) => {
                let side = match side {
                    Side::Caller => "caller ",
                    Side::Machine => "machine",
                };
                let (open, close) = if self.style == Style::Word { ("", "") } else { ("[", "]") };
                format!("{time} {side}  {open}{text}{close}\n")
            }
        }
    }

    /// Appends the block as lines no wider than `columns` - 1, so that no terminal wraps them; returns how many.
    pub(super) fn render(&self, columns: usize, screen: &mut String) -> usize {
        let column = (columns - 1 - TIME - width(BETWEEN)) / 2;
        let (left, right) = match &self.place {
            Place::Wide(text) => {
                let lines = wrapped(text, columns - 1 - TIME);
                for (n, line) in lines.iter().enumerate() {
                    self.time(n, screen);
                    screen.push_str(&self.style.paint(line));
                    screen.push('\n');
                }
                return lines.len();
            }
            Place::One(Side::Caller, text) => (text.as_str(), ""),
            Place::One(Side::Machine, text) => ("", text.as_str()),
            Place::Both(caller, machine) => (caller.as_str(), machine.as_str()),
        };
        let (left, right) = (self.lines(left, column), self.lines(right, column));
        let count = left.len().max(right.len());
        for n in 0..count {
            self.time(n, screen);
            let cell = |lines: &[String]| lines.get(n).cloned().unwrap_or_default();
            screen.push_str(&self.style.paint(&padded(&cell(&left), column)));
            screen.push_str(&Style::Mark.paint(BETWEEN));
            screen.push_str(&self.style.paint(&cell(&right)));
            screen.push('\n');
        }
        count
    }

    fn lines(&self, text: &str, column: usize) -> Vec<String> {
        let mut lines = wrapped(text, column);
        if self.style == Style::Partial && lines.len() > PARTIAL_LINES {
            lines.drain(..lines.len() - PARTIAL_LINES);
        }
        lines
    }

    /// The time before the first line, blanks before the others.
    fn time(&self, line: usize, screen: &mut String) {
        let time = self.at.filter(|_| line == 0).map(clock).unwrap_or_default();
        screen.push_str(&Style::Mark.paint(&padded(&time, TIME)));
    }
}

/// Minutes, seconds and tenths: `00:07.2`.
fn clock(at: MediaTime) -> String {
    let tenths = at.millis().max(0) / 100;
    format!("{:02}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}
