//! Whether what was said was said to be so: "不保证收益" and "not guaranteed" are the contrary of what they name.
//!
//! A negation reaches as far as its clause goes, but no farther than a few words. Two of them take each other back
//! (不能不, "not without"). What only looks like one (不错, 没问题, "no doubt", "not only") is none.

use std::ops::Range;

use crate::said::Said;

/// How many tokens before a phrase a negation still reaches it.
const REACH: usize = 7;
/// How many tokens after it one may follow: "保证收益是不可能的".
const AFTER: usize = 4;

/// Sequences of tokens that negate what comes after them.
const BEFORE: [&[&str]; 48] = [
    &["不"],
    &["没"],
    &["没", "有"],
    &["没", "法"],
    &["无"],
    &["无", "法"],
    &["未"],
    &["未", "必"],
    &["别"],
    &["勿"],
    &["非"],
    &["并", "非"],
    &["莫"],
    &["禁", "止"],
    &["严", "禁"],
    &["拒", "绝"],
    &["避", "免"],
    &["难", "以"],
    &["哪", "能"],
    &["怎", "么", "能"],
    &["怎", "么", "可", "能"],
    &["谁", "敢"],
    &["谁", "能"],
    &["谈", "不", "上"],
    &["not"],
    &["no"],
    &["never"],
    &["without"],
    &["cannot"],
    &["nor"],
    &["neither"],
    &["nobody"],
    &["none"],
    &["nothing"],
    &["unable"],
    &["impossible"],
    &["hardly"],
    &["refuse"],
    &["refuses"],
    &["forbidden"],
    &["prohibited"],
    &["far", "from"],
    &["instead", "of"],
    &["dont"],
    &["cant"],
    &["wont"],
    &["isnt"],
    &["arent"],
];

/// Sequences that have such a word in them and negate nothing.
const SEEMING: [&[&str]; 62] = [
    &["不", "错"],
    &["不", "仅"],
    &["不", "但"],
    &["不", "只"],
    &["不", "光"],
    &["不", "单"],
    &["不", "过"],
    &["不", "管"],
    &["不", "论"],
    &["不", "瞒"],
    &["不", "用", "担", "心"],
    &["不", "必", "担", "心"],
    &["不", "要", "担", "心"],
    &["不", "担", "心"],
    &["不", "用", "怕"],
    &["不", "要", "怕"],
    &["不", "用", "说"],
    &["不", "用", "想"],
    &["不", "要", "紧"],
    &["不", "客", "气"],
    &["不", "好", "意", "思"],
    &["不", "得", "了"],
    &["差", "不", "多"],
    &["对", "不", "起"],
    &["了", "不", "起"],
    &["要", "不"],
    &["是", "不", "是"],
    &["能", "不", "能"],
    &["会", "不", "会"],
    &["可", "不", "可", "以"],
    &["好", "不", "好"],
    &["有", "没", "有"],
    &["没", "问", "题"],
    &["没", "有", "问", "题"],
    &["没", "错"],
    &["没", "关", "系"],
    &["没", "事"],
    &["没", "有", "疑", "问"],
    &["无", "论"],
    &["无", "疑"],
    &["毫", "无", "疑", "问"],
    &["非", "常"],
    &["未", "来"],
    &["别", "的"],
    &["别", "人"],
    &["别", "担", "心"],
    &["别", "怕"],
    &["特", "别"],
    &["分", "别"],
    &["not", "only"],
    &["not", "just"],
    &["not", "to", "mention"],
    &["no", "doubt"],
    &["no", "problem"],
    &["no", "worries"],
    &["no", "question"],
    &["no", "matter"],
    &["no", "wonder"],
    &["without", "doubt"],
    &["without", "a", "doubt"],
    &["do", "not", "worry"],
    &["why", "not"],
];

/// Words that end the reach of a negation, as punctuation does.
const TURNING: [&[&str]; 17] = [
    &["但"],
    &["而", "是"],
    &["可", "是"],
    &["所", "以"],
    &["因", "为"],
    &["因", "此"],
    &["反", "正"],
    &["but"],
    &["however"],
    &["because"],
    &["since"],
    &["so"],
    &["and"],
    &["then"],
    &["while"],
    &["which"],
    &["although"],
];

/// What negates from behind.
const BEHIND: [&[&str]; 26] = [
    &["不", "了"],
    &["不", "到"],
    &["不", "起"],
    &["不", "住"],
    &["是", "不", "可", "能"],
    &["不", "可", "能"],
    &["是", "不", "行"],
    &["是", "不", "允", "许"],
    &["是", "不", "合", "规"],
    &["不", "被", "允", "许"],
    &["不", "存", "在"],
    &["做", "不", "到"],
    &["是", "做", "不", "到"],
    &["办", "不", "到"],
    &["是", "违", "规"],
    &["是", "违", "法"],
    &["是", "禁", "止"],
    &["是", "假"],
    &["是", "骗", "人"],
    &["是", "错"],
    &["is", "not"],
    &["are", "not"],
    &["is", "impossible"],
    &["is", "forbidden"],
    &["is", "prohibited"],
    &["is", "never"],
];

