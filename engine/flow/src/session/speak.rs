//! Values as they are best spoken.

use antiphon_engine_call::Prompt;
use serde_json::Value;

use super::Session;
use crate::entity::calendar::Date;
use crate::entity::{SlotKind, Tongue};
use crate::expr::plain;
use crate::model::{Action, Piece};
use crate::template::{Style, Template};

impl Session {
    /// A piece with its variables filled in; `None` where nothing is left to say.
    pub(super) fn prompt(&self, piece: &Piece) -> Option<Prompt> {
        let source = &self.flow.source;
        match piece {
            Piece::Text(template) => {
                let mut text = self.fill(template, Style::Spoken);
                if text.trim().is_empty() {
                    return None;
                }
                if text.chars().count() > antiphon_models_speech::SpeechRequest::LONGEST {
                    text = text.chars().take(antiphon_models_speech::SpeechRequest::LONGEST).collect();
                }
                Some(Prompt::Text {
                    text,
                    language: source.language.clone(),
                    voice: source.settings.voice.clone(),
                })
            }
            Piece::Recording { path, text } => {
                Some(Prompt::Recording { path: path.clone(), text: self.fill(text, Style::Spoken) })
            }
        }
    }

    /// A template with its variables filled in, `ordinary` being the way of those that do not say.
    pub(super) fn fill(&self, template: &Template, ordinary: Style) -> String {
        template.fill(|name, style| {
            let value = self.variables.get(name).unwrap_or(&Value::Null);
            match if style == Style::Spoken { ordinary } else { style } {
                Style::Raw => plain(value),
                Style::Digits => apart(&plain(value)),
                Style::Spoken => self.spoken(name, value),
            }
        })
    }

    /// The slot whose values a variable holds.
    pub(super) fn slot_of(&self, variable: &str) -> Option<&SlotKind> {
        let source = &self.flow.source;
        let slot = source.steps.iter().find_map(|step| match &step.action {
            Action::Ask(ask) => ask.slot.as_ref().filter(|target| target.variable == variable),
            _ => None,
        });
        let name = slot.map_or(variable, |target| target.slot.as_str());
        source.slots.get(name).map(|slot| &slot.kind)
    }

    fn spoken(&self, name: &str, value: &Value) -> String {
        let tongue = self.flow.source.tongue;
        let text = plain(value);
        match (self.slot_of(name), tongue) {
            (Some(SlotKind::Digits { .. }), _) => apart(&text),
            (Some(SlotKind::Amount { currency, .. }), _) if value.is_number() => {
                money(&text, currency, tongue)
            }
            (Some(SlotKind::Date), _) => Date::parse(&text).map_or(text, |date| day(date, tongue)),
            (Some(SlotKind::YesNo), Tongue::English) => {
                if value == &Value::Bool(true) { "yes" } else { "no" }.into()
            }
            (Some(SlotKind::YesNo), Tongue::Chinese) => {
                if value == &Value::Bool(true) { "是" } else { "否" }.into()
            }
            (Some(SlotKind::Choice(values)), _) => values
                .iter()
                .find(|choice| choice.value == text)
                // The designer's own word for it comes after the value itself.
                .and_then(|choice| choice.names.get(1).or(choice.names.first()))
                .cloned()
                .unwrap_or(text),
            _ => text,
        }
    }
}

/// Figures one by one.
fn apart(text: &str) -> String {
    let chars: Vec<String> = text.chars().map(String::from).collect();
    chars.join(" ")
}

fn money(number: &str, currency: &str, tongue: Tongue) -> String {
    let one = number == "1";
    let unit = match (tongue, currency) {
        (Tongue::Chinese, "CNY") => "元",
        (Tongue::Chinese, "USD") => "美元",
        (Tongue::Chinese, "EUR") => "欧元",
        (Tongue::Chinese, "HKD") => "港币",
        (Tongue::English, "USD") => {
            if one {
                "dollar"
            } else {
                "dollars"
            }
        }
        (Tongue::English, "GBP") => {
            if one {
                "pound"
            } else {
                "pounds"
            }
        }
        (Tongue::English, "EUR") => {
            if one {
                "euro"
            } else {
                "euros"
            }
        }
        (Tongue::English, "CNY") => "yuan",
        (_, code) => code,
    };
    if tongue == Tongue::Chinese { format!("{number}{unit}") } else { format!("{number} {unit}") }
}

fn day(date: Date, tongue: Tongue) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    const CHINESE_DAYS: [&str; 7] = ["一", "二", "三", "四", "五", "六", "日"];
    let weekday = date.weekday() as usize;
    match tongue {
        Tongue::English => format!("{}, {} {}", DAYS[weekday], MONTHS[date.month as usize - 1], date.day),
        Tongue::Chinese => format!("{}月{}日星期{}", date.month, date.day, CHINESE_DAYS[weekday]),
    }
}
