//! A preallocated ring that carries one track from the shard to one consumer.
//!
//! Single producer, single consumer, no locks and no `unsafe`: samples lie in atomics that are written and read
//! with relaxed order and published by the slot index. A frame that finds the ring full is refused whole and counted;
//! the consumer sees the gap because the next frame's time does not continue the last one's (time is never compressed).

use std::sync::atomic::{
    AtomicBool, AtomicI16, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use crate::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};

const ACTIVE: u8 = 0b100;

struct Slot {
    at: AtomicI64,
    /// Kind in the low two bits, activity in the third.
    flags: AtomicU8,
    len: AtomicU32,
    pcm: Box<[AtomicI16]>,
}

struct Shared {
    slots: Box<[Slot]>,
    rate: SampleRate,
    /// Frames written, ever. Slot index = count % slots.
    written: AtomicUsize,
    /// Frames read, ever.
    read: AtomicUsize,
    refused: AtomicU64,
    closed: AtomicBool,
    abandoned: AtomicBool,
    bell: Arc<Doorbell>,
}

/// Makes a ring of `depth` frames of at most `longest` each, at `rate`; `bell` rings at each frame.
///
/// # Panics
/// If `depth` is zero or `longest` holds no sample.
#[must_use]
pub fn track_ring(
    rate: SampleRate,
    depth: usize,
    longest: Span,
    bell: Arc<Doorbell>,
) -> (TrackWriter, TrackReader) {
    let samples = rate.samples(longest);
    assert!(depth > 0 && samples > 0, "a track ring holds at least one frame of one sample");
    let slot = || Slot {
        at: AtomicI64::new(0),
        flags: AtomicU8::new(0),
        len: AtomicU32::new(0),
        pcm: (0..samples).map(|_| AtomicI16::new(0)).collect(),
    };
    let shared = Arc::new(Shared {
        slots: (0..depth).map(|_| slot()).collect(),
        rate,
        written: AtomicUsize::new(0),
        read: AtomicUsize::new(0),
        refused: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        abandoned: AtomicBool::new(false),
        bell,
    });
    (
        TrackWriter { shared: Arc::clone(&shared) },
        TrackReader { shared, scratch: Vec::with_capacity(samples) },
    )
}

/// The frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The consumer is behind by the whole ring.
    Full,
    /// The frame is at another rate or longer than a slot: a defect of the caller.
    Misfit,
}

/// The producing end. Dropping it closes the track.
pub struct TrackWriter {
    shared: Arc<Shared>,
}

impl TrackWriter {
    /// Copies a frame in.
    ///
    /// # Realtime safety
    /// No allocation, no lock; one system call only when the consumer is asleep.
    ///
    /// # Errors
    /// [`Refused::Full`] when the consumer is a whole ring behind (counted), [`Refused::Misfit`] for another rate or
    /// a frame longer than a slot.
    pub fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), Refused> {
        let shared = &*self.shared;
        let written = shared.written.load(Ordering::Relaxed);
        if written.wrapping_sub(shared.read.load(Ordering::Acquire)) >= shared.slots.len() {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        let slot = &shared.slots[written % shared.slots.len()];
        if frame.rate != shared.rate || frame.pcm.len() > slot.pcm.len() {
            return Err(Refused::Misfit);
        }
        for (cell, sample) in slot.pcm.iter().zip(frame.pcm) {
            cell.store(*sample, Ordering::Relaxed);
        }
        slot.at.store(frame.at.nanos(), Ordering::Relaxed);
        slot.flags.store(frame.kind as u8 | if frame.active { ACTIVE } else { 0 }, Ordering::Relaxed);
        slot.len.store(frame.pcm.len() as u32, Ordering::Relaxed);
        shared.written.store(written.wrapping_add(1), Ordering::Release);
        shared.bell.ring();
        Ok(())
    }

    /// Samples per second the ring carries.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.shared.rate
    }

    /// Whether nobody will read the track any more.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        self.shared.abandoned.load(Ordering::Acquire)
    }

    /// Frames refused because the consumer was behind.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

impl Drop for TrackWriter {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.bell.ring();
    }
}

/// The consuming end.
pub struct TrackReader {
    shared: Arc<Shared>,
    scratch: Vec<i16>,
}

