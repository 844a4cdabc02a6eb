//! Conditions and small computations over variables.
//!
//! `or`, `and`, `not`, `== != < <= > >=`, `in [..]`, `matches "regex"`, `+ - * /`, brackets; text in quotes, numbers,
//! `true`, `false`, `null`. Comparing what cannot be compared is false; computing with what is no number gives null.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::entity::number_value;

const DEEPEST: usize = 40;

/// A parsed expression.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Literal(Value),
    Variable(String),
    Not(Box<Expr>),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    Matches(Box<Expr>, Regex),
    Compute(char, Box<Expr>, Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// What is wrong with an expression, and after how many characters.
#[derive(Debug, PartialEq)]
pub(crate) struct ExprError {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

impl Expr {
    /// Parses a whole expression.
    pub(crate) fn parse(text: &str) -> Result<Self, ExprError> {
        let tokens = scan(text)?;
        let end = text.chars().count();
        let mut parser = Parser { tokens, at: 0, depth: 0, end };
        let expr = parser.any()?;
        match parser.tokens.get(parser.at) {
            None => Ok(expr),
            Some((offset, token)) => {
                Err(ExprError { offset: *offset, message: format!("unexpected {}", token.name()) })
            }
        }
    }

    /// The names of the variables it reads.
    pub(crate) fn variables(&self) -> Vec<&str> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Variable(name) => vec![name],
            Self::Not(inner) | Self::Matches(inner, _) => inner.variables(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::variables).collect(),
            Self::Compare(_, a, b) | Self::Compute(_, a, b) => [a.variables(), b.variables()].concat(),
            Self::In(item, list) => {
                item.variables().into_iter().chain(list.iter().flat_map(Self::variables)).collect()
            }
        }
    }

    /// Its value under `variables`; an unset variable is null.
    pub(crate) fn value(&self, variables: &BTreeMap<String, Value>) -> Value {
        match self {
            Self::Literal(value) => value.clone(),
            Self::Variable(name) => variables.get(name).cloned().unwrap_or(Value::Null),
            Self::Not(inner) => Value::Bool(!truth(&inner.value(variables))),
            Self::All(parts) => Value::Bool(parts.iter().all(|part| truth(&part.value(variables)))),
            Self::Any(parts) => Value::Bool(parts.iter().any(|part| truth(&part.value(variables)))),
            Self::Compare(comparison, a, b) => {
                let (a, b) = (a.value(variables), b.value(variables));
                let order = compare(&a, &b);
                Value::Bool(match comparison {
                    Comparison::Equal => order == Some(Ordering::Equal),
                    Comparison::Unequal => order != Some(Ordering::Equal),
                    Comparison::Less => order == Some(Ordering::Less),
                    Comparison::AtMost => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                    Comparison::More => order == Some(Ordering::Greater),
                    Comparison::AtLeast => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                })
            }
            Self::In(item, list) => {
                let item = item.value(variables);
                Value::Bool(
                    list.iter().any(|one| compare(&item, &one.value(variables)) == Some(Ordering::Equal)),
                )
            }
            Self::Matches(inner, pattern) => Value::Bool(pattern.is_match(&plain(&inner.value(variables)))),
            Self::Compute(operator, a, b) => {
                let (a, b) = (a.value(variables), b.value(variables));
                let (Some(x), Some(y)) = (number(&a), number(&b)) else {
                    let text = *operator == '+' && (a.is_string() || b.is_string());
                    return if text { Value::String(plain(&a) + &plain(&b)) } else { Value::Null };
                };
                let result = match operator {
                    '+' => x + y,
                    '-' => x - y,
                    '*' => x * y,
                    _ => x / y,
                };
                // Money computed in binary fractions: cents come out whole again.
                if result.is_finite() { number_value((result * 1e6).round() / 1e6) } else { Value::Null }
            }
        }
    }

    /// Whether it holds under `variables`.
    pub(crate) fn holds(&self, variables: &BTreeMap<String, Value>) -> bool {
        truth(&self.value(variables))
    }
}

