//! YAML as a tree of nodes that know where they stand, built within fixed bounds.
//!
//! Errors about meaning (a step that does not exist) need a line and a column just as much as errors about shape, so
//! files are read from this tree and not through a deserialiser. Aliases are refused: nothing here has a use for them and
//! they are the classic way to make a small file large.

use granit_parser::{Event, Marker, Parser, ScalarStyle};

/// The largest file, bytes.
pub const LARGEST_FILE: usize = 1 << 20;
const DEEPEST: usize = 32;
const MOST_NODES: usize = 100_000;

/// A position in the file, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Counted from 1; 0 where the whole file is meant.
    pub line: usize,
    /// In characters.
    pub column: usize,
}

impl Place {
    /// The whole file.
    pub const FILE: Self = Self { line: 0, column: 0 };
}

impl From<Marker> for Place {
    fn from(marker: Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// One value of the file.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Place,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Value {
    /// A single value as written; `plain` where it stands without quotes.
    Scalar {
        /// Its characters.
        text: String,
        /// Whether it stands without quotes.
        plain: bool,
    },
    /// In order.
    List(Vec<Node>),
    /// In order, no key twice.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Place,
    /// The value.
    pub node: Node,
}

/// What kept the file from becoming a tree.
#[derive(Debug)]
pub struct YamlError {
    /// Where.
    pub at: Place,
    /// What, and what to do.
    pub message: String,
}

impl Node {
    /// Whether this is `null`, `~` or nothing at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads the one document of `text`.
///
/// # Errors
/// Text that is no YAML, has aliases, is too large or too deep.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    if text.len() > LARGEST_FILE {
        return Err(YamlError {
            at: Place::FILE,
            message: format!("the file is {} bytes long; the largest allowed is {LARGEST_FILE}", text.len()),
        });
    }
    let mut tree = Tree { parser: Parser::new_from_str(text), nodes: 0 };
    loop {
        let (event, at) = tree.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::StreamEnd | Event::DocumentEnd => {
                return Err(YamlError { at: Place::FILE, message: "the file is empty".into() });
            }
            event => {
                let root = tree.node(event, at, 0)?;
                return match tree.next()? {
                    (Event::DocumentEnd, _) => match tree.next()? {
                        (Event::StreamEnd, _) => Ok(root),
                        (_, at) => Err(YamlError { at, message: "a file holds one document".into() }),
                    },
                    (_, at) => Err(YamlError { at, message: "a file holds one document".into() }),
                };
            }
        }
    }
}

struct Tree<'input> {
    parser: Parser<'input, granit_parser::StrInput<'input>>,
    nodes: usize,
}

impl<'input> Tree<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Place), YamlError> {
        loop {
            return match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => continue,
                Some(Ok((event, span))) => Ok((event, span.start.into())),
                Some(Err(error)) => {
                    let message = format!("not valid YAML: {}", error.info());
                    Err(YamlError { at: (*error.marker()).into(), message })
                }
                None => Ok((Event::StreamEnd, Place::FILE)),
            };
        }
    }

    fn node(&mut self, event: Event<'input>, at: Place, depth: usize) -> Result<Node, YamlError> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(YamlError { at, message: format!("more than {MOST_NODES} values in one file") });
        }
        if depth > DEEPEST {
            return Err(YamlError { at, message: format!("nested more than {DEEPEST} levels deep") });
        }
        let value = match event {
            Event::Scalar(text, style, ..) => {
                Value::Scalar { text: text.into_owned(), plain: matches!(style, ScalarStyle::Plain) }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Value::List(items),
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries: Vec<Entry> = Vec::new();
                let mut seen = std::collections::HashSet::new();
                loop {
                    let (event, at) = self.next()?;
                    let key = match event {
                        Event::MappingEnd => break Value::Map(entries),
                        event => match self.node(event, at, depth + 1)?.value {
                            Value::Scalar { text, .. } => text,
                            _ => return Err(YamlError { at, message: "a key must be a single word".into() }),
                        },
                    };
                    if !seen.insert(key.clone()) {
                        return Err(YamlError { at, message: format!("the key `{key}` stands here twice") });
                    }
                    let (event, value_at) = self.next()?;
                    let node = self.node(event, value_at, depth + 1)?;
                    entries.push(Entry { key, at, node });
                }
            }
            Event::Alias(_) => {
                return Err(YamlError { at, message: "aliases (`*name`) are not allowed".into() });
            }
            _ => return Err(YamlError { at, message: "a value was expected here".into() }),
        };
        Ok(Node { at, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_place() {
        let root = parse("a: 1\nb:\n  - x\n  - {c: d}\n").expect("valid");
        let Value::Map(entries) = &root.value else { panic!("a map") };
        assert_eq!((entries[1].at.line, entries[1].at.column), (2, 1));
        let Value::List(items) = &entries[1].node.value else { panic!("a list") };
        assert_eq!((items[0].at.line, items[0].at.column), (3, 5));
    }

    #[test]
    fn bombs_and_ravines_are_refused() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\n";
        assert!(parse(bomb).expect_err("aliases").message.contains("aliases"));
        assert!(parse(&"[".repeat(5_000)).is_err());
        assert!(parse(&"- ".repeat(200_000)).is_err());
        assert!(parse(&" ".repeat(LARGEST_FILE + 1)).is_err());
        assert!(parse("a: 1\na: 2\n").expect_err("twice").message.contains("twice"));
        assert!(parse("").is_err());
        assert!(parse("a: 1\n---\nb: 1\n").is_err());
    }
}
