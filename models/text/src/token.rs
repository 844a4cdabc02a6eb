//! What the stages hand to each other: tokens as they are written, each with the spoken words it came from.

use std::ops::Range;

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::Word;
use serde::Serialize;

/// What a written token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A word, as it was said.
    Word,
    /// A cardinal, decimal, fraction or negative number: `125`, `3.14`, `2/3`.
    Number,
    /// `21st`, `第21`.
    Ordinal,
    /// `$5.50`, `12.5元`.
    Money,
    /// `50%`, `3‰`.
    Percent,
    /// `January 5th, 2025`, `2025年3月5日`, a year alone.
    Date,
    /// `5:30 pm`, `3:15`.
    Time,
    /// A number and its unit, or a range of such: `5 km`, `5-10 kg`.
    Measure,
    /// A number read digit by digit: telephone, account and identity numbers.
    Digits,
    /// Spelled letters, also among digits: `ABC123`.
    Code,
    /// An e-mail or web address.
    Address,
}

/// A sentence mark behind a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// `,` and `，`.
    Comma,
    /// `.` and `。`.
    Stop,
    /// `?` and `？`.
    Question,
}

impl Mark {
    /// The sign itself, full-width in Chinese.
    #[must_use]
    pub const fn sign(self, chinese: bool) -> &'static str {
        match (self, chinese) {
            (Self::Comma, false) => ",",
            (Self::Comma, true) => "，",
            (Self::Stop, false) => ".",
            (Self::Stop, true) => "。",
            (Self::Question, false) => "?",
            (Self::Question, true) => "？",
        }
    }

    /// Whether a sentence ends here.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Stop | Self::Question)
    }
}

/// A token without times: what a stage that sees only text works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The written form, without the mark behind it.
    pub text: String,
    /// The spoken words it came from, by index; never empty.
    pub words: Range<usize>,
    /// What it is.
    pub kind: Kind,
    /// The sentence mark behind it.
    pub mark: Option<Mark>,
}

impl Piece {
    /// A token without a mark.
    #[must_use]
    pub fn new(text: impl Into<String>, words: Range<usize>, kind: Kind) -> Self {
        Self { text: text.into(), words, kind, mark: None }
    }
}

/// A written token on the call's clock. It lasts as long as the spoken words it came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Written {
    /// The written form, without the mark behind it.
    pub text: String,
    /// The sentence mark behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// When the first of its words begins. Nanoseconds inside, not serialised: the words carry the times.
    #[serde(skip)]
    pub start: MediaTime,
    /// When the last of its words ends.
    #[serde(skip)]
    pub end: MediaTime,
    /// The least of its words' confidences.
    pub confidence: f32,
    /// The spoken words it came from, by index into the utterance's words.
    pub words: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

impl Written {
    /// Puts `pieces` on the clock of the words they came from. Pieces that reach past the words are left out.
    #[must_use]
    pub fn timed(pieces: &[Piece], words: &[Word]) -> Vec<Self> {
        pieces
            .iter()
            .filter_map(|piece| {
                let spoken = words.get(piece.words.clone())?;
                Some(Self {
                    text: piece.text.clone(),
                    mark: piece.mark,
                    start: spoken.iter().map(|word| word.start).min()?,
                    end: spoken.iter().map(|word| word.end).max()?,
                    confidence: spoken.iter().map(|word| word.confidence).fold(f32::INFINITY, f32::min),
                    words: piece.words.clone(),
                    kind: piece.kind,
                })
            })
            .collect()
    }
}

/// Whether `c` is written without spaces around it: Chinese characters and full-width signs.
#[must_use]
pub(crate) const fn is_wide(c: char) -> bool {
    matches!(c,
        '\u{2E80}'..='\u{303F}' | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}' | '\u{20000}'..='\u{3FFFF}')
}

/// The text of `pieces`, with spaces where the script has them: between Chinese and anything else there is none.
#[must_use]
pub fn join(pieces: &[Piece], chinese: bool) -> String {
    let mut text = String::with_capacity(pieces.iter().map(|piece| piece.text.len() + 1).sum());
    for piece in pieces {
        let first = piece.text.chars().next();
        let last = text.chars().next_back();
        if let (Some(first), Some(last)) = (first, last)
            && !is_wide(first)
            && !is_wide(last)
        {
            text.push(' ');
        }
        text.push_str(&piece.text);
        if let Some(mark) = piece.mark {
            text.push_str(mark.sign(chinese));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, at: usize) -> Piece {
        Piece::new(text, at..at + 1, Kind::Word)
    }

    #[test]
    fn spaces_stand_between_latin_words_only() {
        let pieces = [piece("我", 0), piece("用", 1), piece("iPhone", 2), piece("15", 3), piece("打", 4)];
        assert_eq!(join(&pieces, true), "我用iPhone 15打");
    }

    #[test]
    fn marks_follow_their_token_in_the_width_of_the_language() {
        let mut pieces = [piece("yes", 0), piece("sir", 1)];
        pieces[0].mark = Some(Mark::Comma);
        pieces[1].mark = Some(Mark::Stop);
        assert_eq!(join(&pieces, false), "yes, sir.");
        let mut pieces = [piece("好", 0), piece("吗", 1)];
        pieces[1].mark = Some(Mark::Question);
        assert_eq!(join(&pieces, true), "好吗？");
    }

    #[test]
    fn a_piece_that_reaches_past_the_words_is_left_out() {
        assert!(Written::timed(&[piece("x", 4)], &[]).is_empty());
    }
}
