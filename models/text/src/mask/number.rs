//! Numbers that belong to somebody: telephone, card, identity and account numbers.

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::Word;

use super::scan::{Hit, Scan, Sign, announcement};
use super::{Category, Redaction};
use crate::token::Piece;

/// A number that an utterance broke off in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Its digits so far, over as many utterances as it took; at most [`LONGEST`].
    digits: String,
    start: MediaTime,
    end: MediaTime,
    /// Whether it was hidden when it was said.
    hidden: bool,
}

/// A run of digits that the text ends in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenRun {
    digits: String,
    start: usize,
    end: usize,
    /// Whether nothing else is in the text, so that a number begun before goes on behind it.
    whole: bool,
}

impl OpenRun {
    /// It, as something to hide, unless `hits` hide it already or it is too short to tell anything.
    pub(super) fn half(&self, category: Category, hits: &[Hit]) -> Option<Hit> {
        let hidden = hits.iter().any(|hit| hit.start <= self.start && hit.end >= self.end);
        (self.digits.len() >= HALF && !hidden).then_some(Hit { start: self.start, end: self.end, category })
    }

    /// The memory of it. `before` is the number it continues, if it is the whole of its utterance.
    pub(super) fn timed(
        self,
        scan: &Scan,
        pieces: &[Piece],
        words: &[Word],
        before: Option<&Tail>,
        hits: &[Hit],
    ) -> Option<Tail> {
        let range = scan.pieces(self.start, self.end);
        let first = pieces.get(range.start)?.words.start;
        let last = pieces.get(range.end.checked_sub(1)?)?.words.end;
        let mut tail = Tail {
            digits: self.digits,
            start: words.get(first)?.start,
            end: words.get(last.checked_sub(1)?)?.end,
            hidden: hits.iter().any(|hit| hit.start <= self.start && hit.end >= self.end),
        };
        if let Some(before) = before.filter(|_| self.whole) {
            tail.digits.insert_str(0, &before.digits);
            tail.start = before.start;
            tail.hidden &= before.hidden;
        }
        (tail.digits.len() <= LONGEST).then_some(tail)
    }
}

/// What [`find`] found besides hits.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The half of a number that was said, unrecognised, in an utterance before.
    pub(super) earlier: Option<Redaction>,
    pub(super) open: Option<OpenRun>,
}

/// No number of a person is longer.
const LONGEST: usize = 32;
/// So many digits at the end of an utterance may be half of a number.
const HALF: usize = 3;
/// Between two digits of a number stand at most so many other signs.
const LONGEST_GAP: usize = 3;

#[derive(Debug)]
struct Run {
    digits: String,
    plus: bool,
    start: usize,
    end: usize,
    /// Where groups of it begin, as (index of digit, byte).
    groups: Vec<(usize, usize)>,
    /// Where each digit ends.
    ends: Vec<usize>,
}

fn runs(scan: &Scan) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open: Option<Run> = None;
    let mut gap = 0;
    let mut plus = None;
    for mark in &scan.marks {
        let sign = match mark.sign {
            Sign::Digit(digit) => char::from(b'0' + digit),
            // Only the last sign of an identity number is an X.
            Sign::X if gap == 0 && open.as_ref().is_some_and(|run| run.digits.len() == 17) => 'X',
            Sign::Between => {
                gap += 1;
                if gap > LONGEST_GAP {
                    runs.extend(open.take());
                }
                continue;
            }
            other => {
                runs.extend(open.take());
                plus = (other == Sign::Plus).then_some(mark.start);
                gap = 0;
                continue;
            }
        };
        let run = open.get_or_insert_with(|| Run {
            digits: String::new(),
            plus: plus.is_some(),
            start: plus.unwrap_or(mark.start),
            end: mark.end,
            groups: Vec::new(),
            ends: Vec::new(),
        });
        if gap > 0 || run.digits.is_empty() {
            run.groups.push((run.digits.len(), mark.start));
        }
        run.digits.push(sign);
        run.ends.push(mark.end);
        run.end = mark.end;
        gap = 0;
        plus = None;
    }
    runs.extend(open);
    runs
}

/// Finds numbers in `scan`, the first of which may continue `tail` or be what was `expected`.
pub(super) fn find(
    scan: &Scan,
    account: usize,
    chinese: bool,
    tail: Option<&Tail>,
    expected: Option<Category>,
    hits: &mut Vec<Hit>,
) -> Found {
    let mut found = Found::default();
    let runs = runs(scan);
    let count = runs.len();
    for (i, run) in runs.into_iter().enumerate() {
        let leads = i == 0 && filler(&scan.lower[..run.start]);
        let from = scan.lower[..run.start].char_indices().rev().nth(40).map_or(0, |(at, _)| at);
        let near = |(at, _): &(usize, Category)| scan.lower[from + at..run.start].chars().count() <= 14;
        let cue = announcement(&scan.lower[from..run.start], chinese)
            .filter(near)
            .map(|(_, category)| category)
            .or(expected.filter(|_| leads));
        let mut category = classify(&run.digits, run.plus, account, cue, chinese);
        if leads && let Some(tail) = tail {
            let together = format!("{}{}", tail.digits, run.digits);
            if together.len() <= LONGEST
                && let Some(joint) = classify(&together, false, account, None, chinese)
            {
                // The halves alone say less than the whole.
                category = Some(joint);
                if !tail.hidden {
                    found.earlier = Some(Redaction { category: joint, start: tail.start, end: tail.end });
                }
            }
        }
        match category {
            Some(Category::Account) if run.digits.len() >= 13 => {
                // One number may stand beside another: a card and its date.
                let part = card_within(&run);
                match part {
                    Some((start, end)) => {
                        hits.push(Hit { start, end, category: Category::Card });
                        hits.push(Hit { start: run.start, end: run.end, category: Category::Account });
                    }
                    None => hits.push(Hit { start: run.start, end: run.end, category: Category::Account }),
                }
            }
            Some(category) => hits.push(Hit { start: run.start, end: run.end, category }),
            None => {}
        }
        let ends = i + 1 == count && filler(&scan.lower[run.end..]);
        if ends {
            found.open = Some(OpenRun { digits: run.digits, start: run.start, end: run.end, whole: leads });
        }
    }
    found
}

