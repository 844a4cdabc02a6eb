//! Markdown.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::ProblemKind;
use crate::entry::Entry;

use super::columns::{Columns, parts};
use super::prose::Prose;
use super::{Fault, Lines};

pub(super) fn read(name: &str, text: &str) -> Result<Vec<Entry>, Fault> {
    let lines = Lines::of(text);
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut prose = Prose::of(name);
    let mut words = String::new();
    let mut line = 1;
    let mut table = Table::default();
    let mut metadata = false;
    for (event, at) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(tag) => match tag {
                Tag::MetadataBlock(_) => metadata = true,
                Tag::Table(_) => {
                    flush(&mut prose, &mut words, line);
                    table = Table::default();
                }
                Tag::TableRow => line = lines.at(at.start),
                Tag::Heading { .. } | Tag::Paragraph | Tag::Item | Tag::CodeBlock(_) | Tag::List(_) => {
                    flush(&mut prose, &mut words, line);
                    line = lines.at(at.start);
                }
                _ => {}
            },
            Event::End(tag) => match tag {
                TagEnd::MetadataBlock(_) => {
                    about(&mut prose, &std::mem::take(&mut words));
                    metadata = false;
                }
                TagEnd::Heading(level) => prose.heading(level as u8, &std::mem::take(&mut words)),
                TagEnd::TableCell => table.row.push(std::mem::take(&mut words).trim().to_owned()),
                TagEnd::TableHead => table.begin(),
                TagEnd::TableRow => table.end_row(name, &mut prose, line)?,
                TagEnd::Paragraph | TagEnd::Item | TagEnd::CodeBlock => flush(&mut prose, &mut words, line),
                _ => {}
            },
            Event::Text(text) | Event::Code(text) => words.push_str(&text),
            Event::SoftBreak | Event::HardBreak => words.push(if metadata { '\n' } else { ' ' }),
            _ => {}
        }
    }
    flush(&mut prose, &mut words, line);
    Ok(prose.finish())
}

fn flush(prose: &mut Prose, words: &mut String, line: u32) {
    prose.paragraph(&std::mem::take(words), line);
}

/// What the block between `---` at the top says: `tags` and `language`, all else is passed over.
fn about(prose: &mut Prose, block: &str) {
    for line in block.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim().trim_matches(['[', ']', '"', '\'']);
        match key.trim().to_lowercase().as_str() {
            "tags" => prose.tagged(parts(value, &[',', '，', '、'])),
            "language" | "lang" => prose.spoken(value),
            "title" => prose.heading(0, value),
            _ => {}
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    header: Vec<String>,
    columns: Option<Columns>,
    row: Vec<String>,
}

impl Table {
    fn begin(&mut self) {
        self.header = std::mem::take(&mut self.row);
        self.columns = Columns::of(self.header.iter().map(String::as_str)).ok();
    }

    /// A row of questions and answers is an entry, of any other table a paragraph.
    fn end_row(&mut self, name: &str, prose: &mut Prose, line: u32) -> Result<(), Fault> {
        let row = std::mem::take(&mut self.row);
        if let Some(columns) = &self.columns {
            let record = columns.row(row.iter().map(String::as_str));
            let entry = record
                .entry(name, &prose.headings(), line)
                .map_err(|(_, kind): (_, ProblemKind)| (Some(line), kind))?;
            if let Some(entry) = entry {
                prose.push(entry);
            }
            return Ok(());
        }
        let cells: Vec<String> = self
            .header
            .iter()
            .zip(&row)
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(head, cell)| if head.is_empty() { cell.clone() } else { format!("{head}: {cell}") })
            .collect();
        prose.paragraph(&cells.join("; "), line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_stand_under_their_headings_with_their_line() {
        let text = "---\ntags: [cards, fees]\n---\n# Cards\n\nIntro.\n\n## Lost card\n\nCall *us* at once.\n- by phone\n- in the app\n";
        let entries = read("cards.md", text).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].title, "Cards: Lost card");
        assert_eq!(entries[1].text, "Call us at once.\nby phone\nin the app");
        assert_eq!(entries[1].source.headings, ["Cards", "Lost card"]);
        assert_eq!(entries[1].source.line, 10);
        assert_eq!(entries[1].tags, ["cards", "fees"]);
    }

    #[test]
    fn a_table_of_questions_is_a_faq() {
        let text = "# FAQ\n\n| 问题 | 答案 |\n|---|---|\n| 怎么开户 | 带上身份证 |\n| 收费吗 | 不收费 |\n";
        let entries = read("faq.md", text).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (entries[1].title.as_str(), entries[1].text.as_str(), entries[1].source.line),
            ("收费吗", "不收费", 6)
        );
    }

    #[test]
    fn another_table_is_text() {
        let entries = read("fees.md", "# Fees\n\n| Item | Price |\n|---|---|\n| Transfer | 2 |\n").unwrap();
        assert_eq!(entries[0].text, "Item: Transfer; Price: 2");
    }

    #[test]
    fn scripts_in_markdown_are_dropped() {
        let entries = read("a.md", "# T\n\n<script>\nalert(1)\n</script>\n\nText.\n").unwrap();
        assert_eq!(entries[0].text, "Text.");
    }

    #[test]
    fn a_question_without_an_answer_is_named_by_its_line() {
        let fault = read("a.md", "| Q | A |\n|---|---|\n| x | |\n").unwrap_err();
        assert_eq!(fault, (Some(3), ProblemKind::Empty { missing: "answer" }));
    }

    #[test]
    fn a_long_paragraph_is_divided_at_a_sentence() {
        let text = "这是一句话。".repeat(500);
        let entries = read("a.md", &text).unwrap();
        assert!(entries.len() > 2);
        assert!(
            entries.iter().all(|entry| entry.text.ends_with('。') && entry.text.chars().count() <= 1_200)
        );
        assert_eq!(entries.iter().map(|entry| entry.text.len()).sum::<usize>(), text.len());
    }
}
