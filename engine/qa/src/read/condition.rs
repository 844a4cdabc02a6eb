//! What all conditions share: who, where, how often.

use antiphon_engine_flow::file::{Entry, Fields, Node, Value, entries, nearest, text};
use antiphon_engine_flow::tokens_at;
use antiphon_engine_measure::Role;

use super::{DEEPEST, MOST_CONDITIONS, Reader, span};
use crate::model::{Condition, Count, Extent, Kind, Negated, Reach, Side, Term, Which, Window};
use crate::wire::role_named;

/// A day: no call lasts longer.
pub(super) const LONGEST_MS: u64 = 86_400_000;
const LONGEST_PHRASE: usize = 200;

/// Keys that name what a condition is about, and the keys that go with each.
const KINDS: [(&str, &[&str]); 18] = [
    ("phrase", &[]),
    ("regex", &["not_regex"]),
    ("near", &[]),
    ("similar", &["min", "by"]),
    ("pinyin", &["accent"]),
    ("entity", &[]),
    ("any", &[]),
    ("all", &["in"]),
    ("none", &["in"]),
    ("expr", &[]),
    ("sequence", &["max_gap_turns", "max_gap"]),
    ("silence", &[]),
    ("interrupt", &[]),
    ("rate", &[]),
    ("emotion", &[]),
    ("repeat", &[]),
    ("duration", &[]),
    ("metadata", &[]),
];
/// Other names of the same.
const ALSO: [(&str, &str); 3] =
    [("agitation", "emotion"), ("interruption", "interrupt"), ("phrases", "phrase")];
const SHARED: [&str; 7] =
    ["speaker", "negated", "min_confidence", "window", "count_at_least", "count_within", "note"];

impl<'a> Reader<'a> {
    /// Reads a condition and puts it behind those it names. A text, or a list of texts, is a phrase.
    pub(super) fn condition(&mut self, node: &'a Node, speaker: Option<Role>, must: bool) -> Option<usize> {
        if self.depth == DEEPEST {
            self.problems.error(node.at, format!("conditions within one another more than {DEEPEST} deep"));
            return None;
        }
        self.depth += 1;
        let read = self.condition_here(node, speaker, must);
        self.depth -= 1;
        let condition = read?;
        if self.conditions.len() == MOST_CONDITIONS {
            if !self.full {
                self.problems.error(node.at, format!("more than {MOST_CONDITIONS} conditions"));
            }
            self.full = true;
            return None;
        }
        self.conditions.push(condition);
        Some(self.conditions.len() - 1)
    }

