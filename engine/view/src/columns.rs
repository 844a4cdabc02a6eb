//! Text in terminal columns: widths, padding, wrapping; Chinese characters count two.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns `text` takes in a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// `text` without control characters: what is shown must not steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `text` followed by blanks up to `columns`.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    let mut out = text.to_owned();
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(text))));
    out
}

/// Breaks `text` into lines of at most `columns`: at blanks where there are some, between any two characters where a
/// word (or Chinese, which has no blanks) does not fit. Always at least one line.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let wide = width(word);
        let blank = usize::from(used > 0);
        // A long word starts where it stands if that leaves it a fair start, so that Chinese fills its lines.
        let breakable = word.chars().any(|c| c.width() == Some(2)) && used + blank + 2 <= columns;
        if used + blank + wide <= columns || breakable {
            if blank == 1 {
                push(&mut lines, ' ');
                used += 1;
            }
        } else if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        for c in word.chars() {
            let w = c.width().unwrap_or(0);
            if used + w > columns {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, c);
            used += w;
        }
    }
    lines
}

fn push(lines: &mut [String], c: char) {
    if let Some(line) = lines.last_mut() {
        line.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_breaks_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrapped("my card was stolen", 8), ["my card", "was", "stolen"]);
        assert_eq!(wrapped("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("  ", 4), [""]);
    }

    #[test]
    fn chinese_counts_two_columns_and_breaks_between_characters() {
        assert_eq!(width("我要转账"), 8);
        assert_eq!(wrapped("我要转账三百元", 6), ["我要转", "账三百", "元"]);
        assert_eq!(wrapped("VIP 客户服务", 7), ["VIP 客", "户服务"]);
        assert_eq!(padded("转账", 6), "转账  ");
    }

    #[test]
    fn no_line_is_ever_wider_than_asked() {
        let text = "please 把三百块 from checking 转到 savingsaccountnumber 一二三四";
        for columns in 2..40 {
            let lines = wrapped(text, columns);
            assert!(lines.iter().all(|l| width(l) <= columns), "{columns}: {lines:?}");
            let kept: String = lines.concat().split_whitespace().collect();
            assert_eq!(kept, text.split_whitespace().collect::<String>(), "{columns}");
        }
    }
}
