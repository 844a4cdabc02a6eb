//! Documents: headings, and the paragraphs under them.

use crate::entry::{Entry, Source, language_of, primary};

use super::columns::LONGEST_TITLE;

/// Paragraphs under one heading are joined up to this many characters: enough to answer, little enough to read at a
/// glance while somebody talks.
const JOINED: usize = 600;
/// A longer paragraph is divided, at the end of a sentence where there is one.
const LONGEST: usize = 1_200;

/// Collects the entries of a document.
#[derive(Debug)]
pub(super) struct Prose {
    file: String,
    /// The whole document's, then those of headings: level and words.
    headings: Vec<(u8, String)>,
    text: String,
    chars: usize,
    line: u32,
    entries: Vec<Entry>,
    tags: Vec<String>,
    language: String,
}

impl Prose {
    pub(super) fn of(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            headings: Vec::new(),
            text: String::new(),
            chars: 0,
            line: 1,
            entries: Vec::new(),
            tags: Vec::new(),
            language: String::new(),
        }
    }

    /// What the document says of itself: holds for all its entries.
    pub(super) fn tagged(&mut self, tags: Vec<String>) {
        self.tags = tags;
    }

    pub(super) fn spoken(&mut self, language: &str) {
        self.language = primary(language);
    }

    /// What follows stands under it. Level 0 is the document's own title.
    pub(super) fn heading(&mut self, level: u8, words: &str) {
        self.flush();
        self.headings.retain(|&(above, _)| above < level);
        let words: String = words.trim().chars().take(LONGEST_TITLE).collect();
        let again = self.headings.last().is_some_and(|(_, above)| above == &words);
        if !words.is_empty() && !again {
            self.headings.push((level, words));
        }
    }

    pub(super) fn paragraph(&mut self, words: &str, line: u32) {
        let mut rest = words.trim();
        while !rest.is_empty() {
            let (part, tail) = divide(rest);
            let chars = part.chars().count();
            if self.chars > 0 && self.chars + chars > JOINED {
                self.flush();
            }
            if self.chars == 0 {
                self.line = line;
            } else {
                self.text.push('\n');
            }
            self.text.push_str(part);
            self.chars += chars;
            rest = tail.trim_start();
        }
    }

    /// An entry that came about in another way; the document's tags and language fill in what it does not say.
    pub(super) fn push(&mut self, mut entry: Entry) {
        self.flush();
        entry.tags.extend(self.tags.iter().cloned());
        self.entries.push(entry);
    }

    pub(super) fn headings(&self) -> Vec<String> {
        self.headings.iter().map(|(_, words)| words.clone()).collect()
    }

    pub(super) fn finish(mut self) -> Vec<Entry> {
        self.flush();
        self.entries
    }

    fn flush(&mut self) {
        self.chars = 0;
        let text = std::mem::take(&mut self.text);
        if text.is_empty() {
            return;
        }
        let headings = self.headings();
        let (title, variants) = match headings.as_slice() {
            [] => (stem(&self.file), Vec::new()),
            // A heading that is a question is asked as it stands; another needs what stands above it.
            [.., last] if last.ends_with(['?', '？']) || headings.len() == 1 => (last.clone(), Vec::new()),
            [.., last] => (headings.join(": "), vec![last.clone()]),
        };
        let language = match self.language.as_str() {
            "" => language_of(&text),
            known => known.to_owned(),
        };
        self.entries.push(Entry {
            title,
            variants,
            text,
            source: Source { file: self.file.clone(), headings, line: self.line },
            language,
            tags: self.tags.clone(),
        });
    }
}

/// As much of a text as an entry takes, and the rest.
fn divide(text: &str) -> (&str, &str) {
    let Some((end, _)) = text.char_indices().nth(LONGEST) else {
        return (text, "");
    };
    let head = &text[..end];
    let sentence = head.rfind(['。', '！', '？', '；', '\n']).into_iter().chain(head.rfind(". ")).max();
    let at = sentence
        .or_else(|| head.rfind(char::is_whitespace))
        .and_then(|at| head[at..].chars().next().map(|c| at + c.len_utf8()))
        .filter(|&at| at > end / 2)
        .unwrap_or(end);
    text.split_at(at)
}

fn stem(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    stem.replace(['_', '-'], " ")
}