    fn condition_here(&mut self, node: &'a Node, inherited: Option<Role>, must: bool) -> Option<Condition> {
        let name = self.open.last().cloned();
        let plain = |kind| Condition {
            at: node.at,
            name: name.clone(),
            kind,
            speaker: inherited,
            negated: Negated::Skip,
            confidence: 0.0,
            window: None,
            count: None,
        };
        if !matches!(node.value, Value::Map(_)) {
            return Some(plain(Kind::Phrase(self.terms(node)?)));
        }
        let all = entries(self.problems, node, "a condition")?;
        let kinds: Vec<&'a Entry> = all.iter().filter(|entry| known(&entry.key).is_some()).collect();
        let [kind] = kinds[..] else {
            let names = KINDS.map(|(key, _)| key);
            match kinds.get(1) {
                Some(second) => {
                    let message = format!(
                        "a condition is about one thing: `{}` and `{}` are two; join them by `all` or `any`",
                        kinds[0].key, second.key
                    );
                    self.problems.error(second.at, message);
                }
                None => {
                    let stranger = all.iter().find(|entry| !SHARED.contains(&entry.key.as_str()));
                    let meant = stranger.and_then(|entry| nearest(&entry.key, names));
                    let at = stranger.map_or(node.at, |entry| entry.at);
                    let message =
                        format!("this condition says nothing to look for; it wants one of {}", list(&names));
                    self.problems.error_meant(at, message, meant);
                }
            }
            return None;
        };
        let key = known(&kind.key)?;
        let extra = KINDS.iter().find(|(name, _)| *name == key).map_or(&[][..], |(_, extra)| extra);
        let allowed: Vec<&str> =
            [kind.key.as_str()].into_iter().chain(extra.iter().copied()).chain(SHARED).collect();
        let fields =
            Fields::read(self.problems, node, &format!("a condition with `{}`", kind.key), &allowed)?;
        let speaker = self.speaker(&fields, "speaker").unwrap_or(inherited);
        let mut condition = Condition { speaker, ..plain(Kind::Any(Vec::new())) };
        let read = self.kind(key, &kind.node, &fields, &mut condition);
        condition.negated = match fields.get("negated").map(|node| (node, text(node))) {
            None | Some((_, Some("skip"))) => Negated::Skip,
            Some((_, Some("count"))) => Negated::Count,
            Some((_, Some("only"))) => Negated::Only,
            Some((node, _)) => {
                self.problems.error(node.at, "`negated` is `skip`, `count` or `only`");
                Negated::Skip
            }
        };
        condition.confidence = fields.number(self.problems, "min_confidence", 0.0, 1.0).unwrap_or(0.0) as f32;
        if let Some(node) = fields.get("window") {
            condition.window = Some(self.window(node, must)?);
        }
        let least = fields.count(self.problems, "count_at_least", 1, 10_000);
        let within = span(self.problems, &fields, "count_within", 1, LONGEST_MS);
        if let (Some(node), None) = (fields.get("count_within"), fields.get("count_at_least")) {
            self.problems.error(node.at, "`count_within` goes with `count_at_least`");
        }
        if let Some(least) = least {
            condition.count = Some(Count { least, within });
        }
        condition.kind = read?;
        if !condition.kind.reads_words() {
            for key in ["negated", "min_confidence"] {
                let inner = matches!(condition.kind, Kind::Any(_) | Kind::All { .. } | Kind::None { .. });
                if let Some(node) = fields.get(key) {
                    let advice = if inner { "; say it of the conditions within" } else { "" };
                    let message = format!("`{key}` says nothing of `{}`{advice}", condition.kind.key());
                    self.problems.error(node.at, message);
                }
            }
        }
        Some(condition)
    }

    /// A condition within another: a text is a phrase, `condition: name` is the one of that name.
    pub(super) fn part(&mut self, node: &'a Node, speaker: Option<Role>) -> Option<usize> {
        if let Value::Map(entries) = &node.value
            && let [entry] = &entries[..]
            && entry.key == "condition"
        {
            return self.reference(&entry.node);
        }
        self.condition(node, speaker, false)
    }

    /// A condition by its name, or one written in place.
    pub(super) fn step(&mut self, node: &'a Node) -> Option<usize> {
        match &node.value {
            Value::Map(_) => self.part(node, None),
            _ => self.reference(node),
        }
    }

    fn reference(&mut self, node: &'a Node) -> Option<usize> {
        match text(node) {
            Some(name) => self.named(name, node.at, false),
            None => {
                self.problems
                    .error(node.at, format!("expected the name of a condition, found {}", node.kind()));
                None
            }
        }
    }

    /// Who: `Some(None)` is anybody; `None` where the key is not there.
    pub(super) fn speaker(&mut self, fields: &Fields<'_>, key: &str) -> Option<Option<Role>> {
        let node = fields.get(key)?;
        match text(node) {
            Some("any") => Some(None),
            Some(name) if role_named(name).is_some() => Some(role_named(name)),
            found => {
                let meant = found.and_then(|name| nearest(name, ["agent", "customer", "other", "any"]));
                let message = format!("`{key}` is `agent`, `customer`, `other` or `any`");
                self.problems.error_meant(node.at, message, meant);
                None
            }
        }
    }

    /// Phrases; each is a text, and `*` at its end stands for the rest of a word.
    pub(super) fn terms(&mut self, node: &Node) -> Option<Vec<Term>> {
        let nodes = antiphon_engine_flow::file::items(node);
        if nodes.is_empty() {
            self.problems.error(node.at, "a phrase is missing here");
            return None;
        }
        nodes.iter().map(|node| self.term(node)).collect()
    }

