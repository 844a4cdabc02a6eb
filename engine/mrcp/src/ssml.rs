//! SSML as far as voices that take plain text can follow it (Speech Synthesis Markup Language 1.0 and 1.1).

use antiphon_media_frame::Span;
use antiphon_models_speech::{Language, SpeechRequest};
use roxmltree::{Document, Node, ParsingOptions};

/// Longest pause that can be asked for.
const LONGEST_PAUSE: Span = Span::from_secs(60);
/// Most pieces of one document.
const MOST_PIECES: usize = 256;
/// Elements within each other at most.
const DEPTH: usize = 64;

/// One thing after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This is said.
    Say {
        /// Plain text.
        text: String,
        /// Its language.
        language: Language,
        /// The voice asked for.
        voice: Option<String>,
    },
    /// Silence.
    Pause(Span),
    /// Whoever asked is told when this is reached.
    Mark(String),
}

/// Why a document cannot be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SsmlError {
    /// It is no SSML.
    #[error("line {line} of the SSML: {what}")]
    Invalid {
        /// Counted from 1.
        line: u32,
        /// What is wrong.
        what: String,
    },
    /// Too much of something.
    #[error("the SSML has more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much of it is taken.
        limit: usize,
    },
}

/// What a document says, in order.
pub(crate) fn read(text: &str, language: &Language, voice: Option<&str>) -> Result<Vec<Piece>, SsmlError> {
    let text = crate::doctype::without(text).map_err(|line| SsmlError::Invalid {
        line,
        what: "a document type with declarations of its own".into(),
    })?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: 20_000, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&text, options)
        .map_err(|error| SsmlError::Invalid { line: error.pos().row, what: error.to_string() })?;
    let root = document.root_element();
    if root.tag_name().name() != "speak" {
        let what = format!("<{}> is no <speak>", root.tag_name().name());
        return Err(SsmlError::Invalid { line: document.text_pos_at(root.range().start).row, what });
    }
    let mut reader =
        Reader { document: &document, pieces: Vec::new(), text: String::new(), characters: 0, depth: 0 };
    let manner = Manner { language: language.clone(), voice: voice.map(str::to_owned), spell: false };
    reader.element(root, &manner)?;
    reader.flush(&manner)?;
    Ok(reader.pieces)
}

/// How text is said here.
#[derive(Clone, PartialEq)]
struct Manner {
    language: Language,
    voice: Option<String>,
    spell: bool,
}

struct Reader<'d, 'i> {
    document: &'d Document<'i>,
    pieces: Vec<Piece>,
    text: String,
    characters: usize,
    depth: usize,
}

impl<'d, 'i> Reader<'d, 'i> {
    fn invalid(&self, element: Node<'d, 'i>, what: impl Into<String>) -> SsmlError {
        let line = self.document.text_pos_at(element.range().start).row;
        SsmlError::Invalid { line, what: what.into() }
    }

