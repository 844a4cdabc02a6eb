//! Conditions joined by `&&`, `||`, `!` and brackets, true, false or not yet known.

/// What is known of something while a conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tri {
    No,
    Open,
    Yes,
}

impl Tri {
    pub(crate) const fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Open => Self::Open,
            Self::Yes => Self::No,
        }
    }
}

/// An expression over things of type `C`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Logic<C> {
    Is(C),
    Not(Box<Logic<C>>),
    All(Vec<Logic<C>>),
    Any(Vec<Logic<C>>),
}

/// What is wrong with an expression, and after how many characters.
#[derive(Debug, PartialEq)]
pub(crate) struct LogicError {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

/// Brackets and `!` may nest this deep.
const DEEPEST: usize = 32;
/// Names in one expression.
const MOST: usize = 256;

impl<C> Logic<C> {
    /// Whether it holds, given what is known of each thing (Kleene's strong logic).
    pub(crate) fn value(&self, of: &impl Fn(&C) -> Tri) -> Tri {
        match self {
            Self::Is(thing) => of(thing),
            Self::Not(inner) => inner.value(of).not(),
            Self::All(parts) => {
                parts.iter().map(|part| part.value(of)).min_by_key(|tri| rank(*tri)).unwrap_or(Tri::Yes)
            }
            Self::Any(parts) => {
                parts.iter().map(|part| part.value(of)).max_by_key(|tri| rank(*tri)).unwrap_or(Tri::No)
            }
        }
    }

    /// Every thing it names, those under `!` included.
    pub(crate) fn things(&self) -> Vec<&C> {
        match self {
            Self::Is(thing) => vec![thing],
            Self::Not(inner) => inner.things(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::things).collect(),
        }
    }

    /// The same expression over other things.
    pub(crate) fn map<D>(self, change: &mut impl FnMut(C) -> Option<D>) -> Option<Logic<D>> {
        Some(match self {
            Self::Is(thing) => Logic::Is(change(thing)?),
            Self::Not(inner) => Logic::Not(Box::new(inner.map(change)?)),
            Self::All(parts) => {
                Logic::All(parts.into_iter().map(|part| part.map(change)).collect::<Option<_>>()?)
            }
            Self::Any(parts) => {
                Logic::Any(parts.into_iter().map(|part| part.map(change)).collect::<Option<_>>()?)
            }
        })
    }

    /// The single things of an expression that is one name, or names with `||` between them.
    pub(crate) fn alternatives(&self) -> Option<Vec<&C>> {
        match self {
            Self::Is(thing) => Some(vec![thing]),
            Self::Any(parts) => {
                let nested: Option<Vec<Vec<&C>>> = parts.iter().map(Self::alternatives).collect();
                nested.map(|parts| parts.concat())
            }
            _ => None,
        }
    }
}

const fn rank(tri: Tri) -> u8 {
    match tri {
        Tri::No => 0,
        Tri::Open => 1,
        Tri::Yes => 2,
    }
}

impl Logic<(String, usize)> {
    /// Reads an expression; each name comes with the character it begins at.
    pub(crate) fn parse(text: &str) -> Result<Self, LogicError> {
        let tokens = scan(text)?;
        if tokens.iter().filter(|(_, token)| matches!(token, Token::Name(_))).count() > MOST {
            return Err(LogicError {
                offset: 0,
                message: format!("an expression of more than {MOST} names"),
            });
        }
        let mut parser = Parser { tokens, at: 0, depth: 0, end: text.chars().count() };
        let logic = parser.any()?;
        match parser.tokens.get(parser.at) {
            None => Ok(logic),
            Some((offset, _)) => {
                Err(LogicError { offset: *offset, message: "expected `&&` or `||` here".to_owned() })
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    And,
    Or,
    Not,
    Open,
    Close,
}

fn scan(text: &str) -> Result<Vec<(usize, Token)>, LogicError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let (start, c) = (at, chars[at]);
        at += 1;
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' | '（' => Token::Open,
            ')' | '）' => Token::Close,
            '!' | '！' => Token::Not,
            '&' | '|' => {
                if chars.get(at) != Some(&c) {
                    let message = format!("`{c}` joins nothing; write `{c}{c}`");
                    return Err(LogicError { offset: start, message });
                }
                at += 1;
                if c == '&' { Token::And } else { Token::Or }
            }
            c if c.is_alphanumeric() || c == '_' => {
                while at < chars.len() && (chars[at].is_alphanumeric() || matches!(chars[at], '_' | '-')) {
                    at += 1;
                }
                match chars[start..at].iter().collect::<String>().as_str() {
                    "and" => Token::And,
                    "or" => Token::Or,
                    "not" => Token::Not,
                    name => Token::Name(name.to_owned()),
                }
            }
            c => {
                return Err(LogicError {
                    offset: start,
                    message: format!("unexpected `{c}`; names are joined by `&&`, `||` and `!`"),
                });
            }
        };
        tokens.push((start, token));
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
    fn any(&mut self) -> Result<Logic<(String, usize)>, LogicError> {
        let mut parts = vec![self.all()?];
        while self.takes(&Token::Or) {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Logic::Any(parts) })
    }

