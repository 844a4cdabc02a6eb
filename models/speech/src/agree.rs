//! What engines share that hear an utterance whole and decode it again while it grows: from tokens to words, and the words
//! that two decodes in a row agree on.

use crate::{ideographic, join};

/// One word of a decode. Times in hundredths of a second since the utterance began.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The word, with the spaces and marks that its tokens have until [`spoken`] takes them off.
    pub text: String,
    /// When it begins.
    pub first: i64,
    /// When it ends.
    pub last: i64,
    /// That of its least likely token, 0 to 1.
    pub confidence: f32,
}

/// First bytes of ideographs and kana in UTF-8.
const IDEOGRAPHS: std::ops::RangeInclusive<u8> = 0xe3..=0xe9;

/// A word said more often than this in a row is the model running in a circle.
const REPEATS: usize = 4;

/// Joins tokens (bytes, begin, end, probability) to words: a new one begins at a space, and at every complete token of
/// a script that sets no spaces. A character may be spread over tokens.
#[must_use]
pub fn gather(tokens: &[(Vec<u8>, i64, i64, f32)]) -> Vec<Heard> {
    let mut out: Vec<(Vec<u8>, Heard)> = Vec::new();
    for (bytes, first, last, p) in tokens {
        let joins = out.last().is_some_and(|(so_far, _)| {
            let whole = std::str::from_utf8(so_far);
            let apart = bytes.first().is_some_and(|b| *b == b' ' || IDEOGRAPHS.contains(b));
            whole.is_err() || !apart && whole.is_ok_and(|text| !text.ends_with(ideographic))
        });
        match out.last_mut() {
            Some((so_far, heard)) if joins => {
                so_far.extend_from_slice(bytes);
                heard.last = *last;
                heard.confidence = heard.confidence.min(*p);
            }
            _ => {
                let heard = Heard { text: String::new(), first: *first, last: *last, confidence: *p };
                out.push((bytes.clone(), heard));
            }
        }
    }
    let whole = |(bytes, heard): (Vec<u8>, Heard)| Heard {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        confidence: heard.confidence.clamp(0.0, 1.0),
        ..heard
    };
    out.into_iter().map(whole).collect()
}

/// Leaves out what is not speech: punctuation, remarks in brackets (`[Music]`), words said in a circle.
#[must_use]
pub fn spoken(words: Vec<Heard>) -> Vec<Heard> {
    let mut out: Vec<Heard> = Vec::new();
    let mut remark = false;
    for mut word in words {
        let text = word.text.trim();
        remark |= text.starts_with(['[', '(', '*', '♪']);
        let ends = text.ends_with([']', ')', '*', '♪']);
        let bare = text.trim_matches(|c: char| !c.is_alphanumeric()).replace('\u{fffd}', "");
        let circle = out.len() >= REPEATS && out[out.len() - REPEATS..].iter().all(|w| w.text == bare);
        if !remark && !bare.is_empty() && !circle {
            word.text = bare;
            out.push(word);
        }
        remark &= !ends;
    }
    out
}

/// The longest beginning that two decodes in a row agreed on. It only grows.
#[derive(Clone, Debug, Default)]
pub struct Agreement {
    last: Vec<String>,
    agreed: Vec<String>,
}

impl Agreement {
    /// Takes a decode; returns the agreed text where it grew.
    pub fn add(&mut self, heard: &[Heard]) -> Option<String> {
        let now: Vec<String> = heard.iter().map(|w| w.text.clone()).collect();
        let same = |(a, b): &(&String, &String)| a.to_lowercase() == b.to_lowercase();
        let common = self.last.iter().zip(&now).take_while(same).count();
        let extends = self.agreed.iter().zip(&now).take_while(same).count() == self.agreed.len();
        let grew = common > self.agreed.len() && extends;
        if grew {
            self.agreed.extend_from_slice(&now[self.agreed.len()..common]);
        }
        self.last = now;
        grew.then(|| join(self.agreed.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Heard> {
        text.split(' ').map(|t| Heard { text: t.to_owned(), first: 0, last: 0, confidence: 1.0 }).collect()
    }

    #[test]
    fn only_what_two_decodes_agree_on_is_told_and_it_never_shrinks() {
        let mut agreement = Agreement::default();
        assert_eq!(agreement.add(&words("check the")), None);
        assert_eq!(agreement.add(&words("Check my bal")).as_deref(), Some("Check"));
        assert_eq!(agreement.add(&words("check my balance")).as_deref(), Some("Check my"));
        assert_eq!(agreement.add(&words("deck my balance")), None);
        assert_eq!(agreement.add(&words("deck my balance")), None);
        assert_eq!(agreement.add(&words("check my balance now")), None);
        assert_eq!(agreement.add(&words("check my balance now")).as_deref(), Some("Check my balance now"));
    }

    #[test]
    fn tokens_become_words_in_any_script() {
        let token = |bytes: &[u8], at: i64| (bytes.to_vec(), at, at + 10, 0.5);
        let chinese = "查询".as_bytes();
        let coffees = [token(b" caf", 0), token("é".as_bytes(), 10), token(b"s", 20)];
        assert_eq!(spoken(gather(&coffees))[0].text, "cafés");
        let tokens = [
            token(b" bal", 0),
            token(b"ance", 10),
            token(b",", 20),
            token(b" is", 30),
            token(b" ", 35),
            token(&chinese[..2], 40),
            token(&chinese[2..3], 50),
            token(&chinese[3..], 60),
            token(&[0xff], 70),
        ];
        let heard = spoken(gather(&tokens));
        let texts: Vec<&str> = heard.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(texts, ["balance", "is", "查", "询"]);
        assert_eq!((heard[0].first, heard[0].last), (0, 30));
    }

    #[test]
    fn remarks_and_circles_are_no_speech() {
        let heard = spoken(words("[Music playing] yes (door closes) no no no no no no no"));
        let texts: Vec<&str> = heard.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(texts, ["yes", "no", "no", "no", "no"]);
    }
}
