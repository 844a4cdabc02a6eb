//! The thread that writes recordings, so that a slow disk never touches a call.
//!
//! The shard pushes both tracks of a call into rings that hold some seconds; this thread drains them. When the disk
//! stalls for longer, the rings refuse frames, the recording notes a gap, and time is kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use antiphon_media_frame::{Doorbell, MediaTime, SampleRate, Span, TrackReader, TrackWriter, track_ring};
use antiphon_media_record::{Channel, RecordError, RecordingSummary, StereoRecording};

/// How long the disk may stall before a recording has a gap.
const RING: Span = Span::from_millis(3_000);
/// The longest frame a track carries.
const FRAME: Span = Span::from_millis(20);
/// How often everything is made durable: half of what a `kill -9` may cost.
const FLUSH: Duration = Duration::from_millis(400);
/// How often the rings are drained. Frames do not wake the thread: a tenth of a second at once costs a fraction of the
/// wake-ups, and the rings hold thirty times as much.
const DRAIN: Duration = Duration::from_millis(100);
/// Recordings asked for but not yet begun, and those complete but not yet safe on the disk.
const PENDING: usize = 1_024;
/// A frame is not believed 30 s ahead of everything a recording knows of; well before that it is told the time.
const BELIEVED: Span = Span::from_secs(20);

/// Called once, on a thread of the writer, when a recording is complete or has failed.
pub type OnRecorded = Box<dyn FnOnce(Result<RecordingSummary, RecordError>) + Send>;

/// The writer cannot take another recording.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// More recordings wait to begin than the thread keeps up with.
    #[error("the recording thread is behind by {PENDING} recordings; is the disk stalled?")]
    Behind,
    /// The thread has ended.
    #[error("the recording thread has stopped")]
    Stopped,
    /// The thread could not be started.
    #[error("cannot start the recording thread: {0}")]
    Start(std::io::Error),
}

struct Begin {
    path: PathBuf,
    rate: SampleRate,
    caller: TrackReader,
    machine: TrackReader,
    done: OnRecorded,
}

/// The two ends a leg records into.
pub struct RecordTaps {
    /// What the far side says: left channel.
    pub received: TrackWriter,
    /// What we say: right channel.
    pub sent: TrackWriter,
}

/// Handle of the recording thread. Dropping it finishes all recordings where they stand and waits for the disk.
pub struct RecordWriter {
    sender: Option<SyncSender<Begin>>,
    bell: Arc<Doorbell>,
    thread: Option<JoinHandle<()>>,
}

impl RecordWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`WriterError::Start`] where the system refuses a thread.
    pub fn start() -> Result<Self, WriterError> {
        let (sender, receiver) = sync_channel(PENDING);
        let bell = Doorbell::new();
        let waiting = Arc::clone(&bell);
        // Waiting for the disk takes tens of milliseconds a file: when many calls end at once, those that go on must
        // not wait for it.
        let (finisher, finished) = sync_channel::<Finished>(PENDING);
        let last = std::thread::Builder::new()
            .name("record-end".into())
            .spawn(move || finished.into_iter().for_each(Finished::finish))
            .map_err(WriterError::Start)?;
        let thread = std::thread::Builder::new()
            .name("record".into())
            .spawn(move || {
                run(&receiver, &waiting, &finisher);
                drop(finisher);
                // A panic there has been reported by the panic hook.
                let _ = last.join();
            })
            .map_err(WriterError::Start)?;
        Ok(Self { sender: Some(sender), bell, thread: Some(thread) })
    }

    /// Begins a recording at `path`; it ends when both returned tracks are dropped.
    ///
    /// # Errors
    /// [`WriterError::Behind`] or [`WriterError::Stopped`]; a file that cannot be created is told through `done`.
    pub fn record(
        &self,
        path: PathBuf,
        rate: SampleRate,
        done: OnRecorded,
    ) -> Result<RecordTaps, WriterError> {
        let depth = (RING.nanos() / FRAME.nanos()) as usize;
        let ring = || track_ring(rate, depth, FRAME, Doorbell::mute());
        let (received, caller) = ring();
        let (sent, machine) = ring();
        let sender = self.sender.as_ref().ok_or(WriterError::Stopped)?;
        sender.try_send(Begin { path, rate, caller, machine, done }).map_err(|e| match e {
            TrySendError::Full(_) => WriterError::Behind,
            TrySendError::Disconnected(_) => WriterError::Stopped,
        })?;
        self.bell.ring();
        Ok(RecordTaps { received, sent })
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        self.sender = None;
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook; nothing is left to save here.
            let _ = thread.join();
        }
    }
}

