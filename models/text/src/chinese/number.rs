//! Numbers as Chinese says them.

use super::lexicon::{digit, numeral, place};
use super::{Found, Line};
use crate::token::Kind;

/// A number and how it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// As written, with `万` or `亿` where it was said last.
    pub(super) text: String,
    pub(super) value: u64,
    /// The unit after it.
    pub(super) end: usize,
    /// Whether it is one digit, which prose leaves as it is.
    pub(super) small: bool,
    /// Whether it has places (`三十`), a point, or is one digit; else it is a string of digits.
    pub(super) counted: bool,
}

/// The value of `digits` read as a number with places; `None` where it is none ("七八十", "三五百").
pub(super) fn value(chars: &[char]) -> Option<u64> {
    match chars.iter().rposition(|&c| c == '亿') {
        Some(at) => {
            let high = if at == 0 { return None } else { below_yi(&chars[..at])? };
            let low = tail(&chars[at + 1..], 100_000_000, below_yi)?;
            high.checked_mul(100_000_000)?.checked_add(low)
        }
        None => below_yi(chars),
    }
}

fn below_yi(chars: &[char]) -> Option<u64> {
    match chars.iter().rposition(|&c| c == '万') {
        Some(at) => {
            let high = if at == 0 { return None } else { section(&chars[..at])? };
            let low = tail(&chars[at + 1..], 10_000, section)?;
            Some(high * 10_000 + low)
        }
        None => section(chars),
    }
}

/// What follows a high place: nothing, "零五", or "五" for half of the place below.
fn tail(chars: &[char], above: u64, rest: impl Fn(&[char]) -> Option<u64>) -> Option<u64> {
    match chars {
        [] => Some(0),
        [only] => match digit(*only) {
            Some(digit) if digit > 0 && *only != '幺' => Some(u64::from(digit) * (above / 10)),
            _ => None,
        },
        _ => rest(chars),
    }
}

/// Up to 9,999.
fn section(chars: &[char]) -> Option<u64> {
    let mut total = 0;
    let mut last = 10_000;
    let mut zero = false;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c == '零' {
            // A zero stands between places and once.
            if zero || at + 1 == chars.len() || (at == 0 && chars.len() == 1) {
                return None;
            }
            zero = true;
            at += 1;
            continue;
        }
        let (count, next) = match digit(c) {
            Some(_) if c == '幺' => return None,
            Some(digit) => (u64::from(digit), at + 1),
            // "十" alone is one ten.
            None if c == '十' && (at == 0 || last > 10) => (1, at),
            None => return None,
        };
        match chars.get(next).and_then(|&c| place(c)) {
            Some(place) if place < last && place <= 1_000 => {
                total += count * place;
                last = place;
                zero = false;
                at = next + 1;
            }
            Some(_) => return None,
            None => {
                if next != chars.len() {
                    return None;
                }
                // "三百五" is three hundred and fifty, "三百零五" and "三十五" end in five.
                let short = !zero && (100..=1_000).contains(&last);
                total += if short { count * (last / 10) } else { count };
                at = next;
            }
        }
    }
    Some(total)
}

/// `value` in units of `unit`, without needless zeros: 12,500 in ten thousands is `1.25`.
fn scaled(value: u64, unit: u64) -> String {
    let rest = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
    let rest = rest.trim_end_matches('0');
    let whole = value / unit;
    if rest.is_empty() { whole.to_string() } else { format!("{whole}.{rest}") }
}

