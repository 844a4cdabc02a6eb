//! What the columns of a table and the fields of a record mean.

use crate::ProblemKind;
use crate::entry::{Entry, Source, language_of, primary};

use super::Fault;

/// Characters of an answer: more is a document.
const LONGEST_ANSWER: usize = 20_000;
/// Characters of a question or a heading; what is beyond is cut.
pub(super) const LONGEST_TITLE: usize = 500;
/// Tags, and other ways to ask, of one entry.
const MOST_PARTS: usize = 64;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Question,
    Answer,
    Variants,
    Tags,
    Language,
}

impl Column {
    /// By its name, whatever its case.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.trim().to_lowercase().as_str() {
            "question" | "questions" | "q" | "faq" | "title" | "问题" | "问" | "问句" | "标准问"
            | "标准问题" | "标题" => Some(Self::Question),
            "answer" | "answers" | "a" | "reply" | "response" | "text" | "content" | "答案" | "答"
            | "回答" | "回复" | "解答" | "内容" => Some(Self::Answer),
            "variants" | "similar" | "aliases" | "alternatives" | "相似问" | "相似问题" | "相似问法"
            | "扩展问" => Some(Self::Variants),
            "tags" | "tag" | "category" | "topic" | "标签" | "分类" | "类别" | "类目" => {
                Some(Self::Tags)
            }
            "language" | "lang" | "locale" | "语言" => Some(Self::Language),
            _ => None,
        }
    }
}

/// The columns of a table.
#[derive(Clone, Debug)]
pub(super) struct Columns(Vec<Option<Column>>);

impl Columns {
    /// Of the first row; the fault says which column is missing.
    pub(super) fn of<'a>(header: impl Iterator<Item = &'a str> + Clone) -> Result<Self, ProblemKind> {
        let columns: Vec<_> = header.clone().map(Column::named).collect();
        for (column, missing) in [(Column::Question, "question"), (Column::Answer, "answer")] {
            if !columns.contains(&Some(column)) {
                let found: Vec<String> =
                    header.take(12).map(|name| name.trim().chars().take(40).collect()).collect();
                return Err(ProblemKind::Column { missing, found: found.join(", ") });
            }
        }
        Ok(Self(columns))
    }

    /// One row.
    pub(super) fn row<'a>(&self, cells: impl Iterator<Item = &'a str>) -> Record {
        let mut record = Record::default();
        for (column, cell) in self.0.iter().zip(cells) {
            if let Some(column) = column {
                record.set(*column, cell);
            }
        }
        record
    }
}

/// A question and its answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    question: String,
    answer: String,
    variants: Vec<String>,
    tags: Vec<String>,
    language: String,
}

impl Record {
    /// Fills a field in; the first of several columns of one meaning holds.
    pub(super) fn set(&mut self, column: Column, value: &str) {
        let value = value.trim();
        match column {
            Column::Question if self.question.is_empty() => value.clone_into(&mut self.question),
            Column::Answer if self.answer.is_empty() => self.answer = super::html::plain(value),
            Column::Language if self.language.is_empty() => self.language = primary(value),
            Column::Variants => self.variants.extend(parts(value, &['|', '\n', ';', '；'])),
            Column::Tags => self.tags.extend(parts(value, &['|', '\n', ';', '；', ',', '，', '、'])),
            Column::Question | Column::Answer | Column::Language => {}
        }
    }

    /// Makes an entry of it; `None` where it is empty altogether.
    pub(super) fn entry(self, file: &str, headings: &[String], line: u32) -> Result<Option<Entry>, Fault> {
        let missing = match (self.question.is_empty(), self.answer.is_empty()) {
            (true, true) => return Ok(None),
            (true, false) => "question",
            (false, true) => "answer",
            (false, false) => {
                let chars = self.answer.chars().count();
                if chars > LONGEST_ANSWER {
                    return Err((Some(line), ProblemKind::TooLong { chars, limit: LONGEST_ANSWER }));
                }
                let language = match self.language {
                    known if !known.is_empty() => known,
                    _ => language_of(&self.question),
                };
                return Ok(Some(Entry {
                    title: self.question.chars().take(LONGEST_TITLE).collect(),
                    variants: self.variants.into_iter().take(MOST_PARTS).collect(),
                    text: self.answer,
                    source: Source { file: file.to_owned(), headings: headings.to_vec(), line },
                    language,
                    tags: self.tags.into_iter().take(MOST_PARTS).collect(),
                }));
            }
        };
        Err((Some(line), ProblemKind::Empty { missing }))
    }
}

/// The parts of a cell that holds several.
pub(super) fn parts(text: &str, between: &[char]) -> Vec<String> {
    text.split(between)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .take(MOST_PARTS)
        .map(|part| part.chars().take(LONGEST_TITLE).collect())
        .collect()
}
