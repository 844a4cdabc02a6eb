//! Patterns of numbers and user names: who may be called, where a call goes.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Bytes a compiled expression may take.
const COMPILED: usize = 1 << 20;

/// A pattern of numbers: `"5550100"` is exact, `"+44*"` a beginning, `"/\\+44(20.*)/"` a regular expression that has to
/// fit the whole number, `"*"` anything.
#[derive(Clone)]
pub(crate) struct Pattern {
    text: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Any,
    Exact,
    Prefix,
    Expression(Regex),
}

impl Pattern {
    /// Reads a pattern. The error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let kind = if let Some(inner) = text.strip_prefix('/') {
            let Some(inner) = inner.strip_suffix('/') else {
                return Err(format!("`{text}` lacks the slash at its end; write \"/EXPRESSION/\""));
            };
            // Anchored always: an expression that fits anywhere in a number would let through what nobody meant.
            let expression = RegexBuilder::new(&format!("^(?:{inner})$")).size_limit(COMPILED).build();
            Kind::Expression(expression.map_err(|error| {
                let error = error.to_string();
                format!(
                    "`{text}`: {}",
                    error.lines().last().unwrap_or_default().trim_start_matches("error: ")
                )
            })?)
        } else if text == "*" {
            Kind::Any
        } else if let Some(start) = text.strip_suffix('*') {
            // In numbers a star is a key as well: only the last one stands for more.
            if start.is_empty() {
                return Err(format!("`{text}` is no pattern; write \"*\" for any number"));
            }
            Kind::Prefix
        } else if text.is_empty() {
            return Err("a pattern is empty; write a number, \"BEGINNING*\" or \"/EXPRESSION/\"".to_owned());
        } else {
            Kind::Exact
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// What fits any number.
    pub(crate) fn any() -> Self {
        Self { text: "*".to_owned(), kind: Kind::Any }
    }

    /// Whether `number` fits.
    pub(crate) fn fits(&self, number: &str) -> bool {
        match &self.kind {
            Kind::Any => true,
            Kind::Exact => self.text == number,
            Kind::Prefix => number.starts_with(self.beginning()),
            Kind::Expression(expression) => expression.is_match(number),
        }
    }

    /// What `number` is made of: `$0` the whole, `$1` and so on the groups of an expression or what follows a beginning.
    /// `None` where it does not fit.
    pub(crate) fn groups<'n>(&self, number: &'n str) -> Option<Vec<&'n str>> {
        match &self.kind {
            Kind::Any | Kind::Exact => self.fits(number).then(|| vec![number]),
            Kind::Prefix => number.strip_prefix(self.beginning()).map(|rest| vec![number, rest]),
            Kind::Expression(expression) => expression
                .captures(number)
                .map(|found| found.iter().map(|group| group.map_or("", |group| group.as_str())).collect()),
        }
    }

    /// How many groups there are, `$0` included.
    pub(crate) fn group_count(&self) -> usize {
        match &self.kind {
            Kind::Any | Kind::Exact => 1,
            Kind::Prefix => 2,
            Kind::Expression(expression) => expression.captures_len(),
        }
    }

    fn beginning(&self) -> &str {
        self.text.strip_suffix('*').unwrap_or(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A number made of another's groups: `"00$1"`. `$$` is a dollar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rewrite {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Rewrite {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '$' {
                plain.push(c);
                continue;
            }
            match chars.next() {
                Some('$') => plain.push('$'),
                Some(digit @ '0'..='9') => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Group(digit as usize - '0' as usize));
                }
                _ => return Err(format!("`{text}`: after $ comes a digit (or a second $)")),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The number unchanged.
    pub(crate) fn whole() -> Self {
        Self { text: "$0".to_owned(), parts: vec![Part::Group(0)] }
    }

    /// Puts the groups in.
    pub(crate) fn apply(&self, groups: &[&str]) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Group(n) => groups.get(*n).copied().unwrap_or_default().to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// Whether it always gives the same.
    pub(crate) fn is_fixed(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Says which group `pattern` has not got.
    pub(crate) fn check(&self, pattern: &Pattern) -> Result<(), String> {
        let groups = pattern.group_count();
        for part in &self.parts {
            if let Part::Group(n) = part
                && *n >= groups
            {
                return Err(format!(
                    "`{}` asks for ${n}, but `{pattern}` has $0 to ${} only",
                    self.text,
                    groups - 1
                ));
            }
        }
        Ok(())
    }
}

impl Serialize for Rewrite {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Rewrite {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    #[test]
    fn exact_beginning_and_expression_fit_what_they_say() {
        assert!(pattern("5550100").fits("5550100") && !pattern("5550100").fits("55501001"));
        assert!(pattern("+44*").fits("+442071838750") && !pattern("+44*").fits("0044"));
        assert!(pattern("*").fits("") && pattern("*").fits("anything"));
        assert!(pattern("**").fits("*86") && !pattern("**").fits("86"));
        assert!(pattern("/\\+44(20.*)/").fits("+44207"));
    }

    #[test]
    fn an_expression_has_to_fit_the_whole_number() {
        assert!(!pattern("/55[0-9]/").fits("900555"));
        assert!(!pattern("/55[0-9]/").fits("5551"));
        assert!(!pattern("/110|112/").fits("9001100"), "the alternatives are anchored too");
    }

    #[test]
    fn groups_are_put_into_a_rewrite() {
        let rewrite = |text: &str| Rewrite::parse(text).expect(text);
        let (groups, beginning) = (pattern("/\\+(44)(.*)/"), pattern("9*"));
        assert_eq!(rewrite("00$1-$2$$").apply(&groups.groups("+44207").expect("fits")), "0044-207$");
        assert_eq!(rewrite("+$1").apply(&beginning.groups("94420").expect("fits")), "+4420");
        assert!(rewrite("$2").check(&beginning).expect_err("no such group").contains("$0 to $1"));
        assert!(rewrite("$2").check(&groups).is_ok());
        assert!(Rewrite::parse("$x").is_err() && Rewrite::parse("a$").is_err());
    }

    #[test]
    fn slips_are_told_with_what_to_write() {
        for (text, part) in [("", "is empty"), ("/abc", "slash at its end"), ("/(/", "unclosed")] {
            let error = Pattern::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
