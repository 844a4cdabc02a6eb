//! How worked up a turn sounds: what stands out of the speaker's own manner so far, and words of anger.
//!
//! Every feature is 0 to 1, has a weight, and moves the score alone by their product; together they make
//! `1 - Π(1 - weight · feature)`. A feature's share of the score is in proportion to `-ln(1 - weight · feature)`, so that
//! the shares add up to the score. The speaker's manner is the median of their earlier turns: nothing said later changes
//! a score.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use crate::floor::Floor;
use crate::units::{Phrases, Text};
use crate::{Agitation, Interruption};

/// Turns of the same speaker that tell their manner before one can stand out.
const EARLIER: usize = 2;

const LOUDNESS: f32 = 0.6;
const PITCH: f32 = 0.5;
const RANGE: f32 = 0.25;
const RATE: f32 = 0.3;
const INTERRUPTS: f32 = 0.25;
const WORDS: f32 = 0.9;

/// What above the speaker's median counts in full: decibels, semitones, semitones of range, part of the rate.
const FULL_DB: f32 = 10.0;
const FULL_SEMITONES: f32 = 6.0;
const FULL_RANGE: f32 = 6.0;
const FULL_RATE: f32 = 0.5;

/// How much one of the words says.
const STRONG: f32 = 0.8;
const MILD: f32 = 0.4;

const STRONG_WORDS: &[&str] = &[
    "投诉",
    "举报",
    "曝光",
    "起诉",
    "律师",
    "报警",
    "法院",
    "骗子",
    "骗人",
    "骗我",
    "诈骗",
    "欺骗",
    "垃圾",
    "混蛋",
    "王八蛋",
    "他妈",
    "妈的",
    "去死",
    "滚蛋",
    "气死",
    "太过分",
    "欺人太甚",
    "忍无可忍",
    "不要脸",
    "废物",
    "放屁",
    "扯淡",
    "胡说八道",
    "12315",
    "12378",
    "furious",
    "outrageous",
    "unacceptable",
    "ridiculous",
    "disgusting",
    "disgrace",
    "scam",
    "scammers",
    "liar",
    "liars",
    "lying",
    "lawyer",
    "sue",
    "lawsuit",
    "damn",
    "goddamn",
    "hell",
    "bullshit",
    "shit",
    "fuck",
    "fucking",
    "bastard",
    "idiot",
    "idiots",
    "stupid",
    "useless",
    "fed up",
    "sick of",
    "sick and tired",
    "rip off",
    "ripped off",
    "shut up",
    "file a complaint",
    "make a complaint",
    "report you",
    "your supervisor",
    "your manager",
];

const MILD_WORDS: &[&str] = &[
    "生气",
    "烦死",
    "烦人",
    "真烦",
    "很烦",
    "不耐烦",
    "不满意",
    "太差",
    "很差",
    "太慢",
    "离谱",
    "过分",
    "凭什么",
    "到底",
    "怎么回事",
    "什么意思",
    "搞什么",
    "受不了",
    "第几次",
    "好几次",
    "说了几遍",
    "多少遍",
    "推来推去",
    "踢皮球",
    "不负责",
    "敷衍",
    "忽悠",
    "失望",
    "无语",
    "angry",
    "annoyed",
    "annoying",
    "frustrated",
    "frustrating",
    "upset",
    "terrible",
    "horrible",
    "awful",
    "worst",
    "nonsense",
    "disappointed",
    "disappointing",
    "pathetic",
    "a joke",
    "how many times",
    "again and again",
    "over and over",
    "waste of time",
    "wasting my time",
    "not happy",
    "unhappy",
    "sick",
    "still waiting",
    "nobody",
    "no one",
    "complaint",
    "complain",
];

const NOT: &[&str] =
    &["not", "no", "never", "don't", "didn't", "isn't", "wasn't", "aren't", "won't", "without"];
const NOT_CHARACTERS: &[char] = &['不', '没', '别', '无', '未', '非'];

/// 0 to 1: each word of anger takes its part of what is left, unless it is denied; of those that overlap the strongest,
/// then the longest.
fn anger(text: &Text) -> f32 {
    static PHRASES: LazyLock<Phrases> =
        LazyLock::new(|| Phrases::new(STRONG_WORDS.iter().chain(MILD_WORDS).copied()));
    let mut places: Vec<(bool, Range<usize>)> =
        PHRASES.found(text).map(|(phrase, at)| (phrase >= STRONG_WORDS.len(), at)).collect();
    places.sort_by_key(|(mild, at)| (*mild, std::cmp::Reverse(at.len()), at.start));
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut calm = 1.0;
    for (mild, at) in places {
        if found.iter().any(|other| at.start < other.end && other.start < at.end) || denied(text, at.start) {
            continue;
        }
        calm *= 1.0 - if mild { MILD } else { STRONG };
        found.push(at);
        // More would not be angrier; and a text made of such words stays cheap.
        if found.len() == 8 {
            break;
        }
    }
    1.0 - calm
}