    fn push(&mut self, piece: Piece) -> Result<(), SsmlError> {
        if self.pieces.len() == MOST_PIECES {
            return Err(SsmlError::TooLarge { what: "pieces", limit: MOST_PIECES });
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// What has been gathered becomes a piece.
    fn flush(&mut self, manner: &Manner) -> Result<(), SsmlError> {
        let text = std::mem::take(&mut self.text);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.chars().any(char::is_alphanumeric) {
            return Ok(());
        }
        self.characters += text.chars().count();
        if self.characters > SpeechRequest::LONGEST {
            return Err(SsmlError::TooLarge { what: "characters", limit: SpeechRequest::LONGEST });
        }
        let Manner { language, voice, .. } = manner.clone();
        self.push(Piece::Say { text, language, voice })
    }

    fn element(&mut self, element: Node<'d, 'i>, manner: &Manner) -> Result<(), SsmlError> {
        if self.depth == DEPTH {
            return Err(self.invalid(element, "nesting of more than 64 levels"));
        }
        self.depth += 1;
        let mut inner = manner.clone();
        if let Some(tag) = element.attribute(("http://www.w3.org/XML/1998/namespace", "lang")) {
            inner.language = Language::parse(tag.trim())
                .ok_or_else(|| self.invalid(element, "xml:lang is no language tag"))?;
        }
        match element.tag_name().name() {
            "break" => {
                self.flush(manner)?;
                let pause = pause(element).ok_or_else(|| self.invalid(element, "the length of a break"))?;
                if pause > Span::ZERO {
                    self.push(Piece::Pause(pause))?;
                }
            }
            "mark" => {
                let name = element.attribute("name").filter(|name| !name.is_empty() && name.len() <= 256);
                let name = name.ok_or_else(|| self.invalid(element, "a mark without a name"))?.to_owned();
                self.flush(manner)?;
                self.push(Piece::Mark(name))?;
            }
            "sub" => match element.attribute("alias") {
                Some(alias) => self.say(alias, &inner),
                None => return Err(self.invalid(element, "<sub> without an alias")),
            },
            "meta" | "metadata" | "lexicon" | "desc" => {}
            name => {
                if name == "voice" {
                    inner.voice = element.attribute("name").map(str::to_owned).or(inner.voice);
                }
                if name == "say-as" {
                    let how = element.attribute("interpret-as").unwrap_or_default();
                    inner.spell = matches!(
                        how,
                        "characters" | "spell-out" | "digits" | "telephone" | "vxml:digits" | "vxml:phone"
                    );
                }
                let changes = inner.language != manner.language || inner.voice != manner.voice;
                if changes {
                    self.flush(manner)?;
                }
                for child in element.children() {
                    if child.is_element() {
                        self.element(child, &inner)?;
                    } else if child.is_text() {
                        self.say(child.text().unwrap_or_default(), &inner);
                    }
                }
                if matches!(name, "p" | "s") {
                    self.end_sentence();
                }
                if changes {
                    self.flush(&inner)?;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn say(&mut self, text: &str, manner: &Manner) {
        if !manner.spell {
            self.text.push_str(text);
            return;
        }
        for c in text.chars().filter(|c| c.is_alphanumeric()) {
            self.text.push(' ');
            self.text.push(c);
        }
        self.text.push(' ');
    }

    /// Voices hear the end of a sentence by its mark.
    fn end_sentence(&mut self) {
        let said = self.text.trim_end();
        if said.chars().last().is_some_and(char::is_alphanumeric) {
            self.text.truncate(said.len());
            self.text.push('.');
        }
        self.text.push(' ');
    }
}

fn pause(element: Node<'_, '_>) -> Option<Span> {
    let Some(time) = element.attribute("time") else {
        let millis = match element.attribute("strength").unwrap_or("medium") {
            "none" => 0,
            "x-weak" => 100,
            "weak" => 200,
            "medium" => 400,
            "strong" => 700,
            "x-strong" => 1_200,
            _ => return None,
        };
        return Some(Span::from_millis(millis));
    };
    let time = time.trim();
    let (number, factor) = match time.strip_suffix("ms") {
        Some(number) => (number, 1.0),
        None => (time.strip_suffix('s')?, 1_000.0),
    };
    let millis = number.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)? * factor;
    Some(Span::from_millis(millis.min(1e9) as u64).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(text: &str) -> Piece {
        Piece::Say { text: text.into(), language: Language::english(), voice: None }
    }

    fn spoken(body: &str) -> Vec<Piece> {
        read(&format!("<?xml version='1.0'?><speak version='1.0'>{body}</speak>"), &Language::english(), None)
            .expect("SSML")
    }

    #[test]
    fn a_document_becomes_pieces() {
        let pieces = spoken(
            "<p><s>You have 4 new\n messages</s><s>Hello.</s></p><break time='1.5s'/><mark name='here'/>\
             Call <say-as interpret-as='telephone'>555-12</say-as> or <sub alias='World Wide Web'>WWW</sub> \
             <emphasis>now</emphasis><voice name='slt'>Bye</voice>\
             <voice xml:lang='zh-CN'>再见</voice>",
        );
        let zh = Language::parse("zh-CN").expect("a tag");
        assert_eq!(
            pieces,
            [
                say("You have 4 new messages. Hello."),
                Piece::Pause(Span::from_millis(1_500)),
                Piece::Mark("here".into()),
                say("Call 5 5 5 1 2 or World Wide Web now"),
                Piece::Say { text: "Bye".into(), language: Language::english(), voice: Some("slt".into()) },
                Piece::Say { text: "再见".into(), language: zh, voice: None },
            ]
        );
    }

    #[test]
    fn breaks_have_lengths_and_strengths() {
        for (attribute, millis) in
            [("time='250ms'", 250), ("strength='strong'", 700), ("", 400), ("time='9999999s'", 60_000)]
        {
            assert_eq!(spoken(&format!("<break {attribute}/>")), [Piece::Pause(Span::from_millis(millis))]);
        }
        assert_eq!(spoken("<break strength='none'/>"), []);
    }

    #[test]
    fn what_is_no_ssml_is_refused_by_its_line() {
        let language = Language::english();
        for (text, line) in [
            ("plain", 1),
            ("<vxml/>", 1),
            ("<speak>\n<break time='soon'/></speak>", 2),
            ("<speak>\n\n<sub>a</sub></speak>", 3),
            ("<speak><mark/></speak>", 1),
            ("<speak xml:lang='english please'/>", 1),
            ("<!DOCTYPE speak [<!ENTITY a 'b'>]><speak>&a;</speak>", 1),
        ] {
            match read(text, &language, None) {
                Err(SsmlError::Invalid { line: found, .. }) => assert_eq!(found, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let long = format!("<speak>{}</speak>", "many words ".repeat(1_000));
        assert!(matches!(read(&long, &language, None), Err(SsmlError::TooLarge { .. })));
        let marks = format!("<speak>{}</speak>", "<mark name='a'/>".repeat(300));
        assert!(matches!(read(&marks, &language, None), Err(SsmlError::TooLarge { .. })));
        let deep = format!("<speak>{}{}</speak>", "<p>".repeat(80), "</p>".repeat(80));
        assert!(read(&deep, &language, None).is_err());
    }
}
