//! Texts with variables: `"{called};from={trunk}"`.

use serde::{Deserialize, Serialize};

/// A text with variables in braces. `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

impl Template {
    /// Reads a template. The error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            plain.push_str(before);
            let brace = &after[..1];
            if let Some(after) = after.strip_prefix("{{").or_else(|| after.strip_prefix("}}")) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let Some((name, after)) = after.strip_prefix('{').and_then(|inner| inner.split_once('}')) else {
                return Err(format!("`{text}`: a brace stands alone; write {{name}}, or {{{{ for a brace"));
            };
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(word) {
                return Err(format!(
                    "`{text}`: `{{{name}}}` is no variable; names are letters, digits and underscores"
                ));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        if plain.chars().any(char::is_control) {
            return Err(format!("`{}` holds a control character", plain.escape_debug()));
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Puts the variables in; one that is not known is empty. Control characters are left out, so that a value cannot
    /// begin a header of its own.
    pub(crate) fn render<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> String {
        let mut rendered = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Variable(name) => {
                    rendered.extend(value(name).unwrap_or_default().chars().filter(|c| !c.is_control()));
                }
            }
        }
        rendered
    }
}

impl Serialize for Template {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_and_unknown_ones_are_empty() {
        let template = Template::parse("<{{{called}}}>;x={gone}").expect("valid");
        assert_eq!(template.render(|name| (name == "called").then_some("100")), "<{100}>;x=");
    }

    #[test]
    fn a_value_cannot_begin_a_header_of_its_own() {
        let template = Template::parse("{caller}").expect("valid");
        assert_eq!(template.render(|_| Some("a\r\nX-Evil: 1\0")), "aX-Evil: 1");
    }

    #[test]
    fn slips_are_named() {
        for text in ["{called", "called}", "{}", "{a b}", "x\ny"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
