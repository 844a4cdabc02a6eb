//! Dates and times of day as Chinese says them.

use super::lexicon::PERIODS;
use super::number::Number;
use super::{Found, Line};
use crate::token::Kind;

impl Line<'_> {
    /// "二零二五年三月五号", "九八年", "三月五日", "五号".
    pub(super) fn date(&self, i: usize) -> Option<Found> {
        let first = self.integer(i)?;
        match self.at(first.end) {
            '年' => self.year(&first),
            '月' => self.month(&first, true),
            _ => None,
        }
    }

    fn year(&self, year: &Number) -> Option<Found> {
        let said_in_digits = !year.counted && matches!(year.text.len(), 2 | 4);
        let counted = year.counted && !year.small;
        if !said_in_digits && !counted {
            return None;
        }
        let mut found = Found::new(format!("{}年", year.text), year.end + 1, Kind::Date);
        if counted && !(1_000..=2_999).contains(&year.value) {
            // A length of time.
            found.kind = Kind::Measure;
            return Some(found);
        }
        if let Some(month) = self.integer(found.end)
            && self.at(month.end) == '月'
            && let Some(rest) = self.month(&month, false)
        {
            found.text.push_str(&rest.text);
            found.end = rest.end;
        }
        Some(found)
    }

    fn month(&self, month: &Number, alone: bool) -> Option<Found> {
        if !month.counted || !(1..=12).contains(&month.value) || month.text.contains('.') {
            return None;
        }
        let after = month.end + 1;
        // "三月初五": the other calendar stays in its own words.
        if self.at(after) == '初' {
            return None;
        }
        let mut found = Found::new(format!("{}月", month.value), after, Kind::Date);
        match self.integer(after) {
            Some(day)
                if day.counted
                    && (1..=31).contains(&day.value)
                    && matches!(self.at(day.end), '日' | '号') =>
            {
                let sign = self.at(day.end);
                found.text.push_str(&format!("{}{sign}", day.value));
                found.end = day.end + 1;
            }
            // "三月三" is a feast, "五月十二" a day.
            Some(day) if day.counted && (10..=31).contains(&day.value) && alone && self.day_ends(day.end) => {
                found.text.push_str(&day.value.to_string());
                found.end = day.end;
            }
            _ => {}
        }
        Some(found)
    }

    fn day_ends(&self, at: usize) -> bool {
        matches!(self.at(at), '\0' | '上' | '下' | '早' | '晚' | '那' | '的' | '到' | '前' | '之' | '，')
    }

    /// A time of day; `after_time` tells that one stands before the "到" before it: "三点半", "下午三点十五分", "八点零五".
    pub(super) fn time(&self, i: usize, after_time: bool) -> Option<Found> {
        let hour = self.integer(i)?;
        if !hour.counted || hour.value > 24 || self.at(hour.end) != '点' {
            return None;
        }
        let h = hour.value;
        let after = hour.end + 1;
        let part = |text: String, end: usize| Some(Found::new(text, end, Kind::Time));
        let cued = PERIODS.iter().any(|period| self.ends_in(i, period));
        match self.at(after) {
            '半' => return part(format!("{h}:30"), after + 1),
            '整' => return part(format!("{h}:00"), after + 1),
            '钟' => return part(format!("{h}点钟"), after + 1),
            '一' if self.at(after + 1) == '刻' => return part(format!("{h}:15"), after + 2),
            '三' if self.at(after + 1) == '刻' => return part(format!("{h}:45"), after + 2),
            _ => {}
        }
        if let Some((minute, end, padded)) = self.minute(after) {
            let said = self.at(end) == '分' && self.at(end + 1) != '之';
            if said {
                let end = end + 1;
                if let Some(second) = self.integer(end)
                    && second.counted
                    && second.value < 60
                    && self.at(second.end) == '秒'
                {
                    return part(format!("{h}:{minute:02}:{:02}", second.value), second.end + 1);
                }
                return part(format!("{h}:{minute:02}"), end);
            }
            if minute >= 10 && !padded || padded && cued {
                return part(format!("{h}:{minute:02}"), end);
            }
        }
        let goes_on = self.at(after) != '\0' && super::lexicon::digit(self.at(after)).is_some();
        let to = matches!(self.at(after), '到' | '至')
            && self.integer(after + 1).is_some_and(|next| self.at(next.end) == '点' && next.value <= 24);
        ((cued || h >= 10 || to || after_time) && !goes_on && self.at(after) != '几')
            .then(|| Found::new(format!("{h}点"), after, Kind::Time))
    }

    /// Minutes: the value, the unit after them, whether they were said with a leading zero.
    fn minute(&self, i: usize) -> Option<(u64, usize, bool)> {
        let end = self.numerals(i);
        let minute =
            if end == i + 2 && self.at(i) == '零' { self.integer(i + 1)? } else { self.integer(i)? };
        let padded = self.at(i) == '零' && minute.small;
        let small_said = minute.small && !padded && self.at(minute.end) == '分';
        let fits = minute.counted && minute.value < 60 && (minute.value >= 10 || padded || small_said);
        fits.then_some((minute.value, minute.end, padded))
    }
}
