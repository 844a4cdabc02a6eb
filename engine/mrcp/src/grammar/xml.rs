//! The XML form of grammars (SRGS 1.0).

use antiphon_models_speech::Language;
use roxmltree::{Document, Node as Element, ParsingOptions};

use super::GrammarError;
use super::rules::{Builder, MAX_DEPTH, Mode, Node, Rules, repetition, tokens, weight};
use super::script::Script;

/// Most nodes of the document.
const MAX_XML: u32 = 60_000;

/// Reads a grammar.
pub(super) fn read(text: &str) -> Result<Rules, GrammarError> {
    let text = crate::doctype::without(text).map_err(|line| GrammarError::Unserved {
        line,
        what: "a document type with declarations of its own".into(),
    })?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_XML, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&text, options)
        .map_err(|error| GrammarError::Invalid { line: error.pos().row, what: error.to_string() })?;
    let root = document.root_element();
    let reader = Reader {
        document: &document,
        builder: Builder::default(),
        mode: Mode::Voice,
        tags: TagFormat::Unsaid,
        depth: 0,
    };
    reader.grammar(root)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TagFormat {
    /// Not said: scripts where a tag begins with `out`, else literals.
    Unsaid,
    Literals,
    Script,
    Unknown,
}

impl TagFormat {
    pub(super) fn parse(text: Option<&str>) -> Self {
        match text.map(str::trim) {
            None | Some("") => Self::Unsaid,
            Some("semantics/1.0-literals") => Self::Literals,
            Some("semantics/1.0" | "semantics/1.0.2006") => Self::Script,
            Some(_) => Self::Unknown,
        }
    }

    /// What a tag of this form says.
    pub(super) fn read(self, text: &str, line: u32) -> Result<Script, GrammarError> {
        let text = text.trim();
        let is_script =
            text.strip_prefix("out").is_some_and(|rest| rest.trim_start().starts_with(['=', '.', '[', '+']));
        match self {
            Self::Unknown => Err(GrammarError::Unserved { line, what: "this tag-format".into() }),
            Self::Script => Script::parse(text).map_err(|what| GrammarError::Unserved { line, what }),
            Self::Unsaid if is_script => {
                Script::parse(text).map_err(|what| GrammarError::Unserved { line, what })
            }
            Self::Literals | Self::Unsaid => Ok(Script::Literal(text.to_owned())),
        }
    }
}

struct Reader<'d, 'i> {
    document: &'d Document<'i>,
    builder: Builder,
    mode: Mode,
    tags: TagFormat,
    depth: usize,
}

impl<'d, 'i> Reader<'d, 'i> {
    fn line(&self, element: Element<'d, 'i>) -> u32 {
        self.document.text_pos_at(element.range().start).row
    }

    fn invalid<T>(&self, element: Element<'d, 'i>, what: impl Into<String>) -> Result<T, GrammarError> {
        Err(GrammarError::Invalid { line: self.line(element), what: what.into() })
    }

    fn unserved<T>(&self, element: Element<'d, 'i>, what: impl Into<String>) -> Result<T, GrammarError> {
        Err(GrammarError::Unserved { line: self.line(element), what: what.into() })
    }

    fn grammar(mut self, root: Element<'d, 'i>) -> Result<Rules, GrammarError> {
        if root.tag_name().name() != "grammar" {
            return self.invalid(root, format!("<{}> is no <grammar>", root.tag_name().name()));
        }
        self.mode = match root.attribute("mode") {
            None | Some("voice") => Mode::Voice,
            Some("dtmf") => Mode::Dtmf,
            Some(other) => return self.invalid(root, format!("the mode {other} is neither voice nor dtmf")),
        };
        self.tags = TagFormat::parse(root.attribute("tag-format"));
        let language = root.attribute(("http://www.w3.org/XML/1998/namespace", "lang"));
        let language = match language.map(|tag| Language::parse(tag.trim())) {
            Some(None) => return self.invalid(root, "xml:lang is no language tag"),
            Some(language) => language,
            None => None,
        };
        for element in root.children().filter(Element::is_element) {
            match element.tag_name().name() {
                "rule" => self.rule(element)?,
                "meta" | "metadata" | "lexicon" => {}
                // A tag of the whole grammar is a script that runs before all others.
                "tag" => return self.unserved(element, "a tag outside of rules"),
                other => return self.invalid(element, format!("<{other}> in a grammar")),
            }
        }
        let line = self.line(root);
        let named = root.attribute("root").map(|name| (name.trim(), line));
        self.builder.finish(self.mode, language, named)
    }

