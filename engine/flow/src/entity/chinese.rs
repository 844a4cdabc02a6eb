//! Numbers as Chinese speakers say them.

use super::english::written;

/// The value of a character for one digit; 幺 is how ones are read out.
pub(super) fn digit(token: &str) -> Option<u8> {
    Some(match token {
        "零" | "〇" => 0,
        "一" | "幺" | "壹" => 1,
        "二" | "两" | "俩" | "贰" => 2,
        "三" | "叁" | "仨" => 3,
        "四" | "肆" => 4,
        "五" | "伍" => 5,
        "六" | "陆" => 6,
        "七" | "柒" => 7,
        "八" | "捌" => 8,
        "九" | "玖" => 9,
        _ => return None,
    })
}

/// The value of a character that multiplies.
pub(super) fn unit(token: &str) -> Option<f64> {
    Some(match token {
        "十" | "拾" => 10.0,
        "百" | "佰" => 100.0,
        "千" | "仟" => 1e3,
        "万" | "萬" => 1e4,
        "亿" | "億" => 1e8,
        _ => return None,
    })
}

/// The cardinal number that begins at `at`, as long as it goes: its value and where it ends.
///
/// A digit left over after a unit counts tenths of that unit: 两万五 is 25000, 一百二 is 120.
pub(super) fn cardinal(tokens: &[String], at: usize) -> Option<(f64, usize)> {
    let token = |n: usize| tokens.get(n).map_or("", String::as_str);
    if token(at) == "百" && token(at + 1) == "分" && token(at + 2) == "之" {
        let (value, end) = cardinal(tokens, at + 3)?;
        return Some(((value * 1e7).round() / 1e9, end));
    }
    if token(at) == "负" {
        return cardinal(tokens, at + 1).map(|(value, end)| (-value, end));
    }
    if in_a_word(tokens, at) {
        return None;
    }
    let (mut whole, mut section, mut pending): (f64, f64, Option<f64>) = (0.0, 0.0, None);
    let (mut last_unit, mut after_zero, start) = (1.0, false, at);
    let mut at = at;
    loop {
        let here = token(at);
        if let Some(n) = digit(here) {
            if pending.is_some_and(|held| held > 0.0) {
                break;
            }
            after_zero |= n == 0;
            pending = Some(f64::from(n));
        } else if let Some(n) = written(here) {
            if pending.is_some_and(|held| held > 0.0) {
                break;
            }
            // Figures after a unit are meant as they stand: 1万500.
            after_zero |= n >= 10.0;
            pending = Some(n);
        } else if let Some(factor) = unit(here) {
            if at == start && factor > 10.0 {
                return None;
            }
            if factor < 1e4 {
                section += pending.take().unwrap_or(1.0) * factor;
            } else {
                let below = section + pending.take().unwrap_or(0.0);
                whole = if factor > 1e4 { (whole + below) * factor } else { whole + below * factor };
                section = 0.0;
            }
            (last_unit, after_zero) = (factor, false);
        } else if here == "点" && at > start && digit(token(at + 1)).is_some() {
            let (mut place, mut value) = (0.1, pending.unwrap_or(0.0));
            while let Some(n) = digit(token(at + 1)) {
                value += f64::from(n) * place;
                place /= 10.0;
                at += 1;
            }
            pending = Some((value * 1e9).round() / 1e9);
            after_zero = true;
        } else {
            break;
        }
        at += 1;
    }
    if at == start {
        return None;
    }
    let rest = match pending {
        Some(n) if last_unit >= 100.0 && !after_zero => n * last_unit / 10.0,
        Some(n) => n,
        None => 0.0,
    };
    Some((whole + section + rest, at))
}

/// Whether the numeral at `at` is only part of an ordinary word, as in 一下, 统一 or 千万.
fn in_a_word(tokens: &[String], at: usize) -> bool {
    let token = |n: usize| tokens.get(n).map_or("", String::as_str);
    let before = if at == 0 { "" } else { token(at - 1) };
    match token(at) {
        "一" => {
            matches!(
                token(at + 1),
                "下" | "些" | "样" | "直" | "起" | "定" | "共" | "般" | "会" | "切" | "旦" | "边"
            ) || matches!(before, "统" | "万" | "唯" | "同" | "星" | "周")
        }
        "十" => matches!(token(at + 1), "分"),
        "三" => matches!(token(at + 1), "方"),
        "两" => matches!(token(at + 1), "边"),
        _ => false,
    }
}