    fn term(&mut self, node: &Node) -> Option<Term> {
        let Some(written) = text(node) else {
            self.problems.error(node.at, format!("expected a phrase, found {}", node.kind()));
            return None;
        };
        let (stem, open) = match written.trim().strip_suffix('*') {
            Some(stem) => (stem, !stem.ends_with(char::is_whitespace)),
            None => (written, false),
        };
        let tokens: Vec<String> = tokens_at(stem).into_iter().map(|token| token.text).collect();
        if tokens.is_empty() {
            self.problems.error(node.at, format!("`{written}` has no word to look for"));
            return None;
        }
        if tokens.len() > LONGEST_PHRASE {
            self.problems
                .error(node.at, format!("a phrase of more than {LONGEST_PHRASE} words or characters"));
            return None;
        }
        if stem.contains('*') {
            self.problems
                .error(node.at, "`*` stands at the end of a phrase only; otherwise use `near` or `regex`");
            return None;
        }
        Some(Term { tokens, open, pattern: 0 })
    }

    fn window(&mut self, node: &'a Node, must: bool) -> Option<Window> {
        const KEYS: [&str; 8] = ["after", "before", "around", "first", "last", "turns", "within", "which"];
        let fields = Fields::read(self.problems, node, "a window", &KEYS)?;
        let said: Vec<&str> = KEYS[..5].iter().copied().filter(|key| fields.get(key).is_some()).collect();
        let [key] = said[..] else {
            self.problems
                .error(node.at, "a window is one of `after`, `before`, `around`, `first` and `last`");
            return None;
        };
        let target = fields.get(key)?;
        let side = match key {
            "after" => Side::After,
            "before" => Side::Before,
            "around" => Side::Around,
            _ => {
                for key in ["turns", "within", "which"] {
                    if let Some(node) = fields.get(key) {
                        let message = format!(
                            "`{key}` goes with `after`, `before` or `around`; write `first: 3 turns`, `first: 30s` or `last: 20%`"
                        );
                        self.problems.error(node.at, message);
                    }
                }
                let extent = self.extent(target)?;
                return Some(if key == "first" { Window::First(extent) } else { Window::Last(extent) });
            }
        };
        let which = match fields.get("which").map(|node| (node, text(node))) {
            Some((_, Some("first"))) => Which::First,
            Some((_, Some("last"))) => Which::Last,
            Some((_, Some("any"))) => Which::Any,
            Some((node, _)) => {
                self.problems.error(node.at, "`which` is `first`, `last` or `any`");
                return None;
            }
            None if must => Which::First,
            None => Which::Any,
        };
        let reach = Reach {
            turns: fields.count(self.problems, "turns", 0, 10_000),
            time: span(self.problems, &fields, "within", 0, LONGEST_MS),
        };
        if side == Side::Around && reach == Reach::default() {
            self.problems.error(node.at, "`around` wants `turns` or `within`: how far");
        }
        Some(Window::Anchored { side, anchor: self.step(target)?, which, reach })
    }

    fn extent(&mut self, node: &Node) -> Option<Extent> {
        let written = text(node).unwrap_or_default().trim();
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let extent = if let Some(share) = written.strip_suffix('%').and_then(number) {
            (share <= 100.0).then_some(Extent::Share(share / 100.0))
        } else if let Some(turns) = written.strip_suffix("turns").or_else(|| written.strip_suffix("turn")) {
            number(turns).filter(|n| n.fract() == 0.0 && *n <= 10_000.0).map(|n| Extent::Turns(n as u32))
        } else {
            let time = antiphon_engine_flow::file::duration(written);
            time.filter(|time| time.as_millis() <= u128::from(LONGEST_MS))
                .map(|time| Extent::Time(time.into()))
        };
        if extent.is_none() {
            self.problems
                .error(node.at, "a part of a call is a time (`30s`), turns (`3 turns`) or a share (`20%`)");
        }
        extent
    }
}

/// The kind a key names.
fn known(key: &str) -> Option<&'static str> {
    let key = ALSO.iter().find(|(also, _)| *also == key).map_or(key, |(_, kind)| *kind);
    KINDS.iter().find(|(name, _)| *name == key).map(|(name, _)| *name)
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
