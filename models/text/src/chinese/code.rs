//! Numbers read digit by digit, spelled letters, addresses.

use super::lexicon::{CUES, digit, numeral};
use super::{Found, Line};
use crate::token::Kind;

const DOMAINS: &[&str] = &["com", "cn", "net", "org", "edu", "gov", "io", "hk", "tw"];

impl Line<'_> {
    /// A run of digits from `i`, across "杠": as written, and the unit after it.
    fn digit_run(&self, i: usize) -> (String, usize) {
        let mut text = String::new();
        let mut at = i;
        while text.len() < 64 {
            if let Some(value) = digit(self.at(at)).filter(|_| self.at(at) != '两') {
                text.push(char::from(b'0' + value));
                at += 1;
                continue;
            }
            let dash = if self.has(at, "横杠") { 2 } else { usize::from(self.at(at) == '杠') };
            let more = dash > 0 && !text.is_empty() && digit(self.at(at + dash)).is_some();
            if !more {
                break;
            }
            text.push('-');
            at += dash;
        }
        (text, at)
    }

    /// Telephone, account and identity numbers.
    pub(super) fn digits(&self, i: usize) -> Option<Found> {
        let (text, end) = self.digit_run(i);
        if text.is_empty() || numeral(self.at(end)) {
            return None;
        }
        if let Some(found) = self.network_address(i) {
            return Some(found);
        }
        let count = end - i;
        let one = (i..end).any(|k| self.at(k) == '幺');
        let cued = CUES.iter().any(|cue| self.ends_in(i, cue));
        let sure = match count {
            0 | 1 => false,
            2 => one || cued || text.starts_with('0'),
            // "一二三" is as often how one begins to count.
            3 => text != "123" || cued,
            _ => true,
        };
        if !sure || self.at(end) == '几' {
            return None;
        }
        // The last sign of an identity number may be an X.
        if count == 17
            && let Some(letter) = self.latin(end)
            && letter.eq_ignore_ascii_case("x")
        {
            return Some(Found::new(format!("{text}X"), end + 1, Kind::Digits));
        }
        Some(Found::new(text, end, Kind::Digits))
    }

    /// "一九二点一六八点一点一".
    fn network_address(&self, i: usize) -> Option<Found> {
        let mut parts: Vec<String> = Vec::with_capacity(4);
        let mut at = i;
        loop {
            let number = self.integer(at)?;
            if number.value > 255 || number.text.contains(['万', '亿']) {
                return None;
            }
            parts.push(number.value.to_string());
            at = number.end;
            if parts.len() == 4 {
                break;
            }
            if self.at(at) != '点' {
                return None;
            }
            at += 1;
        }
        (self.at(at) != '点').then(|| Found::new(parts.join("."), at, Kind::Address))
    }

    fn single_letter(&self, i: usize) -> Option<char> {
        let text = self.latin(i)?;
        match text.as_bytes() {
            [letter] if letter.is_ascii_alphabetic() => Some(char::from(letter.to_ascii_uppercase())),
            _ => None,
        }
    }

    /// Letters spelled one by one, and the digits among them.
    pub(super) fn code(&self, i: usize) -> Option<Found> {
        let mut text = String::new();
        let mut letters = 0;
        let mut digits = 0;
        let mut at = i;
        while text.len() < 48 {
            if let Some(letter) = self.single_letter(at) {
                text.push(letter);
                letters += 1;
                at += 1;
                continue;
            }
            let (run, end) = self.digit_run(at);
            if run.is_empty() || numeral(self.at(end)) || self.counts(end, run.len()) {
                break;
            }
            digits += run.len();
            text.push_str(&run);
            at = end;
        }
        let sure = letters >= 2 || letters == 1 && digits >= 2;
        (letters > 0 && sure).then(|| Found::new(text, at, Kind::Code))
    }

    /// Whether a digit before `at` counts something rather than ends a code.
    fn counts(&self, at: usize, length: usize) -> bool {
        length == 1 && !matches!(self.at(at), '\0' | '，' | '。' | '的') && self.single_letter(at).is_none()
    }

    /// An e-mail address: "zhang 三 三 艾特 qq 点 com".
    pub(super) fn address(&self, i: usize) -> Option<Found> {
        if i > 0 && self.latin(i - 1).is_some() {
            return None;
        }
        let (local, at) = self.label(i, true)?;
        let after = if self.has(at, "艾特") || self.has(at, "圈a") {
            at + 2
        } else if self.latin(at).is_some_and(|word| word.eq_ignore_ascii_case("at") || word == "@") {
            at + 1
        } else {
            return None;
        };
        let (mut host, mut end) = self.label(after, false)?;
        let mut domain = false;
        while self.at(end) == '点'
            && let Some((label, next)) = self.label(end + 1, false)
        {
            domain = DOMAINS.contains(&label.as_str());
            host.push('.');
            host.push_str(&label);
            end = next;
        }
        domain.then(|| Found::new(format!("{local}@{host}"), end, Kind::Address))
    }

    /// Letters and digits up to the next joint. A local part may hold points and underscores.
    fn label(&self, i: usize, local: bool) -> Option<(String, usize)> {
        let mut text = String::new();
        let mut at = i;
        while text.len() < 64 {
            if let Some(word) = self.latin(at) {
                if word.eq_ignore_ascii_case("at")
                    || !word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
                {
                    break;
                }
                text.push_str(&word.to_ascii_lowercase());
                at += 1;
            } else if let Some(value) = digit(self.at(at)) {
                text.push(char::from(b'0' + value));
                at += 1;
            } else if local && !text.is_empty() && self.has(at, "下划线") {
                text.push('_');
                at += 3;
            } else if local && !text.is_empty() && self.at(at) == '点' && self.latin(at + 1).is_some() {
                text.push('.');
                at += 1;
            } else {
                break;
            }
        }
        (!text.is_empty()).then_some((text, at))
    }
}
