//! Texts with variables in them: `Your balance is {balance}.`

use antiphon_engine_call::Pii;

/// Gives the values of secrets by their names.
pub(crate) type Secrets<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A text with variables. `{{` stands for a brace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(crate) enum Part {
    Text(String),
    Variable {
        name: String,
        style: Style,
    },
    /// The value of `${env:NAME}`; never printed.
    Secret(Pii<String>),
}

/// How a value is put into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// As its slot is best spoken; as stored where it belongs to no slot.
    Spoken,
    /// As stored: `{name|raw}`.
    Raw,
    /// Figure by figure: `{name|digits}`.
    Digits,
}

/// What is wrong with a template, and after how many characters.
#[derive(Debug, PartialEq)]
pub(crate) struct TemplateError {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

impl Template {
    /// Parses a template; `secrets`, where they are allowed at all, gives the value of `${env:NAME}`.
    pub(crate) fn parse(text: &str, secrets: Option<&Secrets<'_>>) -> Result<Self, TemplateError> {
        let chars: Vec<char> = text.chars().collect();
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while at < chars.len() {
            let start = at;
            let secret = chars[at] == '$' && chars.get(at + 1) == Some(&'{');
            if chars[at] == '{' && chars.get(at + 1) == Some(&'{') {
                plain.push('{');
                at += 2;
                continue;
            }
            if chars[at] == '}' {
                plain.push('}');
                at += if chars.get(at + 1) == Some(&'}') { 2 } else { 1 };
                continue;
            }
            if chars[at] != '{' && !secret {
                plain.push(chars[at]);
                at += 1;
                continue;
            }
            let error = |message: String| TemplateError { offset: start, message };
            let open = at + usize::from(secret);
            let Some(close) = (open..chars.len()).find(|n| chars[*n] == '}') else {
                return Err(error("`{` without `}`; write `{{` for a brace".into()));
            };
            let inside: String = chars[open + 1..close].iter().collect();
            at = close + 1;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            if secret {
                let Some(name) = inside.strip_prefix("env:") else {
                    return Err(error(format!(
                        "`${{{inside}}}` is not known; secrets are written `${{env:NAME}}`"
                    )));
                };
                let Some(secrets) = secrets else {
                    return Err(error(
                        "secrets may stand only in the headers, address and body of `http`".into(),
                    ));
                };
                let Some(value) = secrets(name) else {
                    return Err(error(format!("the environment variable `{name}` is not set")));
                };
                parts.push(Part::Secret(Pii::new(value)));
                continue;
            }
            let (name, style) = match inside.split_once('|') {
                None => (inside.as_str(), Style::Spoken),
                Some((name, "raw")) => (name, Style::Raw),
                Some((name, "digits")) => (name, Style::Digits),
                Some((_, style)) => {
                    return Err(error(format!("`{style}` is no way to say a value; use `raw` or `digits`")));
                }
            };
            if !is_name(name.trim()) {
                return Err(error(format!("`{{{inside}}}` is not the name of a variable")));
            }
            parts.push(Part::Variable { name: name.trim().to_owned(), style });
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The names of the variables in it.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    /// Fills it in; `show` gives the text of a variable.
    pub(crate) fn fill(&self, mut show: impl FnMut(&str, Style) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Variable { name, style } => show(name, *style),
                Part::Secret(secret) => secret.expose().clone(),
            })
            .collect()
    }
}

/// Whether `name` can name a variable, slot, intent or step.
pub(crate) fn is_name(name: &str) -> bool {
    name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
        && name.chars().count() <= 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_and_braces_can_be_written() {
        let template = Template::parse("Hi {name}, {{x}} {n|digits}", None).expect("valid");
        let text = template.fill(|name, style| format!("<{name}:{style:?}>"));
        assert_eq!(text, "Hi <name:Spoken>, {x} <n:Digits>");
    }

    #[test]
    fn secrets_stay_out_of_prompts_and_of_debug_output() {
        let secrets = |name: &str| (name == "KEY").then(|| "hunter2".to_owned());
        let template = Template::parse("Bearer ${env:KEY}", Some(&secrets)).expect("valid");
        assert!(!format!("{template:?}").contains("hunter2"));
        assert_eq!(template.fill(|_, _| String::new()), "Bearer hunter2");
        assert!(Template::parse("${env:KEY}", None).is_err());
        let missing = Template::parse("x ${env:NONE}", Some(&secrets)).expect_err("not set");
        assert_eq!((missing.offset, missing.message.contains("NONE")), (2, true));
    }
}
