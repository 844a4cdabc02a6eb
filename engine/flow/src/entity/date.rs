//! Dates as people say them, counted from the day of the call.

use super::calendar::Date;
use super::number::number_at;
use super::{Found, Tongue, chinese, english};

/// The first date in the sentence. Without `today` only dates that name their year are understood.
///
/// "Friday" is the next one to come, "next Friday" the one of next week (weeks begin on Monday), 下周三 likewise. A day
/// and month without a year mean the next such day, today included.
pub(super) fn date(tokens: &[String], tongue: Tongue, today: Option<Date>) -> Option<Found<Date>> {
    (0..tokens.len()).find_map(|at| {
        let (value, end) = match tongue {
            Tongue::English => written(tokens, at, today).or_else(|| english_at(tokens, at, today)),
            Tongue::Chinese => written(tokens, at, today).or_else(|| chinese_at(tokens, at, today)),
        }?;
        Some(Found { value, start: at, end })
    })
}

fn written(tokens: &[String], at: usize, today: Option<Date>) -> Option<(Date, usize)> {
    let token = tokens.get(at)?;
    if let Some(date) = Date::parse(&token.replace('/', "-")).filter(|date| date.year > 31) {
        return Some((date, at + 1));
    }
    let (month, day) = token.split_once('/')?;
    coming(month.parse().ok()?, day.parse().ok()?, today).map(|date| (date, at + 1))
}

/// The next day of this name, today included.
fn coming(month: u32, day: u32, today: Option<Date>) -> Option<Date> {
    let today = today?;
    (today.year..today.year + 9).filter_map(|year| Date::new(year, month, day)).find(|date| *date >= today)
}

/// The next day of this number, today included.
fn coming_day(day: u32, today: Option<Date>) -> Option<Date> {
    let today = today?;
    (0..3)
        .filter_map(|n| Date { day: 1, ..today }.plus_months(n))
        .filter_map(|month| Date::new(month.year, month.month, day))
        .find(|date| *date >= today)
}

fn weekday_coming(weekday: i64, today: Date) -> Date {
    today.plus((weekday - today.weekday()).rem_euclid(7))
}

fn weekday_of_week(weekday: i64, weeks: i64, today: Date) -> Date {
    today.plus(weekday - today.weekday() + 7 * weeks)
}

fn english_at(tokens: &[String], at: usize, today: Option<Date>) -> Option<(Date, usize)> {
    let word = |n: usize| tokens.get(n).map_or("", String::as_str);
    if let Some(month) = month(word(at)) {
        let from = at + 1 + usize::from(word(at + 1) == "the");
        let (day, end) = day_number(tokens, from)?;
        return with_year(tokens, month, day, end, today);
    }
    // "The thirty first of February" has no "first of February" in it.
    if at > 0 && english::ten(word(at - 1)).is_some() && english::ordinal(tokens, at).is_some() {
        return None;
    }
    if word(at) == "the" || english::ordinal(tokens, at).is_some() {
        let from = at + usize::from(word(at) == "the");
        let (day, end) = english::ordinal(tokens, from)?;
        let of = end + usize::from(word(end) == "of");
        if let Some(month) = month(word(of)) {
            return with_year(tokens, month, day, of + 1, today);
        }
        if word(of) == "next" && word(of + 1) == "month" {
            let next = Date { day: 1, ..today? }.plus_months(1)?;
            return Some((Date::new(next.year, next.month, day)?, of + 2));
        }
        // "the first one" and "the second time" are no days.
        let follows = word(end);
        if word(at) != "the" || matches!(follows, "one" | "time" | "option" | "account" | "card" | "thing") {
            return None;
        }
        return coming_day(day, today).map(|date| (date, end));
    }
    if let Some(day) = english::written(word(at)).filter(|n| n.fract() == 0.0 && (1.0..=31.0).contains(n)) {
        let of = at + 1 + usize::from(word(at + 1) == "of");
        if let Some(month) = month(word(of)) {
            return with_year(tokens, month, day as u32, of + 1, today);
        }
    }
    let today = today?;
    match (word(at), word(at + 1)) {
        ("today" | "tonight", _) => return Some((today, at + 1)),
        ("day", "after") if word(at + 2) == "tomorrow" => return Some((today.plus(2), at + 3)),
        ("day", "before") if word(at + 2) == "yesterday" => return Some((today.plus(-2), at + 3)),
        ("tomorrow", _) => return Some((today.plus(1), at + 1)),
        ("yesterday", _) => return Some((today.plus(-1), at + 1)),
        ("end", "of") if matches!(word(at + 2), "the" | "this") && word(at + 3) == "month" => {
            return Some((today.month_end(), at + 4));
        }
        ("next", "week") => {
            if let Some(day) = weekday(word(at + 2)) {
                return Some((weekday_of_week(day, 1, today), at + 3));
            }
            return Some((today.plus(7), at + 2));
        }
        ("next", name) => {
            if let Some(day) = weekday(name) {
                return Some((weekday_of_week(day, 1, today), at + 2));
            }
        }
        ("in", _) => {
            let number = number_at(tokens, at + 1, Tongue::English);
            let (count, unit) = match (number, word(at + 1)) {
                (Some(number), _) => (number.value as i64, number.end),
                (None, "a") => (1, at + 2),
                (None, _) => return None,
            };
            let days = match word(unit) {
                "day" | "days" => count,
                "week" | "weeks" => count.saturating_mul(7),
                "month" | "months" => {
                    return today
                        .plus_months(i32::try_from(count).ok()?.min(1_200))
                        .map(|date| (date, unit + 1));
                }
                _ => return None,
            };
            return Some((today.plus(days), unit + 1));
        }
        _ => {}
    }
    let day = weekday(word(at))?;
    let end = at + 1;
    // "a week on Friday", "Friday week", "Friday next week".
    let week = word(end) == "week" || (word(end) == "next" && word(end + 1) == "week");
    if word(end) == "next" && word(end + 1) == "week" {
        return Some((weekday_of_week(day, 1, today), end + 2));
    }
    let date = weekday_coming(day, today);
    if week { Some((date.plus(7), end + 1)) } else { Some((date, end)) }
}

