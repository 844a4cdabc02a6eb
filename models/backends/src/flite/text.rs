//! Text made fit for flite: plain ASCII, a sentence at a time, none of unbounded length.

use std::ffi::CString;

use antiphon_models_speech::SpeechRequest;

/// A sentence beyond this many characters is broken at a space: about half a minute of speech.
const LONGEST: usize = 400;

/// Splits a text into sentences that flite can say. The error is the reason it cannot be said.
pub(super) fn sentences(text: &str) -> Result<Vec<CString>, &'static str> {
    if text.chars().count() > SpeechRequest::LONGEST {
        return Err("it is too long");
    }
    let plain: String = text.chars().map(plain).collect();
    let mut out = Vec::new();
    let mut sentence = String::new();
    let mut pieces = plain.split_whitespace().peekable();
    while let Some(word) = pieces.next() {
        // A word without a space in it may itself be longer than a sentence.
        for part in word.as_bytes().chunks(LONGEST) {
            // The text is ASCII, so every cut is a boundary.
            let part = std::str::from_utf8(part).unwrap_or_default();
            if sentence.len() + part.len() >= LONGEST {
                finish(&mut sentence, &mut out);
            }
            if !sentence.is_empty() {
                sentence.push(' ');
            }
            sentence.push_str(part);
        }
        let ends = word.ends_with(['!', '?', ';', ':']) || word.ends_with('.') && !abbreviated(word);
        if ends || pieces.peek().is_none() {
            finish(&mut sentence, &mut out);
        }
    }
    if out.is_empty() { Err("it has no letters or digits of English") } else { Ok(out) }
}

fn finish(sentence: &mut String, out: &mut Vec<CString>) {
    if sentence.bytes().any(|b| b.is_ascii_alphanumeric()) {
        // `plain` has left no NUL.
        out.extend(CString::new(std::mem::take(sentence)));
    }
    sentence.clear();
}

/// "Mr.", "p.m." and initials do not end a sentence.
fn abbreviated(word: &str) -> bool {
    let stem = word.trim_end_matches('.');
    stem.contains('.') && !stem.bytes().any(|b| b.is_ascii_digit())
        || stem.len() == 1 && stem.bytes().all(|b| b.is_ascii_uppercase())
        || ["Mr", "Mrs", "Ms", "Dr", "St", "No", "vs"].contains(&stem)
}

/// The nearest ASCII; a space for what has none.
fn plain(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{2010}'..='\u{2015}' => '-',
        '\u{c0}'..='\u{c5}' | '\u{e0}'..='\u{e5}' => 'a',
        '\u{c7}' | '\u{e7}' => 'c',
        '\u{c8}'..='\u{cb}' | '\u{e8}'..='\u{eb}' => 'e',
        '\u{cc}'..='\u{cf}' | '\u{ec}'..='\u{ef}' => 'i',
        '\u{d1}' | '\u{f1}' => 'n',
        '\u{d2}'..='\u{d6}' | '\u{f2}'..='\u{f6}' => 'o',
        '\u{d9}'..='\u{dc}' | '\u{f9}'..='\u{fc}' => 'u',
        c if c.is_ascii_graphic() => c,
        _ => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        let sentences = sentences(text).unwrap_or_default();
        sentences.into_iter().map(|s| s.into_string().expect("ascii")).collect()
    }

    #[test]
    fn sentences_end_where_people_would_stop() {
        assert_eq!(
            split("Hello, Mr. Smith.  It is 3.50 at 5 p.m. today!\nPress 1; or stay."),
            ["Hello, Mr. Smith.", "It is 3.50 at 5 p.m. today!", "Press 1;", "or stay."]
        );
        assert_eq!(split("caf\u{e9}\u{2019}s \0 open"), ["cafe's open"]);
    }

    #[test]
    fn no_sentence_is_longer_than_it_may_be() {
        for text in ["word ".repeat(2_000), "x".repeat(10_000)] {
            let split = split(&text);
            assert!(split.iter().all(|s| s.len() <= LONGEST));
            let letters = |s: &str| s.bytes().filter(u8::is_ascii_alphabetic).count();
            assert_eq!(split.iter().map(|s| letters(s)).sum::<usize>(), letters(&text));
        }
    }
}
