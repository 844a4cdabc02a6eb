//! The ABNF form of grammars (SRGS 1.0 appendix D).

use antiphon_models_speech::Language;

use super::GrammarError;
use super::rules::{Builder, MAX_DEPTH, Mode, Node, Rules, repetition, tokens, weight};
use super::xml::TagFormat;

/// Reads a grammar.
pub(super) fn read(text: &str) -> Result<Rules, GrammarError> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
        builder: Builder::default(),
        mode: Mode::Voice,
        tags: TagFormat::Unsaid,
    };
    if !reader.takes("#ABNF") {
        return reader.invalid("an ABNF grammar begins with #ABNF 1.0");
    }
    reader.until(';')?;
    let (mut language, mut root) = (None, None);
    loop {
        reader.space()?;
        if reader.rest().is_empty() {
            break;
        }
        let line = reader.line();
        let word = reader.word();
        match word {
            "language" => {
                let tag = reader.until(';')?;
                let Some(read) = Language::parse(tag.trim()) else {
                    return reader.invalid("no language tag");
                };
                language = Some(read);
            }
            "mode" => {
                reader.mode = match reader.until(';')?.trim() {
                    "voice" => Mode::Voice,
                    "dtmf" => Mode::Dtmf,
                    _ => return reader.invalid("a mode that is neither voice nor dtmf"),
                }
            }
            "root" => root = Some((reader.until(';')?.trim().trim_start_matches('$').to_owned(), line)),
            "tag-format" => {
                let format = reader.until(';')?.trim().trim_matches(['<', '>']).to_owned();
                reader.tags = TagFormat::parse(Some(&format));
            }
            "base" | "lexicon" | "meta" | "http-equiv" => {
                reader.until(';')?;
            }
            "public" | "private" => {
                reader.space()?;
                reader.rule()?;
            }
            "" if reader.rest().starts_with('$') => reader.rule()?,
            _ => return reader.invalid("no declaration and no rule"),
        }
    }
    let Reader { builder, mode, .. } = reader;
    builder.finish(mode, language, root.as_ref().map(|(name, line)| (name.as_str(), *line)))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    builder: Builder,
    mode: Mode,
    tags: TagFormat,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn line(&self) -> u32 {
        self.text[..self.at].matches('\n').count() as u32 + 1
    }

    fn invalid<T>(&self, what: &str) -> Result<T, GrammarError> {
        Err(GrammarError::Invalid { line: self.line(), what: what.to_owned() })
    }

    /// Passes spaces and comments.
    fn space(&mut self) -> Result<(), GrammarError> {
        loop {
            let rest = self.rest().trim_start();
            self.at = self.text.len() - rest.len();
            let end = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if let Some(comment) = rest.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => end + 4,
                    None => return self.invalid("a comment without an end"),
                }
            } else {
                return Ok(());
            };
            self.at += end;
        }
    }

    fn takes(&mut self, sign: &str) -> bool {
        let takes = self.rest().starts_with(sign);
        if takes {
            self.at += sign.len();
        }
        takes
    }

    fn until(&mut self, end: char) -> Result<&'t str, GrammarError> {
        let rest = self.rest();
        let Some(found) = rest.find(end) else { return self.invalid(&format!("no {end} follows")) };
        self.at += found + end.len_utf8();
        Ok(&rest[..found])
    }

    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let fits = |c: char| c.is_alphanumeric() || "_-.:".contains(c);
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn rule(&mut self) -> Result<(), GrammarError> {
        let line = self.line();
        if !self.takes("$") {
            return self.invalid("a rule without its $");
        }
        let name = self.word();
        if name.is_empty() {
            return self.invalid("a rule without a name");
        }
        self.space()?;
        if !self.takes("=") {
            return self.invalid("no = follows");
        }
        let body = self.alternatives()?;
        if !self.takes(";") {
            return self.invalid("the rule goes on with something that is no part of one");
        }
        self.builder.define(name, body, line)
    }

    fn alternatives(&mut self) -> Result<Node, GrammarError> {
        if self.depth == MAX_DEPTH {
            return Err(GrammarError::Unserved {
                line: self.line(),
                what: "nesting of more than 64 levels".into(),
            });
        }
        self.depth += 1;
        let mut all = Vec::new();
        loop {
            self.space()?;
            let mut likely = 1.0;
            if self.takes("/") {
                let Some(weight) = weight(self.until('/')?) else {
                    return self.invalid("a weight that is none");
                };
                likely = weight;
            }
            all.push((likely, self.sequence()?));
            if !self.takes("|") {
                break;
            }
        }
        self.depth -= 1;
        Ok(if all.len() == 1 { all.remove(0).1 } else { Node::OneOf(all) })
    }

    fn sequence(&mut self) -> Result<Node, GrammarError> {
        let mut all = Vec::new();
        loop {
            self.space()?;
            let Some(first) = self.rest().chars().next() else { break };
            if matches!(first, ';' | '|' | ')' | ']') {
                break;
            }
            self.builder.count()?;
            let node = self.part(first)?;
            self.space()?;
            let node = if self.rest().starts_with('<') { self.repeated(node)? } else { node };
            all.push(node);
        }
        Ok(Node::Sequence(all))
    }

    fn part(&mut self, first: char) -> Result<Node, GrammarError> {
        let line = self.line();
        match first {
            '(' => {
                self.at += 1;
                let node = self.alternatives()?;
                if self.takes(")") { Ok(node) } else { self.invalid("no ) follows") }
            }
            '[' => {
                self.at += 1;
                let node = Box::new(self.alternatives()?);
                if !self.takes("]") {
                    return self.invalid("no ] follows");
                }
                Ok(Node::Repeat { node, min: 0, max: Some(1), likely: 1.0 })
            }
            '{' => {
                let text = if self.takes("{!{") {
                    let rest = self.rest();
                    let Some(end) = rest.find("}!}") else { return self.invalid("no }!} follows") };
                    self.at += end + 3;
                    &rest[..end]
                } else {
                    self.at += 1;
                    self.until('}')?
                };
                Ok(Node::Tag(self.tags.read(text, line)?))
            }
            '$' => {
                self.at += 1;
                if self.rest().starts_with('<') {
                    return Err(GrammarError::Unserved { line, what: "a rule of another grammar".into() });
                }
                match self.word() {
                    "NULL" => Ok(Node::Sequence(Vec::new())),
                    "VOID" => Ok(Node::Void),
                    "GARBAGE" => Ok(Node::Garbage),
                    "" => self.invalid("a $ without a name"),
                    name => Ok(Node::Rule(self.builder.refer(name, line)?)),
                }
            }
            '"' => {
                self.at += 1;
                let text = self.until('"')?;
                Ok(Node::Words(tokens(text, self.mode, line)?))
            }
            '!' => Err(GrammarError::Unserved { line, what: "a language of its own for a part".into() }),
            _ => {
                let rest = self.rest();
                let end = rest
                    .find(|c: char| c.is_whitespace() || ";|()[]{}<>$\"/!".contains(c))
                    .unwrap_or(rest.len());
                if end == 0 {
                    return self.invalid("a sign that is no part of a rule");
                }
                self.at += end;
                Ok(Node::Words(tokens(&rest[..end], self.mode, line)?))
            }
        }
    }

    /// `<2-3 /0.5/>` behind a part.
    fn repeated(&mut self, node: Node) -> Result<Node, GrammarError> {
        self.at += 1;
        let text = self.until('>')?;
        let (times, likely) = match text.split_once('/') {
            Some((times, likely)) => (times, weight(likely.trim().trim_end_matches('/'))),
            None => (text, Some(1.0)),
        };
        match (repetition(times.trim()), likely.filter(|likely| *likely <= 1.0)) {
            (Some((min, max)), Some(likely)) => {
                Ok(Node::Repeat { node: Box::new(node), min, max, likely: likely.max(1e-3) })
            }
            _ => self.invalid("a repetition that is none"),
        }
    }
}