impl TrackReader {
    /// Hands the oldest frame to `take`, or returns `None` when there is none. No allocation.
    pub fn pop<T>(&mut self, take: impl FnOnce(AudioFrame<'_>) -> T) -> Option<T> {
        let shared = &*self.shared;
        let read = shared.read.load(Ordering::Relaxed);
        if read == shared.written.load(Ordering::Acquire) {
            return None;
        }
        let slot = &shared.slots[read % shared.slots.len()];
        let len = slot.len.load(Ordering::Relaxed) as usize;
        self.scratch.clear();
        self.scratch.extend(slot.pcm[..len].iter().map(|cell| cell.load(Ordering::Relaxed)));
        let at = MediaTime::from_nanos(slot.at.load(Ordering::Relaxed));
        let flags = slot.flags.load(Ordering::Relaxed);
        let kind = match flags & !ACTIVE {
            0 => FrameKind::Voice,
            1 => FrameKind::Concealed,
            _ => FrameKind::Silence,
        };
        shared.read.store(read.wrapping_add(1), Ordering::Release);
        let active = flags & ACTIVE != 0;
        Some(take(AudioFrame { pcm: &self.scratch, rate: shared.rate, at, kind, active }))
    }

    /// Samples per second the ring carries.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.shared.rate
    }

    /// Frames ready to be read.
    #[must_use]
    pub fn ready(&self) -> usize {
        let written = self.shared.written.load(Ordering::Acquire);
        written.wrapping_sub(self.shared.read.load(Ordering::Relaxed))
    }

    /// Whether the producer is gone and everything it wrote has been read.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire) && self.ready() == 0
    }

    /// Frames refused because this reader was behind.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

impl Drop for TrackReader {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Release);
    }
}

/// Wakes one consumer thread that serves many rings.
#[derive(Default)]
pub struct Doorbell {
    rung: AtomicBool,
    owner: OnceLock<Thread>,
}

impl Doorbell {
    /// A doorbell nobody waits at yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Wakes the consumer, now or at its next [`Doorbell::wait`]. A system call only when it is asleep.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(owner) = self.owner.get()
        {
            owner.unpark();
        }
    }

    /// Sleeps until the bell rings or `timeout` passes; returns whether it rang. Only one thread, always the same,
    /// may wait at a bell.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.owner.get_or_init(std::thread::current);
        if self.rung.swap(false, Ordering::AcqRel) {
            return true;
        }
        std::thread::park_timeout(timeout);
        self.rung.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(pcm: &[i16], millis: i64) -> AudioFrame<'_> {
        AudioFrame {
            pcm,
            rate: SampleRate::HZ_8000,
            at: MediaTime::from_millis(millis),
            kind: FrameKind::Concealed,
            active: true,
        }
    }

    fn ring(depth: usize) -> (TrackWriter, TrackReader) {
        track_ring(SampleRate::HZ_8000, depth, Span::from_millis(20), Doorbell::new())
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let (mut writer, mut reader) = ring(2);
        writer.push(frame(&[1, -2, 3], 40)).expect("room");
        let out = reader.pop(|f| f.to_buf()).expect("a frame");
        assert_eq!(out, frame(&[1, -2, 3], 40).to_buf());
        assert!(reader.pop(|_| ()).is_none());
    }

    #[test]
    fn a_full_ring_refuses_and_the_gap_shows_in_time() {
        let (mut writer, mut reader) = ring(2);
        for millis in [0, 20, 40] {
            let _ = writer.push(frame(&[0; 160], millis));
        }
        assert_eq!(writer.refused(), 1);
        reader.pop(|_| ()).expect("the first frame");
        writer.push(frame(&[0; 160], 60)).expect("room again");
        let times: Vec<_> = std::iter::from_fn(|| reader.pop(|f| f.at.millis())).collect();
        assert_eq!(times, [20, 60]);
    }

    #[test]
    fn misfits_are_refused() {
        let (mut writer, _reader) = ring(1);
        assert_eq!(writer.push(frame(&[0; 161], 0)), Err(Refused::Misfit));
        let wide = AudioFrame { rate: SampleRate::HZ_16000, ..frame(&[0; 10], 0) };
        assert_eq!(writer.push(wide), Err(Refused::Misfit));
    }

    #[test]
    fn a_reader_thread_gets_every_frame_in_order() {
        let bell = Doorbell::new();
        let (mut writer, mut reader) =
            track_ring(SampleRate::HZ_8000, 8, Span::from_millis(20), Arc::clone(&bell));
        std::thread::scope(|scope| {
            let consumer = scope.spawn(move || {
                let mut next = 0i16;
                while !reader.finished() {
                    bell.wait(Duration::from_secs(1));
                    while let Some(()) = reader.pop(|f| {
                        assert!(f.pcm.iter().all(|s| *s == next), "frame {next} is whole");
                        assert_eq!(f.at.millis(), i64::from(next));
                    }) {
                        next += 1;
                    }
                }
                next
            });
            for n in 0..5_000i16 {
                while writer.push(frame(&[n; 160], i64::from(n))).is_err() {
                    std::thread::yield_now();
                }
            }
            drop(writer);
            assert_eq!(consumer.join().expect("no panic"), 5_000);
        });
    }
}
