//! Numbers and strings of digits in a sentence.

use super::{Found, Tongue, chinese, english};

/// Every number in the sentence, from left to right, none overlapping.
pub(super) fn numbers(tokens: &[String], tongue: Tongue) -> Vec<Found<f64>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match number_at(tokens, at, tongue) {
            Some(number) => {
                at = number.end.max(at + 1);
                found.push(number);
            }
            None => at += 1,
        }
    }
    found
}

/// The number that begins at `at`: digits read one by one, or a cardinal, either with per cent.
pub(super) fn number_at(tokens: &[String], at: usize, tongue: Tongue) -> Option<Found<f64>> {
    let (value, mut end) = match spelt(tokens, at, tongue) {
        Some(spelt) => spelt,
        None => match tongue {
            Tongue::English => english::cardinal(tokens, at)?,
            Tongue::Chinese => chinese::cardinal(tokens, at)?,
        },
    };
    let mut value = value;
    if tokens.get(end).is_some_and(|token| token == "%" || token == "percent") {
        value = (value * 1e7).round() / 1e9;
        end += 1;
    } else if tokens.get(end).is_some_and(|t| t == "per") && tokens.get(end + 1).is_some_and(|t| t == "cent")
    {
        value = (value * 1e7).round() / 1e9;
        end += 2;
    }
    Some(Found { value, start: at, end })
}

/// Two digits or more read one by one, with no unit after them.
fn spelt(tokens: &[String], at: usize, tongue: Tongue) -> Option<(f64, usize)> {
    let digit = |n: usize| {
        let token = tokens.get(n)?;
        match tongue {
            Tongue::English => english::digit(token),
            Tongue::Chinese => chinese::digit(token),
        }
    };
    let end = (at..tokens.len()).find(|n| digit(*n).is_none()).unwrap_or(tokens.len());
    let stopper = tokens.get(end).map_or("", String::as_str);
    let carries_on = match tongue {
        Tongue::English => matches!(stopper, "hundred" | "thousand" | "million" | "billion" | "point"),
        Tongue::Chinese => chinese::unit(stopper).is_some() || stopper == "点",
    };
    if end - at < 2 || end - at > 15 || carries_on {
        return None;
    }
    Some(((at..end).filter_map(digit).fold(0.0, |value, n| value * 10.0 + f64::from(n)), end))
}

/// Every string of digits in the sentence, longest readings first come from left to right.
///
/// Understands "double four", "oh", pairs such as "twenty one", hesitation inside the string and the words that
/// recognisers write for digits ("for", "to", "ate") between two digits.
pub(super) fn digit_strings(tokens: &[String], tongue: Tongue) -> Vec<Found<String>> {
    let mut found: Vec<Found<String>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some((mut digits, mut end)) = piece(tokens, at, tongue) else {
            at += 1;
            continue;
        };
        loop {
            let next = (end..(end + 3).min(tokens.len()))
                .take_while(|n| *n == end || filler(&tokens[*n - 1]))
                .find_map(|n| piece(tokens, n, tongue));
            let misheard = tokens.get(end).and_then(|word| homophone(word, tongue));
            match (next, misheard) {
                (Some((more, to)), _) => {
                    digits.push_str(&more);
                    end = to;
                }
                (None, Some(digit)) if piece(tokens, end + 1, tongue).is_some() => {
                    digits.push(digit);
                    end += 1;
                }
                _ => break,
            }
        }
        // A lone "oh" is a sigh.
        if !(digits == "0" && matches!(tokens[at].as_str(), "oh" | "o")) {
            digits.truncate(64);
            found.push(Found { value: digits, start: at, end });
        }
        at = end;
    }
    found
}

fn piece(tokens: &[String], at: usize, tongue: Tongue) -> Option<(String, usize)> {
    let token = tokens.get(at)?;
    if token.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'/')) {
        return Some((token.chars().filter(char::is_ascii_digit).collect(), at + 1));
    }
    if tongue == Tongue::Chinese {
        if let Some(n) = chinese::digit(token) {
            let has_unit = tokens.get(at + 1).is_some_and(|next| chinese::unit(next).is_some());
            if has_unit && let Some((value, end)) = chinese::cardinal(tokens, at) {
                return Some((format!("{value}"), end));
            }
            return Some((n.to_string(), at + 1));
        }
        return None;
    }
    let repeat = match token.as_str() {
        "double" => 2,
        "triple" | "treble" => 3,
        _ => 1,
    };
    if repeat > 1 {
        let next = tokens.get(at + 1)?;
        let digit = english::digit(next).map(|n| n.to_string()).or_else(|| {
            (next.len() == 1 && next.bytes().all(|b| b.is_ascii_digit())).then(|| next.clone())
        })?;
        return Some((digit.repeat(repeat), at + 2));
    }
    if let Some(n) = english::digit(token) {
        return match tokens.get(at + 1).map(String::as_str) {
            Some("hundred") => Some((format!("{n}00"), at + 2)),
            Some("thousand") => Some((format!("{n}000"), at + 2)),
            _ => Some((n.to_string(), at + 1)),
        };
    }
    if let Some(n) = english::teen(token) {
        return Some((n.to_string(), at + 1));
    }
    let tens = english::ten(token)?;
    match tokens.get(at + 1).and_then(|next| english::digit(next)).filter(|n| *n > 0) {
        Some(n) => Some(((tens + n).to_string(), at + 2)),
        None => Some((tens.to_string(), at + 1)),
    }
}

fn filler(token: &str) -> bool {
    matches!(
        token,
        "uh" | "um" | "er" | "and" | "then" | "dash" | "space" | "嗯" | "啊" | "呃" | "杠" | "然" | "后"
    )
}

fn homophone(token: &str, tongue: Tongue) -> Option<char> {
    match (tongue, token) {
        (Tongue::English, "for" | "fore") => Some('4'),
        (Tongue::English, "to" | "too") => Some('2'),
        (Tongue::English, "ate") => Some('8'),
        (Tongue::English, "won") => Some('1'),
        _ => None,
    }
}