fn with_year(
    tokens: &[String],
    month: u32,
    day: u32,
    end: usize,
    today: Option<Date>,
) -> Option<(Date, usize)> {
    let at = end + usize::from(tokens.get(end).is_some_and(|word| word == "of" || word == "in"));
    if let Some((year, end)) = year(tokens, at) {
        return Date::new(year, month, day).map(|date| (date, end));
    }
    coming(month, day, today).map(|date| (date, end))
}

fn year(tokens: &[String], at: usize) -> Option<(i32, usize)> {
    let (value, end) = english::cardinal(tokens, at)?;
    if (1900.0..=2999.0).contains(&value) && value.fract() == 0.0 {
        return Some((value as i32, end));
    }
    if value != 20.0 && value != 19.0 {
        return None;
    }
    let (rest, end) = english::cardinal(tokens, end)?;
    ((10.0..=99.0).contains(&rest)).then_some((value as i32 * 100 + rest as i32, end))
}

fn day_number(tokens: &[String], at: usize) -> Option<(u32, usize)> {
    if let Some(found) = english::ordinal(tokens, at) {
        return Some(found);
    }
    let (value, end) = english::cardinal(tokens, at)?;
    ((1.0..=31.0).contains(&value) && value.fract() == 0.0).then_some((value as u32, end))
}

fn month(word: &str) -> Option<u32> {
    const MONTHS: [(&str, &str); 12] = [
        ("january", "jan"),
        ("february", "feb"),
        ("march", "mar"),
        ("april", "apr"),
        ("may", "may"),
        ("june", "jun"),
        ("july", "jul"),
        ("august", "aug"),
        ("september", "sep"),
        ("october", "oct"),
        ("november", "nov"),
        ("december", "dec"),
    ];
    MONTHS.iter().position(|(long, short)| *long == word || *short == word).map(|n| n as u32 + 1)
}

fn weekday(word: &str) -> Option<i64> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    DAYS.iter().position(|day| *day == word || word.strip_suffix('s') == Some(day)).map(|n| n as i64)
}

