//! HTML, also such as nobody would write.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};

use crate::entry::Entry;

use super::Lines;
use super::columns::{Column, Columns, Record, parts};
use super::prose::Prose;

pub(super) fn read(name: &str, text: &str) -> Vec<Entry> {
    let mut page = Page {
        name,
        prose: Prose::of(name),
        words: String::new(),
        line: 1,
        place: Place::Flow,
        question: None,
        row: Vec::new(),
        header: None,
    };
    let lines = Lines::of(text);
    let mut skip: Option<(Vec<u8>, usize)> = None;
    for token in tokens(text) {
        match token {
            Token::StartTag(tag) => {
                let tag_name: &[u8] = &tag.name;
                if let Some((skipped, depth)) = &mut skip {
                    *depth += usize::from(skipped.as_slice() == tag_name && !tag.self_closing);
                    continue;
                }
                match tag_name {
                    b"script" | b"style" | b"noscript" | b"template" | b"svg" | b"nav" | b"iframe"
                    | b"object"
                        if !tag.self_closing =>
                    {
                        skip = Some((tag_name.to_vec(), 1));
                    }
                    b"html" => {
                        if let Some(language) = attribute(&tag.attributes, "lang") {
                            page.prose.spoken(&language);
                        }
                    }
                    b"meta"
                        if attribute(&tag.attributes, "name")
                            .is_some_and(|name| name.eq_ignore_ascii_case("keywords")) =>
                    {
                        let keywords = attribute(&tag.attributes, "content").unwrap_or_default();
                        page.prose.tagged(parts(&keywords, &[',', '，', '、']));
                    }
                    _ => page.open(tag_name, lines.at(tag.span.start)),
                }
            }
            Token::EndTag(tag) => {
                let tag_name: &[u8] = &tag.name;
                if let Some((skipped, depth)) = &mut skip {
                    *depth -= usize::from(skipped.as_slice() == tag_name);
                    if *depth == 0 {
                        skip = None;
                    }
                    continue;
                }
                page.shut(tag_name);
            }
            Token::String(words) if skip.is_none() => {
                page.text(&String::from_utf8_lossy(&words), lines.at(words.span.start));
            }
            _ => {}
        }
    }
    page.close();
    page.prose.finish()
}

