//! Numbers as English says them: cardinals, decimals, runs of digits, years.

use super::lexicon::Class;
use super::stream::Stream;

/// A cardinal or decimal with what it takes to write it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quantity {
    /// As written, without a unit.
    pub(super) text: String,
    /// The token after it.
    pub(super) end: usize,
    /// Its whole part, unscaled: 2 of "two and a half million".
    pub(super) whole: u64,
    /// Whether it is no more than `one` to `nine`, which prose leaves in words.
    pub(super) small: bool,
    /// Whether it was said with "a": "a hundred" is as often no number.
    pub(super) vague: bool,
    /// Whether it ends in a word of scale, as in `5 million`.
    pub(super) scaled: bool,
}

/// An integer and how it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cardinal {
    pub(super) value: u64,
    pub(super) end: usize,
    /// "a hundred".
    pub(super) vague: bool,
    /// The scale that it is whole in: a million of "five million"; 1 otherwise.
    scale: u64,
}

/// `value` with a comma between thousands where it has at least `from`.
pub(super) fn grouped(value: u64, from: u64) -> String {
    let digits = value.to_string();
    if value < from {
        return digits;
    }
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const SCALES: [(u64, &str); 3] =
    [(1_000_000_000_000, " trillion"), (1_000_000_000, " billion"), (1_000_000, " million")];

fn scale_name(scale: u64) -> Option<&'static str> {
    SCALES.iter().find(|(value, _)| *value == scale).map(|(_, name)| *name)
}

