//! Stars in the place of what was found, in the written tokens and in the spoken words.

use antiphon_models_speech::Word;

use super::scan::{Hit, Scan};
use super::{Action, Policy, Redaction};
use crate::token::{Kind, Piece};

/// What stands for a spoken word: always the same, since the length of "seven" tells the digit.
const HIDDEN: &str = "***";

/// Hides `hits` in the written tokens.
pub(super) fn pieces(pieces: &mut Vec<Piece>, scan: &Scan, hits: &[Hit], policy: &Policy) {
    for hit in hits.iter().rev() {
        let range = scan.pieces(hit.start, hit.end);
        for i in range {
            let piece = &mut pieces[i];
            let base = scan.starts[i];
            let start = hit.start.saturating_sub(base);
            let end = hit.end.min(scan.ends[i]) - base;
            let spoken = piece.kind == Kind::Word && piece.text.bytes().all(|b| b.is_ascii_alphabetic());
            let hidden: String = match policy.action(hit.category) {
                Action::Keep => continue,
                Action::Drop => String::new(),
                Action::Mask if spoken && start == 0 && end == piece.text.len() => HIDDEN.to_owned(),
                Action::Mask => piece.text[start..end]
                    .chars()
                    .map(|c| if c.is_alphanumeric() { '*' } else { c })
                    .collect(),
            };
            piece.text.replace_range(start..end, &hidden);
        }
    }
    // The mark of a dropped token goes to the one before it.
    let mut i = 0;
    while i < pieces.len() {
        if !pieces[i].text.trim().is_empty() {
            i += 1;
            continue;
        }
        let dropped = pieces.remove(i);
        if i > 0 && pieces[i - 1].mark.is_none_or(|mark| !mark.ends()) && dropped.mark.is_some() {
            pieces[i - 1].mark = dropped.mark;
        }
    }
}

/// Hides `hits` in the spoken words, and tells when they were said.
pub(super) fn words(
    pieces: &[Piece],
    words: &mut [Word],
    scan: &Scan,
    hits: &[Hit],
    policy: &Policy,
) -> Vec<Redaction> {
    let mut redactions = Vec::with_capacity(hits.len());
    for hit in hits {
        let range = scan.pieces(hit.start, hit.end);
        let touched = &pieces[range.clone()];
        let (Some(first), Some(last)) = (touched.first(), touched.last()) else { continue };
        let said = first.words.start..last.words.end;
        let Some(spoken) = words.get_mut(said) else { continue };
        if let (Some(first), Some(last)) = (spoken.first(), spoken.last()) {
            redactions.push(Redaction { category: hit.category, start: first.start, end: last.end });
        }
        let partly = |i: usize, piece: &Piece| {
            piece.kind == Kind::Word
                && piece.words.len() == 1
                && (hit.start > scan.starts[i] || hit.end < scan.ends[i])
        };
        for (i, piece) in range.zip(touched) {
            for (k, word) in words[piece.words.clone()].iter_mut().enumerate() {
                if k == 0 && partly(i, piece) && word.text == piece.text {
                    // A Chinese word may hold a name and what announces it.
                    let start = hit.start.saturating_sub(scan.starts[i]);
                    let end = hit.end.min(scan.ends[i]) - scan.starts[i];
                    let hidden = if policy.action(hit.category) == Action::Drop { "" } else { HIDDEN };
                    word.text.replace_range(start..end, hidden);
                } else {
                    word.text = HIDDEN.to_owned();
                }
            }
        }
    }
    redactions
}
