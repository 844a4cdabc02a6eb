//! Tags: literals (`semantics/1.0-literals`), and of scripts (`semantics/1.0`) the assignments that most grammars consist of.
//!
//! Served are `out = <value>`, `out.name = <value>` and `+=` of both, where a value is a string, a number, `true`, `false`,
//! `null`, `{}`, `out.path`, `rules.name.path`, `rules.latest().path` or `meta.current().text`, and any of them joined
//! by `+`. Everything else is refused when the grammar is read, not when somebody has spoken.

use serde_json::{Map, Number, Value};

/// Parts of a value at most; what is more is left out.
const MOST_PARTS: usize = 1_000;
/// Longest string that comes of joining, in octets.
const LONGEST: usize = 8 * 1024;
/// Statements of one tag at most.
const STATEMENTS: usize = 100;

/// What a tag says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Script {
    /// The meaning itself.
    Literal(String),
    /// Assignments, in order.
    Statements(Vec<Statement>),
}

/// `out.path = terms`, or `+=`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    path: Vec<String>,
    add: bool,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Value(Value),
    Out(Vec<String>),
    Rule(String, Vec<String>),
    Latest(Vec<String>),
    Text,
}

/// What tags of one rule work on.
#[derive(Debug, Default)]
pub(super) struct Scope {
    out: Option<Value>,
    rules: Map<String, Value>,
    latest: Option<Value>,
    text: String,
}

impl Scope {
    /// Another rule was passed and means this.
    pub(super) fn passed(&mut self, rule: &str, value: Value) {
        self.rules.insert(rule.to_owned(), value.clone());
        self.latest = Some(value);
    }

    /// The words so far.
    pub(super) fn say(&mut self, words: &[&str]) {
        self.text = words.join(" ");
    }

    pub(super) fn latest(self) -> Option<Value> {
        self.latest
    }

    /// What the tags made, if they made anything.
    pub(super) fn out(&self) -> Option<Value> {
        self.out.clone()
    }
}

impl Script {
    /// Reads a tag of `semantics/1.0`.
    ///
    /// # Errors
    /// What in it is not served.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text.trim() };
        let mut statements = Vec::new();
        while !reader.rest.is_empty() {
            if reader.takes(";") {
                continue;
            }
            if statements.len() == STATEMENTS {
                return Err("a tag of more than 100 statements".into());
            }
            statements.push(reader.statement()?);
            if !reader.rest.is_empty() && !reader.takes(";") {
                return Err(format!("the tag at `{}`", reader.shown()));
            }
        }
        Ok(Self::Statements(statements))
    }

    /// Does what the tag says.
    pub(super) fn run(&self, scope: &mut Scope) {
        match self {
            Self::Literal(text) => scope.out = Some(Value::String(text.clone())),
            Self::Statements(statements) => statements.iter().for_each(|statement| statement.run(scope)),
        }
    }
}

impl Statement {
    fn run(&self, scope: &mut Scope) {
        let mut values = self.terms.iter().map(|term| term.value(scope));
        let first = values.next().unwrap_or(Value::Null);
        let mut value = values.fold(first, |before, value| join(&before, &value));
        if self.add {
            let before = scope.out.as_ref().and_then(|out| at(out, &self.path)).cloned();
            value = before.map_or(value.clone(), |before| join(&before, &value));
        }
        let room = MOST_PARTS.saturating_sub(scope.out.as_ref().map_or(0, parts));
        if parts(&value) > room && !self.path.is_empty() || parts(&value) > MOST_PARTS {
            return;
        }
        let mut place = scope.out.get_or_insert(Value::Null);
        for name in &self.path {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(map) = place else { return };
            place = map.entry(name.clone()).or_insert(Value::Null);
        }
        *place = value;
    }
}

impl Term {
    fn value(&self, scope: &Scope) -> Value {
        let found = match self {
            Self::Value(value) => return value.clone(),
            Self::Text => return Value::String(scope.text.clone()),
            Self::Out(path) => scope.out.as_ref().and_then(|out| at(out, path)),
            Self::Rule(name, path) => scope.rules.get(name).and_then(|value| at(value, path)),
            Self::Latest(path) => scope.latest.as_ref().and_then(|value| at(value, path)),
        };
        found.cloned().unwrap_or(Value::Null)
    }
}

fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

fn parts(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(parts).sum::<usize>(),
        Value::Array(all) => 1 + all.iter().map(parts).sum::<usize>(),
        _ => 1,
    }
}

/// `+` as ECMAScript has it: sums of numbers, else strings joined.
fn join(one: &Value, other: &Value) -> Value {
    if let (Some(a), Some(b)) = (one.as_f64(), other.as_f64()) {
        return number(a + b);
    }
    let mut text = plain(one);
    text.push_str(&plain(other));
    let cut = (0..=text.len().min(LONGEST)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(cut);
    Value::String(text)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Object(_) | Value::Array(_) => "[object Object]".to_owned(),
        other => other.to_string(),
    }
}

fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn takes(&mut self, sign: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(sign) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn shown(&self) -> String {
        self.rest.chars().take(40).collect()
    }

    fn name(&mut self) -> Option<&'t str> {
        let fits = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let name = Some(&self.rest[..end]).filter(|name| !name.is_empty())?;
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.rest = self.rest[end..].trim_start();
        Some(name)
    }

    /// `.a.b["c"]`
    fn path(&mut self) -> Result<Vec<String>, String> {
        let mut path = Vec::new();
        loop {
            if self.takes(".") {
                let name = self.name().ok_or_else(|| format!("the tag at `{}`", self.shown()))?;
                path.push(name.to_owned());
            } else if self.takes("[") {
                let name = self.string().ok_or_else(|| format!("the tag at `{}`", self.shown()))?;
                if !self.takes("]") {
                    return Err(format!("the tag at `{}`", self.shown()));
                }
                path.push(name);
            } else {
                return Ok(path);
            }
            if path.len() > 16 {
                return Err("a path of more than 16 names".into());
            }
        }
    }

    fn statement(&mut self) -> Result<Statement, String> {
        let shown = self.shown();
        let refuse = || format!("the tag at `{shown}`");
        let target = self.name().filter(|name| *name == "out").ok_or_else(refuse)?;
        debug_assert_eq!(target, "out");
        let path = self.path()?;
        let add = self.takes("+=");
        if !add && (self.rest.starts_with("==") || !self.takes("=")) {
            return Err(refuse());
        }
        let mut terms = vec![self.term()?];
        while !self.rest.starts_with("++") && self.takes("+") {
            terms.push(self.term()?);
        }
        Ok(Statement { path, add, terms })
    }

    fn term(&mut self) -> Result<Term, String> {
        let shown = self.shown();
        let refuse = || format!("the tag at `{shown}`");
        if let Some(text) = self.string() {
            return Ok(Term::Value(Value::String(text)));
        }
        if self.takes("{") {
            return if self.takes("}") { Ok(Term::Value(Value::Object(Map::new()))) } else { Err(refuse()) };
        }
        let end =
            self.rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(self.rest.len());
        if let Ok(value) = self.rest[..end].parse::<f64>() {
            self.rest = self.rest[end..].trim_start();
            return Ok(Term::Value(number(value)));
        }
        let name = self.name().ok_or_else(refuse)?;
        match name {
            "true" => Ok(Term::Value(Value::Bool(true))),
            "false" => Ok(Term::Value(Value::Bool(false))),
            "null" | "undefined" => Ok(Term::Value(Value::Null)),
            "out" => self.path().map(Term::Out),
            "rules" if self.rest.starts_with(".latest") => {
                self.takes(".");
                self.name();
                if !(self.takes("(") && self.takes(")")) {
                    return Err(refuse());
                }
                self.path().map(Term::Latest)
            }
            "rules" => {
                let mut path = self.path()?;
                if path.is_empty() {
                    return Err(refuse());
                }
                let rule = path.remove(0);
                Ok(Term::Rule(rule, path))
            }
            "meta" if self.takes(".current") || self.takes(".latest") => {
                let takes = self.takes("(") && self.takes(")") && self.takes(".text");
                if takes { Ok(Term::Text) } else { Err(refuse()) }
            }
            _ => Err(refuse()),
        }
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = self.rest[at + 1..].trim_start();
                return Some(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                // Escapes by number are written nowhere in practice: refused, not misread.
                'u' | 'x' => return None,
                other => text.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(text: &str) -> Value {
        let mut scope = Scope::default();
        scope.passed("city", json!({ "code": "BOS", "n": 2 }));
        scope.say(&["to", "boston"]);
        Script::parse(text).expect("served").run(&mut scope);
        scope.out().unwrap_or(Value::Null)
    }

    #[test]
    fn assignments_make_values() {
        for (text, expected) in [
            ("out='yes'", json!("yes")),
            ("out = \"it\\'s\";", json!("it's")),
            ("out.a=1; out.b.c=true;", json!({ "a": 1, "b": { "c": true } })),
            ("out.code = rules.city.code; out.n=rules.latest().n + 1", json!({ "code": "BOS", "n": 3 })),
            ("out = rules.city.code + '-' + rules.city.n", json!("BOS-2")),
            ("out = 'a'; out += 'b'", json!("ab")),
            ("out = {}; out['x y'] = -1.5", json!({ "x y": -1.5 })),
            ("out = meta.current().text", json!("to boston")),
            ("out = rules.none", json!(null)),
            ("", json!(null)),
        ] {
            assert_eq!(run(text), expected, "{text}");
        }
    }

    #[test]
    fn other_scripts_are_refused_by_name() {
        for text in [
            "if (x) out=1",
            "var a = 1",
            "out = f()",
            "x = 1",
            "out == 1",
            "out = 'open",
            "out = {a: 1}",
            "out = 1 * 2",
            "out++",
            "out = rules",
            "out = \"\\u0041\"",
            "function f(){}",
        ] {
            assert!(Script::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_do_not_grow_without_bounds() {
        let mut scope = Scope::default();
        let double = Script::parse("out.a = out; out.b = out").expect("served");
        let text = Script::parse("out.t = 'x' + out.t + out.t").expect("served");
        for _ in 0..60 {
            double.run(&mut scope);
            text.run(&mut scope);
        }
        let out = scope.out().expect("some");
        assert!(parts(&out) <= MOST_PARTS + 1 && out["t"].as_str().is_some_and(|t| t.len() <= LONGEST));
    }
}
