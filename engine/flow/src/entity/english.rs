//! Numbers as English speakers say them.

/// The value of a word for one digit.
pub(super) fn digit(word: &str) -> Option<u8> {
    Some(match word {
        "zero" | "oh" | "o" | "nought" | "naught" => 0,
        "one" => 1,
        "two" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" => 8,
        "nine" | "niner" => 9,
        _ => return None,
    })
}

/// The value of a word from ten to nineteen.
pub(super) fn teen(word: &str) -> Option<u8> {
    const TEENS: [&str; 10] = [
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    TEENS.iter().position(|teen| *teen == word).map(|n| n as u8 + 10)
}

/// The value of a word for a whole ten from twenty on.
pub(super) fn ten(word: &str) -> Option<u8> {
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    TENS.iter().position(|ten| *ten == word).or((word == "fourty").then_some(2)).map(|n| n as u8 * 10 + 20)
}

/// The value of an ordinal word or of `5th`, up to 31.
pub(super) fn ordinal(words: &[String], at: usize) -> Option<(u32, usize)> {
    const ORDINALS: [&str; 20] = [
        "first",
        "second",
        "third",
        "fourth",
        "fifth",
        "sixth",
        "seventh",
        "eighth",
        "ninth",
        "tenth",
        "eleventh",
        "twelfth",
        "thirteenth",
        "fourteenth",
        "fifteenth",
        "sixteenth",
        "seventeenth",
        "eighteenth",
        "nineteenth",
        "twentieth",
    ];
    let word = words.get(at)?.as_str();
    if let Some(n) = ORDINALS.iter().position(|ordinal| *ordinal == word) {
        return Some((n as u32 + 1, at + 1));
    }
    if word == "thirtieth" {
        return Some((30, at + 1));
    }
    if let Some(base) = ten(word).filter(|base| *base <= 30) {
        let next = words.get(at + 1)?;
        let n = ORDINALS.iter().position(|ordinal| ordinal == next).filter(|n| *n < 9)?;
        return Some((u32::from(base) + n as u32 + 1, at + 2));
    }
    let number = ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending))?;
    number.parse().ok().filter(|n| (1..=31).contains(n)).map(|n| (n, at + 1))
}

/// The cardinal number that begins at `at`, as long as it goes: its value and where it ends.
pub(super) fn cardinal(words: &[String], at: usize) -> Option<(f64, usize)> {
    #[derive(PartialEq, Clone, Copy)]
    enum Last {
        Nothing,
        Digit,
        Whole,
        Ten,
        Hundred,
        Scale,
    }
    let word = |n: usize| words.get(n).map_or("", String::as_str);
    let mut at = at;
    let negative = matches!(word(at), "minus" | "negative");
    if negative {
        at += 1;
    }
    if matches!(word(at), "a" | "an") && scale(word(at + 1)).is_some() {
        at += 1;
    }
    if word(at) == "half" && word(at + 1) == "a" && scale(word(at + 2)).is_some() {
        return Some((scale(word(at + 2))? * 0.5, at + 3));
    }
    let (mut total, mut group, mut last, mut ceiling) = (0.0, 0.0, Last::Nothing, f64::INFINITY);
    loop {
        let here = word(at);
        if let Some(n) = digit(here).filter(|_| here != "o") {
            let after_ten = last == Last::Ten && n > 0;
            if !after_ten && !matches!(last, Last::Nothing | Last::Hundred | Last::Scale) {
                break;
            }
            group += f64::from(n);
            last = Last::Digit;
        } else if let Some(n) = teen(here) {
            if !matches!(last, Last::Nothing | Last::Hundred | Last::Scale) {
                break;
            }
            group += f64::from(n);
            last = Last::Whole;
        } else if let Some(n) = ten(here) {
            if !matches!(last, Last::Nothing | Last::Hundred | Last::Scale) {
                break;
            }
            group += f64::from(n);
            last = Last::Ten;
        } else if let Some(n) = written(here) {
            if !matches!(last, Last::Nothing | Last::Hundred | Last::Scale) {
                break;
            }
            group += n;
            last = Last::Whole;
        } else if here == "hundred" || here == "hundreds" {
            if last == Last::Hundred || last == Last::Scale {
                break;
            }
            group = if last == Last::Nothing { 100.0 } else { group * 100.0 };
            last = Last::Hundred;
        } else if let Some(factor) = scale(here) {
            if last == Last::Scale || factor >= ceiling {
                break;
            }
            total += if last == Last::Nothing { factor } else { group * factor };
            (group, ceiling, last) = (0.0, factor, Last::Scale);
        } else if here == "and" && word(at + 1) == "a" && word(at + 2) == "half" && last != Last::Nothing {
            group += 0.5;
            last = Last::Whole;
            at += 2;
        } else if here == "and" && matches!(last, Last::Hundred | Last::Scale) {
            let next = word(at + 1);
            if digit(next).is_none() && teen(next).is_none() && ten(next).is_none() && written(next).is_none()
            {
                break;
            }
        } else if here == "point" && last != Last::Nothing && digit(word(at + 1)).is_some() {
            let mut place = 0.1;
            while let Some(n) = digit(word(at + 1)) {
                group += f64::from(n) * place;
                place /= 10.0;
                at += 1;
            }
            // Tenths of tenths gather noise in the last places; nobody says more than nine of them.
            group = (group * 1e9).round() / 1e9;
            last = Last::Whole;
        } else {
            break;
        }
        at += 1;
    }
    if last == Last::Nothing {
        return None;
    }
    let value = if negative { -(total + group) } else { total + group };
    Some((value, at))
}

/// A number written in figures: `250`, `1.5`, `5k`.
pub(super) fn written(word: &str) -> Option<f64> {
    let (figures, factor) = word.strip_suffix('k').map_or((word, 1.0), |figures| (figures, 1_000.0));
    let plain = figures.bytes().all(|b| b.is_ascii_digit() || b == b'.') && figures.len() <= 18;
    let starts = figures.bytes().next().is_some_and(|b| b.is_ascii_digit());
    if plain && starts { figures.parse::<f64>().ok().map(|n| n * factor) } else { None }
}

fn scale(word: &str) -> Option<f64> {
    Some(match word {
        "hundred" => 100.0,
        "thousand" | "grand" => 1e3,
        "million" => 1e6,
        "billion" => 1e9,
        _ => return None,
    })
}