/// A value as plain text, without quotes; nothing for null.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => (a == b).then_some(Ordering::Equal),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Number(_), _) | (_, Value::Number(_)) => number(a)?.partial_cmp(&number(b)?),
        _ => (a == b).then_some(Ordering::Equal),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(f64),
    Sign(&'static str),
}

impl Token {
    fn name(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Text(text) => format!("\"{text}\""),
            Self::Number(n) => format!("`{n}`"),
            Self::Sign(sign) => format!("`{sign}`"),
        }
    }
}

fn scan(text: &str) -> Result<Vec<(usize, Token)>, ExprError> {
    const SIGNS: [&str; 16] =
        ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", "+", "-", "*", "/", "="];
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let (start, c) = (at, chars[at]);
        if c.is_whitespace() {
            at += 1;
        } else if c.is_alphabetic() || c == '_' {
            while at < chars.len() && (chars[at].is_alphanumeric() || matches!(chars[at], '_' | '.')) {
                at += 1;
            }
            tokens.push((start, Token::Name(chars[start..at].iter().collect())));
        } else if c.is_ascii_digit() {
            while at < chars.len() && (chars[at].is_ascii_digit() || chars[at] == '.') {
                at += 1;
            }
            let figures: String = chars[start..at].iter().collect();
            let number = figures
                .parse()
                .map_err(|_| ExprError { offset: start, message: format!("`{figures}` is not a number") })?;
            tokens.push((start, Token::Number(number)));
        } else if c == '"' || c == '\'' {
            at += 1;
            while at < chars.len() && chars[at] != c {
                at += 1;
            }
            if at == chars.len() {
                return Err(ExprError { offset: start, message: "the text in quotes has no end".into() });
            }
            tokens.push((start, Token::Text(chars[start + 1..at].iter().collect())));
            at += 1;
        } else {
            let two: String = chars[at..(at + 2).min(chars.len())].iter().collect();
            let Some(sign) = SIGNS.iter().find(|sign| two.starts_with(*sign)) else {
                return Err(ExprError { offset: start, message: format!("unexpected `{c}`") });
            };
            if *sign == "=" {
                return Err(ExprError { offset: start, message: "`=` does not compare; write `==`".into() });
            }
            at += sign.len();
            tokens.push((start, Token::Sign(sign)));
        }
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    end: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Expr, ExprError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("nested too deeply"));
        }
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        self.depth -= 1;
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Any(parts) })
    }

    fn all(&mut self) -> Result<Expr, ExprError> {
        let mut parts = vec![self.not()?];
        while self.word("and") {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::All(parts) })
    }

    fn not(&mut self) -> Result<Expr, ExprError> {
        let mut negated = false;
        while self.word("not") {
            negated = !negated;
        }
        let inner = self.comparison()?;
        Ok(if negated { Expr::Not(Box::new(inner)) } else { inner })
    }

    fn comparison(&mut self) -> Result<Expr, ExprError> {
        let left = self.sum()?;
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::More),
        ];
        for (sign, comparison) in comparisons {
            if self.sign(sign) {
                return Ok(Expr::Compare(comparison, Box::new(left), Box::new(self.sum()?)));
            }
        }
        if self.word("in") {
            if !self.sign("[") {
                return Err(self.error("`in` wants a list: `in [\"a\", \"b\"]`"));
            }
            let mut list = Vec::new();
            while !self.sign("]") {
                list.push(self.sum()?);
                if !self.sign(",") && !matches!(self.tokens.get(self.at), Some((_, Token::Sign("]")))) {
                    return Err(self.error("expected `,` or `]`"));
                }
            }
            return Ok(Expr::In(Box::new(left), list));
        }
        if self.word("matches") {
            let Some((offset, Token::Text(pattern))) = self.tokens.get(self.at).cloned() else {
                return Err(self.error("`matches` wants a regular expression in quotes"));
            };
            self.at += 1;
            let pattern = compile(&pattern).map_err(|message| ExprError { offset, message })?;
            return Ok(Expr::Matches(Box::new(left), pattern));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expr, ExprError> {
        let mut left = self.product()?;
        loop {
            let operator = if self.sign("+") {
                '+'
            } else if self.sign("-") {
                '-'
            } else {
                return Ok(left);
            };
            left = Expr::Compute(operator, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Expr, ExprError> {
        let mut left = self.value()?;
        loop {
            let operator = if self.sign("*") {
                '*'
            } else if self.sign("/") {
                '/'
            } else {
                return Ok(left);
            };
            left = Expr::Compute(operator, Box::new(left), Box::new(self.value()?));
        }
    }

    fn value(&mut self) -> Result<Expr, ExprError> {
        let Some((_, token)) = self.tokens.get(self.at).cloned() else {
            return Err(self.error("something is missing here"));
        };
        let value = match token {
            Token::Number(n) => Expr::Literal(number_value(n)),
            Token::Text(text) => Expr::Literal(text.into()),
            Token::Name(name) => match name.as_str() {
                "true" => Expr::Literal(true.into()),
                "false" => Expr::Literal(false.into()),
                "null" => Expr::Literal(Value::Null),
                "and" | "or" | "not" | "in" | "matches" => {
                    return Err(self.error(&format!("unexpected `{name}`")));
                }
                _ => Expr::Variable(name),
            },
            Token::Sign("-") => {
                self.at += 1;
                let Some((_, Token::Number(n))) = self.tokens.get(self.at) else {
                    return Err(self.error("`-` wants a number after it"));
                };
                Expr::Literal(number_value(-n))
            }
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.any()?;
                if !matches!(self.tokens.get(self.at), Some((_, Token::Sign(")")))) {
                    return Err(self.error("expected `)`"));
                }
                inner
            }
            Token::Sign(sign) => return Err(self.error(&format!("unexpected `{sign}`"))),
        };
        self.at += 1;
        Ok(value)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some((_, Token::Name(name))) if name == word);
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some((_, Token::Sign(here))) if *here == sign);
        self.at += usize::from(found);
        found
    }

    fn error(&self, message: &str) -> ExprError {
        let offset = self.tokens.get(self.at).map_or(self.end, |(offset, _)| *offset);
        ExprError { offset, message: message.to_owned() }
    }
}

