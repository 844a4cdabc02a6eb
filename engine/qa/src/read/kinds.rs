//! What each kind of condition says of itself.

use antiphon_engine_flow::Slot;
use antiphon_engine_flow::file::{Fields, Node, Value, entries, items, nearest, text};
use antiphon_engine_flow::tokens_at;
use antiphon_engine_measure::{Measures, Role};
use antiphon_media_frame::Span;
use regex::{Regex, RegexBuilder};

use super::condition::LONGEST_MS;
use super::{Reader, span};
use crate::model::{Condition, Count, Fits, Kind, Length, Range, Together, Unit};
use crate::similar::{By, Saying};
use crate::sound::Sound;

/// Compiled, bytes: enough for thousands of words, too little for repeated classes of all letters.
const LARGEST_REGEX: usize = 1 << 18;
const LONGEST_SAYING: usize = 100;
const MOST_TERMS: usize = 8;
const MOST_STEPS: usize = 50;

impl<'a> Reader<'a> {
    pub(super) fn kind(
        &mut self,
        key: &str,
        node: &'a Node,
        fields: &Fields<'a>,
        condition: &mut Condition,
    ) -> Option<Kind> {
        match key {
            "phrase" => Some(Kind::Phrase(self.terms(node)?)),
            "regex" => {
                let not = match fields.get("not_regex") {
                    Some(node) => Some(self.regex(node)?),
                    None => None,
                };
                Some(Kind::Regex { pattern: self.regex(node)?, not })
            }
            "near" => self.near(node),
            "similar" => self.similar(node, fields),
            "pinyin" => self.pinyin(node, fields),
            "entity" => self.entity(node, condition),
            "any" => Some(Kind::Any(self.parts(node, condition.speaker)?)),
            "all" => {
                let together = self.together(fields);
                Some(Kind::All { parts: self.parts(node, condition.speaker)?, together })
            }
            "none" => {
                let together = self.together(fields);
                Some(Kind::None { parts: self.parts(node, condition.speaker)?, together })
            }
            "expr" => {
                let Some(written) = text(node) else {
                    self.problems
                        .error(node.at, format!("`expr` wants an expression, found {}", node.kind()));
                    return None;
                };
                Some(Kind::Logic(self.expression(node, written, false)?))
            }
            "sequence" => self.sequence(node, fields),
            "silence" => self.silence(node),
            "interrupt" => self.interrupt(node, condition),
            "rate" => self.rate(node, condition),
            "emotion" => self.emotion(node, condition),
            "repeat" => self.repeat(node, condition),
            "duration" => self.duration(node, condition),
            _ => self.metadata(node),
        }
    }

    fn parts(&mut self, node: &'a Node, speaker: Option<Role>) -> Option<Vec<usize>> {
        let nodes = items(node);
        if nodes.is_empty() {
            self.problems.error(node.at, "there is nothing in this list");
            return None;
        }
        // All are read, so that all their problems are told.
        let parts: Vec<Option<usize>> = nodes.iter().map(|node| self.part(node, speaker)).collect();
        parts.into_iter().collect()
    }

    fn together(&mut self, fields: &Fields<'_>) -> Together {
        match fields.get("in").map(|node| (node, text(node))) {
            None | Some((_, Some("turn"))) => Together::Turn,
            Some((_, Some("call"))) => Together::Call,
            Some((node, _)) => {
                self.problems.error(node.at, "`in` is `turn` or `call`");
                Together::Turn
            }
        }
    }

