//! Steps and what is said in them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::understanding::endpoint;
use super::{Fields, Reader, entries, items, json, text, within};
use crate::expr::Expr;
use crate::model::{
    Action, Ask, Assign, Body, Collect, Confirm, Http, KeyTarget, Piece, Step, StepId, Target,
};
use crate::problem::nearest;
use crate::template::{Template, TemplateError};
use crate::yaml::{Entry, Node, Value};

const ACTIONS: [&str; 9] = ["say", "ask", "branch", "set", "http", "transfer", "goto", "hang_up", "answer"];
const KEYS: &str = "0123456789*#ABCD";
const LONGEST_COLLECTION: u32 = 32;
const MOST_PROMPT_CHARS: usize = 2_000;

impl Reader<'_> {
    /// Reads the step `n` of `count`.
    pub(super) fn step(&mut self, n: usize, entry: &Entry, count: usize) -> Option<Step> {
        let all = entries(self.problems, &entry.node, &entry.key)?;
        let Some(action) = ACTIONS.into_iter().find(|action| all.iter().any(|field| field.key == *action))
        else {
            match all.iter().find_map(|field| nearest(&field.key, ACTIONS).map(|meant| (field, meant))) {
                Some((field, meant)) => {
                    let message = format!("unknown key `{}` in the step `{}`", field.key, entry.key);
                    self.problems.error_meant(field.at, message, Some(meant));
                }
                None => self.problems.error(
                    entry.at,
                    format!(
                        "the step `{}` does nothing; a step has one of {}",
                        entry.key,
                        ACTIONS.join(", ")
                    ),
                ),
            }
            return None;
        };
        let keys: &[&str] = match action {
            "say" => &["say", "interruptible", "next"],
            "ask" => &[
                "ask",
                "barge_in",
                "intents",
                "global",
                "slot",
                "save",
                "again",
                "keys",
                "digits",
                "no_input",
                "no_match",
                "then",
                "confirm",
                "attempts",
                "no_input_after",
                "inter_digit",
                "endpoint",
                "next",
            ],
            "branch" => &["branch"],
            "set" => &["set", "next"],
            "answer" => &["answer", "next"],
            "http" => &["http", "save", "on_ok", "on_status", "on_timeout", "on_error", "next"],
            "transfer" => &[
                "transfer",
                "on_busy",
                "on_declined",
                "on_no_answer",
                "on_voicemail",
                "on_forbidden",
                "on_failed",
                "next",
            ],
            "goto" => &["goto"],
            _ => &["hang_up"],
        };
        let fields =
            Fields::read(self.problems, &entry.node, &format!("the step `{}` ({action})", entry.key), keys)?;
        let node = fields.get(action)?;
        let written = self.step_field(&fields, "next");
        let follows = (n + 1 < count).then_some(n + 1);
        let next = if fields.get("next").is_some() { written } else { follows };
        let action = match action {
            "say" => {
                let pieces = self.pieces(node);
                if pieces.is_empty() {
                    self.problems.error(node.at, "there is nothing to say");
                }
                let interruptible = fields.flag(self.problems, "interruptible").unwrap_or(true);
                Action::Say { pieces, interruptible }
            }
            "ask" => Action::Ask(Box::new(self.ask(node, &fields)?)),
            "branch" => self.branch(node, follows)?,
            "set" => Action::Set(self.assignments(node)?),
            "http" => Action::Http(Box::new(self.http(node, &fields)?)),
            "transfer" => Action::Transfer(Box::new(self.transfer(node, &fields)?)),
            "goto" => Action::Goto(self.step_name(node)?),
            "answer" => {
                if !node.is_null() {
                    self.problems.error(node.at, "`answer` takes nothing: the call is answered here");
                }
                Action::Answer
            }
            _ => Action::HangUp { pieces: self.pieces(node) },
        };
        let falls_through = match &action {
            Action::Say { .. } | Action::Set(_) | Action::Answer => true,
            Action::Ask(ask) => ask.slot.is_some(),
            Action::Http(http) => http.on_ok.is_none() || http.on_error.is_none(),
            // Where nothing follows, the call ends with the bridge; only a failure has to lead somewhere.
            Action::Transfer(transfer) => transfer.on.iter().all(|(outcome, _)| *outcome != "failed"),
            Action::Branch(_) | Action::Goto(_) | Action::HangUp { .. } => false,
        };
        if falls_through && next.is_none() && fields.get("next").is_none() {
            let message = format!("nothing follows the step `{}`: add `next` or a `hang_up` step", entry.key);
            self.problems.error(entry.at, message);
        }
        Some(Step { name: entry.key.clone(), at: entry.at, action, next })
    }

    fn ask(&mut self, node: &Node, fields: &Fields<'_>) -> Option<Ask> {
        let prompt = self.pieces(node);
        if prompt.is_empty() {
            self.problems.error(node.at, "the question has no prompt");
        }
        let intents = self.routes(fields.get("intents"), "intents");
        let slot = fields.get("slot").and_then(|node| self.slot_name(node));
        let slot = slot.map(|slot| {
            let variable = fields.text(self.problems, "save").unwrap_or_else(|| slot.clone());
            Target { slot, variable }
        });
        if slot.is_none()
            && let Some(save) = fields.get("save")
        {
            self.problems.error(save.at, "`save` wants a `slot` beside it");
        }
        let kind =
            slot.as_ref().and_then(|target| self.slots.get(&target.slot)).map(|slot| slot.kind.clone());
        let mut digits = kind.as_ref().filter(|kind| kind.takes_digits()).map(|kind| {
            let (min, max) = match kind {
                crate::entity::SlotKind::Digits { min, max } => (*min, *max),
                _ => (1, 9),
            };
            Collect { min, max, finish: Some('#') }
        });
        if let Some(node) = fields.get("digits") {
            let collect = Fields::read(self.problems, node, "digits", &["min", "max", "finish"])?;
            match &mut digits {
                None => {
                    self.problems.error(node.at, "`digits` wants a slot of digits, a number or an amount");
                }
                Some(digits) => {
                    let problems = &mut *self.problems;
                    let mut bound =
                        |key: &str| collect.count(problems, key, 1, LONGEST_COLLECTION).map(|n| n as usize);
                    digits.min = bound("min").unwrap_or(digits.min);
                    digits.max = bound("max").unwrap_or(digits.max);
                    if digits.min > digits.max {
                        self.problems.error(node.at, "`min` is above `max`: nothing fits");
                    }
                    if let Some(finish) = collect.get("finish") {
                        digits.finish = match text(finish) {
                            Some("none") => None,
                            Some("#") => Some('#'),
                            Some("*") => Some('*'),
                            _ => {
                                self.problems.error(finish.at, "`finish` wants \"#\", \"*\" or none");
                                None
                            }
                        };
                    }
                }
            }
        }
        let keys = self.keys(fields.get("keys"), kind.as_ref());
        if digits.is_some()
            && let Some(node) = fields.get("keys")
            && keys.keys().any(char::is_ascii_digit)
        {
            self.problems.error(node.at, "a question that collects digits can give meaning only to * and #");
        }
        if intents.is_empty() && slot.is_none() && keys.is_empty() {
            self.problems.error(fields.at, "the question expects nothing: add `intents`, a `slot` or `keys`");
        }
        let confirm = fields.get("confirm").and_then(|node| self.confirm(node, slot.is_some()));
        Some(Ask {
            prompt,
            barge_in: fields.flag(self.problems, "barge_in").unwrap_or(true),
            intents,
            globals: fields.flag(self.problems, "global").unwrap_or(true),
            slot,
            again: fields.flag(self.problems, "again").unwrap_or(false),
            keys,
            digits,
            no_input: self.escalation(fields.get("no_input")),
            no_match: self.escalation(fields.get("no_match")),
            then: self.step_field(fields, "then"),
            confirm,
            attempts: fields.count(self.problems, "attempts", 1, 10).unwrap_or(self.settings.attempts),
            no_input_after: fields.span(self.problems, "no_input_after").unwrap_or(self.settings.no_input),
            inter_digit: fields.span(self.problems, "inter_digit").unwrap_or(self.settings.inter_digit),
            endpoint: endpoint(self.problems, fields).or(self.settings.endpoint),
        })
    }

    fn keys(
        &mut self,
        node: Option<&Node>,
        kind: Option<&crate::entity::SlotKind>,
    ) -> BTreeMap<char, KeyTarget> {
        let mut keys = BTreeMap::new();
        if matches!(kind, Some(crate::entity::SlotKind::YesNo)) {
            keys.insert('1', KeyTarget::Value(true.into()));
            keys.insert('2', KeyTarget::Value(false.into()));
        }
        for entry in node.and_then(|node| entries(self.problems, node, "keys")).unwrap_or_default() {
            let mut chars = entry.key.chars();
            let (Some(key), None) = (chars.next(), chars.next()) else {
                self.problems.error(entry.at, format!("`{}` is not one key of a telephone", entry.key));
                continue;
            };
            if !KEYS.contains(key) {
                self.problems.error(entry.at, format!("`{key}` is not a key of a telephone"));
                continue;
            }
            if let Value::Map(_) = entry.node.value {
                let Some(fields) = Fields::read(self.problems, &entry.node, "a key", &["value"]) else {
                    continue;
                };
                match (fields.get("value"), kind) {
                    (Some(value), Some(_)) => {
                        keys.insert(key, KeyTarget::Value(json(value)));
                    }
                    _ => self.problems.error(entry.at, "a key's `value` wants a `slot` to go into"),
                }
            } else if let Some(step) = self.step_name(&entry.node) {
                keys.insert(key, KeyTarget::Step(step));
            }
        }
        keys
    }

    fn confirm(&mut self, node: &Node, has_slot: bool) -> Option<Confirm> {
        if !matches!(node.value, Value::Map(_)) {
            // {title} is the intent in question.
            return Some(Confirm { pieces: self.confirm_pieces(node), always: has_slot });
        }
        let fields = Fields::read(self.problems, node, "confirm", &["prompt", "when"])?;
        let always = match fields.get("when").and_then(text) {
            Some("always") => true,
            Some("unsure") => false,
            None if fields.get("when").is_none() => has_slot,
            _ => {
                self.problems.error(node.at, "`when` wants `always` or `unsure`");
                false
            }
        };
        let Some(prompt) = fields.get("prompt") else {
            self.problems.error(node.at, "`confirm` wants a `prompt`");
            return None;
        };
        Some(Confirm { pieces: self.confirm_pieces(prompt), always })
    }

    fn confirm_pieces(&mut self, node: &Node) -> Vec<Piece> {
        let new = self.known.insert("title".to_owned());
        let pieces = self.pieces(node);
        if new {
            self.known.remove("title");
        }
        pieces
    }

    fn escalation(&mut self, node: Option<&Node>) -> Vec<Vec<Piece>> {
        node.map(items).unwrap_or_default().iter().map(|item| self.pieces(item)).collect()
    }

    fn branch(&mut self, node: &Node, follows: Option<StepId>) -> Option<Action> {
        let mut ways = Vec::new();
        let all = items(node);
        for (n, item) in all.iter().enumerate() {
            let fields = Fields::read(self.problems, item, "a branch", &["if", "goto", "else"])?;
            if let Some(otherwise) = fields.get("else") {
                if fields.get("if").is_some() || fields.get("goto").is_some() || n + 1 < all.len() {
                    self.problems.error(item.at, "`else` stands alone and last");
                }
                ways.extend(self.step_name(otherwise).map(|step| (None, step)));
                continue;
            }
            let (Some(condition), Some(step)) = (fields.get("if"), fields.get("goto")) else {
                self.problems.error(item.at, "a branch has `if` and `goto`, or `else`");
                continue;
            };
            let expr = self.expr(condition);
            ways.extend(expr.zip(self.step_name(step)).map(|(expr, step)| (Some(expr), step)));
        }
        if ways.last().is_none_or(|(condition, _)| condition.is_some()) {
            match follows {
                Some(next) => ways.push((None, next)),
                None => self.problems.error(node.at, "the branch has no `else` and no step follows it"),
            }
        }
        Some(Action::Branch(ways))
    }

    fn expr(&mut self, node: &Node) -> Option<Expr> {
        let source = text(node)?;
        self.expr_text(node, source, 0)
    }

    fn expr_text(&mut self, node: &Node, source: &str, shift: usize) -> Option<Expr> {
        match Expr::parse(source) {
            Ok(expr) => {
                for name in expr.variables() {
                    let offset = source.find(name).map_or(0, |byte| source[..byte].chars().count());
                    self.check_variable(name, within(node, shift + offset));
                }
                Some(expr)
            }
            Err(error) => {
                self.problems.error(within(node, shift + error.offset), error.message);
                None
            }
        }
    }

    fn assignments(&mut self, node: &Node) -> Option<Vec<(String, Assign)>> {
        let mut assignments = Vec::new();
        for entry in entries(self.problems, node, "set")? {
            self.name(&entry.key, entry.at, "variable");
            let value = match &entry.node.value {
                Value::Scalar { text, .. } if text.starts_with('=') => {
                    Assign::Computed(self.expr_text(&entry.node, &text[1..], 1)?)
                }
                Value::Scalar { text, .. } if text.contains('{') => {
                    Assign::Text(self.template(&entry.node, false)?)
                }
                _ => Assign::Literal(json(&entry.node)),
            };
            assignments.push((entry.key.clone(), value));
        }
        Some(assignments)
    }

    fn http(&mut self, node: &Node, outer: &Fields<'_>) -> Option<Http> {
        let keys = ["method", "url", "headers", "body", "timeout", "save"];
        let fields = Fields::read(self.problems, node, "http", &keys)?;
        let method = fields.text(self.problems, "method").unwrap_or_else(|| "GET".to_owned()).to_uppercase();
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        if !methods.contains(&method.as_str())
            && let Some(node) = fields.get("method")
        {
            self.problems.error_meant(node.at, format!("`{method}` is no method"), nearest(&method, methods));
        }
        let Some(url_node) = fields.get("url") else {
            self.problems.error(node.at, "`http` wants a `url`");
            return None;
        };
        let url = self.template(url_node, true)?;
        let address = text(url_node).unwrap_or_default();
        if !["http://", "https://", "{", "${"].iter().any(|start| address.starts_with(start)) {
            self.problems
                .error(url_node.at, "an address begins with http:// or https:// (or with a variable)");
        }
        let mut headers = Vec::new();
        for entry in
            fields.get("headers").and_then(|node| entries(self.problems, node, "headers")).unwrap_or_default()
        {
            if entry.key.is_empty()
                || !entry.key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            {
                self.problems.error(entry.at, format!("`{}` is no header field", entry.key));
            }
            headers.extend(self.template(&entry.node, true).map(|template| (entry.key.clone(), template)));
        }
        let mut save = Vec::new();
        for source in [outer.get("save"), fields.get("save")].into_iter().flatten() {
            for entry in entries(self.problems, source, "save").unwrap_or_default() {
                self.name(&entry.key, entry.at, "variable");
                match text(&entry.node) {
                    Some(pointer) if pointer.starts_with('/') => {
                        save.push((entry.key.clone(), pointer.to_owned()));
                    }
                    _ if matches!(&entry.node.value, Value::Scalar { text, .. } if text.is_empty()) => {
                        save.push((entry.key.clone(), String::new()));
                    }
                    _ => self
                        .problems
                        .error(entry.node.at, "`save` wants a JSON pointer such as `/account/balance`"),
                }
            }
        }
        let mut on_status = Vec::new();
        for entry in outer
            .get("on_status")
            .and_then(|node| entries(self.problems, node, "on_status"))
            .unwrap_or_default()
        {
            let status = entry.key.parse::<u16>().ok().filter(|status| (100..600).contains(status));
            if status.is_none() {
                self.problems.error(entry.at, format!("`{}` is no HTTP status", entry.key));
            }
            on_status.extend(status.zip(self.step_name(&entry.node)));
        }
        let longest = Duration::from_secs(30);
        Some(Http {
            method,
            url,
            headers,
            body: fields.get("body").and_then(|node| self.body(node)),
            timeout: fields
                .duration(self.problems, "timeout", Duration::from_millis(50), longest)
                .unwrap_or(Duration::from_secs(3)),
            save,
            on_ok: self.step_field(outer, "on_ok"),
            on_status,
            on_timeout: self.step_field(outer, "on_timeout"),
            on_error: self.step_field(outer, "on_error"),
        })
    }

    fn body(&mut self, node: &Node) -> Option<Body> {
        Some(match &node.value {
            Value::Scalar { text, .. } if text.contains('{') => Body::Text(self.template(node, true)?),
            Value::Scalar { .. } => Body::Literal(json(node)),
            Value::List(items) => Body::List(items.iter().filter_map(|item| self.body(item)).collect()),
            Value::Map(entries) => Body::Map(
                entries
                    .iter()
                    .filter_map(|entry| self.body(&entry.node).map(|body| (entry.key.clone(), body)))
                    .collect(),
            ),
        })
    }

    /// What is said: a text, a recording, or a list of both.
    pub(super) fn pieces(&mut self, node: &Node) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for item in items(node) {
            if let Value::Map(_) = item.value {
                pieces.extend(self.recording(item));
                continue;
            }
            if let Value::List(_) = item.value {
                self.problems.error(item.at, "a prompt is a text or a recording, found a list");
                continue;
            }
            if let Some(template) = self.template(item, false) {
                if text(item).is_none_or(|text| text.trim().is_empty()) {
                    self.problems.error(item.at, "an empty prompt");
                }
                pieces.push(Piece::Text(template));
            }
        }
        let length: usize = items(node).iter().filter_map(text).map(|text| text.chars().count()).sum();
        if length > MOST_PROMPT_CHARS {
            self.problems
                .error(node.at, format!("a prompt of {length} characters; {MOST_PROMPT_CHARS} are allowed"));
        } else if length > self.long_prompt() {
            self.problems.warn(node.at, format!("a prompt of {length} characters: callers stop listening"));
        }
        pieces
    }

    /// About fifteen seconds of speech.
    fn long_prompt(&self) -> usize {
        if self.tongue == crate::entity::Tongue::Chinese { 70 } else { 240 }
    }

    fn recording(&mut self, node: &Node) -> Option<Piece> {
        let fields = Fields::read(self.problems, node, "a prompt", &["recording", "text"])?;
        let words = match fields.get("text") {
            Some(node) => self.template(node, false)?,
            None => Template::default(),
        };
        let Some(file) = fields.get("recording") else {
            return Some(Piece::Text(words));
        };
        let path = self.folder.join(text(file)?);
        if !path.is_file() {
            self.problems.error(file.at, format!("there is no recording {}", path.display()));
        }
        Some(Piece::Recording { path, text: words })
    }

    pub(super) fn template(&mut self, node: &Node, secrets_allowed: bool) -> Option<Template> {
        let Some(source) = text(node) else {
            self.problems.error(node.at, format!("expected a text, found {}", node.kind()));
            return None;
        };
        match Template::parse(source, secrets_allowed.then_some(self.secrets)) {
            Ok(template) => {
                for name in template.variables() {
                    let offset =
                        source.find(&format!("{{{name}")).map_or(0, |byte| source[..byte].chars().count());
                    self.check_variable(name, within(node, offset));
                }
                Some(template)
            }
            Err(TemplateError { offset, message }) => {
                self.problems.error(within(node, offset), message);
                None
            }
        }
    }
}
