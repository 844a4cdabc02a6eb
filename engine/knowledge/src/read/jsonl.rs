//! Questions and answers as JSON objects, one a line.

use serde_json::{Map, Value};

use crate::ProblemKind;
use crate::entry::Entry;

use super::Fault;
use super::columns::{Column, Record};

pub(super) fn read(name: &str, text: &str) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    for (n, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let at = u32::try_from(n + 1).unwrap_or(u32::MAX);
        let fault = |what: String| (Some(at), ProblemKind::Json(what));
        let fields: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
        let mut record = Record::default();
        for (key, value) in &fields {
            let Some(column) = Column::named(key) else { continue };
            match value {
                Value::Null => {}
                Value::String(text) => record.set(column, text),
                Value::Array(items) => {
                    for item in items {
                        let item = item
                            .as_str()
                            .ok_or_else(|| fault(format!("`{key}` holds something that is no text")))?;
                        record.set(column, item);
                    }
                }
                _ => return Err(fault(format!("`{key}` is no text"))),
            }
        }
        match record.entry(name, &[], at)? {
            Some(entry) => entries.push(entry),
            None => return Err((Some(at), ProblemKind::Empty { missing: "question" })),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_entry() {
        let text = "{\"question\":\"Can I travel?\",\"answer\":\"<p>Yes &amp; no</p>\",\"tags\":[\"travel\"],\"lang\":\"en-GB\",\"id\":7}\n\n";
        let entries = read("a.jsonl", text).unwrap();
        assert_eq!((entries[0].text.as_str(), entries[0].language.as_str()), ("Yes & no", "en"));
        assert_eq!(entries[0].tags, ["travel"]);
    }

    #[test]
    fn a_broken_line_is_named() {
        for text in [
            "{\"q\":\"x\",\"a\":\"y\"}\n{\"q\":",
            "\n[1]",
            "\n{\"q\":\"x\",\"a\":3}",
            "\n{\"q\":\"x\"}",
            "\n{}",
        ] {
            assert_eq!(read("a.jsonl", text).unwrap_err().0, Some(2), "{text}");
        }
    }
}