    fn rule(&mut self, element: Element<'d, 'i>) -> Result<(), GrammarError> {
        let Some(name) = element.attribute("id").map(str::trim).filter(|name| !name.is_empty()) else {
            return self.invalid(element, "a rule without an id");
        };
        let body = self.children(element)?;
        let line = self.line(element);
        self.builder.define(name, body, line)
    }

    /// What stands in an element, in order.
    fn children(&mut self, parent: Element<'d, 'i>) -> Result<Node, GrammarError> {
        if self.depth == MAX_DEPTH {
            return self.unserved(parent, "nesting of more than 64 levels");
        }
        self.depth += 1;
        let mut all = Vec::new();
        for child in parent.children() {
            if let Some(text) = child.text().filter(|_| child.is_text()) {
                let words = tokens(text, self.mode, self.line(child))?;
                if !words.is_empty() {
                    self.builder.count()?;
                    all.push(Node::Words(words));
                }
            } else if child.is_element()
                && let Some(node) = self.element(child)?
            {
                self.builder.count()?;
                all.push(node);
            }
        }
        self.depth -= 1;
        Ok(Node::Sequence(all))
    }

    fn element(&mut self, element: Element<'d, 'i>) -> Result<Option<Node>, GrammarError> {
        let line = self.line(element);
        Ok(Some(match element.tag_name().name() {
            "item" => self.item(element)?,
            "one-of" => {
                let mut nodes = Vec::new();
                for item in element.children().filter(Element::is_element) {
                    if item.tag_name().name() != "item" {
                        return self.invalid(item, "only <item> stands in <one-of>");
                    }
                    let weight = match item.attribute("weight").map(weight) {
                        Some(None) => return self.invalid(item, "a weight that is none"),
                        Some(Some(weight)) => weight,
                        None => 1.0,
                    };
                    nodes.push((weight, self.item(item)?));
                }
                if nodes.is_empty() {
                    return self.invalid(element, "<one-of> without an <item>");
                }
                Node::OneOf(nodes)
            }
            "token" => Node::Words(tokens(element.text().unwrap_or_default(), self.mode, line)?),
            "tag" => {
                let text: String = element.children().filter_map(|child| child.text()).collect();
                Node::Tag(self.tags.read(&text, line)?)
            }
            "ruleref" => match (element.attribute("special"), element.attribute("uri")) {
                (Some("NULL"), None) => return Ok(None),
                (Some("VOID"), None) => Node::Void,
                (Some("GARBAGE"), None) => Node::Garbage,
                (Some(other), None) => return self.invalid(element, format!("the special rule {other}")),
                (None, Some(uri)) => match uri.trim().strip_prefix('#') {
                    Some(name) if !name.is_empty() => Node::Rule(self.builder.refer(name, line)?),
                    _ => return self.unserved(element, "a rule of another grammar"),
                },
                _ => return self.invalid(element, "a rule reference names a rule or a special one"),
            },
            "example" => return Ok(None),
            other => return self.invalid(element, format!("<{other}> in a rule")),
        }))
    }

    fn item(&mut self, element: Element<'d, 'i>) -> Result<Node, GrammarError> {
        let node = self.children(element)?;
        let Some(repeat) = element.attribute("repeat") else { return Ok(node) };
        let Some((min, max)) = repetition(repeat) else {
            return self.invalid(element, format!("the repetition {repeat}"));
        };
        let likely = match element.attribute("repeat-prob").map(weight) {
            Some(Some(likely)) if likely <= 1.0 => likely.max(1e-3),
            Some(_) => return self.invalid(element, "repeat-prob is 0 to 1"),
            None => 1.0,
        };
        Ok(Node::Repeat { node: Box::new(node), min, max, likely })
    }
}
