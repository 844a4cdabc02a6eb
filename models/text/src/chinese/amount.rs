//! Amounts: money, shares, measures, fractions, and ranges of them.

use super::lexicon::{CURRENCIES, UNITS, digit, numeral};
use super::number::Number;
use super::{Found, Line};
use crate::token::Kind;

impl Line<'_> {
    /// "百分之五十", "千分之三", "三分之二".
    pub(super) fn share(&self, i: usize) -> Option<Found> {
        let (sign, start) = if self.has(i, "百分之") {
            ("%", i + 3)
        } else if self.has(i, "千分之") {
            ("‰", i + 3)
        } else {
            let under = if self.has(i, "万分之") {
                Number { text: "10000".into(), value: 10_000, end: i + 1, small: false, counted: true }
            } else {
                self.integer(i)?
            };
            if !under.counted || under.value < 2 || !self.has(under.end, "分之") {
                return None;
            }
            let over = self.integer(under.end + 2).filter(|over| over.counted && over.value > 0)?;
            return Some(Found::new(format!("{}/{}", over.value, under.value), over.end, Kind::Number));
        };
        if self.at(start) == '百' && !numeral(self.at(start + 1)) {
            return Some(Found::new(format!("100{sign}"), start + 1, Kind::Percent));
        }
        let minus = self.at(start) == '负';
        let share = self.number(start + usize::from(minus)).filter(|share| share.counted)?;
        let minus = if minus { "-" } else { "" };
        let text = format!("{minus}{}{sign}", share.text);
        // "百分之五到十": the second share keeps the sign of the first.
        if matches!(self.at(share.end), '到' | '至')
            && let Some(second) = self.number(share.end + 1)
            && second.counted
            && second.value > share.value
            && !self.has(second.end, "分之")
            && !self.counts_something(second.end)
        {
            let to = self.at(share.end);
            return Some(Found::new(format!("{text}{to}{}{sign}", second.text), second.end, Kind::Percent));
        }
        Some(Found::new(text, share.end, Kind::Percent))
    }

    fn counts_something(&self, at: usize) -> bool {
        matches!(self.at(at), '年' | '月' | '号' | '点' | '个' | '元' | '块' | '天')
    }

    /// A number with what it counts, or a plain one that is no small digit.
    pub(super) fn amount(&self, i: usize) -> Option<Found> {
        let minus = self.at(i) == '负';
        let start = i + usize::from(minus);
        let number = self.number(start).filter(|number| number.counted)?;
        if let Some(found) = self.money(&number) {
            return Some(signed(found, minus));
        }
        if let Some(length) = self.unit(number.end) {
            let unit: String = (number.end..number.end + length).map(|k| self.at(k)).collect();
            let once = number.small && number.value == 1 && unit == "度";
            return (!once).then(|| {
                signed(
                    Found::new(format!("{}{unit}", number.text), number.end + length, Kind::Measure),
                    minus,
                )
            });
        }
        if let Some(found) = self.range(&number) {
            return Some(signed(found, minus));
        }
        if self.at(number.end) == '号' && number.value > 0 {
            return Some(signed(
                Found::new(format!("{}号", number.text), number.end + 1, Kind::Number),
                minus,
            ));
        }
        if number.small && !minus {
            return None;
        }
        Some(signed(Found::new(number.text, number.end, Kind::Number), minus))
    }

    /// The length of the unit at `at`.
    fn unit(&self, at: usize) -> Option<usize> {
        let unit = UNITS.iter().find(|unit| self.has(at, unit))?;
        // "三秒杀", "两米色", "一度以为" and the like begin with no unit.
        let other = match *unit {
            "秒" => self.at(at + 1) == '杀',
            "米" => matches!(self.at(at + 1), '色' | '饭' | '粉' | '线'),
            "克" => matches!(self.at(at + 1), '服' | '隆'),
            "升" => matches!(self.at(at + 1), '级' | '学' | '值' | '职'),
            "度" => matches!(self.at(at + 1), '假' | '过'),
            _ => false,
        };
        (!other).then(|| unit.chars().count())
    }

    /// "三百五十元", "三块五毛二", "十五块钱", "五毛钱".
    fn money(&self, number: &Number) -> Option<Found> {
        let at = number.end;
        if let Some(currency) = CURRENCIES.iter().find(|currency| self.has(at, currency)) {
            let text = format!("{}{currency}", number.text);
            return Some(Found::new(text, at + currency.chars().count(), Kind::Money));
        }
        let unit = self.at(at);
        match unit {
            '元' | '块' => {}
            '毛' if self.at(at + 1) == '钱' => {
                return Some(Found::new(format!("{}毛钱", number.text), at + 2, Kind::Money));
            }
            _ => return None,
        }
        if !number.text.contains(['.', '万', '亿'])
            && let Some((cents, end)) = self.small_change(at + 1)
        {
            let yuan = number.value;
            let text = if cents.is_multiple_of(10) {
                format!("{yuan}.{}元", cents / 10)
            } else {
                format!("{yuan}.{cents:02}元")
            };
            return Some(Found::new(text, end, Kind::Money));
        }
        // "三块" may be three pieces, "一块" together; with "钱" it is money.
        let pieces = unit == '块' && number.small && self.at(at + 1) != '钱';
        let first = unit == '元' && matches!(self.at(at + 1), '旦' | '素' | '首');
        (!pieces && !first).then(|| Found::new(format!("{}{unit}", number.text), at + 1, Kind::Money))
    }

    /// "五", "五毛", "五毛二", "五角二分", "零五分" behind yuan: fen, and the unit after them.
    fn small_change(&self, at: usize) -> Option<(u64, usize)> {
        let zero = self.at(at) == '零';
        let start = at + usize::from(zero);
        let first = u64::from(digit(self.at(start)).filter(|&value| value > 0)?);
        let next = start + 1;
        match self.at(next) {
            '分' if self.at(next + 1) != '钟' && self.at(next + 1) != '之' => Some((first, next + 1)),
            '毛' | '角' if !zero => {
                let after = next + 1;
                match digit(self.at(after)).filter(|&value| value > 0) {
                    Some(fen) if self.at(after + 1) == '分' => {
                        Some((first * 10 + u64::from(fen), after + 2))
                    }
                    Some(fen) if !numeral(self.at(after + 1)) && !self.counted_behind(after + 1) => {
                        Some((first * 10 + u64::from(fen), after + 1))
                    }
                    _ => Some((first * 10, after)),
                }
            }
            // "三块五": the five counts nothing else.
            c if !zero && !numeral(c) && !self.counted_behind(next) => Some((first * 10, next)),
            _ => None,
        }
    }

    /// Whether the digit before `at` counts something of its own: "三块五个".
    fn counted_behind(&self, at: usize) -> bool {
        matches!(
            self.at(at),
            '个' | '件'
                | '次'
                | '天'
                | '张'
                | '条'
                | '只'
                | '斤'
                | '本'
                | '位'
                | '年'
                | '月'
                | '号'
                | '点'
                | '起'
                | '下'
                | '样'
                | '共'
                | '直'
                | '般'
                | '定'
                | '人'
                | '块'
                | '分'
                | '折'
                | '名'
                | '台'
                | '份'
                | '包'
                | '瓶'
                | '盒'
                | '米'
                | '公'
                | '小'
                | '元'
        )
    }

    /// "三到五公里", "五到十个": a small number before one that is written in digits.
    fn range(&self, first: &Number) -> Option<Found> {
        if !first.small || !matches!(self.at(first.end), '到' | '至') {
            return None;
        }
        let start = first.end + 1;
        let second = self.integer(start).filter(|second| second.counted && second.value > first.value)?;
        if second.small && self.at(second.end) == '点' {
            return None;
        }
        let to = self.at(first.end);
        let found = self.time(start, false).or_else(|| self.amount(start))?;
        Some(Found::new(format!("{}{to}{}", first.text, found.text), found.end, found.kind))
    }
}

fn signed(found: Found, minus: bool) -> Found {
    if minus { Found { text: format!("-{}", found.text), ..found } } else { found }
}
