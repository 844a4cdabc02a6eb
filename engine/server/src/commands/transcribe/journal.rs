//! What an interrupted run leaves behind, so that the next one goes on from there: each channel's words up to its newest
//! checkpoint, an offset at which nothing was being said and all words before it were final.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::{Language, Utterance, Word};
use serde::{Deserialize, Serialize};

/// The format of the file.
const VERSION: u32 = 1;
/// A day's words are far below.
const LARGEST: u64 = 256 << 20;

/// What a journal is of: of anything else it is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subject {
    version: u32,
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: u128,
    /// Stands for the engine, its settings, the language and the hints.
    settings: u64,
    channels: usize,
}

/// What a channel had come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reached {
    /// `None`: nothing yet.
    pub(super) until: Option<MediaTime>,
    pub(super) utterances: Vec<Utterance>,
    pub(super) warnings: Vec<String>,
}

/// The journal of one file, on disk.
pub(super) struct Journal {
    file: Mutex<File>,
    reached: Mutex<Vec<Reached>>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    channel: usize,
    /// Nanoseconds.
    until: i64,
    said: Vec<Said>,
    warnings: Vec<String>,
}

/// An utterance with its times in nanoseconds: what is read back is what was heard.
#[derive(Serialize, Deserialize)]
struct Said {
    text: String,
    start: i64,
    end: i64,
    confidence: f32,
    #[serde(default)]
    language: Option<String>,
    words: Vec<(String, i64, i64, f32)>,
}

impl Subject {
    /// The file at `path` as it is now.
    pub(super) fn of(path: &Path, settings: u64, channels: usize) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            version: VERSION,
            bytes: metadata.len(),
            modified: modified.as_nanos(),
            settings,
            channels,
        })
    }
}