/// Whether a word just before that place, in octets, denies what stands there.
pub(crate) fn denied(text: &Text, at: usize) -> bool {
    let next = text.units.partition_point(|unit| unit.start < at);
    let before = || (next.saturating_sub(2)..next).rev().map(|unit| text.unit(unit));
    before().any(|unit| NOT.contains(&unit))
        || before().take(2).any(|unit| unit.chars().next().is_some_and(|c| NOT_CHARACTERS.contains(&c)))
}

/// The median of what has come so far.
#[derive(Default)]
struct Manner(Vec<f32>);

impl Manner {
    fn add(&mut self, value: f32) {
        let at = self.0.partition_point(|other| other.total_cmp(&value).is_lt());
        self.0.insert(at, value);
    }

    fn median(&self) -> Option<f32> {
        (self.0.len() >= EARLIER).then(|| self.0[self.0.len() / 2])
    }

    /// How far the value lies above, and then is part of it.
    fn take(&mut self, value: Option<f32>, above: impl Fn(f32, f32) -> f32) -> Option<f32> {
        let value = value.filter(|value| value.is_finite())?;
        let stands_out = self.median().map(|median| above(value, median));
        self.add(value);
        stands_out
    }
}

#[derive(Default)]
struct Manners {
    loudness: Manner,
    pitch: Manner,
    range: Manner,
    rate: Manner,
}

impl Floor<'_> {
    pub(crate) fn agitation(&self, rates: &[Option<f32>], interruptions: &[Interruption]) -> Vec<Agitation> {
        let mut interrupts = vec![0.0f32; self.texts.len()];
        for interruption in interruptions {
            if let Some(turn) = interruption.turn {
                interrupts[turn] = interrupts[turn].max(if interruption.took_over { 1.0 } else { 0.5 });
            }
        }
        let mut manners: Vec<Manners> = Vec::new();
        manners.resize_with(self.speech.len(), Manners::default);
        let mut agitation = Vec::with_capacity(self.texts.len());
        for (index, turn) in self.conversation.turns.iter().enumerate() {
            let tone = turn.tone;
            let mut parts = vec![
                ("words", WORDS, Some(anger(&self.texts[index]))),
                ("interrupts", INTERRUPTS, Some(interrupts[index])),
            ];
            if let Some(manner) = manners.get_mut(turn.track) {
                let semitones = |value: f32, median: f32| 12.0 * (value / median).log2() / FULL_SEMITONES;
                let pitch = tone.and_then(|tone| tone.pitch_hz).filter(|&hz| hz > 0.0);
                parts.extend([
                    (
                        "loudness",
                        LOUDNESS,
                        manner.loudness.take(tone.map(|tone| tone.loudness_db), |v, m| (v - m) / FULL_DB),
                    ),
                    ("pitch", PITCH, manner.pitch.take(pitch, semitones)),
                    (
                        "range",
                        RANGE,
                        manner
                            .range
                            .take(tone.and_then(|tone| tone.pitch_range), |v, m| (v - m) / FULL_RANGE),
                    ),
                    ("rate", RATE, manner.rate.take(rates[index], |v, m| (v / m - 1.0) / FULL_RATE)),
                ]);
            }
            agitation.push(score(index, &parts));
        }
        agitation
    }
}

fn score(turn: usize, parts: &[Part]) -> Agitation {
    let (score, features) = together(parts);
    Agitation { turn, score, features }
}

/// A feature: its name, its weight, and itself from 0 to 1 where it is known.
pub(crate) type Part = (&'static str, f32, Option<f32>);

/// `1 - Π(1 - weight · feature)`, and each feature's share of that.
pub(crate) fn together(parts: &[Part]) -> (f32, BTreeMap<&'static str, f32>) {
    let part = |&(name, weight, feature): &Part| {
        let feature = feature.filter(|feature| feature.is_finite())?.clamp(0.0, 1.0);
        // Never above 0, and nobody should read -0.
        Some((name, (1.0 - weight * feature).ln().abs()))
    };
    let parts: Vec<(&'static str, f32)> = parts.iter().filter_map(part).collect();
    let total: f32 = parts.iter().map(|(_, part)| part).sum();
    let score = 1.0 - (-total).exp();
    let share = |part: f32| if total > 0.0 { score * part / total } else { 0.0 };
    (score, parts.into_iter().map(|(name, part)| (name, share(part))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_anger_count_unless_they_are_denied() {
        for text in ["我要投诉你们", "This is ridiculous!", "你们就是骗子，我要起诉", "I will sue you"]
        {
            assert!(anger(&Text::new(text)) > 0.7, "{text}");
        }
        for text in ["我不投诉", "I am not angry", "没有生气", "the issue is sued on", "您好"] {
            assert!(anger(&Text::new(text)) < 1e-6, "{text}");
        }
        assert!(anger(&Text::new("你到底什么意思")) > 0.5);
    }

    #[test]
    fn shares_add_up_to_the_score() {
        let made = score(
            3,
            &[("a", 0.5, Some(1.0)), ("b", 0.9, Some(0.5)), ("c", 0.3, None), ("d", 0.3, Some(-4.0))],
        );
        assert!((made.score - (1.0 - 0.5 * 0.55)).abs() < 1e-5);
        assert!((made.features.values().sum::<f32>() - made.score).abs() < 1e-5);
        assert_eq!(made.features.keys().copied().collect::<Vec<_>>(), ["a", "b", "d"]);
    }
}
