//! From files to entries.

mod columns;
mod html;
mod jsonl;
mod markdown;
mod prose;
mod table;

use std::borrow::Cow;

use encoding_rs::{Encoding, GB18030};

use crate::ProblemKind;
use crate::entry::Entry;
use crate::folder::Format;

/// What is wrong, and on which line.
pub(crate) type Fault = (Option<u32>, ProblemKind);

/// Reads a file's entries: all of them, or what is wrong with the first that cannot be read.
pub(crate) fn entries(name: &str, format: Format, bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
    let text = decode(bytes)?;
    match format {
        Format::Markdown => markdown::read(name, &text),
        Format::Html => Ok(html::read(name, &text)),
        Format::Table => table::read(name, &text),
        Format::JsonLines => jsonl::read(name, &text),
        Format::Synonyms => Ok(Vec::new()),
    }
}

/// Text of a file: UTF-8 with or without mark, UTF-16 with one, or GB18030, as spreadsheets in China save tables.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, Fault> {
    let text = if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        encoding.decode_without_bom_handling_and_without_replacement(&bytes[mark..]).map(Cow::into_owned)
    } else {
        match std::str::from_utf8(bytes) {
            Ok(text) => Some(text.to_owned()),
            Err(error) => {
                let chinese = gb_share(bytes) >= 0.9;
                let text = chinese
                    .then(|| GB18030.decode_without_bom_handling_and_without_replacement(bytes))
                    .flatten();
                let Some(text) = text else {
                    return Err((Some(line_at(bytes, error.valid_up_to())), ProblemKind::Encoding));
                };
                Some(text.into_owned())
            }
        }
    };
    let text = text.ok_or((None, ProblemKind::Encoding))?;
    match text.find('\0') {
        Some(at) => Err((Some(line_at(text.as_bytes(), at)), ProblemKind::Encoding)),
        None => Ok(text),
    }
}

/// Of the octets outside ASCII, which share stands in pairs of the common Chinese plane: Western text of one octet a
/// letter decodes as GB18030 as well, but seldom has two such letters in a row.
fn gb_share(bytes: &[u8]) -> f32 {
    let (mut paired, mut all) = (0_usize, 0_usize);
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first < 0x80 {
            continue;
        }
        all += 1;
        if let Some((&second, tail)) = tail.split_first()
            && (0xa1..=0xfe).contains(&first)
            && (0xa1..=0xfe).contains(&second)
        {
            paired += 1;
            rest = tail;
        }
    }
    paired as f32 / all.max(1) as f32
}

fn line_at(bytes: &[u8], at: usize) -> u32 {
    let breaks = bytes[..at.min(bytes.len())].iter().filter(|&&b| b == b'\n').count();
    u32::try_from(breaks + 1).unwrap_or(u32::MAX)
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of an octet, counted from 1.
    fn at(&self, offset: usize) -> u32 {
        u32::try_from(self.0.partition_point(|&at| at < offset) + 1).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_saved_in_gb18030_is_read() {
        let (bytes, _, _) = GB18030.encode("问题,答案\n怎么挂失,请拨打客服热线\n");
        let entries = entries("a.csv", Format::Table, &bytes).unwrap();
        assert_eq!(entries[0].title, "怎么挂失");
    }

    #[test]
    fn a_mark_of_utf_8_or_utf_16_is_obeyed() {
        assert_eq!(decode("\u{feff}好".as_bytes()).unwrap(), "好");
        let utf16: Vec<u8> = "\u{feff}好a".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&utf16).unwrap(), "好a");
    }

    #[test]
    fn a_western_single_octet_file_is_refused_with_its_line() {
        assert_eq!(decode(b"question,answer\ncaf\xe9 open,yes\n"), Err((Some(2), ProblemKind::Encoding)));
    }

    #[test]
    fn a_binary_file_is_refused() {
        assert_eq!(decode(b"a\nb\0c"), Err((Some(2), ProblemKind::Encoding)));
    }
}
