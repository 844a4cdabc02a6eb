//! Tables as Parquet (the parquet-format specification, version 2): one row group, a page a column, values as they are,
//! not compressed. That is the part of the format that every reader knows, and little enough to be written here.

use super::table::{Cell, Kind, Table};

const MAGIC: &[u8; 4] = b"PAR1";

/// Of the specification's enumerations.
const DATA_PAGE: i64 = 0;
const PLAIN: i64 = 0;
const RLE: i64 = 3;
const UNCOMPRESSED: i64 = 0;
const REQUIRED: i64 = 0;
const OPTIONAL: i64 = 1;
/// A text as older readers know it.
const UTF8: i64 = 0;

impl Kind {
    /// The physical type.
    fn physical(self) -> i64 {
        match self {
            Self::Yes => 0,
            Self::Count => 2,
            Self::Number => 5,
            Self::Text => 6,
        }
    }

    /// Whether it may be unknown.
    fn repetition(self) -> i64 {
        if matches!(self, Self::Text | Self::Number) { OPTIONAL } else { REQUIRED }
    }
}

/// The whole file.
pub(super) fn write(table: &Table) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    let chunks: Vec<Chunk> = if table.rows.is_empty() {
        Vec::new()
    } else {
        (0..table.columns.len()).map(|n| chunk(table, n, &mut file)).collect()
    };
    let mut meta = Compact::default();
    meta.int(1, 1);
    meta.list(2, STRUCT, table.columns.len() + 1);
    meta.open();
    meta.text(4, "rows");
    meta.int(5, table.columns.len() as i64);
    meta.close();
    for column in &table.columns {
        meta.open();
        meta.int(1, column.kind.physical());
        meta.int(3, column.kind.repetition());
        meta.text(4, &column.name);
        if column.kind == Kind::Text {
            meta.int(6, UTF8);
            // The union's member STRING, which has no members.
            meta.nested(10);
            meta.nested(1);
            meta.close();
            meta.close();
        }
        meta.close();
    }
    let rows = table.rows.len() as i64;
    meta.long(3, rows);
    meta.list(4, STRUCT, usize::from(!chunks.is_empty()));
    if !chunks.is_empty() {
        meta.open();
        meta.list(1, STRUCT, chunks.len());
        for (chunk, column) in chunks.iter().zip(&table.columns) {
            meta.open();
            meta.long(2, chunk.offset);
            meta.nested(3);
            meta.int(1, column.kind.physical());
            meta.list(2, I32, 2);
            meta.element(PLAIN);
            meta.element(RLE);
            meta.list(3, BINARY, 1);
            meta.bytes(column.name.as_bytes());
            meta.int(4, UNCOMPRESSED);
            meta.long(5, rows);
            meta.long(6, chunk.size);
            meta.long(7, chunk.size);
            meta.long(9, chunk.offset);
            meta.close();
            meta.close();
        }
        meta.long(2, chunks.iter().map(|chunk| chunk.size).sum());
        meta.long(3, rows);
        meta.close();
    }
    meta.text(6, concat!("antiphon version ", env!("CARGO_PKG_VERSION")));
    let meta = meta.finish();
    file.extend_from_slice(&meta);
    file.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    file.extend_from_slice(MAGIC);
    file
}

/// Where a column's values lie in the file.
struct Chunk {
    offset: i64,
    /// Its page with its header.
    size: i64,
}

