//! The files of events, written by a thread of their own: calls never wait for a disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_engine_call::Event;
use antiphon_media_frame::CallId;

/// Bytes of a day's calls that were never answered; later ones are only counted in the metrics.
const REFUSED: u64 = 64 << 20;
/// Lines waiting for the disk, over all calls.
const LINES: usize = 65_536;
/// Lines written before any is handed to the system, at most.
const TOGETHER: usize = 1_024;

/// What is to be written.
pub(super) enum Line {
    Open(CallId, PathBuf),
    Event(Arc<Event>),
    Close(CallId),
    Refused(PathBuf, Vec<Arc<Event>>),
    /// A line for a file of its own; rare.
    Note(PathBuf, String),
}

/// Writes JSON lines on a thread of its own.
pub(super) struct EventFiles {
    sender: Option<std::sync::mpsc::SyncSender<Line>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl EventFiles {
    pub(super) fn start() -> std::io::Result<Self> {
        let (sender, lines) = std::sync::mpsc::sync_channel(LINES);
        let thread = std::thread::Builder::new().name("events".into()).spawn(move || {
            let mut files = Files::default();
            while let Ok(first) = lines.recv() {
                // What came together is written together: a call's first events are one write.
                for line in std::iter::once(first).chain(lines.try_iter().take(TOGETHER)) {
                    tell(files.write(line));
                }
                files.flush();
            }
        })?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    pub(super) fn send(&self, line: Line) {
        let Some(sender) = &self.sender else { return };
        if sender.try_send(line).is_err() {
            tracing::error!("the disk is behind by {LINES} events; an event is missing from its file");
        }
    }
}

impl Drop for EventFiles {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tell(written: std::io::Result<()>) {
    if let Err(error) = written {
        tracing::error!(%error, "an event could not be written to disk");
    }
}

/// The files of all calls under way.
#[derive(Default)]
struct Files {
    open: BTreeMap<CallId, File>,
    /// Lines that are not with the system yet; between them a call keeps none.
    unwritten: BTreeMap<CallId, Vec<u8>>,
}

impl Files {
    fn write(&mut self, line: Line) -> std::io::Result<()> {
        match line {
            Line::Open(id, path) => {
                self.open.insert(id, private(&path, true)?);
            }
            Line::Event(event) => {
                if self.open.contains_key(&event.call) {
                    let lines = self.unwritten.entry(event.call).or_default();
                    serde_json::to_writer(&mut *lines, &*event)?;
                    lines.push(b'\n');
                }
            }
            Line::Close(id) => {
                let lines = self.unwritten.remove(&id).unwrap_or_default();
                if let Some(mut file) = self.open.remove(&id) {
                    file.write_all(&lines)?;
                }
            }
            Line::Note(path, line) => {
                let mut file = private(&path, false)?;
                file.write_all(format!("{line}\n").as_bytes())?;
            }
            Line::Refused(path, events) => {
                let mut file = BufWriter::new(private(&path, false)?);
                if file.get_ref().metadata()?.len() < REFUSED {
                    for event in &events {
                        serde_json::to_writer(&mut file, &**event)?;
                        file.write_all(b"\n")?;
                    }
                    file.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Hands every line over to the system, from where it survives this process.
    fn flush(&mut self) {
        for (id, lines) in std::mem::take(&mut self.unwritten) {
            if let Some(file) = self.open.get_mut(&id) {
                tell(file.write_all(&lines));
            }
        }
    }
}

/// Events hold personal data: only the owner may read them. The folder is made where it is missing, as it is for the
/// first call of a day.
fn private(path: &Path, anew: bool) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).write(anew).truncate(anew).append(!anew);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match (options.open(path), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            options.open(path)
        }
        (opened, _) => opened,
    }
}