impl Stream<'_> {
    /// 1 to 99 from token `i`: the value and the token after it.
    pub(super) fn below_hundred(&self, i: usize) -> Option<(u64, usize)> {
        match self.class(i) {
            Class::Digit(digit) if digit > 0 => Some((u64::from(digit), i + 1)),
            Class::Teen(value) => Some((u64::from(value), i + 1)),
            Class::Tens(tens) => match self.class_after(i) {
                Class::Digit(digit) if digit > 0 => Some((u64::from(tens + digit), i + 2)),
                _ => Some((u64::from(tens), i + 1)),
            },
            _ => None,
        }
    }

    /// 1 to 9,999 up to "hundred": "three hundred and five", "nineteen hundred".
    fn below_thousand(&self, i: usize) -> Option<(u64, usize)> {
        let (value, end) = if self.is(i, "a") && self.class_after(i) == Class::Hundred {
            (1, i + 1)
        } else {
            self.below_hundred(i)?
        };
        if value >= 100 || !self.joined(end) || self.class(end) != Class::Hundred {
            return Some((value, end));
        }
        if value >= 10 && value % 10 == 0 {
            // "ten hundred" and "twenty hundred" are no numbers that people say.
            return Some((value, end));
        }
        let hundreds = value * 100;
        let after = end + 1;
        if !self.joined(after) {
            return Some((hundreds, after));
        }
        let rest = if self.is(after, "and") && self.joined(after + 1) { after + 1 } else { after };
        match self.below_hundred(rest) {
            // In "one hundred and two hundred" the two begins another number.
            Some((_, next)) if self.joined(next) && self.class(next) == Class::Hundred => {
                Some((hundreds, after))
            }
            Some((small, next)) => Some((hundreds + small, next)),
            None => Some((hundreds, after)),
        }
    }

    /// The longest cardinal from token `i`.
    pub(super) fn cardinal(&self, i: usize) -> Option<Cardinal> {
        if self.class(i) == Class::Digit(0) {
            return Some(Cardinal { value: 0, end: i + 1, vague: false, scale: 1 });
        }
        let vague = self.is(i, "a") && matches!(self.class_after(i), Class::Hundred | Class::Scale(_));
        let mut total: u64 = 0;
        let mut last = u64::MAX;
        let mut at = i;
        let mut end = None;
        let mut scale = 1;
        loop {
            let (group, next) = if at == i && vague && self.class(at + 1) != Class::Hundred {
                (1, at + 1)
            } else {
                match self.below_thousand(at) {
                    Some(found) => found,
                    None => break,
                }
            };
            match self.class(next) {
                Class::Scale(value) if self.joined(next) && value < last => {
                    total = total.checked_add(group.checked_mul(value)?)?;
                    last = value;
                    scale = if end.is_none() { value } else { 1 };
                    at = next + 1;
                    end = Some(at);
                }
                Class::Scale(_) if self.joined(next) => break,
                _ => {
                    if end.is_some() && group >= 1_000 {
                        break;
                    }
                    total += group;
                    scale = 1;
                    end = Some(next);
                    break;
                }
            }
            if !self.joined(at) {
                break;
            }
            if self.is(at, "and") && self.joined(at + 1) {
                // Behind "and" only the small end of a number follows: "a thousand and five".
                match self.below_hundred(at + 1) {
                    Some((_, after))
                        if !(self.joined(after)
                            && matches!(self.class(after), Class::Hundred | Class::Scale(_))) =>
                    {
                        at += 1;
                    }
                    _ => break,
                }
            }
        }
        let end = end?;
        let bare = vague && end == i + 2;
        Some(Cardinal { value: total, end, vague: bare, scale })
    }

    /// A cardinal, decimal or mixed number, with its scale: "three point five", "two and a half million", "minus six".
    pub(super) fn quantity(&self, i: usize) -> Option<Quantity> {
        let minus = (self.is(i, "minus") || self.is(i, "negative"))
            && self.joined(i + 1)
            && (i == 0 || !self.class(i - 1).numeric());
        let start = if minus { i + 1 } else { i };
        let mut quantity = self.positive(start)?;
        if minus {
            if quantity.vague {
                return None;
            }
            quantity.text.insert(0, '-');
            quantity.small = false;
        }
        Some(quantity)
    }

    fn positive(&self, i: usize) -> Option<Quantity> {
        if let Some(decimal) = self.decimal(i) {
            return Some(decimal);
        }
        let cardinal = self.cardinal(i)?;
        let end = cardinal.end;
        let mut quantity = match scale_name(cardinal.scale) {
            Some(name) => Quantity {
                text: format!("{}{name}", grouped(cardinal.value / cardinal.scale, 10_000)),
                end,
                whole: cardinal.value / cardinal.scale,
                small: false,
                vague: cardinal.vague,
                scaled: true,
            },
            None => Quantity {
                text: grouped(cardinal.value, 10_000),
                end,
                whole: cardinal.value,
                small: cardinal.value < 10,
                vague: cardinal.vague,
                scaled: false,
            },
        };
        if !quantity.scaled
            && cardinal.value < 1_000
            && let Some((part, after)) = self.and_a_part(end)
        {
            quantity.text = format!("{}{part}", cardinal.value);
            quantity.end = after;
            quantity.small = false;
            self.scale_up(&mut quantity);
        }
        Some(quantity)
    }

    /// "and a half", "and three quarters" behind a whole number, as decimals.
    fn and_a_part(&self, at: usize) -> Option<(&'static str, usize)> {
        if !(self.joined(at) && self.is(at, "and") && self.joined(at + 1) && self.joined(at + 2)) {
            return None;
        }
        let part = match (self.low(at + 1), self.low(at + 2)) {
            ("a" | "one", "half") => ".5",
            ("a" | "one", "quarter") => ".25",
            ("three", "quarters") => ".75",
            _ => return None,
        };
        Some((part, at + 3))
    }

    fn scale_up(&self, quantity: &mut Quantity) {
        if let Class::Scale(scale) = self.class(quantity.end)
            && self.joined(quantity.end)
            && let Some(name) = scale_name(scale)
        {
            quantity.text.push_str(name);
            quantity.end += 1;
            quantity.scaled = true;
        }
    }

    /// "three point one four", "zero point five million", "three point fourteen".
    fn decimal(&self, i: usize) -> Option<Quantity> {
        let (whole, point) = if self.class(i) == Class::Oh {
            (0, i + 1)
        } else {
            let cardinal = self.cardinal(i)?;
            if cardinal.vague || cardinal.scale > 1_000 {
                return None;
            }
            (cardinal.value, cardinal.end)
        };
        if !(self.joined(point) && self.is(point, "point") && self.joined(point + 1)) {
            return None;
        }
        let mut digits = String::new();
        let mut at = point + 1;
        while (at == point + 1 || self.joined(at)) && digits.len() < 20 {
            match self.class(at) {
                Class::Digit(digit) => digits.push(char::from(b'0' + digit)),
                Class::Oh => digits.push('0'),
                Class::Letter(b'O') if !digits.is_empty() => digits.push('0'),
                _ => break,
            }
            at += 1;
        }
        if digits.is_empty() {
            let (value, end) = self.below_hundred(at)?;
            digits = value.to_string();
            at = end;
        }
        // "at one point five people called": a point in time.
        if i > 0 && whole == 1 && matches!(self.low(i - 1), "at" | "to" | "just") && digits.len() == 1 {
            return None;
        }
        let mut quantity = Quantity {
            text: format!("{}.{digits}", grouped(whole, 10_000)),
            end: at,
            whole,
            small: false,
            vague: false,
            scaled: false,
        };
        self.scale_up(&mut quantity);
        Some(quantity)
    }

    /// Whether token `at` goes on with a run of digits, and what it adds: the digits, the token after it, whether it is
    /// said digit by digit.
    fn digit_element(&self, at: usize, before: bool) -> Option<(String, usize, bool)> {
        match self.class(at) {
            Class::Digit(digit) => {
                let after = at + 1;
                if self.class(after) == Class::Hundred
                    && self.joined(after)
                    && digit > 0
                    && matches!(self.class(after + 1), Class::Digit(_) | Class::Oh)
                    && self.joined(after + 1)
                {
                    return Some((format!("{digit}00"), after + 1, false));
                }
                Some((digit.to_string(), after, true))
            }
            Class::Oh => Some(("0".into(), at + 1, true)),
            Class::Letter(b'O') if before => Some(("0".into(), at + 1, true)),
            Class::Times(times) if self.joined(at + 1) => {
                let digit = match self.class(at + 1) {
                    Class::Digit(digit) => digit,
                    Class::Oh | Class::Letter(b'O') => 0,
                    _ => return None,
                };
                Some((digit.to_string().repeat(usize::from(times)), at + 2, true))
            }
            Class::Teen(_) | Class::Tens(_) => {
                let (value, after) = self.below_hundred(at)?;
                Some((value.to_string(), after, false))
            }
            _ => None,
        }
    }

    /// A run of digits from token `i`, as telephone and account numbers are read: the digits, the token after it, and
    /// how many of its elements were single digits.
    pub(super) fn digits(&self, i: usize) -> Option<Run> {
        let mut run = Run { text: String::new(), end: i, singles: 0, elements: 0, repeated: false };
        while (run.end == i || self.joined(run.end)) && run.text.len() < 64 {
            let Some((digits, end, single)) = self.digit_element(run.end, !run.text.is_empty()) else {
                break;
            };
            // A scale turns what is before it into a cardinal: in "four two thousand" the run ends at the four.
            if self.joined(end) && matches!(self.class(end), Class::Hundred | Class::Scale(_)) {
                break;
            }
            run.repeated |= matches!(self.class(run.end), Class::Times(_));
            run.elements += 1;
            run.singles += usize::from(single) * digits.len();
            run.text.push_str(&digits);
            run.end = end;
        }
        (run.elements > 0).then_some(run)
    }

    /// A year said in two halves, or as "two thousand five": the year, the token after it, and whether it can be
    /// nothing else.
    pub(super) fn year(&self, i: usize) -> Option<(u64, usize, bool)> {
        let first = match self.class(i) {
            Class::Teen(value) => u64::from(value),
            Class::Tens(20) => 20,
            _ => {
                let cardinal = self.cardinal(i)?;
                let fits = (1_000..=2_099).contains(&cardinal.value) && !cardinal.vague;
                return fits.then_some((cardinal.value, cardinal.end, false));
            }
        };
        let next = i + 1;
        if !self.joined(next) {
            return None;
        }
        if matches!(self.class(next), Class::Oh | Class::Letter(b'O'))
            && self.joined(next + 1)
            && let Class::Digit(digit) = self.class(next + 1)
        {
            return Some((first * 100 + u64::from(digit), next + 2, first >= 17));
        }
        if self.class(next) == Class::Hundred && first != 10 && first != 20 {
            let cardinal = self.cardinal(i)?;
            return Some((cardinal.value, cardinal.end, false));
        }
        let (second, end) = self.below_hundred(next)?;
        if second < 10 || (self.joined(end) && matches!(self.class(end), Class::Hundred | Class::Scale(_))) {
            return None;
        }
        let sure = match first {
            20 => matches!(self.class(next), Class::Teen(_)) || end == next + 2,
            17..=19 => second != first + 1,
            _ => false,
        };
        Some((first * 100 + second, end, sure))
    }
}

/// A run of digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) text: String,
    pub(super) end: usize,
    /// How many digits were said one by one.
    pub(super) singles: usize,
    /// How many things were said.
    pub(super) elements: usize,
    /// Whether "double" or "triple" was among them.
    pub(super) repeated: bool,
}

impl Run {
    /// Whether nothing but a string of digits is said so.
    pub(super) fn sure(&self) -> bool {
        self.repeated || self.singles >= 3 && self.text != "123" || self.text.len() >= 7 && self.singles >= 1
    }
}
