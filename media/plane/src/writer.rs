//! The thread that writes recordings, so that a slow disk never touches a call.
//!
//! The shard pushes both tracks of a call into rings that hold some seconds; this thread drains them. When the disk
//! stalls for longer, the rings refuse frames, the recording notes a gap, and time is kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use antiphon_media_frame::{
    AudioFrame, Doorbell, MediaTime, SampleRate, Span, TrackReader, TrackWriter, track_ring,
};
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
/// Recordings asked for but not yet begun.
const PENDING: usize = 1_024;

/// Called once, on the writer thread, when a recording is complete or has failed.
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

/// Handle of the recording thread. Dropping it finishes the recordings whose tracks have ended and stops the thread.
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
        let thread = std::thread::Builder::new()
            .name("record".into())
            .spawn(move || run(&receiver, &waiting))
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
        let ring = || track_ring(rate, depth, FRAME, Doorbell::new());
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
    caller: TrackReader,
    machine: TrackReader,
    done: Option<OnRecorded>,
    newest: MediaTime,
}

impl Active {
    fn begin(begin: Begin) -> Option<Self> {
        match StereoRecording::create(&begin.path, begin.rate) {
            Ok(recording) => Some(Self {
                recording: Some(recording),
                caller: begin.caller,
                machine: begin.machine,
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
        let newest = &mut self.newest;
        for (reader, channel) in [(&mut self.caller, Channel::Caller), (&mut self.machine, Channel::Machine)]
        {
            let mut write = |frame: AudioFrame<'_>| {
                *newest = (*newest).max(frame.end());
                recording.write(channel, frame)
            };
            while let Some(written) = reader.pop(&mut write) {
                written?;
            }
        }
        recording.advance(self.newest)
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        self.recording.as_mut().map_or(Ok(()), StereoRecording::flush)
    }

    fn settle(&mut self, outcome: Result<(), RecordError>) -> bool {
        let over = self.caller.finished() && self.machine.finished();
        let result = match outcome {
            Err(error) => Err(error),
            Ok(()) if over => match self.recording.take() {
                Some(recording) => recording.finish(self.newest),
                None => return true,
            },
            Ok(()) => return false,
        };
        if let Some(done) = self.done.take() {
            done(result);
        }
        true
    }
}

fn run(begins: &Receiver<Begin>, bell: &Doorbell) {
    let mut active: Vec<Active> = Vec::new();
    let mut flushed = Instant::now();
    let mut open = true;
    while open || !active.is_empty() {
        bell.wait(DRAIN);
        loop {
            match begins.try_recv() {
                Ok(begin) => active.extend(Active::begin(begin)),
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => {
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
            !one.settle(outcome)
        });
        if due {
            flushed = Instant::now();
        }
    }
}
