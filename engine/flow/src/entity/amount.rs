//! Amounts of money.

use super::number::number_at;
use super::{Found, Tongue, chinese};

/// Money: a value and, where it was named, its currency (ISO 4217).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Money {
    pub(super) value: f64,
    pub(super) currency: Option<&'static str>,
}

/// The amount in the sentence: the first with a currency, or else the first number.
pub(super) fn amount(tokens: &[String], tongue: Tongue) -> Option<Found<Money>> {
    let mut bare = None;
    let mut at = 0;
    while at < tokens.len() {
        match amount_at(tokens, at, tongue) {
            Some(found) if found.value.currency.is_some() => return Some(found),
            Some(found) => {
                at = found.end.max(at + 1);
                bare = bare.or(Some(found));
            }
            None => at += 1,
        }
    }
    bare
}

fn amount_at(tokens: &[String], at: usize, tongue: Tongue) -> Option<Found<Money>> {
    let sign = tokens.get(at).and_then(|token| symbol(token));
    let start = at;
    let at = at + usize::from(sign.is_some());
    let number = number_at(tokens, at, tongue)?;
    let (mut value, mut end) = (number.value, number.end);
    // "Two fifty" is two hundred and fifty; "two" and "fifty" are not two amounts.
    if tongue == Tongue::English
        && (1.0..20.0).contains(&value)
        && end == at + 1
        && let Some(rest) = number_at(tokens, end, tongue)
        && (10.0..100.0).contains(&rest.value)
    {
        value = value * 100.0 + rest.value;
        end = rest.end;
    }
    let mut currency = sign;
    if let Some((code, factor, to)) = unit(tokens, end, tongue) {
        currency = Some(code);
        value *= factor;
        end = to;
        if factor >= 1.0 {
            let and = end + usize::from(tokens.get(end).is_some_and(|token| token == "and"));
            (value, end) =
                small_change(tokens, and, tongue).map_or((value, end), |(rest, to)| (value + rest, to));
        }
    }
    // Floating sums of cents are made whole again.
    value = (value * 1e6).round() / 1e6;
    Some(Found { value: Money { value, currency }, start, end })
}

/// What follows the whole units: "fifty cents", 五毛二, 五.
fn small_change(tokens: &[String], at: usize, tongue: Tongue) -> Option<(f64, usize)> {
    let token = |n: usize| tokens.get(n).map_or("", String::as_str);
    if tongue == Tongue::Chinese {
        let tenths =
            chinese::digit(token(at)).map(f64::from).or_else(|| super::english::written(token(at)))?;
        if !matches!(token(at + 1), "毛" | "角") {
            // 三块五, but not 三块五百 or 三块的两张.
            let ends = chinese::unit(token(at + 1)).is_none() && token(at + 1) != "个" && tenths < 10.0;
            return ends.then_some((tenths / 10.0, at + 1));
        }
        return match chinese::digit(token(at + 2)) {
            Some(n) => {
                Some((tenths / 10.0 + f64::from(n) / 100.0, at + 3 + usize::from(token(at + 3) == "分")))
            }
            None => Some((tenths / 10.0, at + 2)),
        };
    }
    let rest = number_at(tokens, at, tongue).filter(|rest| (1.0..100.0).contains(&rest.value))?;
    let said = matches!(token(rest.end), "cent" | "cents" | "pence" | "penny" | "p");
    // "two dollars fifty" at the end of the sentence needs no "cents".
    (said || rest.end == tokens.len()).then_some((rest.value / 100.0, rest.end + usize::from(said)))
}

fn symbol(token: &str) -> Option<&'static str> {
    Some(match token {
        "$" => "USD",
        "£" => "GBP",
        "€" => "EUR",
        "¥" => "CNY",
        _ => return None,
    })
}

/// The currency that begins at `at`, what one of it is worth in whole units, and where it ends.
fn unit(tokens: &[String], at: usize, tongue: Tongue) -> Option<(&'static str, f64, usize)> {
    const ENGLISH: &[(&[&str], &str, f64)] = &[
        (&["us", "dollars"], "USD", 1.0),
        (&["dollar"], "USD", 1.0),
        (&["dollars"], "USD", 1.0),
        (&["buck"], "USD", 1.0),
        (&["bucks"], "USD", 1.0),
        (&["usd"], "USD", 1.0),
        (&["cent"], "USD", 0.01),
        (&["cents"], "USD", 0.01),
        (&["pound"], "GBP", 1.0),
        (&["pounds"], "GBP", 1.0),
        (&["quid"], "GBP", 1.0),
        (&["pence"], "GBP", 0.01),
        (&["euro"], "EUR", 1.0),
        (&["euros"], "EUR", 1.0),
        (&["yuan"], "CNY", 1.0),
        (&["rmb"], "CNY", 1.0),
        (&["$"], "USD", 1.0),
        (&["£"], "GBP", 1.0),
        (&["€"], "EUR", 1.0),
    ];
    const CHINESE: &[(&[&str], &str, f64)] = &[
        (&["块"], "CNY", 1.0),
        (&["块", "钱"], "CNY", 1.0),
        (&["元"], "CNY", 1.0),
        (&["元", "钱"], "CNY", 1.0),
        (&["元", "人", "民", "币"], "CNY", 1.0),
        (&["人", "民", "币"], "CNY", 1.0),
        (&["毛"], "CNY", 0.1),
        (&["毛", "钱"], "CNY", 0.1),
        (&["角"], "CNY", 0.1),
        (&["分", "钱"], "CNY", 0.01),
        (&["美", "元"], "USD", 1.0),
        (&["美", "金"], "USD", 1.0),
        (&["欧", "元"], "EUR", 1.0),
        (&["英", "镑"], "GBP", 1.0),
        (&["港", "币"], "HKD", 1.0),
        (&["港", "元"], "HKD", 1.0),
        (&["日", "元"], "JPY", 1.0),
    ];
    let table = if tongue == Tongue::Chinese { CHINESE } else { ENGLISH };
    table
        .iter()
        .filter(|(form, ..)| {
            tokens.len() >= at + form.len() && form.iter().zip(&tokens[at..]).all(|(a, b)| a == b)
        })
        .max_by_key(|(form, ..)| form.len())
        .map(|(form, code, factor)| (*code, *factor, at + form.len()))
}
