//! Why the customer called, and the turns that tell the most.

use std::sync::LazyLock;

use crate::floor::Floor;
use crate::units::{Phrases, Text};
use crate::{Reason, Role, Topic};

/// Turns of the customer in which the reason is looked for.
const EARLY: usize = 12;
/// What a cue counts, and how a later turn counts less.
const CUE: f32 = 2.0;
const FADE: f32 = 0.85;
/// A reason scores at least this: a long first turn does without a cue.
const LEAST: f32 = 1.0;
/// Units that make a turn full of content.
const FULL: f32 = 12.0;

/// A turn in ten, within these bounds.
const SHORTEST: usize = 3;
const LONGEST: usize = 8;

const REASON: &[&str] = &[
    "我想",
    "我要",
    "想问",
    "问一下",
    "咨询",
    "请教",
    "想了解",
    "想知道",
    "为什么",
    "为啥",
    "怎么回事",
    "怎么办",
    "帮我",
    "帮忙",
    "办理",
    "查一下",
    "查询",
    "投诉",
    "退款",
    "退货",
    "取消",
    "退订",
    "开通",
    "挂失",
    "报修",
    "预约",
    "申请",
    "修改",
    "收不到",
    "没收到",
    "打不开",
    "不能用",
    "用不了",
    "坏了",
    "扣了",
    "多扣",
    "有个问题",
    "出了问题",
    "i'm calling",
    "i am calling",
    "calling about",
    "calling because",
    "calling to",
    "reason for my call",
    "i want",
    "i wanted",
    "i'd like",
    "i would like",
    "i need",
    "i have a problem",
    "i have a question",
    "i've got",
    "having trouble",
    "having problems",
    "problem with",
    "issue with",
    "trouble with",
    "question about",
    "can you help",
    "could you help",
    "help me",
    "not working",
    "doesn't work",
    "stopped working",
    "won't start",
    "broken",
    "charged",
    "refund",
    "cancel",
    "complain",
    "complaint",
    "appointment",
    "i was wondering",
    "wondering if",
    "looking to",
    "looking for",
    "trying to",
    "never received",
    "didn't receive",
    "haven't received",
    "lost my",
    "how do i",
    "how can i",
    "why is",
    "why was",
    "why did",
];

/// Promises, decisions and outcomes.
const OUTCOME: &[&str] = &[
    "我会",
    "我们会",
    "为您",
    "给您",
    "帮您",
    "已经",
    "确认",
    "同意",
    "答应",
    "安排",
    "处理",
    "登记",
    "预约",
    "解决",
    "退款",
    "补偿",
    "赔偿",
    "工作日",
    "小时内",
    "之前",
    "回复您",
    "联系您",
    "i'll",
    "i will",
    "we'll",
    "we will",
    "i've",
    "we've",
    "i can offer",
    "confirmed",
    "confirm",
    "booked",
    "scheduled",
    "refund",
    "credited",
    "resolved",
    "fixed",
    "replace",
    "send you",
    "call you back",
    "agreed",
    "deal",
    "within",
    "by tomorrow",
    "appointment",
    "total",
    "so you want",
    "to summarize",
    "in summary",
];

const COURTESY: &[&str] = &[
    "您好",
    "你好",
    "再见",
    "不客气",
    "谢谢来电",
    "感谢来电",
    "祝您",
    "工号",
    "hello",
    "hi",
    "good morning",
    "good afternoon",
    "goodbye",
    "bye",
    "you're welcome",
    "thank you for calling",
    "thanks for calling",
    "have a nice",
    "have a great",
    "have a good",
];

static REASONS: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(REASON.iter().copied()));
static OUTCOMES: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(OUTCOME.iter().copied()));
static COURTESIES: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(COURTESY.iter().copied()));

fn fullness(text: &Text) -> f32 {
    (text.len() as f32 / FULL).min(1.0)
}

impl Floor<'_> {
    /// Of the customer's first turns the one with the most cues, later ones counting less.
    pub(crate) fn reason(&self) -> Option<Reason> {
        let turns = self.conversation.turns.iter().enumerate();
        let early = turns
            .filter(|&(index, turn)| self.conversation.role(turn) == Role::Customer && !self.listening[index])
            .take(EARLY);
        let mut best: Option<(f32, usize)> = None;
        let mut fade = 1.0;
        for (index, _) in early {
            let text = &self.texts[index];
            let score = fade * (CUE * REASONS.count(text, 2) as f32 * fullness(text).sqrt() + fullness(text));
            if score >= LEAST && best.is_none_or(|(most, _)| score > most) {
                best = Some((score, index));
            }
            fade *= FADE;
        }
        best.map(|(_, turn)| Reason { turn, text: self.conversation.turns[turn].said.text.clone() })
    }

    /// The turns that say most: topics, figures, promises and outcomes; the reason above all, courtesies least, none
    /// twice.
    pub(crate) fn summary(&self, topics: &[Topic], reason: Option<&Reason>) -> Vec<usize> {
        let count = self.texts.len();
        let mut about = vec![0.0f32; count];
        for topic in topics {
            topic.turns.iter().for_each(|&turn| about[turn] += topic.weight);
        }
        let most = about.iter().copied().fold(0.0f32, f32::max).max(f32::MIN_POSITIVE);
        let mut scored: Vec<(f32, usize)> = (0..count)
            .filter(|&turn| !self.listening[turn] && self.texts[turn].len() > 3)
            .map(|turn| {
                let text = &self.texts[turn];
                let figures = text.iter().any(|unit| unit.chars().any(|c| c.is_ascii_digit()));
                let score = fullness(text)
                    * (1.0 + about[turn] / most + 0.5 * OUTCOMES.count(text, 3) as f32)
                    + if figures { 0.4 } else { 0.0 }
                    + if reason.is_some_and(|reason| reason.turn == turn) { 4.0 } else { 0.0 }
                    - if COURTESIES.any(text) { 0.6 } else { 0.0 };
                (score, turn)
            })
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let wanted = (count / 10).clamp(SHORTEST, LONGEST);
        let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
        // Of a call that says one thing over and over only so many are looked at.
        for (_, turn) in scored.into_iter().take(wanted * 16) {
            if chosen.len() == wanted {
                break;
            }
            if !self.said_among(turn, &chosen) {
                chosen.push(turn);
            }
        }
        chosen.sort_unstable();
        chosen
    }
}