/// Writes a column's page.
fn chunk(table: &Table, column: usize, file: &mut Vec<u8>) -> Chunk {
    let mut page = Vec::new();
    let cells = || table.rows.iter().filter_map(|row| row.get(column));
    if table.columns[column].kind.repetition() == OPTIONAL {
        let known = cells().map(|cell| !matches!(cell, Cell::Text(None) | Cell::Number(None)));
        let levels = levels(known);
        page.extend_from_slice(&(levels.len() as u32).to_le_bytes());
        page.extend_from_slice(&levels);
    }
    let (mut bits, mut count) = (0u8, 0);
    for cell in cells() {
        match cell {
            Cell::Text(Some(text)) => {
                page.extend_from_slice(&(text.len() as u32).to_le_bytes());
                page.extend_from_slice(text.as_bytes());
            }
            Cell::Count(count) => page.extend_from_slice(&count.to_le_bytes()),
            Cell::Number(Some(number)) => page.extend_from_slice(&number.to_le_bytes()),
            Cell::Text(None) | Cell::Number(None) => {}
            Cell::Yes(yes) => {
                bits |= u8::from(*yes) << (count % 8);
                count += 1;
                if count % 8 == 0 {
                    page.push(std::mem::take(&mut bits));
                }
            }
        }
    }
    if count % 8 != 0 {
        page.push(bits);
    }
    let mut head = Compact::default();
    head.int(1, DATA_PAGE);
    head.int(2, page.len() as i64);
    head.int(3, page.len() as i64);
    head.nested(5);
    head.int(1, table.rows.len() as i64);
    head.int(2, PLAIN);
    head.int(3, RLE);
    head.int(4, RLE);
    head.close();
    let head = head.finish();
    let chunk = Chunk { offset: file.len() as i64, size: (head.len() + page.len()) as i64 };
    file.extend_from_slice(&head);
    file.extend_from_slice(&page);
    chunk
}

/// Definition levels, one bit each, as runs of equal ones.
fn levels(known: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut run: Option<(bool, u64)> = None;
    let mut end = |run: Option<(bool, u64)>| {
        if let Some((known, length)) = run {
            varint(&mut out, length << 1);
            out.push(u8::from(known));
        }
    };
    for known in known {
        run = match run {
            Some((same, length)) if same == known => Some((same, length + 1)),
            other => {
                end(other);
                Some((known, 1))
            }
        };
    }
    end(run);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Types of Thrift's compact protocol.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Thrift's compact protocol, as much of it as is written here.
#[derive(Default)]
struct Compact {
    out: Vec<u8>,
    /// The field before, and those of the structures around.
    last: u8,
    outer: Vec<u8>,
}

impl Compact {
    fn field(&mut self, id: u8, kind: u8) {
        self.out.push(((id - self.last) << 4) | kind);
        self.last = id;
    }

    fn int(&mut self, id: u8, value: i64) {
        self.field(id, I32);
        self.element(value);
    }

    fn long(&mut self, id: u8, value: i64) {
        self.field(id, I64);
        self.element(value);
    }

    fn text(&mut self, id: u8, text: &str) {
        self.field(id, BINARY);
        self.bytes(text.as_bytes());
    }

    fn list(&mut self, id: u8, kind: u8, length: usize) {
        self.field(id, LIST);
        match u8::try_from(length) {
            Ok(length @ ..15) => self.out.push((length << 4) | kind),
            _ => {
                self.out.push(0xf0 | kind);
                varint(&mut self.out, length as u64);
            }
        }
    }

    /// A structure as a field.
    fn nested(&mut self, id: u8) {
        self.field(id, STRUCT);
        self.open();
    }

    /// A structure as an element of a list.
    fn open(&mut self) {
        self.outer.push(std::mem::take(&mut self.last));
    }

    fn close(&mut self) {
        self.out.push(0);
        self.last = self.outer.pop().unwrap_or(0);
    }

    fn element(&mut self, value: i64) {
        // Zigzag: the sign last.
        varint(&mut self.out, ((value << 1) ^ (value >> 63)) as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        varint(&mut self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn finish(mut self) -> Vec<u8> {
        self.out.push(0);
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_runs() {
        assert_eq!(levels([true, true, true, false].into_iter()), [6, 1, 2, 0]);
        assert_eq!(levels(std::iter::repeat_n(true, 100)), [0xc8, 1, 1]);
        assert!(levels(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_file_begins_and_ends_as_it_must() {
        let mut table = Table::new([("agent", Kind::Text), ("calls", Kind::Count)]);
        let empty = write(&table);
        assert_eq!((&empty[..4], &empty[empty.len() - 4..]), (&MAGIC[..], &MAGIC[..]));
        table.rows.push(vec!["ann".into(), 3u64.into()]);
        let file = write(&table);
        // A header of 17 octets, then the level's run, then the text.
        let values = file.windows(7).position(|at| at == b"\x03\0\0\0ann").expect("the text");
        assert_eq!(&file[values - 6..values], b"\x02\0\0\0\x02\x01");
        let length =
            u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().expect("four octets"));
        assert!((length as usize) < file.len() - 12);
    }
}