/// Whether nothing is said in `text` that parts two halves of a number.
fn filler(text: &str) -> bool {
    text.split([' ', ',', '.', '，', '。']).all(|word| {
        matches!(word, "" | "uh" | "um" | "and" | "then" | "是" | "嗯" | "呃" | "然后" | "is" | "it's")
    })
}

/// What `digits` are.
fn classify(
    digits: &str,
    plus: bool,
    account: usize,
    cue: Option<Category>,
    chinese: bool,
) -> Option<Category> {
    let length = digits.len();
    if length == 18 && identity(digits) {
        return Some(Category::Identity);
    }
    if digits.ends_with('X') {
        return Some(Category::Account);
    }
    if (13..=19).contains(&length) && luhn(digits) {
        return Some(Category::Card);
    }
    if let Some(category) = cue
        && length >= 4
    {
        return Some(category);
    }
    if plus && (8..=15).contains(&length) || telephone(digits, chinese) {
        return Some(Category::Telephone);
    }
    (length >= account).then_some(Category::Account)
}

/// Telephone numbers by their form: of China, of the North American plan, of Britain.
fn telephone(digits: &str, chinese: bool) -> bool {
    let bytes = digits.as_bytes();
    let mobile = bytes.len() == 11 && bytes[0] == b'1' && bytes[1] >= b'3';
    if chinese {
        let landline = (10..=12).contains(&bytes.len()) && bytes[0] == b'0' && bytes[1] != b'0';
        let service = bytes.len() == 10 && (digits.starts_with("400") || digits.starts_with("800"));
        return mobile || landline || service;
    }
    let american = |bytes: &[u8]| bytes[0] >= b'2' && bytes[3] >= b'2';
    match bytes.len() {
        10 => american(bytes) || digits.starts_with('0') && bytes[1] != b'0',
        11 => bytes[0] == b'1' && american(&bytes[1..]) || bytes[0] == b'0' && bytes[1] != b'0',
        _ => false,
    }
}

/// Luhn's check digit.
pub(super) fn luhn(digits: &str) -> bool {
    let mut sum = 0;
    for (i, byte) in digits.bytes().rev().enumerate() {
        if !byte.is_ascii_digit() {
            return false;
        }
        let digit = u32::from(byte - b'0') * if i % 2 == 1 { 2 } else { 1 };
        sum += digit / 10 + digit % 10;
    }
    // Zeros alone satisfy the sum and are no card.
    sum > 0 && sum % 10 == 0
}

/// An identity number of China by its date and its check sign (GB 11643, ISO 7064 MOD 11-2).
pub(super) fn identity(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    if bytes.len() != 18 || !bytes[..17].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let two = |at: usize| (bytes[at] - b'0') * 10 + (bytes[at + 1] - b'0');
    if !matches!(two(6), 18..=20) || !(1..=12).contains(&two(10)) || !(1..=31).contains(&two(12)) {
        return false;
    }
    let remainder = bytes.iter().try_fold(0_u32, |rest, &byte| {
        let value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'X' => 10,
            _ => return None,
        };
        Some(((rest + value) * 2) % 11)
    });
    // The last sign was doubled once too often; 2 is 1 doubled.
    remainder == Some(2)
}

/// A card within a longer run, beginning and ending where groups do.
fn card_within(run: &Run) -> Option<(usize, usize)> {
    let ends = || run.groups.iter().skip(1).map(|&(at, _)| at).chain([run.digits.len()]);
    run.groups.iter().find_map(|&(first, start)| {
        ends()
            .filter(|&last| last > first && (13..=19).contains(&(last - first)))
            .find(|&last| luhn(&run.digits[first..last]))
            .map(|last| (start, run.ends[last - 1]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_checked() {
        assert!(luhn("4111111111111111"));
        assert!(!luhn("4111111111111112"));
        assert!(!luhn("0000000000000000"));
        assert!(identity("11010519491231002X"));
        assert!(!identity("110105194912310021"));
        assert!(!identity("110105199913310020"));
    }

    #[test]
    fn telephone_numbers_are_told_by_their_form() {
        assert!(telephone("13800138000", true));
        assert!(telephone("01088886666", true));
        assert!(!telephone("12800138000", true));
        assert!(telephone("4155550123", false));
        assert!(!telephone("1155550123", false));
    }
}
