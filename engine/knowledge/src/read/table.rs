//! Tables of questions and answers: CSV with commas, semicolons or tabs.

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use crate::ProblemKind;
use crate::entry::Entry;

use super::columns::Columns;
use super::{Fault, Lines};

pub(super) fn read(name: &str, text: &str) -> Result<Vec<Entry>, Fault> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let lines = Lines::of(text);
    let mut row = StringRecord::new();
    let mut columns: Option<Columns> = None;
    let mut entries = Vec::new();
    loop {
        match reader.read_record(&mut row) {
            Ok(true) => {}
            Ok(false) => return Ok(entries),
            Err(error) => {
                let line = error.position().map(csv::Position::line);
                let what = match error.kind() {
                    ErrorKind::Utf8 { err, .. } => err.to_string(),
                    _ => error.to_string(),
                };
                return Err((line.and_then(|line| u32::try_from(line).ok()), ProblemKind::Table(what)));
            }
        }
        // The reader's own line is the one where it began to look: blank lines may follow.
        let from = row.position().and_then(|at| usize::try_from(at.byte()).ok()).unwrap_or(0);
        let blank = text.as_bytes()[from..].iter().take_while(|&&b| matches!(b, b'\r' | b'\n')).count();
        let line = lines.at(from + blank);
        match &columns {
            None => columns = Some(Columns::of(row.iter()).map_err(|kind| (Some(line), kind))?),
            Some(columns) => entries.extend(columns.row(row.iter()).entry(name, &[], line)?),
        }
    }
}

/// What stands most often between the columns of the first line.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or_default();
    let count = |b: u8| first.bytes().filter(|&c| c == b).count();
    [b',', b'\t', b';'].into_iter().rev().max_by_key(|&b| count(b)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_an_entry_with_its_line_tags_and_variants() {
        let text = "Tags,Question,Answer,Similar\n\"cards, loss\",I lost my card,\"Call us,\nnow\",card stolen|card gone\n,Fees?,None,\n";
        let entries = read("faq.csv", text).unwrap();
        assert_eq!(entries[0].title, "I lost my card");
        assert_eq!(entries[0].text, "Call us,\nnow");
        assert_eq!(entries[0].tags, ["cards", "loss"]);
        assert_eq!(entries[0].variants, ["card stolen", "card gone"]);
        assert_eq!((entries[0].source.line, entries[1].source.line), (2, 4));
    }

    #[test]
    fn semicolons_and_tabs_divide_too() {
        assert_eq!(read("a.csv", "问题;答案\n怎么开户;带身份证\n").unwrap()[0].text, "带身份证");
        assert_eq!(read("a.tsv", "q\ta\nx\ty\n").unwrap()[0].text, "y");
    }

    #[test]
    fn a_table_without_answers_says_which_column_is_missing() {
        let (line, kind) = read("a.csv", "question,anser\nx,y\n").unwrap_err();
        assert_eq!(line, Some(1));
        assert!(
            kind.to_string().contains("no column for the answer") && kind.to_string().contains("anser"),
            "{kind}"
        );
    }

    #[test]
    fn a_row_without_an_answer_is_named_by_its_line() {
        assert_eq!(
            read("a.csv", "q,a\nx,y\n\nz\n"),
            Err((Some(4), ProblemKind::Empty { missing: "answer" }))
        );
    }
}