/// Compiles a regular expression of bounded size.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| {
        let text = error.to_string();
        format!("not a regular expression: {}", text.lines().last().unwrap_or_default().trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> BTreeMap<String, Value> {
        [("balance", 120.5.into()), ("name", "Ada".into()), ("vip", true.into()), ("tries", "3".into())]
            .map(|(name, value): (&str, Value)| (name.to_owned(), value))
            .into()
    }

    #[test]
    fn conditions_hold_as_written() {
        for (text, expected) in [
            ("balance > 100", true),
            ("balance > 100 and not vip", false),
            ("balance < 100 or vip", true),
            ("not (balance < 100 or vip)", false),
            ("name == 'Ada'", true),
            ("name != \"Ada\"", false),
            ("name in ['Bob', 'Ada']", true),
            ("name in []", false),
            ("name matches '^A[a-z]+$'", true),
            ("missing == null", true),
            ("missing > 1", false),
            ("missing", false),
            ("tries >= 3", true),
            ("tries + 1 == 4", true),
            ("0.1 + 0.2 == 0.3", true),
            ("balance / 0 == null", true),
            ("2 + 3 * 2 == 8", true),
            ("balance > -1", true),
            ("vip == true", true),
        ] {
            assert_eq!(Expr::parse(text).expect(text).holds(&variables()), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        for (text, offset) in [
            ("balance = 1", 8),
            ("balance >", 9),
            ("(balance > 1", 12),
            ("name matches '['", 13),
            ("name in 'x'", 8),
            ("a ? b", 2),
            ("'open", 0),
            ("a b", 2),
            ("", 0),
        ] {
            assert_eq!(Expr::parse(text).expect_err(text).offset, offset, "{text}");
        }
        assert!(Expr::parse(&"(".repeat(10_000)).is_err());
    }
}