impl Journal {
    /// Where the journal of the transcript at `target` lies.
    pub(super) fn path(target: &Path) -> PathBuf {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".progress");
        target.with_file_name(name)
    }

    /// Opens the journal at `path`, or begins it anew where there is none or it is of something else.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn open(path: &Path, subject: &Subject) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let (reached, good) = match read(&file, subject) {
            Some(found) => found,
            None => {
                file.set_len(0)?;
                file.rewind()?;
                let mut head = serde_json::to_vec(subject)?;
                head.push(b'\n');
                file.write_all(&head)?;
                (vec![Reached::default(); subject.channels], head.len() as u64)
            }
        };
        // What was cut off in mid-line is heard again.
        file.set_len(good)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file: Mutex::new(file), reached: Mutex::new(reached) })
    }

    /// What a channel had come to when the journal was opened; the second time nothing.
    pub(super) fn reached(&self, channel: usize) -> Reached {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.get_mut(channel).map(std::mem::take).unwrap_or_default()
    }

    /// Writes down that a channel has come to `until`, and what is new since it last had.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn keep(
        &self,
        channel: usize,
        until: MediaTime,
        utterances: &[Utterance],
        warnings: &[String],
    ) -> io::Result<()> {
        let said = utterances.iter().map(Said::of).collect();
        let entry = Entry { channel, until: until.nanos(), said, warnings: warnings.to_vec() };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

/// What a journal holds of `subject` and how many of its octets are good; `None` where it is of something else.
fn read(file: &File, subject: &Subject) -> Option<(Vec<Reached>, u64)> {
    let mut lines = BufReader::new(file.take(LARGEST));
    let mut line = Vec::new();
    let mut good = lines.read_until(b'\n', &mut line).ok()? as u64;
    if line.last() != Some(&b'\n') || serde_json::from_slice::<Subject>(&line).ok()? != *subject {
        return None;
    }
    let mut reached = vec![Reached::default(); subject.channels];
    loop {
        line.clear();
        let octets = lines.read_until(b'\n', &mut line).ok()? as u64;
        if line.last() != Some(&b'\n') {
            break;
        }
        let Ok(Entry { channel, until, said, warnings }) = serde_json::from_slice(&line) else { break };
        let Some(channel) = reached.get_mut(channel) else { break };
        channel.until = Some(MediaTime::from_nanos(until));
        channel.utterances.extend(said.into_iter().map(Said::utterance));
        channel.warnings.extend(warnings);
        good += octets;
    }
    Some((reached, good))
}

impl Said {
    fn of(utterance: &Utterance) -> Self {
        let word = |w: &Word| (w.text.clone(), w.start.nanos(), w.end.nanos(), w.confidence);
        Self {
            text: utterance.text.clone(),
            start: utterance.start.nanos(),
            end: utterance.end.nanos(),
            confidence: utterance.confidence,
            language: utterance.language.as_ref().map(|language| language.tag().to_owned()),
            words: utterance.words.iter().map(word).collect(),
        }
    }

    fn utterance(self) -> Utterance {
        let words = self.words.into_iter().map(|(text, start, end, confidence)| Word {
            text,
            start: MediaTime::from_nanos(start),
            end: MediaTime::from_nanos(end),
            confidence,
        });
        Utterance {
            text: self.text,
            words: words.collect(),
            start: MediaTime::from_nanos(self.start),
            end: MediaTime::from_nanos(self.end),
            confidence: self.confidence,
            language: self.language.as_deref().and_then(Language::parse),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, from: i64) -> Utterance {
        let (start, end) = (MediaTime::from_nanos(from), MediaTime::from_nanos(from + 700_000_001));
        let words = vec![Word { text: text.to_owned(), start, end, confidence: 0.25 }];
        Utterance {
            text: text.to_owned(),
            words,
            start,
            end,
            confidence: 0.5,
            language: Language::parse("zh"),
        }
    }

    fn subject(settings: u64) -> Subject {
        Subject { version: VERSION, bytes: 9, modified: 7, settings, channels: 2 }
    }

    #[test]
    fn what_was_kept_is_read_back_up_to_a_torn_line() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = Journal::path(&dir.path().join("call.txt"));
        assert!(path.ends_with("call.txt.progress"));
        let journal = Journal::open(&path, &subject(1)).expect("begun");
        assert_eq!(journal.reached(1), Reached::default());
        let (first, second, third) = (said("one", 5), said("two", 9), said("lost", 11));
        let at = MediaTime::from_millis;
        journal.keep(1, at(800), std::slice::from_ref(&first), &[]).expect("kept");
        journal.keep(0, at(900), &[], &["a warning".to_owned()]).expect("kept");
        journal.keep(1, at(1_900), std::slice::from_ref(&second), &[]).expect("kept");
        journal.keep(1, at(2_900), &[third], &[]).expect("kept");
        drop(journal);
        let octets = std::fs::read(&path).expect("there");
        std::fs::write(&path, &octets[..octets.len() - 9]).expect("torn");
        for _ in 0..2 {
            let journal = Journal::open(&path, &subject(1)).expect("gone on with");
            let caller = journal.reached(0);
            assert_eq!((caller.until, caller.warnings), (Some(at(900)), vec!["a warning".to_owned()]));
            let machine = journal.reached(1);
            assert_eq!(machine.until, Some(at(1_900)));
            assert_eq!(machine.utterances, [first.clone(), second.clone()]);
        }
    }

    #[test]
    fn a_journal_of_something_else_begins_anew() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.progress");
        let journal = Journal::open(&path, &subject(1)).expect("begun");
        journal.keep(0, MediaTime::from_millis(5), &[said("old", 1)], &[]).expect("kept");
        let other = Journal::open(&path, &subject(2)).expect("begun anew");
        assert_eq!(other.reached(0), Reached::default());
        drop(other);
        std::fs::write(&path, "no journal\n{\n").expect("written");
        let damaged = Journal::open(&path, &subject(2)).expect("begun anew");
        assert_eq!(damaged.reached(1), Reached::default());
    }
}