/// The text of a cell that may hold markup.
pub(super) fn plain(text: &str) -> String {
    if !text.contains("</") && !text.contains("<br") && !text.contains("<p") {
        return text.to_owned();
    }
    let mut words = String::new();
    let mut skip = false;
    for token in tokens(text) {
        match token {
            Token::StartTag(tag) => match &**tag.name {
                b"script" | b"style" => skip = true,
                b"br" | b"p" | b"div" | b"li" | b"tr" if !words.is_empty() && !words.ends_with('\n') => {
                    words.push('\n');
                }
                _ => {}
            },
            Token::EndTag(tag) => skip &= !matches!(&**tag.name, b"script" | b"style"),
            Token::String(text) if !skip => words.push_str(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    words.trim().to_owned()
}

fn tokens(text: &str) -> impl Iterator<Item = Token<usize>> {
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(text, emitter).map(|token| match token {
        Ok(token) => token,
        Err(never) => match never {},
    })
}

fn attribute<S: html5gum::SpanBound>(
    attributes: &std::collections::BTreeMap<html5gum::HtmlString, html5gum::Spanned<html5gum::HtmlString, S>>,
    name: &str,
) -> Option<String> {
    let value = attributes.iter().find(|(key, _)| key.as_slice() == name.as_bytes())?.1;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// What the words at hand belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Flow,
    Heading(u8),
    /// `dt` and `summary`.
    Question,
    /// `dd`, and what follows a `summary`.
    Answer,
    Cell,
}

struct Page<'a> {
    name: &'a str,
    prose: Prose,
    words: String,
    line: u32,
    place: Place,
    question: Option<(String, u32)>,
    row: Vec<String>,
    /// Names of the columns, and what they mean if it is a table of questions and answers.
    header: Option<(Vec<String>, Option<Columns>)>,
}

impl Page<'_> {
    fn open(&mut self, tag: &[u8], line: u32) {
        match tag {
            b"title" => self.begin(Place::Heading(0), line),
            [b'h', level @ b'1'..=b'6'] => self.begin(Place::Heading(level - b'0'), line),
            b"dt" | b"summary" => self.begin(Place::Question, line),
            b"dd" => self.begin(Place::Answer, line),
            b"td" | b"th" => self.begin(Place::Cell, line),
            b"tr" => self.end_row(),
            b"table" => {
                self.end_row();
                self.header = None;
            }
            _ if is_block(tag) => self.divide(),
            _ => {}
        }
    }

    fn shut(&mut self, tag: &[u8]) {
        match tag {
            b"title" | b"dt" | b"dd" | b"td" | b"th" | b"details" | b"dl" => self.close(),
            [b'h', b'1'..=b'6'] => self.close(),
            b"summary" => {
                self.close();
                self.place = Place::Answer;
            }
            b"tr" | b"table" => self.end_row(),
            _ if is_block(tag) => self.divide(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str, line: u32) {
        if self.words.trim().is_empty() && !text.trim().is_empty() {
            // The blank lines before the first word are not where it begins.
            let blank = text.len() - text.trim_start().len();
            let breaks = text[..blank].bytes().filter(|&b| b == b'\n').count();
            self.line = line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX));
        }
        for part in text.split_inclusive(|c: char| c.is_whitespace()) {
            let word = part.trim_end();
            self.words.push_str(word);
            if part.len() > word.len() && !self.words.ends_with([' ', '\n']) && !self.words.is_empty() {
                self.words.push(' ');
            }
        }
    }

    fn begin(&mut self, place: Place, line: u32) {
        self.close();
        self.place = place;
        self.line = line;
    }

    /// A paragraph ends, wherever it is.
    fn divide(&mut self) {
        match self.place {
            Place::Flow => self.close(),
            _ if !self.words.is_empty() && !self.words.ends_with('\n') => self.words.push('\n'),
            _ => {}
        }
    }

    fn close(&mut self) {
        let words = std::mem::take(&mut self.words).trim().to_owned();
        match std::mem::replace(&mut self.place, Place::Flow) {
            Place::Flow => self.prose.paragraph(&words, self.line),
            Place::Heading(level) => self.prose.heading(level, &words),
            Place::Question if !words.is_empty() => self.question = Some((words, self.line)),
            Place::Cell => self.row.push(words),
            Place::Answer if !words.is_empty() => match self.question.clone() {
                Some((question, line)) => self.faq(&question, &words, line),
                None => self.prose.paragraph(&words, self.line),
            },
            Place::Question | Place::Answer => {}
        }
    }

    fn faq(&mut self, question: &str, answer: &str, line: u32) {
        let mut record = Record::default();
        record.set(Column::Question, question);
        record.set(Column::Answer, answer);
        if let Ok(Some(entry)) = record.entry(self.name, &self.prose.headings(), line) {
            self.prose.push(entry);
        }
    }

    fn end_row(&mut self) {
        self.close();
        let row = std::mem::take(&mut self.row);
        if row.is_empty() {
            return;
        }
        match &self.header {
            None => {
                let columns = Columns::of(row.iter().map(String::as_str)).ok();
                if columns.is_none() {
                    self.prose.paragraph(&row.join("; "), self.line);
                }
                self.header = Some((row, columns));
            }
            Some((_, Some(columns))) => {
                // A page is not made to be read by machines: a row with a hole is passed over.
                let entry = columns.row(row.iter().map(String::as_str)).entry(
                    self.name,
                    &self.prose.headings(),
                    self.line,
                );
                if let Ok(Some(entry)) = entry {
                    self.prose.push(entry);
                }
            }
            Some((names, None)) => {
                let cells: Vec<String> =
                    names.iter().zip(&row).map(|(name, cell)| format!("{name}: {cell}")).collect();
                self.prose.paragraph(&cells.join("; "), self.line);
            }
        }
    }
}

fn is_block(tag: &[u8]) -> bool {
    matches!(
        tag,
        b"p" | b"div"
            | b"li"
            | b"ul"
            | b"ol"
            | b"br"
            | b"hr"
            | b"section"
            | b"article"
            | b"main"
            | b"header"
            | b"footer"
            | b"aside"
            | b"blockquote"
            | b"pre"
            | b"dl"
            | b"details"
            | b"tbody"
            | b"thead"
            | b"body"
            | b"head"
            | b"figure"
            | b"form"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_paragraphs_and_entities_are_read_and_scripts_dropped() {
        let text = "<!doctype html><html lang=en-GB><head><title>Bank</title><style>p{}</style><meta name=keywords content='a, b'></head>\n\
                    <body><script>if (a</p>b) alert('<p>x</p>')</script>\n<h1>Fees &amp; limits</h1>\n<p>Five&nbsp;&#163; a <b>month</b>.\n\
                    <p>No more<br>than that.</body>";
        let entries = read("a.html", text);
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!(entries[0].title, "Bank: Fees & limits");
        assert_eq!(entries[0].text, "Five £ a month.\nNo more\nthan that.");
        assert_eq!((entries[0].source.line, entries[0].language.as_str()), (4, "en"));
        assert_eq!(entries[0].tags, ["a", "b"]);
    }

    #[test]
    fn definition_lists_details_and_tables_are_questions_and_answers() {
        let text = "<dl><dt>怎么开户<dd>带身份证<dt>收费吗<dd><p>不收费</p></dl>\
                    <details><summary>Lost card?</summary><p>Call us.</p></details><p>Plain.</p>\
                    <table><tr><th>Question<th>Answer</tr><tr><td>Open on Sunday?<td>No</table>";
        let entries = read("a.html", text);
        let found: Vec<_> = entries.iter().map(|entry| (entry.title.as_str(), entry.text.as_str())).collect();
        let expected = [
            ("怎么开户", "带身份证"),
            ("收费吗", "不收费"),
            ("Lost card?", "Call us."),
            ("a", "Plain."),
            ("Open on Sunday?", "No"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn no_page_is_too_broken() {
        for text in [
            "<",
            "<p",
            "</",
            "<script>",
            "<td><td><tr><table></table></table>",
            "<svg><svg></svg>x",
            "&#xffffffff;&bogus;",
            "<h1><h2></h1>x",
        ] {
            read("a.html", text);
        }
        assert!(read("a.html", &"<div>".repeat(100_000)).is_empty());
    }

    #[test]
    fn a_hole_in_a_table_of_a_page_is_passed_over() {
        assert!(read("a.html", "<table><tr><th>Q<th>A<tr><td>x<td></table>").is_empty());
    }
}
