//! Words with times, made of what was found in a window.

use antiphon_models_speech::agree::{Heard, gather};

use crate::config::{Marks, POSITIONS_HZ};
use crate::search::Found;
use crate::tokenizer::Tokenizer;

/// A time nearer to the end than this, in positions, is the end: nothing more is to be heard after it.
const REST: usize = POSITIONS_HZ;

/// The tokens of a window that belong to complete stretches, and where the next window begins, in positions; none where
/// everything was heard. As transformers cuts: what follows the last pair of times is unfinished and heard again.
pub(crate) fn complete(found: &Found, marks: &Marks, positions: usize) -> (usize, Option<usize>) {
    let tokens = &found.tokens;
    let is_time = |n: usize| tokens.get(n).is_some_and(|id| *id >= marks.times);
    let single = tokens.len() >= 2 && is_time(tokens.len() - 1) && !is_time(tokens.len() - 2);
    let pair = (1..tokens.len()).rev().find(|n| is_time(*n) && is_time(n - 1));
    match pair {
        Some(second) if !single => {
            let at = (tokens[second - 1] - marks.times) as usize;
            if at > 0 && at + REST < positions { (second, Some(at)) } else { (tokens.len(), None) }
        }
        _ => (tokens.len(), None),
    }
}

/// The words of the first `count` tokens, marks and remarks still among them. Times are in hundredths of a second;
/// `offset` positions lie before the window, and its sound has `positions`.
pub(crate) fn words(
    tokenizer: &Tokenizer,
    marks: &Marks,
    found: &Found,
    count: usize,
    offset: usize,
    positions: usize,
) -> Vec<Heard> {
    let spread;
    let starts = match &found.starts {
        Some(starts) => starts,
        None => {
            spread = spread_out(tokenizer, marks, found, positions);
            &spread
        }
    };
    let tick = |position: usize| ((offset + position.min(positions)) * 100 / POSITIONS_HZ) as i64;
    let mut spoken = Vec::new();
    for (n, id) in found.tokens.iter().take(count).enumerate() {
        if *id >= marks.times || tokenizer.bytes(*id).is_empty() {
            continue;
        }
        let start = starts.get(n).copied().unwrap_or(positions);
        let end = starts.get(n + 1).copied().unwrap_or(positions).max(start);
        let surety = found.sureties.get(n).copied().unwrap_or_default();
        spoken.push((tokenizer.bytes(*id).to_vec(), tick(start), tick(end), surety));
    }
    gather(&spoken)
}

/// Where tokens begin when nothing but the times among them is known: between two times each has a share as long as it
/// is written.
fn spread_out(tokenizer: &Tokenizer, marks: &Marks, found: &Found, positions: usize) -> Vec<usize> {
    let mut starts = vec![0; found.tokens.len()];
    let mut from = 0;
    let mut at = 0;
    while at < found.tokens.len() {
        if found.tokens[at] >= marks.times {
            from = ((found.tokens[at] - marks.times) as usize).min(positions);
            starts[at] = from;
            at += 1;
            continue;
        }
        let length = found.tokens[at..].iter().take_while(|id| **id < marks.times).count();
        let next = found.tokens.get(at + length);
        let until = next.map_or(positions, |id| ((id - marks.times) as usize).min(positions)).max(from);
        let size = |n: usize| tokenizer.bytes(found.tokens[n]).len();
        let all: usize = (at..at + length).map(size).sum();
        let mut before = 0;
        for (n, start) in starts.iter_mut().enumerate().skip(at).take(length) {
            *start = from + (until - from) * before / all.max(1);
            before += size(n);
        }
        from = until;
        at += length;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::files::Files;
    use crate::fixtures;

    fn parts() -> (Tokenizer, Marks) {
        let files = Files::find(&fixtures::folder("multilingual")).expect("files");
        let tokenizer = Tokenizer::load(&files.tokenizer).expect("a tokenizer");
        let config = Config::load(&files, &tokenizer).expect("a config");
        (tokenizer, config.marks)
    }

    /// Times in hundredths of a second, text between them.
    fn found(tokenizer: &Tokenizer, marks: &Marks, parts: &[(&str, u32)]) -> Found {
        let mut found = Found::default();
        for (text, time) in parts {
            found.tokens.extend(tokenizer.encode(text));
            if *time < 9_999 {
                found.tokens.push(marks.times + time / 2);
            }
        }
        found.sureties = vec![0.5; found.tokens.len()];
        found
    }

    #[test]
    fn without_attention_words_share_the_time_between_marks() {
        let (tokenizer, marks) = parts();
        let found = found(&tokenizer, &marks, &[("", 20), (" check", 80), ("", 100), (" my balance", 9_999)]);
        let words = words(&tokenizer, &marks, &found, found.tokens.len(), 50, 100);
        let times: Vec<_> = words.iter().map(|w| (w.text.as_str(), w.first, w.last)).collect();
        assert_eq!(times[0], (" check", 120, 180));
        assert_eq!((times[1].0, times[1].1), (" my", 200));
        assert_eq!((times[2].0, times[2].2), (" balance", 300));
        assert!(times[1].2 == times[2].1 && (220..=232).contains(&times[1].2), "{times:?}");
    }

    #[test]
    fn what_follows_the_last_pair_of_times_is_heard_again() {
        let (tokenizer, marks) = parts();
        let cut =
            |parts: &[(&str, u32)], positions| complete(&found(&tokenizer, &marks, parts), &marks, positions);
        let whole = cut(&[("", 0), (" a", 80), ("", 80), (" b", 200)], 200);
        assert_eq!(whole, (6, None), "one time at the end: all is heard");
        assert_eq!(cut(&[("", 0), (" a", 80), ("", 80), (" b", 9_999)], 200), (3, Some(40)));
        assert_eq!(cut(&[("", 0), (" a", 80), ("", 80)], 60).1, None, "less than a second is left");
        assert_eq!(cut(&[("", 0), (" a", 9_999)], 200).1, None);
        assert_eq!(cut(&[], 200), (0, None));
    }
}