    fn all(&mut self) -> Result<Logic<(String, usize)>, LogicError> {
        let mut parts = vec![self.one()?];
        while self.takes(&Token::And) {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Logic::All(parts) })
    }

    fn one(&mut self) -> Result<Logic<(String, usize)>, LogicError> {
        let Some((offset, token)) = self.tokens.get(self.at).cloned() else {
            return Err(LogicError { offset: self.end, message: "a condition is missing here".to_owned() });
        };
        if self.depth == DEEPEST {
            return Err(LogicError { offset, message: format!("nested more than {DEEPEST} deep") });
        }
        self.at += 1;
        self.depth += 1;
        let logic = match token {
            Token::Name(name) => Logic::Is((name, offset)),
            Token::Not => Logic::Not(Box::new(self.one()?)),
            Token::Open => {
                let inner = self.any()?;
                if !self.takes(&Token::Close) {
                    let offset = self.tokens.get(self.at).map_or(self.end, |(offset, _)| *offset);
                    return Err(LogicError { offset, message: "expected `)` here".to_owned() });
                }
                inner
            }
            _ => return Err(LogicError { offset, message: "a condition is missing here".to_owned() }),
        };
        self.depth -= 1;
        Ok(logic)
    }

    fn takes(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|(_, here)| here == token);
        self.at += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Tri {
        let known = |(name, _): &(String, usize)| match name.as_str() {
            "t" => Tri::Yes,
            "f" => Tri::No,
            _ => Tri::Open,
        };
        Logic::parse(text).expect(text).value(&known)
    }

    #[test]
    fn and_binds_tighter_than_or_and_what_is_open_stays_open() {
        for (text, expected) in [
            ("t || f && f", Tri::Yes),
            ("(t || f) && f", Tri::No),
            ("!f && t", Tri::Yes),
            ("!(t && t)", Tri::No),
            ("o && f", Tri::No),
            ("o && t", Tri::Open),
            ("o || t", Tri::Yes),
            ("!o", Tri::Open),
            ("!!t", Tri::Yes),
            ("t and not f", Tri::Yes),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        for (text, offset) in [
            ("", 0),
            ("a &", 2),
            ("a && ", 5),
            ("(a", 2),
            ("a b", 2),
            ("a)", 1),
            ("a && || b", 5),
            ("a + b", 2),
        ] {
            assert_eq!(Logic::parse(text).expect_err(text).offset, offset, "{text}");
        }
        assert!(Logic::parse(&"!".repeat(10_000)).is_err());
        assert!(Logic::parse(&"(".repeat(10_000)).is_err());
    }
}
