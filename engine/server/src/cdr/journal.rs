//! Records as JSON lines, a file a day. They are the journal that the store is filled from, so that no record is lost where
//! the store is slow, broken or killed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::CallRecord;
use crate::config::Durability;

/// Longest line read back, in bytes: a hundred times the record of a call with a hundred changes.
const LONGEST: u64 = 4 << 20;
const SUFFIX: &str = ".jsonl";

/// The writer's side.
pub(super) struct Journal {
    folder: PathBuf,
    sync: Durability,
    day: String,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl Journal {
    pub(super) fn open(folder: &Path, sync: Durability) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), sync, day: String::new(), file: None, buffer: Vec::new() })
    }

    /// Writes a batch; what was written before an error stays.
    pub(super) fn append(&mut self, records: &[CallRecord]) -> io::Result<()> {
        for record in records {
            let day = day(record.ended_at);
            if day != self.day || self.file.is_none() {
                self.flush()?;
                self.file = Some(append_to(&self.folder.join(format!("{day}{SUFFIX}")))?);
                self.day = day;
            }
            serde_json::to_writer(&mut self.buffer, record)?;
            self.buffer.push(b'\n');
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(&self.buffer);
        self.buffer.clear();
        if let Err(error) = written {
            // Half a line may stand there: the file is opened anew and mended before the next.
            self.file = None;
            return Err(error);
        }
        match self.sync {
            Durability::Batch => file.sync_data(),
            Durability::Never => Ok(()),
        }
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Opens a day's file. A line that a crash cut off is closed, so that the next one stands by itself.
fn append_to(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).append(true).read(true);
    // Records hold personal data: only the owner may read them.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// The names of the days' files, the oldest first.
pub(super) fn files(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string()
            && name.len() == "2026-11-22.jsonl".len()
            && name.ends_with(SUFFIX)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What was read of a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) records: Vec<CallRecord>,
    /// Where the next batch begins.
    pub(super) end: u64,
    /// Lines that are no record: cut off by a crash, or edited by hand.
    pub(super) broken: u64,
}

/// Reads up to `most` records from `start` on. A line without its end is being written and is left for the next time.
pub(super) fn read(folder: &Path, name: &str, start: u64, most: usize) -> io::Result<Batch> {
    let mut batch = Batch { end: start, ..Batch::default() };
    let mut file = File::open(folder.join(name))?;
    let length = file.metadata()?.len();
    if start >= length {
        return Ok(batch);
    }
    file.seek(SeekFrom::Start(start))?;
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    while batch.records.len() < most {
        line.clear();
        let taken = lines.by_ref().take(LONGEST).read_until(b'\n', &mut line)? as u64;
        let whole = line.last() == Some(&b'\n');
        if taken == 0 || (!whole && taken < LONGEST) {
            break;
        }
        batch.end += taken;
        match serde_json::from_slice(&line) {
            Ok(record) if whole => batch.records.push(record),
            _ if line.trim_ascii().is_empty() => {}
            _ => batch.broken += 1,
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdr::record::tests::example;

    fn append(folder: &Path, records: &[CallRecord]) {
        Journal::open(folder, Durability::Batch).expect("a folder").append(records).expect("written");
    }

    #[test]
    fn each_day_has_a_file_and_lines_come_back_as_they_were() {
        let dir = tempfile::tempdir().expect("a folder");
        let records = [
            example("a", "2026-11-22T23:58:58Z"),
            example("b", "2026-11-22T23:59:30Z"),
            example("c", "2026-11-23T01:00:00Z"),
        ];
        append(dir.path(), &records);
        assert_eq!(files(dir.path()).expect("listed"), ["2026-11-22.jsonl", "2026-11-23.jsonl"]);
        let first = read(dir.path(), "2026-11-22.jsonl", 0, 10).expect("read");
        assert_eq!(first.records, records[..1], "the second ended the day after");
        let second = read(dir.path(), "2026-11-23.jsonl", 0, 1).expect("read");
        assert_eq!(second.records, records[1..2]);
        let rest = read(dir.path(), "2026-11-23.jsonl", second.end, 10).expect("read");
        assert_eq!(rest.records, records[2..]);
        assert_eq!(read(dir.path(), "2026-11-23.jsonl", rest.end, 10).expect("read").records, []);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_costs_that_line_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (example("a", "2026-11-22T01:00:00Z"), example("b", "2026-11-22T02:00:00Z"));
        append(dir.path(), std::slice::from_ref(&one));
        let path = dir.path().join("2026-11-22.jsonl");
        let mut file = File::options().append(true).open(&path).expect("opened");
        file.write_all(b"{\"version\":1,\"id\":\"cut").expect("written");
        drop(file);
        let before = read(dir.path(), "2026-11-22.jsonl", 0, 10).expect("read");
        assert_eq!((before.records.len(), before.broken), (1, 0), "it may still be being written");
        append(dir.path(), std::slice::from_ref(&two));
        let after = read(dir.path(), "2026-11-22.jsonl", 0, 10).expect("read");
        assert_eq!((after.records, after.broken), (vec![one, two], 1));
    }

    #[test]
    fn garbage_of_any_length_is_passed_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut bytes = vec![b'x'; (LONGEST + 10) as usize];
        bytes.extend_from_slice(b"\n\xff\xfe\n\n");
        std::fs::write(dir.path().join("2026-11-22.jsonl"), &bytes).expect("written");
        append(dir.path(), &[example("a", "2026-11-22T01:00:00Z")]);
        let batch = read(dir.path(), "2026-11-22.jsonl", 0, 10).expect("read");
        assert_eq!((batch.records.len(), batch.broken), (1, 3));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_records() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a folder");
        append(dir.path(), &[example("a", "2026-11-22T01:00:00Z")]);
        let mode =
            std::fs::metadata(dir.path().join("2026-11-22.jsonl")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