    fn regex(&mut self, node: &Node) -> Option<Regex> {
        let Some(pattern) = text(node).filter(|pattern| !pattern.is_empty()) else {
            self.problems.error(node.at, format!("expected a regular expression, found {}", node.kind()));
            return None;
        };
        let built = RegexBuilder::new(pattern)
            .case_insensitive(true)
            .size_limit(LARGEST_REGEX)
            .dfa_size_limit(LARGEST_REGEX * 4)
            .nest_limit(50)
            .build();
        match built {
            Ok(regex) => Some(regex),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                self.problems.error(node.at, format!("not a regular expression: {last}"));
                None
            }
        }
    }

    fn near(&mut self, node: &'a Node) -> Option<Kind> {
        let fields =
            Fields::read(self.problems, node, "`near`", &["a", "b", "terms", "max_tokens", "ordered"])?;
        let nodes: Vec<&Node> = match (fields.get("terms"), fields.get("a"), fields.get("b")) {
            (Some(terms), None, None) => items(terms).iter().collect(),
            (None, Some(a), Some(b)) => vec![a, b],
            _ => {
                self.problems.error(node.at, "`near` wants `a` and `b`, or `terms` with two of them or more");
                return None;
            }
        };
        if !(2..=MOST_TERMS).contains(&nodes.len()) {
            self.problems.error(node.at, format!("`near` takes 2 to {MOST_TERMS} terms"));
            return None;
        }
        let terms = nodes.into_iter().map(|node| self.terms(node)).collect::<Option<Vec<_>>>()?;
        let gap = fields.count(self.problems, "max_tokens", 0, 200).unwrap_or(6) as usize;
        Some(Kind::Near { terms, gap, ordered: fields.flag(self.problems, "ordered").unwrap_or(false) })
    }

    fn similar(&mut self, node: &Node, fields: &Fields<'_>) -> Option<Kind> {
        let Some(written) = text(node) else {
            self.problems.error(node.at, format!("`similar` wants a text, found {}", node.kind()));
            return None;
        };
        let tokens: Vec<String> = tokens_at(written).into_iter().map(|token| token.text).collect();
        if !(1..=LONGEST_SAYING).contains(&tokens.len()) {
            self.problems
                .error(node.at, format!("`similar` wants 1 to {LONGEST_SAYING} words or characters"));
            return None;
        }
        let by = match fields.get("by").map(|node| (node, text(node))) {
            None | Some((_, Some("both"))) => By::Both,
            Some((_, Some("characters"))) => By::Characters,
            Some((_, Some("pinyin"))) => By::Pinyin,
            Some((_, Some("meaning"))) => By::Meaning,
            Some((node, _)) => {
                self.problems.error(node.at, "`by` is `characters`, `pinyin`, `both` or `meaning`");
                return None;
            }
        };
        let least = fields.number(self.problems, "min", 0.0, 1.0).unwrap_or(0.8) as f32;
        Some(Kind::Similar { saying: Saying::new(tokens), text: written.to_owned(), least, by })
    }

    fn pinyin(&mut self, node: &Node, fields: &Fields<'_>) -> Option<Kind> {
        let accent = fields.flag(self.problems, "accent").unwrap_or(false);
        let mut sounds = Vec::new();
        for node in items(node) {
            match text(node).filter(|text| text.chars().count() <= LONGEST_SAYING).and_then(Sound::parse) {
                Some(sound) => sounds.push(sound),
                None => {
                    let message = format!(
                        "`pinyin` wants pinyin such as `bu bao ben`, or Chinese characters, at most {LONGEST_SAYING}"
                    );
                    self.problems.error(node.at, message);
                    return None;
                }
            }
        }
        if sounds.is_empty() {
            self.problems.error(node.at, "`pinyin` is empty");
            return None;
        }
        Some(Kind::Pinyin { sounds, accent })
    }

    fn entity(&mut self, node: &Node, condition: &mut Condition) -> Option<Kind> {
        const KINDS: [&str; 5] = ["digits", "number", "amount", "date", "yes_no"];
        let (name, fields) = match &node.value {
            Value::Map(_) => {
                let keys = ["kind", "speaker", "min_digits", "max_digits", "above", "below", "equals"];
                let fields = Fields::read(self.problems, node, "`entity`", &keys)?;
                (fields.get("kind").unwrap_or(node), Some(fields))
            }
            _ => (node, None),
        };
        let kind = text(name).unwrap_or_default();
        let digits = |key: &str, default: u32, this: &mut Self| {
            fields.as_ref().and_then(|fields| fields.count(this.problems, key, 1, 64)).unwrap_or(default)
                as usize
        };
        let slot = match kind {
            "digits" => {
                let (min, max) = (digits("min_digits", 4, self), digits("max_digits", 64, self));
                if min > max {
                    self.problems.error(node.at, "`min_digits` is more than `max_digits`");
                }
                Slot::Digits { min, max }
            }
            "number" => Slot::Number,
            "amount" => Slot::Amount,
            "date" => Slot::Date,
            "yes_no" => Slot::YesNo,
            _ => {
                let meant = nearest(kind, KINDS);
                let message = "`entity` is `digits`, `number`, `amount`, `date` or `yes_no`";
                self.problems.error_meant(name.at, message, meant);
                return None;
            }
        };
        let Some(fields) = fields else {
            return Some(Kind::Entity { slot, range: Range::default(), equals: None });
        };
        if let Some(speaker) = self.speaker(&fields, "speaker") {
            condition.speaker = speaker;
        }
        if !matches!(slot, Slot::Digits { .. }) {
            for key in ["min_digits", "max_digits"] {
                if let Some(node) = fields.get(key) {
                    self.problems.error(node.at, format!("`{key}` goes with `digits`"));
                }
            }
        }
        let range = self.range(&fields, f64::MIN, f64::MAX);
        if range != Range::default() && !matches!(slot, Slot::Number | Slot::Amount) {
            self.problems.error(node.at, "`above` and `below` go with `number` and `amount`");
        }
        Some(Kind::Entity { slot, range, equals: fields.text(self.problems, "equals") })
    }

    fn range(&mut self, fields: &Fields<'_>, low: f64, high: f64) -> Range {
        Range {
            above: fields.number(self.problems, "above", low, high),
            below: fields.number(self.problems, "below", low, high),
        }
    }

    fn sequence(&mut self, node: &'a Node, fields: &Fields<'_>) -> Option<Kind> {
        let nodes = items(node);
        if !(2..=MOST_STEPS).contains(&nodes.len()) {
            self.problems.error(node.at, format!("a sequence has 2 to {MOST_STEPS} steps"));
            return None;
        }
        let steps: Vec<Option<usize>> = nodes.iter().map(|node| self.step(node)).collect();
        Some(Kind::Sequence {
            steps: steps.into_iter().collect::<Option<_>>()?,
            turns: fields.count(self.problems, "max_gap_turns", 0, 10_000),
            time: span(self.problems, fields, "max_gap", 0, LONGEST_MS),
        })
    }

    fn silence(&mut self, node: &Node) -> Option<Kind> {
        let keys = ["longer_than", "caused_by", "within", "exclude", "include"];
        let fields = Fields::read(self.problems, node, "`silence`", &keys)?;
        let shortest = Measures::SHORTEST_SILENCE.millis();
        let least = span(self.problems, &fields, "longer_than", shortest, LONGEST_MS);
        if fields.get("longer_than").is_none() {
            self.problems.error(node.at, "`silence` wants `longer_than`: how long at least");
        }
        let owed = self.speaker(&fields, "caused_by").flatten();
        let within = self.speaker(&fields, "within").flatten();
        if owed.is_some() && within.is_some() {
            self.problems.error(
                node.at,
                "a silence is either `caused_by` one who owes an answer or `within` what one says",
            );
        }
        for key in ["exclude", "include"] {
            if let Some(node) = fields.get(key).filter(|node| text(node) != Some("hold")) {
                self.problems.error(node.at, format!("`{key}` of a silence can only be `hold`"));
            }
        }
        if let (Some(_), Some(node)) = (fields.get("exclude"), fields.get("include")) {
            self.problems.error(node.at, "`hold` is either excluded or included");
        }
        Some(Kind::Silence { least: least?, owed, within, hold: fields.get("include").is_some() })
    }

    fn interrupt(&mut self, node: &Node, condition: &mut Condition) -> Option<Kind> {
        let keys = [
            "by",
            "of",
            "speaking_at_least",
            "overlap_at_least",
            "exclude",
            "include",
            "count_at_least",
            "took_over",
        ];
        let fields = Fields::read(self.problems, node, "`interrupt`", &keys)?;
        let by = self.speaker(&fields, "by").flatten();
        let of = self.speaker(&fields, "of").flatten();
        for key in ["exclude", "include"] {
            let known = |node: &&Node| !matches!(text(node), Some("backchannel" | "backchannels"));
            if let Some(node) = fields.get(key).filter(known) {
                self.problems.error(node.at, format!("`{key}` of an interruption can only be `backchannel`"));
            }
        }
        if let (Some(_), Some(node)) = (fields.get("exclude"), fields.get("include")) {
            self.problems.error(node.at, "`backchannel` is either excluded or included");
        }
        if let Some(least) = fields.count(self.problems, "count_at_least", 1, 10_000) {
            condition.count = Some(Count { least, within: None });
        }
        Some(Kind::Interrupt {
            by,
            of,
            speaking: span(self.problems, &fields, "speaking_at_least", 0, LONGEST_MS).unwrap_or(Span::ZERO),
            overlap: span(self.problems, &fields, "overlap_at_least", 0, LONGEST_MS).unwrap_or(Span::ZERO),
            backchannels: fields.get("include").is_some(),
            took_over: fields.flag(self.problems, "took_over").unwrap_or(false),
        })
    }

    fn rate(&mut self, node: &Node, condition: &mut Condition) -> Option<Kind> {
        let keys = ["speaker", "unit", "above", "below", "min_chars", "min_words", "over"];
        let fields = Fields::read(self.problems, node, "`rate`", &keys)?;
        if let Some(speaker) = self.speaker(&fields, "speaker") {
            condition.speaker = speaker;
        }
        let unit = match fields.get("unit").map(|node| (node, text(node))) {
            None => None,
            Some((_, Some("chars_per_min"))) => Some(Unit::Characters),
            Some((_, Some("words_per_min"))) => Some(Unit::Words),
            Some((node, _)) => {
                self.problems.error(node.at, "`unit` is `chars_per_min` or `words_per_min`");
                None
            }
        };
        let range = self.range(&fields, 0.0, 100_000.0);
        if range == Range::default() {
            self.problems.error(node.at, "`rate` wants `above` or `below`");
        }
        let chars = fields.count(self.problems, "min_chars", 0, 10_000);
        let words = fields.count(self.problems, "min_words", 0, 10_000);
        let whole = match fields.get("over").map(|node| (node, text(node))) {
            None | Some((_, Some("turn"))) => false,
            Some((_, Some("call"))) => true,
            Some((node, _)) => {
                self.problems.error(node.at, "`over` is `turn` or `call`");
                false
            }
        };
        Some(Kind::Rate { range, unit, least: chars.or(words).unwrap_or(0), whole })
    }

    fn emotion(&mut self, node: &Node, condition: &mut Condition) -> Option<Kind> {
        let fields =
            Fields::read(self.problems, node, "`emotion`", &["speaker", "label", "at_least", "sustained"])?;
        if let Some(speaker) = self.speaker(&fields, "speaker") {
            condition.speaker = speaker;
        }
        if let Some(label) = fields.get("label")
            && !matches!(text(label), Some("anger" | "agitation"))
        {
            let message = "only `anger` (the same as `agitation`) is measured";
            self.problems.error(label.at, message);
        }
        let least = fields.number(self.problems, "at_least", 0.0, 1.0).unwrap_or(0.7) as f32;
        let sustained = span(self.problems, &fields, "sustained", 0, LONGEST_MS).unwrap_or(Span::ZERO);
        Some(Kind::Emotion { least, sustained })
    }

    fn repeat(&mut self, node: &Node, condition: &mut Condition) -> Option<Kind> {
        let keys = ["speaker", "within_turns", "similarity", "count_at_least"];
        let fields = Fields::read(self.problems, node, "`repeat`", &keys)?;
        if let Some(speaker) = self.speaker(&fields, "speaker") {
            condition.speaker = speaker;
        }
        if let Some(least) = fields.count(self.problems, "count_at_least", 1, 10_000) {
            condition.count = Some(Count { least, within: None });
        }
        let similarity = fields.number(self.problems, "similarity", 0.0, 1.0).unwrap_or(0.8) as f32;
        Some(Kind::Repeat { within: fields.count(self.problems, "within_turns", 1, 10_000), similarity })
    }

    fn duration(&mut self, node: &Node, condition: &mut Condition) -> Option<Kind> {
        const OF: [(&str, Length); 6] = [
            ("call", Length::Call),
            ("turn", Length::Turn),
            ("hold", Length::Hold),
            ("monologue", Length::Monologue),
            ("talk", Length::Talk),
            ("response", Length::Response),
        ];
        let fields = Fields::read(
            self.problems,
            node,
            "`duration`",
            &["of", "speaker", "longer_than", "shorter_than"],
        )?;
        if let Some(speaker) = self.speaker(&fields, "speaker") {
            condition.speaker = speaker;
        }
        let of = match fields.get("of") {
            None => Length::Call,
            Some(node) => {
                let name = text(node).unwrap_or_default();
                let Some((_, of)) = OF.iter().find(|(known, _)| *known == name) else {
                    let meant = nearest(name, OF.map(|(name, _)| name));
                    let message = "`of` is `call`, `turn`, `hold`, `monologue`, `talk` or `response`";
                    self.problems.error_meant(node.at, message, meant);
                    return None;
                };
                *of
            }
        };
        let longer = span(self.problems, &fields, "longer_than", 0, LONGEST_MS);
        let shorter = span(self.problems, &fields, "shorter_than", 0, LONGEST_MS);
        if fields.get("longer_than").is_none() && fields.get("shorter_than").is_none() {
            self.problems.error(node.at, "`duration` wants `longer_than` or `shorter_than`");
        }
        Some(Kind::Duration { of, longer, shorter })
    }

    fn metadata(&mut self, node: &Node) -> Option<Kind> {
        let mut keys = Vec::new();
        for entry in entries(self.problems, node, "metadata")? {
            let fits = match &entry.node.value {
                Value::Map(_) => {
                    let fields = Fields::read(
                        self.problems,
                        &entry.node,
                        "metadata",
                        &["is", "not", "regex", "present"],
                    )?;
                    match (fields.get("is"), fields.get("not"), fields.get("regex"), fields.get("present")) {
                        (Some(is), None, None, None) => Fits::OneOf(self.values(is)?),
                        (None, Some(not), None, None) => Fits::NoneOf(self.values(not)?),
                        (None, None, Some(regex), None) => Fits::Matches(self.regex(regex)?),
                        (None, None, None, Some(_))
                            if fields.flag(self.problems, "present") == Some(true) =>
                        {
                            Fits::Present
                        }
                        _ => {
                            let message = "one of `is`, `not`, `regex` and `present: true` is wanted here";
                            self.problems.error(entry.node.at, message);
                            return None;
                        }
                    }
                }
                _ => Fits::OneOf(self.values(&entry.node)?),
            };
            keys.push((entry.key.clone(), fits));
        }
        if keys.is_empty() {
            self.problems.error(node.at, "`metadata` wants keys and values: `metadata: {queue: sales}`");
            return None;
        }
        Some(Kind::Metadata(keys))
    }

    fn values(&mut self, node: &Node) -> Option<Vec<String>> {
        let values: Option<Vec<String>> =
            items(node).iter().map(|node| text(node).map(str::to_owned)).collect();
        if values.as_ref().is_none_or(Vec::is_empty) {
            self.problems.error(node.at, "expected a value, or a list of them");
            return None;
        }
        values
    }
}
