//! Spelled letters, codes of letters and digits, e-mail and web addresses.

use super::lexicon::{Class, cue, radio};
use super::stream::Stream;
use super::when::Found;
use crate::token::Kind;

/// Shortenings that begin with a letter which is a word besides.
const ACRONYMS: &[&str] = &[
    "ATM", "API", "AWS", "ABC", "AAA", "APR", "IBM", "IRS", "ISP", "ISO", "ISBN", "ID", "IT", "IP", "AI",
    "AC", "IPO", "IOS",
];

/// Endings of addresses that are said.
const DOMAINS: &[&str] = &[
    "com", "org", "net", "edu", "gov", "io", "info", "biz", "de", "fr", "uk", "cn", "eu", "us", "ca", "jp",
    "au", "ch", "at", "nl", "es", "it", "co", "me", "app", "dev", "ai", "tv",
];

/// No address is longer, in tokens.
const LONGEST_ADDRESS: usize = 24;

#[derive(Default)]
struct Spelled {
    text: String,
    end: usize,
    letters: usize,
    digits: usize,
    elements: usize,
    /// Letters that are hardly words: all but a, i and o.
    plain: usize,
    radio: usize,
    /// Letters told twice: "b as in bravo".
    told: usize,
}

impl Stream<'_> {
    /// The spelled thing at token `at`: what it writes, the token after it, and whether it is a radio word.
    fn letter(&self, at: usize) -> Option<(u8, usize, bool)> {
        match self.class(at) {
            Class::Letter(letter) => {
                // "b as in bravo", "m for mike" tell the letter twice.
                let joint = self.joined(at + 1) && self.joined(at + 2);
                if joint
                    && self.is(at + 1, "as")
                    && self.is(at + 2, "in")
                    && self.joined(at + 3)
                    && self
                        .low(at + 3)
                        .as_bytes()
                        .first()
                        .is_some_and(|first| first.eq_ignore_ascii_case(&letter))
                {
                    return Some((letter, at + 4, true));
                }
                if joint && self.is(at + 1, "for") && radio(self.low(at + 2)) == Some(letter) {
                    return Some((letter, at + 3, true));
                }
                Some((letter, at + 1, false))
            }
            _ => radio(self.low(at)).map(|letter| (letter, at + 1, true)),
        }
    }

    fn spelled(&self, i: usize) -> Spelled {
        let mut run = Spelled { end: i, ..Spelled::default() };
        let mut at = i;
        while (at == i || self.joined(at)) && run.text.len() < 48 {
            if let Class::Times(times) = self.class(at)
                && self.joined(at + 1)
                && let Class::Letter(letter) = self.class(at + 1)
                && !matches!(letter, b'A' | b'I')
            {
                run.text.extend(std::iter::repeat_n(char::from(letter), usize::from(times)));
                run.letters += usize::from(times);
                run.plain += usize::from(times);
                run.elements += 1;
                at += 2;
            } else if let Some((letter, end, radio)) = self.letter(at) {
                run.text.push(char::from(letter));
                run.letters += 1;
                run.elements += 1;
                run.radio += usize::from(radio);
                run.told += usize::from(end > at + 1);
                run.plain += usize::from(radio || !matches!(letter, b'A' | b'I' | b'O'));
                at = end;
            } else if matches!(self.low(at), "dash" | "hyphen")
                && !run.text.is_empty()
                && self.joined(at + 1)
                && (self.class(at + 1).numeric() || matches!(self.class(at + 1), Class::Letter(_)))
            {
                run.text.push('-');
                at += 1;
                continue;
            } else {
                let Some(digits) = self.code_digits(at) else { break };
                run.text.push_str(&digits.0);
                run.digits += digits.0.len();
                run.elements += digits.2;
                at = digits.1;
            }
            run.end = at;
        }
        run
    }

    /// The digits of a code at token `at`: single ones and pairs, up to the next letter.
    fn code_digits(&self, at: usize) -> Option<(String, usize, usize)> {
        let run = self.digits(at)?;
        let free = !self.joined(run.end)
            || !(matches!(self.low(run.end), "percent" | "dollars" | "am" | "pm" | "o'clock" | "point")
                || matches!(self.class(run.end), Class::Hundred | Class::Scale(_)));
        free.then_some((run.text, run.end, run.elements))
    }

    /// A code from token `i`: letters alone, or letters and digits.
    pub(super) fn code(&self, i: usize) -> Option<Found> {
        if i > 0
            && self.joined(i)
            && (self.class(i - 1).numeric() || matches!(self.class(i - 1), Class::Letter(_)))
        {
            let word = matches!(self.class(i - 1), Class::Letter(b'A' | b'I' | b'O'));
            if !word {
                return None;
            }
        }
        let run = self.spelled(i);
        if run.letters == 0 {
            return None;
        }
        let text = run.text.trim_end_matches('-');
        let cued =
            i > 0 && self.joined(i) && (cue(self.low(i - 1)) || matches!(self.low(i - 1), "number" | "is"));
        let radio_only = run.radio > 0 && run.radio == run.letters;
        let word_first = matches!(text.as_bytes().first(), Some(b'A' | b'I' | b'O'))
            && matches!(self.class(i), Class::Letter(_));
        let sure = if run.digits == 0 {
            match run.letters {
                _ if run.told > 0 => true,
                1 => false,
                // "p m" belongs to a time, "a m" to nothing else.
                2 if matches!(text, "AM" | "PM") => false,
                2 if radio_only => false,
                2 => run.plain == 2 || ACRONYMS.contains(&text),
                3 if radio_only => true,
                3 if word_first && run.radio == 0 => ACRONYMS.contains(&text) || cued,
                _ => run.plain >= 2,
            }
        } else if radio_only && !cued && run.letters < 3 {
            run.letters + run.digits >= 5 && run.letters >= 2
        } else {
            // "a one way ticket" and "i four" are words.
            let tail_is_word = run.letters == 1 && word_first;
            run.elements >= 3 && !tail_is_word && (run.plain >= 1 || run.letters >= 3)
                || cued && run.elements >= 2 && (!tail_is_word || cue(self.low(i - 1)))
        };
        sure.then(|| Found::new(text, run.end, Kind::Code))
    }

    /// E-mail and web addresses, by their first token, in order.
    pub(super) fn addresses(&self) -> Vec<(usize, Found)> {
        let mut found: Vec<(usize, Found)> = Vec::new();
        let mut free = 0;
        for dot in 1..self.len() {
            if !self.is(dot, "dot") || dot < free {
                continue;
            }
            let Some((start, address)) = self.address(dot, free) else { continue };
            free = address.end;
            found.push((start, address));
        }
        found
    }

    /// The address that `dot` is the first dot of, or the first behind its "at".
    fn address(&self, dot: usize, free: usize) -> Option<(usize, Found)> {
        let mut host = String::new();
        let (host_start, mut at) = self.label_before(dot, free)?;
        host.push_str(&self.label_text(host_start, dot));
        let mut parts = 0;
        let mut domain = false;
        while self.joined(at) && self.is(at, "dot") && self.joined(at + 1) && parts < 6 {
            let Some(end) = self.label_after(at + 1) else { break };
            let label = self.label_text(at + 1, end);
            domain = DOMAINS.contains(&label.as_str());
            host.push('.');
            host.push_str(&label);
            at = end;
            parts += 1;
        }
        if host_start > free && self.is(host_start - 1, "at") && self.joined(host_start) && domain {
            let (start, local) = self.local_part(host_start - 1, free)?;
            return Some((start, Found::new(format!("{local}@{host}"), at, Kind::Address)));
        }
        // The first dot may stand in the part before "at": "john dot smith at example dot com".
        if self.joined(at) && self.is(at, "at") {
            let host_dot = (at + 2..self.len().min(at + 8)).find(|&k| self.is(k, "dot"))?;
            if at + 1 < host_dot && (at + 1..=host_dot).all(|k| self.joined(k)) {
                return self.address(host_dot, free).filter(|(start, _)| *start <= host_start);
            }
        }
        let numbers = host.split('.').count() == 4 && host.split('.').all(|part| part.parse::<u8>().is_ok());
        if numbers {
            return Some((host_start, Found::new(host, at, Kind::Address)));
        }
        (domain && parts > 0 && self.joined(host_start + 1))
            .then(|| (host_start, Found::new(host, at, Kind::Address)))
    }

    /// The label before a dot: one word, a spelled run, or a run of digits.
    fn label_before(&self, dot: usize, free: usize) -> Option<(usize, usize)> {
        let mut start = dot;
        while start > free && dot - start < 16 && self.joined(start) {
            let class = self.class(start - 1);
            let spelled = class.numeric() || matches!(class, Class::Letter(_) | Class::Times(_));
            if start < dot && !spelled {
                break;
            }
            start -= 1;
            if !spelled {
                break;
            }
        }
        (start < dot).then_some((start, dot))
    }

    /// The end of the label that begins at `at`.
    fn label_after(&self, at: usize) -> Option<usize> {
        if at >= self.len() {
            return None;
        }
        let spelled =
            |k: usize| self.class(k).numeric() || matches!(self.class(k), Class::Letter(_) | Class::Times(_));
        if !spelled(at) {
            return Some(at + 1);
        }
        let mut end = at + 1;
        while end - at < 16 && self.joined(end) && spelled(end) {
            end += 1;
        }
        Some(end)
    }

    fn label_text(&self, start: usize, end: usize) -> String {
        let mut text = String::new();
        let mut at = start;
        while at < end {
            if self.class(at).numeric() || matches!(self.class(at), Class::Times(_)) {
                if let Some(run) = self.digits(at).filter(|run| run.end <= end && run.elements > 1)
                    && (run.singles > 0 || run.elements > 1)
                {
                    text.push_str(&run.text);
                    at = run.end;
                    continue;
                }
                if let Some(cardinal) = self.cardinal(at).filter(|cardinal| cardinal.end <= end) {
                    text.push_str(&cardinal.value.to_string());
                    at = cardinal.end;
                    continue;
                }
            }
            match self.low(at) {
                "dash" | "hyphen" => text.push('-'),
                "underscore" => text.push('_'),
                "plus" => text.push('+'),
                "dot" => text.push('.'),
                word => text.push_str(word),
            }
            at += 1;
        }
        text
    }

    /// The part before "at", and where it begins.
    fn local_part(&self, at: usize, free: usize) -> Option<(usize, String)> {
        let floor = free.max(at.saturating_sub(LONGEST_ADDRESS));
        // Behind "my e-mail is" everything belongs to the address.
        let cue = (floor..at).rev().find(|&k| {
            self.is(k, "is")
                && k > 0
                && matches!(self.low(k - 1), "email" | "e-mail" | "address" | "mail" | "it")
        });
        let start = match cue {
            Some(cue) if cue + 1 < at && at - cue <= 9 => cue + 1,
            _ => {
                let mut start = at;
                while start > floor && self.joined(start) {
                    let joint = |k: usize| matches!(self.low(k), "dot" | "underscore" | "dash" | "hyphen");
                    let spelled = |k: usize| {
                        self.class(k).numeric() || matches!(self.class(k), Class::Letter(_) | Class::Times(_))
                    };
                    let before = start - 1;
                    if start == at || joint(before) || joint(start) || spelled(before) {
                        start = before;
                    } else if spelled(start)
                        && !joint(before)
                        && start < at
                        && !matches!(self.low(before), "is" | "at" | "to")
                    {
                        // A word with digits behind it: "maria twenty two at".
                        start = before;
                        break;
                    } else {
                        break;
                    }
                }
                start
            }
        };
        if start >= at || (start + 1..=at).any(|k| !self.joined(k)) {
            return None;
        }
        Some((start, self.label_text(start, at)))
    }
}
