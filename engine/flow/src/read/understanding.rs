//! Settings, slots and intents.

use std::time::Duration;

use antiphon_engine_call::Span;
use antiphon_models_speech::Language;

use super::{Fields, Reader, entries, is_empty_choice, items, text, within};
use crate::entity::{ChoiceValue, SlotKind};
use crate::expr::compile;
use crate::intents::repeat_examples;
use crate::model::{Intent, Settings, Slot};
use crate::problem::{Problems, nearest};
use crate::text::tokens;
use crate::yaml::{Node, Place, Value};

/// Types that need no description: an `ask` may name them as its slot.
pub(super) const PLAIN_KINDS: [&str; 5] = ["digits", "number", "amount", "date", "yes_no"];
const KINDS: [&str; 7] = ["digits", "number", "amount", "date", "yes_no", "choice", "regex"];
const LONGEST_DIGITS: u32 = 32;
const MOST_EXAMPLES: usize = 500;

/// A type by its name alone.
pub(super) fn plain_kind(name: &str) -> Option<SlotKind> {
    Some(match name {
        "digits" => SlotKind::Digits { min: 1, max: LONGEST_DIGITS as usize },
        "number" => SlotKind::Number { min: f64::MIN, max: f64::MAX },
        "amount" => SlotKind::Amount { currency: "USD".to_owned(), min: 0.01, max: f64::MAX },
        "date" => SlotKind::Date,
        "yes_no" => SlotKind::YesNo,
        _ => return None,
    })
}

/// The settings and the language; defaults for what is not written.
pub(super) fn settings(problems: &mut Problems, node: Option<&Node>) -> (Settings, Language) {
    let mut settings = Settings {
        voice: None,
        accept: 0.6,
        confirm: 0.35,
        margin: 0.1,
        sure: 0.5,
        no_input: Span::from_secs(6),
        inter_digit: Span::from_secs(3),
        endpoint: None,
        attempts: 3,
    };
    let mut language = Language::english();
    let Some(node) = node else { return (settings, language) };
    let keys = [
        "language",
        "voice",
        "accept",
        "confirm",
        "margin",
        "sure",
        "no_input",
        "inter_digit",
        "endpoint",
        "attempts",
    ];
    let Some(fields) = Fields::read(problems, node, "settings", &keys) else { return (settings, language) };
    if let Some(tag) = fields.text(problems, "language") {
        match Language::parse(&tag) {
            Some(known) if matches!(known.primary().as_str(), "en" | "zh") => language = known,
            Some(known) => {
                let at = fields.get("language").map_or(node.at, |node| node.at);
                problems.warn(at, format!("numbers, dates and answers in `{tag}` are read by English rules"));
                language = known;
            }
            None => {
                let at = fields.get("language").map_or(node.at, |node| node.at);
                problems.error(at, format!("`{tag}` is not a language tag such as `en-US` or `zh-CN`"));
            }
        }
    }
    settings.voice = fields.text(problems, "voice");
    let mut share = |key: &str, value: &mut f32| {
        if let Some(number) = fields.number(problems, key, 0.0, 1.0) {
            *value = number as f32;
        }
    };
    share("accept", &mut settings.accept);
    share("confirm", &mut settings.confirm);
    share("margin", &mut settings.margin);
    share("sure", &mut settings.sure);
    if settings.confirm > settings.accept {
        problems.error(node.at, "`confirm` is above `accept`: nothing would ever be confirmed");
    }
    if let Some(span) = fields.span(problems, "no_input") {
        settings.no_input = span;
    }
    if let Some(span) = fields.span(problems, "inter_digit") {
        settings.inter_digit = span;
    }
    settings.endpoint = endpoint(problems, &fields);
    if let Some(attempts) = fields.count(problems, "attempts", 1, 10) {
        settings.attempts = attempts;
    }
    (settings, language)
}

/// How long a caller may pause.
pub(super) fn endpoint(problems: &mut Problems, fields: &Fields<'_>) -> Option<Duration> {
    fields.duration(problems, "endpoint", Duration::from_millis(100), Duration::from_secs(10))
}