fn chinese_at(tokens: &[String], at: usize, today: Option<Date>) -> Option<(Date, usize)> {
    let token = |n: usize| tokens.get(n).map_or("", String::as_str);
    if let Some((year, month_at)) = chinese_year(tokens, at)
        && let Some((month, end)) = count(tokens, month_at, 12, &["月"])
    {
        let (day, end) = count(tokens, end, 31, &["日", "号"])?;
        return Date::new(year, month, day).map(|date| (date, end));
    }
    let today = today?;
    let relative = match (token(at), token(at + 1)) {
        ("大", "后") if token(at + 2) == "天" => Some((3, at + 3)),
        ("大", "前") if token(at + 2) == "天" => Some((-3, at + 3)),
        ("今", "天" | "日" | "晚") => Some((0, at + 2)),
        ("明", "天" | "日" | "晚" | "早") => Some((1, at + 2)),
        ("后", "天") => Some((2, at + 2)),
        ("昨", "天" | "日") => Some((-1, at + 2)),
        ("前", "天") => Some((-2, at + 2)),
        _ => None,
    };
    if let Some((days, end)) = relative {
        return Some((today.plus(days), end));
    }
    // 下周三, 下个星期天, 下下周一, 这周五, 本周五, 周五.
    let mut from = at;
    let mut weeks = None;
    while token(from) == "下" && from < at + 4 {
        weeks = Some(weeks.unwrap_or(0) + 1);
        from += 1;
    }
    if weeks.is_none() && matches!(token(from), "这" | "本") {
        weeks = Some(0);
        from += 1;
    } else if weeks.is_none() && token(from) == "上" {
        weeks = Some(-1);
        from += 1;
    }
    from += usize::from(weeks.is_some() && token(from) == "个");
    if weeks.is_some() && token(from) == "月" {
        let month = Date { day: 1, ..today }.plus_months(weeks.unwrap_or(0) as i32)?;
        if token(from + 1) == "底" {
            return Some((month.month_end(), from + 2));
        }
        let (day, end) = count(tokens, from + 1, 31, &["日", "号"])?;
        return Date::new(month.year, month.month, day).map(|date| (date, end));
    }
    let name = match (token(from), token(from + 1)) {
        ("周", _) => from + 1,
        ("星", "期") | ("礼", "拜") => from + 2,
        _ => usize::MAX,
    };
    if name != usize::MAX {
        let day = match token(name) {
            "日" | "天" | "末" => Some(6),
            other => chinese::digit(other).map(i64::from).filter(|n| (1..=6).contains(n)).map(|n| n - 1),
        };
        if let Some(day) = day {
            let date = match weeks {
                Some(weeks) => weekday_of_week(day, weeks, today),
                None => weekday_coming(day, today),
            };
            return Some((date, name + 1));
        }
    }
    if token(at) == "月" && token(at + 1) == "底" {
        return Some((today.month_end(), at + 2));
    }
    if let Some((month, end)) = count(tokens, at, 12, &["月"]) {
        if token(end) == "底" {
            let date = coming(month, 28, Some(today))?;
            return Some((date.month_end(), end + 1));
        }
        let (day, end) = count(tokens, end, 31, &["日", "号"])?;
        return coming(month, day, Some(today)).map(|date| (date, end));
    }
    // What follows a month is its day or nothing: 二月三十号 is no day at all.
    let inside = at > 0 && (token(at - 1) == "月" || chinese::digit(token(at - 1)).is_some());
    if let Some((day, end)) = count(tokens, at, 31, &["号"]).filter(|_| !inside) {
        return coming_day(day, Some(today)).map(|date| (date, end));
    }
    let (days, end) = chinese::cardinal(tokens, at)?;
    match (token(end), token(end + 1), token(end + 2)) {
        ("天", "后", _) | ("天", "之" | "以", "后") => {
            Some((today.plus(days as i64), end + if token(end + 1) == "后" { 2 } else { 3 }))
        }
        ("周", "后", _) => Some((today.plus((days as i64).saturating_mul(7)), end + 2)),
        ("个", "星", "期") if token(end + 3) == "后" => {
            Some((today.plus((days as i64).saturating_mul(7)), end + 4))
        }
        _ => None,
    }
}

/// A whole number up to `most` with one of `units` after it.
fn count(tokens: &[String], at: usize, most: u32, units: &[&str]) -> Option<(u32, usize)> {
    let (value, end) = chinese::cardinal(tokens, at)?;
    let unit = tokens.get(end)?;
    let whole = value.fract() == 0.0 && value >= 1.0 && value <= f64::from(most);
    (whole && units.contains(&unit.as_str())).then_some((value as u32, end + 1))
}

/// 二零二六年 or 2026年.
fn chinese_year(tokens: &[String], at: usize) -> Option<(i32, usize)> {
    let end = (at..tokens.len().min(at + 6)).find(|n| tokens[*n] == "年")?;
    let figures: String = tokens[at..end]
        .iter()
        .map(|token| chinese::digit(token).map_or_else(|| token.clone(), |n| n.to_string()))
        .collect();
    let year = figures.parse().ok().filter(|year| (1900..=2999).contains(year))?;
    Some((year, end + 1))
}
