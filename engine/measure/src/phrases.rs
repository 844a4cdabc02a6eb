//! Short lists of what people say, in Chinese and English: signs of listening, questions, words that ask to wait.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::units::{Phrases, Text};

/// Signs of listening. A turn made of these alone may be a backchannel.
const LISTENING: &[&str] = &[
    "嗯",
    "哦",
    "噢",
    "喔",
    "呃",
    "额",
    "啊",
    "哎",
    "诶",
    "欸",
    "唉",
    "哈",
    "好的",
    "好吧",
    "好啊",
    "好呀",
    "好嘞",
    "好",
    "行",
    "行吧",
    "对",
    "对的",
    "对啊",
    "对呀",
    "是",
    "是的",
    "是啊",
    "是吧",
    "没错",
    "明白",
    "明白了",
    "知道",
    "知道了",
    "了解",
    "了解了",
    "懂了",
    "可以",
    "这样啊",
    "这样",
    "这样子",
    "原来如此",
    "没事",
    "没问题",
    "的",
    "了",
    "呀",
    "mhm",
    "mm-hmm",
    "mmhmm",
    "mm",
    "mmm",
    "hm",
    "hmm",
    "uh-huh",
    "uhhuh",
    "uh huh",
    "mm hmm",
    "uh",
    "um",
    "oh",
    "ah",
    "aha",
    "yeah",
    "yep",
    "yup",
    "yes",
    "ok",
    "okay",
    "right",
    "sure",
    "alright",
    "all right",
    "i see",
    "got it",
    "of course",
    "good",
    "great",
    "fine",
    "cool",
    "exactly",
    "indeed",
    "true",
    "oh i see",
    "oh okay",
    "i know",
    "no problem",
    "understood",
];

/// Whoever says one of these last has the word while it is silent.
const WAIT: &[&str] = &[
    "稍等",
    "稍候",
    "等一下",
    "等一会",
    "等一等",
    "请等",
    "别挂",
    "不要挂",
    "我查一下",
    "我查询一下",
    "我看一下",
    "我看看",
    "我核实",
    "我确认一下",
    "帮您查",
    "帮你查",
    "给您查",
    "为您查",
    "正在查",
    "one moment",
    "just a moment",
    "a moment please",
    "one second",
    "just a second",
    "just a sec",
    "one sec",
    "one minute",
    "just a minute",
    "hold on",
    "hang on",
    "hold the line",
    "bear with me",
    "let me check",
    "let me look",
    "let me see",
    "let me find",
    "let me pull",
    "i'll check",
    "i will check",
    "please wait",
    "please hold",
];

const ASKS: &[&str] = &[
    "是不是",
    "能不能",
    "可不可以",
    "要不要",
    "有没有",
    "对不对",
    "好不好",
    "行不行",
    "会不会",
    "是否",
    "什么",
    "多少",
    "哪",
    "怎么",
    "几",
    "谁",
    "为啥",
];

const ASKS_FIRST: &[&str] = &[
    "what", "what's", "who", "when", "where", "why", "how", "which", "do", "does", "did", "is", "are", "was",
    "were", "can", "could", "would", "will", "shall", "should", "have", "has", "may", "am", "don't", "isn't",
    "aren't", "can't", "won't",
];

const ASKS_LAST: &[&str] = &["right", "correct", "okay", "ok", "吗", "呢", "吧", "么"];

/// Characters of a text without spaces that its question is looked for in, from the end.
const TAIL: usize = 10;

/// Whether the text is made of signs of listening alone: of one, or of several after each other.
pub(crate) fn listens(text: &Text) -> bool {
    static KNOWN: LazyLock<HashSet<&str>> = LazyLock::new(|| LISTENING.iter().copied().collect());
    let mut rest = 0;
    while rest < text.len() {
        let longest = (rest + 1..=text.len().min(rest + 4)).rev().find(|&end| {
            let phrase = &text.lower[text.units[rest].start..text.units[end - 1].end];
            KNOWN.contains(phrase)
        });
        let Some(end) = longest else { return false };
        rest = end;
    }
    text.len() > 0
}

/// Whether it ends with a plea to wait: whoever said it owes the next word.
pub(crate) fn asks_to_wait(text: &Text) -> bool {
    static PHRASES: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(WAIT.iter().copied()));
    PHRASES.any(text)
}

/// Whether its last sentence asks: what follows is an answer.
pub(crate) fn asks(text: &Text) -> bool {
    if text.lower.trim_end().ends_with(['?', '？']) {
        return true;
    }
    let Some(last) = text.len().checked_sub(1) else { return false };
    if ASKS_LAST.contains(&text.unit(last)) && last > 0 {
        return true;
    }
    let first = (0..=last).rev().find(|&at| text.units[at].apart).unwrap_or(0);
    if !text.units[last].dense {
        return ASKS_FIRST.contains(&text.unit(first));
    }
    let tail = &text.lower[text.units[first.max((last + 1).saturating_sub(TAIL))].start..];
    ASKS.iter().any(|phrase| tail.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_listening_are_told_from_turns() {
        for text in ["嗯", "嗯嗯，好的。", "Mm-hmm.", "Oh, I see.", "uh huh yeah", "对对对", "好的明白了"]
        {
            assert!(listens(&Text::new(text)), "{text}");
        }
        for text in ["", "...", "好贵", "yes I want it", "对方没接", "不好", "okay but no"] {
            assert!(!listens(&Text::new(text)), "{text}");
        }
    }

    #[test]
    fn questions_are_told_from_statements() {
        for text in [
            "您确认购买吗",
            "是不是今天到",
            "What is your name",
            "Thanks. Can you spell it",
            "it's due today, right",
            "多少钱？",
        ] {
            assert!(asks(&Text::new(text)), "{text}");
        }
        for text in ["我要退款", "it is what I said", "您的余额是三百元", "", "好"] {
            assert!(!asks(&Text::new(text)), "{text}");
        }
    }

    #[test]
    fn who_asks_to_wait_is_heard() {
        assert!(asks_to_wait(&Text::new("您稍等，我查一下")));
        assert!(asks_to_wait(&Text::new("Bear with me, please.")));
        assert!(!asks_to_wait(&Text::new("I waited for a week")));
    }
}