impl Reader<'_> {
    pub(super) fn read_slots(&mut self, node: Option<&Node>) {
        for entry in node.and_then(|node| entries(self.problems, node, "slots")).unwrap_or_default() {
            self.known.insert(entry.key.clone());
            if self.name(&entry.key, entry.at, "slot")
                && let Some(kind) = self.slot_kind(&entry.node)
            {
                self.slots.insert(entry.key.clone(), Slot { at: entry.at, kind });
            }
        }
    }

    fn slot_kind(&mut self, node: &Node) -> Option<SlotKind> {
        if let Some(name) = text(node) {
            let kind = plain_kind(name);
            if kind.is_none() {
                let message = format!("`{name}` is not a type that stands alone");
                self.problems.error_meant(node.at, message, nearest(name, PLAIN_KINDS));
            }
            return kind.map(|kind| self.localised(kind));
        }
        let name = Fields { at: node.at, entries: entries(self.problems, node, "slot")? }.get("type");
        let Some((name_node, name)) = name.and_then(|node| text(node).map(|name| (node, name))) else {
            self.problems.error(node.at, "the slot has no `type`");
            return None;
        };
        let keys: &[&str] = match name {
            "digits" | "number" => &["type", "min", "max"],
            "amount" => &["type", "currency", "min", "max"],
            "choice" => &["type", "values"],
            "regex" => &["type", "pattern", "group"],
            "date" | "yes_no" => &["type"],
            _ => {
                let message = format!("there is no slot type `{name}`");
                self.problems.error_meant(name_node.at, message, nearest(name, KINDS));
                return None;
            }
        };
        let fields = Fields::read(self.problems, node, &format!("a slot of type {name}"), keys)?;
        let mut kind = plain_kind(name).map(|kind| self.localised(kind));
        match &mut kind {
            Some(SlotKind::Digits { min, max }) => {
                *min = fields.count(self.problems, "min", 1, LONGEST_DIGITS).map_or(*min, |n| n as usize);
                *max = fields.count(self.problems, "max", 1, LONGEST_DIGITS).map_or(*max, |n| n as usize);
                if min > max {
                    self.problems.error(node.at, "`min` is above `max`: nothing fits");
                }
            }
            Some(SlotKind::Number { min, max } | SlotKind::Amount { min, max, .. }) => {
                *min = fields.number(self.problems, "min", f64::MIN, f64::MAX).unwrap_or(*min);
                *max = fields.number(self.problems, "max", f64::MIN, f64::MAX).unwrap_or(*max);
                if min > max {
                    self.problems.error(node.at, "`min` is above `max`: nothing fits");
                }
            }
            _ => {}
        }
        if let Some(SlotKind::Amount { currency, .. }) = &mut kind
            && let Some(code) = fields.text(self.problems, "currency")
        {
            if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
                let at = fields.get("currency").map_or(node.at, |node| node.at);
                self.problems.error(at, format!("`{code}` is not a currency code such as `USD`"));
            }
            *currency = code;
        }
        match name {
            "choice" => kind = self.choice(&fields),
            "regex" => {
                let Some(pattern_node) = fields.get("pattern") else {
                    self.problems.error(node.at, "a slot of type regex wants a `pattern`");
                    return None;
                };
                let group = fields.count(self.problems, "group", 0, 20).unwrap_or(0) as usize;
                match compile(text(pattern_node)?) {
                    Ok(pattern) if group < pattern.captures_len() => {
                        kind = Some(SlotKind::Pattern { pattern, group });
                    }
                    Ok(_) => {
                        self.problems.error(pattern_node.at, format!("the pattern has no group {group}"));
                    }
                    Err(message) => self.problems.error(pattern_node.at, message),
                }
            }
            _ => {}
        }
        kind.filter(|kind| !is_empty_choice(kind))
    }

    /// The currency people mean where none is named.
    fn localised(&self, mut kind: SlotKind) -> SlotKind {
        if let SlotKind::Amount { currency, .. } = &mut kind
            && self.tongue == crate::entity::Tongue::Chinese
        {
            *currency = "CNY".to_owned();
        }
        kind
    }

    fn choice(&mut self, fields: &Fields<'_>) -> Option<SlotKind> {
        let Some(node) = fields.get("values") else {
            self.problems.error(fields.at, "a slot of type choice wants `values`");
            return None;
        };
        let mut values: Vec<ChoiceValue> = Vec::new();
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    let mut names = vec![entry.key.replace('_', " ")];
                    names.extend(items(&entry.node).iter().filter_map(text).map(str::to_owned));
                    values.push(choice_value(&entry.key, names));
                }
            }
            _ => values.extend(
                items(node).iter().filter_map(text).map(|name| choice_value(name, vec![name.to_owned()])),
            ),
        }
        if values.is_empty() {
            self.problems.error(node.at, "a choice wants at least one value");
            return None;
        }
        Some(SlotKind::Choice(values))
    }

    pub(super) fn read_intents(&mut self, node: Option<&Node>) {
        for entry in node.and_then(|node| entries(self.problems, node, "intents")).unwrap_or_default() {
            if !self.name(&entry.key, entry.at, "intent") {
                continue;
            }
            let mut intent = Intent {
                name: entry.key.clone(),
                at: entry.at,
                title: entry.key.replace(['_', '-'], " "),
                examples: Vec::new(),
                keywords: Vec::new(),
                patterns: Vec::new(),
                slots: Vec::new(),
            };
            if matches!(entry.node.value, Value::List(_)) {
                self.examples(&mut intent, &entry.node);
            } else {
                let keys = ["title", "examples", "keywords", "regex"];
                let Some(fields) = Fields::read(self.problems, &entry.node, "an intent", &keys) else {
                    continue;
                };
                if let Some(title) = fields.text(self.problems, "title") {
                    intent.title = title;
                }
                if let Some(examples) = fields.get("examples") {
                    self.examples(&mut intent, examples);
                }
                if let Some(keywords) = fields.get("keywords") {
                    intent.keywords = items(keywords).iter().filter_map(text).map(tokens).collect();
                    intent.keywords.retain(|keyword| !keyword.is_empty());
                }
                for node in fields.get("regex").map(items).unwrap_or_default() {
                    match compile(text(node).unwrap_or_default()) {
                        Ok(pattern) => intent.patterns.push(pattern),
                        Err(message) => self.problems.error(node.at, message),
                    }
                }
            }
            if intent.examples.is_empty() && intent.keywords.is_empty() && intent.patterns.is_empty() {
                let message = format!("the intent `{}` has no examples, keywords or regex", entry.key);
                self.problems.error(entry.at, message);
            }
            self.intents.push(intent);
        }
        if self.intents.iter().all(|intent| intent.name != "repeat") {
            let examples = repeat_examples(self.tongue);
            self.intents.push(Intent {
                name: "repeat".to_owned(),
                at: Place::FILE,
                title: "repeat".to_owned(),
                examples,
                keywords: Vec::new(),
                patterns: Vec::new(),
                slots: Vec::new(),
            });
        }
    }

    fn examples(&mut self, intent: &mut Intent, node: &Node) {
        for item in items(node).iter().take(MOST_EXAMPLES) {
            let Some(example) = text(item) else {
                self.problems.error(item.at, format!("an example is a sentence, found {}", item.kind()));
                continue;
            };
            for (offset, _) in example.match_indices('{') {
                let name = example[offset + 1..].split('}').next().unwrap_or_default();
                if self.slots.contains_key(name) {
                    if !intent.slots.iter().any(|slot| slot == name) {
                        intent.slots.push(name.to_owned());
                    }
                } else {
                    let at = within(item, example[..offset].chars().count());
                    let meant = nearest(name, self.slots.keys().map(String::as_str));
                    self.problems.error_meant(at, format!("there is no slot `{name}`"), meant);
                }
            }
            intent.examples.push(example.to_owned());
        }
        if items(node).len() > MOST_EXAMPLES {
            self.problems.error(node.at, format!("more than {MOST_EXAMPLES} examples for one intent"));
        }
    }
}

fn choice_value(value: &str, names: Vec<String>) -> ChoiceValue {
    let tokens = names.iter().map(|name| tokens(name)).collect();
    ChoiceValue { value: value.to_owned(), names, tokens }
}