struct Active {
    recording: Option<StereoRecording>,
    tracks: [Track; 2],
    done: Option<OnRecorded>,
    newest: MediaTime,
}

struct Track {
    channel: Channel,
    reader: TrackReader,
    /// Refused frames already told of.
    refused: u64,
}

impl Active {
    fn begin(begin: Begin) -> Option<Self> {
        match StereoRecording::create(&begin.path, begin.rate) {
            Ok(recording) => Some(Self {
                recording: Some(recording),
                tracks: [(Channel::Caller, begin.caller), (Channel::Machine, begin.machine)]
                    .map(|(channel, reader)| Track { channel, reader, refused: 0 }),
                done: Some(begin.done),
                newest: MediaTime::ZERO,
            }),
            Err(error) => {
                (begin.done)(Err(error));
                None
            }
        }
    }

    fn drain(&mut self) -> Result<(), RecordError> {
        let Some(recording) = &mut self.recording else { return Ok(()) };
        for track in &mut self.tracks {
            // A ring that refuses is full until it is read here: what it holds now lies before the hole.
            let refused = track.reader.refused();
            let before = track.reader.ready();
            for _ in 0..before {
                pop(recording, track, &mut self.newest)?;
            }
            if refused > track.refused {
                track.refused = refused;
                recording.refused(track.channel);
            }
            while pop(recording, track, &mut self.newest)? {}
        }
        recording.advance(self.newest)
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        self.recording.as_mut().map_or(Ok(()), StereoRecording::flush)
    }

    /// Ends the recording where it has failed, its tracks are over or the thread stops; says whether it goes on.
    fn settle(
        &mut self,
        outcome: Result<(), RecordError>,
        stop: bool,
        finisher: &SyncSender<Finished>,
    ) -> bool {
        let over = stop || self.tracks.iter().all(|track| track.reader.finished());
        if outcome.is_ok() && !over {
            return true;
        }
        let (Some(done), Some(recording)) = (self.done.take(), self.recording.take()) else { return false };
        if let Err(error) = outcome {
            done(Err(error));
            return false;
        }
        let finished = Finished { recording, end: self.newest, done };
        if let Err(TrySendError::Full(finished) | TrySendError::Disconnected(finished)) =
            finisher.try_send(finished)
        {
            finished.finish();
        }
        false
    }
}

/// Writes the track's next frame; says whether there was one.
fn pop(
    recording: &mut StereoRecording,
    track: &mut Track,
    newest: &mut MediaTime,
) -> Result<bool, RecordError> {
    let channel = track.channel;
    let written = track.reader.pop(|frame| {
        // After a stall, and where the call's clock ran long before its first frame, time has to be told first.
        if frame.end().since(*newest) > BELIEVED {
            recording.advance(frame.at)?;
        }
        *newest = (*newest).max(frame.end());
        recording.write(channel, frame)
    });
    written.transpose().map(|written| written.is_some())
}

/// A recording whose last frame is written, on its way to the disk.
struct Finished {
    recording: StereoRecording,
    end: MediaTime,
    done: OnRecorded,
}

impl Finished {
    /// Waits for the disk.
    fn finish(self) {
        (self.done)(self.recording.finish(self.end));
    }
}

fn run(begins: &Receiver<Begin>, bell: &Doorbell, finisher: &SyncSender<Finished>) {
    let mut active: Vec<Active> = Vec::new();
    let mut flushed = Instant::now();
    let mut open = true;
    while open {
        bell.wait(DRAIN);
        loop {
            match begins.try_recv() {
                Ok(begin) => active.extend(Active::begin(begin)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
        let due = flushed.elapsed() >= FLUSH;
        active.retain_mut(|one| {
            let mut outcome = one.drain();
            if due && outcome.is_ok() {
                outcome = one.flush();
            }
            one.settle(outcome, !open, finisher)
        });
        if due {
            flushed = Instant::now();
        }
    }
}