/// Whether what these tokens say is negated from outside them; the tokens of the negation then.
pub(crate) fn negation(said: &Said, at: &Range<usize>) -> Option<Range<usize>> {
    let clause = *said.clauses.get(at.start)?;
    let mut first = at.start;
    while first > 0 && at.start - first < REACH && said.clauses[first - 1] == clause {
        first -= 1;
    }
    // A sequence that begins before the reach is still read whole: 不用担心 must not be seen from its second word.
    let mut from = first;
    while from > 0 && first - from < 4 && said.clauses[from - 1] == clause {
        from -= 1;
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut n = from;
    while n < at.start {
        let seeming = longest(&SEEMING, said, n, at.start);
        let negating = longest(&BEFORE, said, n, at.start);
        if seeming > 0 && seeming >= negating {
            n += seeming;
        } else if negating > 0 {
            if n + negating > first {
                found.push(n..n + negating);
            }
            n += negating;
        } else {
            let turning = longest(&TURNING, said, n, at.start);
            if turning > 0 {
                found.clear();
            }
            n += turning.max(1);
        }
    }
    if found.len() % 2 == 1 {
        return found.pop();
    }
    behind(said, at)
}

/// Whether something between two tokens negates: "保证没有收益".
pub(crate) fn between(said: &Said, at: Range<usize>) -> Option<Range<usize>> {
    let mut n = at.start;
    while n < at.end {
        let seeming = longest(&SEEMING, said, n, at.end);
        let negating = longest(&BEFORE, said, n, at.end).max(longest(&BEHIND, said, n, at.end));
        if negating > seeming {
            return Some(n..n + negating);
        }
        n += seeming.max(1);
    }
    None
}

fn behind(said: &Said, at: &Range<usize>) -> Option<Range<usize>> {
    let clause = *said.clauses.get(at.end.checked_sub(1)?)?;
    for n in at.end..(at.end + AFTER).min(said.len()) {
        if said.clauses[n] != clause {
            return None;
        }
        let length = longest(&BEHIND, said, n, said.len());
        // The complement of a verb (保证不了) stands right behind it.
        if length > 0 && (length > 2 || n == at.end || said.tokens[n].text.is_ascii()) {
            return Some(n..n + length);
        }
        if longest(&TURNING, said, n, said.len()) > 0 {
            return None;
        }
    }
    None
}

/// The length of the longest of the sequences that begins at `at` and ends by `end`.
fn longest(sequences: &[&[&str]], said: &Said, at: usize, end: usize) -> usize {
    let rest = &said.tokens[at..end.min(said.len())];
    let fits = |sequence: &&&[&str]| {
        sequence.len() <= rest.len() && sequence.iter().zip(rest).all(|(a, b)| *a == b.text)
    };
    sequences.iter().filter(fits).map(|sequence| sequence.len()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negated(text: &str, phrase: &str) -> bool {
        let said = Said::new(text);
        let phrase = Said::new(phrase);
        let start = (0..said.len())
            .find(|n| {
                said.tokens[*n..].iter().zip(&phrase.tokens).filter(|(a, b)| a.text == b.text).count()
                    == phrase.len()
            })
            .unwrap_or_else(|| panic!("{text} has no such phrase"));
        negation(&said, &(start..start + phrase.len())).is_some()
    }

    #[test]
    fn negations_reach_what_they_negate() {
        for text in [
            "不保证收益",
            "我们不能向您保证收益",
            "没有人能保证收益",
            "任何人都无法保证收益",
            "并非保证收益",
            "不是说保证收益",
            "保证收益是不可能的",
            "保证收益是违规的",
            "我们从来不会保证收益",
            "不能不说明，我们不保证收益",
        ] {
            assert!(negated(text, "保证收益"), "{text}");
        }
        for text in [
            "保证收益",
            "不，我保证收益",
            "不用担心保证收益",
            "没问题保证收益",
            "不错我们保证收益",
            "这个非常好保证收益",
            "不是骗您而是保证收益",
            "不能不保证收益",
            "不会不保证收益",
            "没有风险，保证收益",
            "不仅保证收益",
            "未来保证收益",
        ] {
            assert!(!negated(text, "保证收益"), "{text}");
        }
    }

    #[test]
    fn english_negations_too() {
        for text in [
            "returns are not guaranteed",
            "returns aren't guaranteed",
            "it is never guaranteed",
            "nothing is guaranteed",
            "we can't say it is guaranteed",
        ] {
            assert!(negated(text, "guaranteed"), "{text}");
        }
        for text in [
            "returns are guaranteed",
            "no doubt it is guaranteed",
            "don't worry it's guaranteed",
            "it is not risky, it is guaranteed",
            "it is not a fee but guaranteed",
            "not only safe guaranteed",
        ] {
            assert!(!negated(text, "guaranteed"), "{text}");
        }
        assert!(negated("I don't guarantee returns", "guarantee"));
    }
}
