//! Sentence marks. The rules here stand in where no model is loaded; a model fills the same trait.

use antiphon_media_frame::Span;

use crate::normalize::Script;
use crate::token::Mark;

/// A token as a punctuator sees it.
#[derive(Clone, Copy, Debug)]
pub struct Spoken<'a> {
    /// The written form.
    pub text: &'a str,
    /// The silence behind it, up to the next token; nothing where no times are known, and at the end.
    pub pause: Span,
}

/// Puts marks behind tokens.
pub trait Punctuator: Send + Sync {
    /// A mark, or none, behind each token, as many as there are tokens. `over` tells that the utterance is complete, so
    /// that a sentence ends with it.
    fn marks(&self, tokens: &[Spoken<'_>], over: bool) -> Vec<Option<Mark>>;
}

/// Marks by pauses, question words and a few words that open or close clauses. Deterministic. It finds what an utterance
/// is (statement or question) far better than where a sentence ends inside of one: without pauses it looks for nothing
/// there.
#[derive(Clone, Copy, Debug)]
pub struct Pausing {
    /// Which rules apply.
    pub script: Script,
    /// Silence from which a comma may stand.
    pub comma: Span,
    /// Silence from which a sentence may end.
    pub stop: Span,
    /// A sentence of so many tokens ends at the next silence that would make a comma.
    pub longest: usize,
}

impl Pausing {
    /// A comma from 350 ms, an end from 700 ms, no sentence much longer than 40 tokens.
    #[must_use]
    pub const fn new(script: Script) -> Self {
        Self { script, comma: Span::from_millis(350), stop: Span::from_millis(700), longest: 40 }
    }
}

impl Punctuator for Pausing {
    fn marks(&self, tokens: &[Spoken<'_>], over: bool) -> Vec<Option<Mark>> {
        let mut marks = vec![None; tokens.len()];
        if self.script == Script::Other || tokens.is_empty() {
            return marks;
        }
        let lower: Vec<String> = tokens.iter().map(|token| token.text.to_lowercase()).collect();
        let chinese = self.script == Script::Chinese;
        let mut start = 0;
        for i in 0..tokens.len() {
            let last = i + 1 == tokens.len();
            let length = i + 1 - start;
            let pause = tokens[i].pause;
            let long = length >= self.longest && pause >= self.comma;
            let dangling = !chinese && dangles(&lower[i]);
            let room = if chinese { count(&lower[start..=i]) >= 4 } else { length >= 3 };
            let ends = if last { over } else { (pause >= self.stop && room || long) && !dangling };
            if ends {
                let question =
                    if chinese { asks_chinese(&lower[start..=i]) } else { asks_english(&lower[start..=i]) };
                marks[i] = Some(if question { Mark::Question } else { Mark::Stop });
                start = i + 1;
                continue;
            }
            if last {
                break;
            }
            let by_pause = pause >= self.comma && !dangling;
            let by_word = if chinese {
                comma_chinese(&lower[start..], i - start)
            } else {
                comma_english(&lower[start..], i - start)
            };
            if by_pause || by_word {
                marks[i] = Some(Mark::Comma);
            }
        }
        marks
    }
}

fn count(tokens: &[String]) -> usize {
    tokens.iter().map(|token| token.chars().count()).sum()
}

/// Words that no clause ends with.
fn dangles(word: &str) -> bool {
    matches!(
        word,
        "the"
            | "a"
            | "an"
            | "of"
            | "to"
            | "and"
            | "or"
            | "my"
            | "your"
            | "his"
            | "her"
            | "our"
            | "their"
            | "in"
            | "at"
            | "for"
            | "with"
            | "from"
            | "is"
            | "are"
            | "was"
            | "were"
            | "i"
            | "we"
            | "they"
            | "he"
            | "she"
            | "but"
            | "because"
            | "if"
            | "that"
            | "um"
            | "uh"
            | "very"
            | "i'm"
            | "it's"
            | "by"
            | "as"
            | "be"
            | "not"
    )
}

fn opener(word: &str) -> bool {
    matches!(
        word,
        "so" | "and"
            | "but"
            | "well"
            | "okay"
            | "ok"
            | "um"
            | "uh"
            | "yes"
            | "yeah"
            | "no"
            | "hi"
            | "hello"
            | "sorry"
            | "please"
            | "right"
            | "sure"
            | "oh"
            | "now"
            | "then"
            | "alright"
    )
}

fn auxiliary(word: &str) -> bool {
    matches!(
        word,
        "do" | "does"
            | "did"
            | "is"
            | "are"
            | "was"
            | "were"
            | "can"
            | "could"
            | "would"
            | "will"
            | "shall"
            | "should"
            | "have"
            | "has"
            | "had"
            | "may"
            | "might"
            | "am"
            | "don't"
            | "doesn't"
            | "didn't"
            | "isn't"
            | "aren't"
            | "wasn't"
            | "can't"
            | "couldn't"
            | "won't"
            | "wouldn't"
            | "haven't"
            | "shouldn't"
    )
}

fn subject(word: &str) -> bool {
    matches!(
        word,
        "i" | "you"
            | "he"
            | "she"
            | "it"
            | "we"
            | "they"
            | "there"
            | "this"
            | "that"
            | "these"
            | "those"
            | "the"
            | "my"
            | "your"
            | "his"
            | "her"
            | "our"
            | "their"
            | "any"
            | "anyone"
            | "anybody"
            | "somebody"
            | "someone"
            | "everything"
    )
}

fn asks_english(words: &[String]) -> bool {
    let skipped = words.iter().take(3).take_while(|word| opener(word)).count();
    let Some(first) = words.get(skipped) else { return false };
    let next = words.get(skipped + 1).map_or("", String::as_str);
    if matches!(first.as_str(), "does" | "did" | "is" | "are" | "was" | "were") && !next.is_empty() {
        return true;
    }
    if auxiliary(first) && subject(next) {
        // "had it been", "may that day": rare in speech.
        return first != "may" || matches!(next, "i" | "we");
    }
    let asked = match first.as_str() {
        "who" | "whose" | "why" => !subject(next) || auxiliary(next),
        "what's" | "who's" | "where's" | "how's" | "when's" | "what're" => true,
        "what" | "where" | "when" | "which" | "how" => {
            let inverted = words[skipped + 1..]
                .windows(2)
                .take(5)
                .any(|pair| auxiliary(&pair[0]) && (subject(&pair[1]) || auxiliary(next)));
            !subject(next) && (inverted || auxiliary(next) || (first == "what" && next == "about"))
        }
        _ => false,
    };
    if asked {
        return true;
    }
    let tail = words.len().checked_sub(2).map(|at| (words[at].as_str(), words[at + 1].as_str()));
    matches!(tail, Some((tag, "it" | "you" | "he" | "she" | "they" | "we" | "i")) if tag.ends_with("n't") && words.len() > 3)
}

fn comma_english(words: &[String], i: usize) -> bool {
    let next = words.get(i + 1).map_or("", String::as_str);
    let word = words[i].as_str();
    if i == 0 {
        return match word {
            "yes" | "yeah" | "okay" | "ok" | "hello" | "hi" | "however" | "sure" => true,
            // "no problem" is one thing, "no it isn't" two.
            "no" => {
                subject(next)
                    || matches!(next, "it's" | "that's" | "thank" | "thanks" | "not" | "i'm" | "sir")
            }
            "sorry" => !matches!(next, "for" | "to" | "about" | "that"),
            "well" => subject(next),
            _ => false,
        };
    }
    let over = i + 2 == words.len();
    match next {
        "but" => i >= 2,
        "please" => over && i >= 1,
        "thanks" => over && i >= 1,
        "thank" => i + 3 == words.len() && words[i + 2] == "you" && i >= 1,
        _ => false,
    }
}

const QUESTIONS: &[&str] = &[
    "什么",
    "怎么",
    "为什么",
    "为何",
    "哪里",
    "哪儿",
    "哪个",
    "哪些",
    "哪位",
    "谁",
    "几点",
    "多少",
    "多久",
    "是不是",
    "能不能",
    "可不可以",
    "有没有",
    "会不会",
    "要不要",
    "行不行",
    "对不对",
    "好不好",
    "如何",
];

/// Openings that turn a question word into a statement: "不知道什么", "无论怎么".
const STATEMENTS: &[&str] = &[
    "知道",
    "不管",
    "无论",
    "没什么",
    "没有什么",
    "什么都",
    "怎么都",
    "谁都",
    "什么也",
    "不论",
    "告诉",
    "看看",
    "一下",
    "查",
];

fn asks_chinese(tokens: &[String]) -> bool {
    let text: String = tokens.iter().map(String::as_str).collect();
    let text = text.trim_end_matches(['啊', '呀']);
    if text.ends_with('吗') || text.ends_with('呢') && !text.ends_with("着呢") {
        return true;
    }
    if text.ends_with('么') && !["什么", "这么", "那么", "多么"].iter().any(|word| text.ends_with(word))
    {
        return true;
    }
    text.chars().count() <= 30
        && QUESTIONS.iter().any(|question| text.contains(question))
        && !STATEMENTS.iter().any(|statement| text.contains(statement))
}

fn comma_chinese(tokens: &[String], i: usize) -> bool {
    let head: String = tokens[..=i].iter().map(String::as_str).collect();
    if matches!(
        head.as_str(),
        "您好" | "你好" | "好的" | "是的" | "不是" | "对" | "嗯" | "喂" | "谢谢" | "对不起" | "不好意思"
    ) {
        // "好的" may go on as "好的话".
        return !matches!(
            tokens.get(i + 1).map(String::as_str),
            Some("话" | "您" | "你" | "啊" | "方" | "比")
        );
    }
    if head.chars().count() < 4 {
        return false;
    }
    let rest: String = tokens[i + 1..].iter().take(3).map(String::as_str).collect();
    ["但是", "所以", "因为", "如果", "然后", "不过", "而且", "可是", "另外", "那么"]
        .iter()
        .any(|word| rest.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalize::split;

    fn marked(script: Script, text: &str) -> String {
        // A slash stands for a pause of half a second, two for a whole one.
        let words: Vec<&str> = split(text);
        let mut tokens: Vec<Spoken<'_>> = Vec::new();
        for word in words {
            match word {
                "/" => tokens.last_mut().unwrap().pause = Span::from_millis(500),
                "//" => tokens.last_mut().unwrap().pause = Span::from_millis(1_000),
                text => tokens.push(Spoken { text, pause: Span::ZERO }),
            }
        }
        let marks = Pausing::new(script).marks(&tokens, true);
        let chinese = script == Script::Chinese;
        let mut out = String::new();
        for (token, mark) in tokens.iter().zip(marks) {
            if !out.is_empty() && !chinese {
                out.push(' ');
            }
            out.push_str(token.text);
            out.push_str(mark.map_or("", |mark| mark.sign(chinese)));
        }
        out
    }

    #[test]
    fn english_questions_are_told_by_their_opening() {
        for question in [
            "can you help me",
            "what time is it",
            "how many tickets do you want",
            "where is my order",
            "so what's your name",
            "who called me",
            "why did you hang up",
            "yes could you repeat that",
            "you are coming aren't you",
        ] {
            assert!(marked(Script::English, question).ends_with('?'), "{question}");
        }
        for statement in [
            "what i want is a refund",
            "when i called you were closed",
            "i know what it is",
            "can openers are cheap",
            "how you did it is a mystery",
            "my name is john",
        ] {
            assert!(marked(Script::English, statement).ends_with('.'), "{statement}");
        }
    }

    #[test]
    fn pauses_end_sentences_but_not_behind_an_article() {
        assert_eq!(
            marked(Script::English, "i would like the // blue one // can you send it"),
            "i would like the blue one. can you send it?"
        );
        assert_eq!(marked(Script::English, "it is red / not blue"), "it is red, not blue.");
    }

    #[test]
    fn polite_words_stand_apart() {
        assert_eq!(marked(Script::English, "yes i do"), "yes, i do.");
        assert_eq!(marked(Script::English, "two tickets please"), "two tickets, please.");
        assert_eq!(marked(Script::English, "no problem"), "no problem.");
    }

    #[test]
    fn chinese_questions_are_told_by_their_particles() {
        assert_eq!(marked(Script::Chinese, "你是王先生吗"), "你是王先生吗？");
        assert_eq!(marked(Script::Chinese, "多少钱"), "多少钱？");
        assert_eq!(marked(Script::Chinese, "我不知道多少钱"), "我不知道多少钱。");
        assert_eq!(marked(Script::Chinese, "您好我想查余额"), "您好，我想查余额。");
    }

    #[test]
    fn a_partial_gets_no_mark_at_its_end() {
        let tokens =
            [Spoken { text: "hello", pause: Span::ZERO }, Spoken { text: "there", pause: Span::ZERO }];
        assert_eq!(Pausing::new(Script::English).marks(&tokens, false)[1], None);
    }
}