impl Line<'_> {
    /// The unit after the run of numerals at `i`.
    pub(super) fn numerals(&self, i: usize) -> usize {
        // Longer ones are nobody's numbers; the bound keeps the work linear.
        let most = self.units.len().min(i + 64);
        // In "百分之十五一共" the one belongs to the word behind it.
        let other = |k: usize| {
            k > i
                && self.at(k) == '一'
                && matches!(self.at(k + 1), '共' | '样' | '直' | '般' | '定' | '些' | '切' | '旦' | '律')
        };
        (i..most).find(|&k| !numeral(self.at(k)) || other(k)).unwrap_or(most)
    }

    /// The number at `i`, with its decimals. `None` where the run of numerals is no number.
    pub(super) fn number(&self, i: usize) -> Option<Number> {
        let whole = self.integer(i)?;
        Some(self.decimal(&whole).unwrap_or(whole))
    }

    /// The integer at `i`: all of the numerals there, or none.
    pub(super) fn integer(&self, i: usize) -> Option<Number> {
        let mut end = self.numerals(i);
        if end == i
            || matches!(self.before(i), '几' | '数') && place(self.at(i)).is_some()
            || self.at(end) == '几'
        {
            return None;
        }
        // "两千克" is two kilograms: the place belongs to the unit.
        if end == i + 2 && self.at(i + 1) == '千' && matches!(self.at(end), '克' | '米' | '瓦' | '赫') {
            end = i + 1;
        }
        let mut chars: Vec<char> = (i..end).map(|k| self.at(k)).collect();
        if chars.last() == Some(&'千')
            && matches!(self.at(end), '克' | '米' | '瓦' | '赫')
            && value(&chars).is_none()
        {
            chars.pop();
            end -= 1;
        }
        if chars.iter().all(|&c| digit(c).is_some()) {
            let small = chars.len() == 1;
            if !small && chars.contains(&'两') {
                return None;
            }
            let text: String = chars.iter().filter_map(|&c| digit(c)).map(|d| char::from(b'0' + d)).collect();
            let value = text.parse().unwrap_or(u64::MAX);
            return Some(Number { text, value, end, small, counted: small });
        }
        let value = value(&chars)?;
        let text = match chars.last() {
            Some('亿') if chars.iter().rev().nth(1) == Some(&'万') => {
                format!("{}万亿", scaled(value, 1_000_000_000_000))
            }
            Some('万' | '亿') if value >= 100_000_000 => format!("{}亿", scaled(value, 100_000_000)),
            Some('万') => format!("{}万", scaled(value, 10_000)),
            _ => value.to_string(),
        };
        Some(Number { text, value, end, small: false, counted: true })
    }

    /// "三点一四", "一点五亿" behind a whole part.
    fn decimal(&self, whole: &Number) -> Option<Number> {
        if self.at(whole.end) != '点' || !whole.counted && whole.text.len() > 1 {
            return None;
        }
        let start = whole.end + 1;
        let mut end = start;
        let mut digits = String::new();
        while let Some(value) = digit(self.at(end))
            && self.at(end) != '两'
            && digits.len() < 20
        {
            digits.push(char::from(b'0' + value));
            end += 1;
        }
        if digits.is_empty() {
            return None;
        }
        let mut scale = "";
        if let Some(place) = place(self.at(end)) {
            // "三点十五" and "三点二十" are times.
            if place < 10_000 {
                return None;
            }
            scale = if self.has(end, "万亿") {
                "万亿"
            } else if place == 10_000 {
                "万"
            } else {
                "亿"
            };
            end += scale.chars().count();
            if numeral(self.at(end)) {
                return None;
            }
        }
        // "有三点一是价格": the first of three points.
        if digits == "1"
            && scale.is_empty()
            && matches!(self.at(end), '是' | '个' | '、' | '，' | '定' | '直' | '起' | '样' | '下')
        {
            return None;
        }
        let text = format!("{}.{digits}{scale}", whole.text);
        Some(Number { text, value: whole.value, end, small: false, counted: true })
    }

    /// "第十五".
    pub(super) fn ordinal(&self, i: usize) -> Option<Found> {
        if self.at(i) != '第' {
            return None;
        }
        let number = self.integer(i + 1)?;
        (number.counted && !number.small && number.value > 0)
            .then(|| Found::new(format!("第{}", number.text), number.end, Kind::Ordinal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<u64> {
        value(&text.chars().collect::<Vec<_>>())
    }

    #[test]
    fn places_add_up() {
        for (text, expected) in [
            ("十", 10),
            ("十五", 15),
            ("二十", 20),
            ("一百零五", 105),
            ("一百五", 150),
            ("一百五十", 150),
            ("三千六", 3_600),
            ("三千零六", 3_006),
            ("两万五", 25_000),
            ("两万零五", 20_005),
            ("两万五千", 25_000),
            ("一百二十万", 1_200_000),
            ("一亿两千万", 120_000_000),
            ("三万亿", 3_000_000_000_000),
            ("九千九百九十九", 9_999),
        ] {
            assert_eq!(of(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn approximations_are_no_numbers() {
        for text in ["七八十", "十七八", "三五百", "两三千", "百", "万", "一百百", "十十", "三十二百"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn scaled_values_have_no_needless_zeros() {
        assert_eq!(scaled(120_000_000, 100_000_000), "1.2");
        assert_eq!(scaled(350_000, 10_000), "35");
    }
}
