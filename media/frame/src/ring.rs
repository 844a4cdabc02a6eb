//! A preallocated ring that carries one track from the shard to one consumer.
//!
//! Single producer, single consumer, no locks and no `unsafe`: samples lie in atomics, four in each, that are written and
//! read with relaxed order and published by the slot index. A frame that finds the ring full is refused whole and counted;
//! the consumer sees the gap because the next frame's time does not continue the last one's (time is never compressed).
//!
//! A ring is deep for the day its consumer stalls, and nearly empty on all others. So its memory is taken a block of
//! frames at a time, when the first of them is written; and a ring that has been emptied begins at its first block again.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use crate::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};

/// Samples in one word.
const SAMPLES: usize = 4;
/// Octets in one word.
const OCTETS: usize = 8;
/// Words of a frame before its sound: when it begins, and [`Label`].
const HEAD: usize = 2;

/// A frame as it came over the network, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coded<'a> {
    /// Which codec: a number that writer and reader of a ring agree on.
    pub codec: u8,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Frames allocated at once: 160 ms of the usual ones. A recorder that is well lets 100 ms wait, the others less.
const BLOCK: usize = 8;

struct Shared {
    /// Frames one behind the other, all their words side by side: a frame of a call is rarely in the processor's cache, and
    /// each step from one place of memory to the next costs as much as copying it.
    blocks: Box<[OnceLock<Box<[AtomicU64]>>]>,
    /// Frames written, ever.
    written: AtomicUsize,
    /// Frames read, ever.
    read: AtomicUsize,
    /// The frame that lies in the first slot: the first that was written when there was none to be read. The writer alone
    /// changes it, when nothing waits; whoever sees a frame written sees what it was when that was done.
    base: AtomicUsize,
    depth: usize,
    samples: usize,
    octets: usize,
    rate: SampleRate,
    refused: AtomicU64,
    closed: AtomicBool,
    abandoned: AtomicBool,
    bell: Arc<Doorbell>,
}

impl Shared {
    fn ready(&self) -> usize {
        let written = self.written.load(Ordering::Acquire);
        written.wrapping_sub(self.read.load(Ordering::Acquire))
    }

    /// Where the frame of this number lies: its head, its sound and its payload.
    fn slot(&self, number: usize) -> (&[AtomicU64], &[AtomicU64], &[AtomicU64]) {
        let sound = self.samples.div_ceil(SAMPLES);
        let words = HEAD + sound + self.octets.div_ceil(OCTETS);
        let place = number.wrapping_sub(self.base.load(Ordering::Relaxed)) % self.depth;
        let block = self.blocks[place / BLOCK].get_or_init(|| {
            let left = self.depth - place / BLOCK * BLOCK;
            (0..left.min(BLOCK) * words).map(|_| AtomicU64::new(0)).collect()
        });
        let (head, rest) = block[place % BLOCK * words..][..words].split_at(HEAD);
        let (pcm, coded) = rest.split_at(sound);
        (head, pcm, coded)
    }

    fn write(&self, number: usize, frame: AudioFrame<'_>, coded: Option<Coded<'_>>) {
        let (head, pcm, payload) = self.slot(number);
        let coded = coded.filter(|coded| coded.payload.len() <= self.octets);
        let label = Label {
            len: frame.pcm.len() as u32,
            coded_len: coded.map_or(0, |coded| coded.payload.len()) as u16,
            codec: coded.map_or(0, |coded| coded.codec),
            kind: frame.kind,
            active: frame.active,
            retracted: frame.retracted,
        };
        head[0].store(frame.at.nanos().cast_unsigned(), Ordering::Relaxed);
        head[1].store(label.word(), Ordering::Relaxed);
        let (fours, rest) = frame.pcm.as_chunks::<SAMPLES>();
        for (cell, four) in pcm.iter().zip(fours) {
            cell.store(packed(*four), Ordering::Relaxed);
        }
        if let Some(cell) = pcm.get(fours.len()) {
            let mut four = [0; SAMPLES];
            four[..rest.len()].copy_from_slice(rest);
            cell.store(packed(four), Ordering::Relaxed);
        }
        let octets = coded.map_or(&[][..], |coded| coded.payload);
        for (cell, piece) in payload.iter().zip(octets.chunks(OCTETS)) {
            let mut eight = [0; OCTETS];
            eight[..piece.len()].copy_from_slice(piece);
            cell.store(u64::from_le_bytes(eight), Ordering::Relaxed);
        }
    }
}

/// What is to be known of a frame beside its sound and its time, in one word.
struct Label {
    len: u32,
    /// Octets of the frame as it came; none where the ring does not carry them or the frame did not come so.
    coded_len: u16,
    codec: u8,
    kind: FrameKind,
    active: bool,
    retracted: bool,
}

impl Label {
    fn word(&self) -> u64 {
        let flags = self.kind as u8 | u8::from(self.active) << 2 | u8::from(self.retracted) << 3;
        u64::from(self.len)
            | u64::from(self.coded_len) << 32
            | u64::from(self.codec) << 48
            | u64::from(flags) << 56
    }

    fn of(word: u64) -> Self {
        let flags = (word >> 56) as u8;
        let kind = match flags & 0b11 {
            0 => FrameKind::Voice,
            1 => FrameKind::Concealed,
            _ => FrameKind::Silence,
        };
        Self {
            len: word as u32,
            coded_len: (word >> 32) as u16,
            codec: (word >> 48) as u8,
            kind,
            active: flags & 0b100 != 0,
            retracted: flags & 0b1000 != 0,
        }
    }
}

fn packed(samples: [i16; SAMPLES]) -> u64 {
    let [a, b, c, d] = samples.map(|sample| u64::from(sample.cast_unsigned()));
    a | b << 16 | c << 32 | d << 48
}

fn unpacked(word: u64) -> [i16; SAMPLES] {
    [word as i16, (word >> 16) as i16, (word >> 32) as i16, (word >> 48) as i16]
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
    coded_track_ring(rate, depth, longest, 0, bell)
}

/// The same, for frames that may carry their payload of up to `octets` beside their sound ([`TrackWriter::push_coded`]).
///
/// # Panics
/// If `depth` is zero, `longest` holds no sample or `octets` is above 65,535.
#[must_use]
pub fn coded_track_ring(
    rate: SampleRate,
    depth: usize,
    longest: Span,
    octets: usize,
    bell: Arc<Doorbell>,
) -> (TrackWriter, TrackReader) {
    let samples = rate.samples(longest);
    assert!(depth > 0 && samples > 0, "a track ring holds at least one frame of one sample");
    assert!(octets <= usize::from(u16::MAX), "a payload comes in one datagram");
    let shared = Arc::new(Shared {
        blocks: (0..depth.div_ceil(BLOCK)).map(|_| OnceLock::new()).collect(),
        written: AtomicUsize::new(0),
        read: AtomicUsize::new(0),
        base: AtomicUsize::new(0),
        depth,
        samples,
        octets,
        rate,
        refused: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        abandoned: AtomicBool::new(false),
        bell,
    });
    (
        TrackWriter { shared: Arc::clone(&shared) },
        TrackReader {
            shared,
            scratch: Vec::with_capacity(samples.next_multiple_of(SAMPLES)),
            octets: Vec::with_capacity(octets.next_multiple_of(OCTETS)),
        },
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
    /// No lock; one system call only when the consumer is asleep; an allocation for the first frame, and where the consumer
    /// is further behind than it ever was.
    ///
    /// # Errors
    /// [`Refused::Full`] when the consumer is a whole ring behind (counted), [`Refused::Misfit`] for another rate or
    /// a frame longer than a slot.
    pub fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), Refused> {
        self.push_coded(frame, None)
    }

    /// Copies a frame in, and beside it the payload it was decoded from, where that was this very frame. A payload too
    /// long for the ring is left out.
    ///
    /// # Realtime safety
    /// As [`TrackWriter::push`].
    ///
    /// # Errors
    /// As [`TrackWriter::push`].
    pub fn push_coded(&mut self, frame: AudioFrame<'_>, coded: Option<Coded<'_>>) -> Result<(), Refused> {
        let shared = &*self.shared;
        if frame.rate != shared.rate || frame.pcm.len() > shared.samples {
            return Err(Refused::Misfit);
        }
        let written = shared.written.load(Ordering::Relaxed);
        let ready = written.wrapping_sub(shared.read.load(Ordering::Acquire));
        if ready >= shared.depth {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        if ready == 0 {
            shared.base.store(written, Ordering::Relaxed);
        }
        shared.write(written, frame, coded);
        shared.written.store(written.wrapping_add(1), Ordering::Release);
        shared.bell.ring();
        Ok(())
    }

    /// Samples per second the ring carries.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.shared.rate
    }

    /// Whether the next frame would be refused because the consumer is behind by the whole ring.
    #[must_use]
    pub fn full(&self) -> bool {
        self.shared.ready() >= self.shared.depth
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
    octets: Vec<u8>,
}

impl TrackReader {
    /// Hands the oldest frame to `take`, or returns `None` when there is none. No allocation.
    pub fn pop<T>(&mut self, take: impl FnOnce(AudioFrame<'_>) -> T) -> Option<T> {
        self.pop_coded(|frame, _| take(frame))
    }

    /// The same with the payload the frame was decoded from, where it came with one.
    pub fn pop_coded<T>(&mut self, take: impl FnOnce(AudioFrame<'_>, Option<Coded<'_>>) -> T) -> Option<T> {
        let shared = &*self.shared;
        let read = shared.read.load(Ordering::Relaxed);
        if shared.written.load(Ordering::Acquire) == read {
            return None;
        }
        let (head, pcm, payload) = shared.slot(read);
        let at = MediaTime::from_nanos(head[0].load(Ordering::Relaxed).cast_signed());
        let Label { len, coded_len, codec, kind, active, retracted } =
            Label::of(head[1].load(Ordering::Relaxed));
        let (len, octets) = (len as usize, usize::from(coded_len));
        self.scratch.resize(len.next_multiple_of(SAMPLES), 0);
        for (four, cell) in self.scratch.as_chunks_mut().0.iter_mut().zip(pcm) {
            *four = unpacked(cell.load(Ordering::Relaxed));
        }
        self.scratch.truncate(len);
        self.octets.resize(octets.next_multiple_of(OCTETS), 0);
        for (eight, cell) in self.octets.as_chunks_mut().0.iter_mut().zip(payload) {
            *eight = cell.load(Ordering::Relaxed).to_le_bytes();
        }
        self.octets.truncate(octets);
        shared.read.store(read.wrapping_add(1), Ordering::Release);
        let frame = AudioFrame { pcm: &self.scratch, rate: shared.rate, at, kind, active, retracted };
        let coded = Coded { codec, payload: &self.octets };
        Some(take(frame, Some(coded).filter(|_| octets > 0)))
    }

    /// Samples per second the ring carries.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.shared.rate
    }

    /// Frames ready to be read.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.shared.ready()
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
    mute: bool,
    rung: AtomicBool,
    owner: OnceLock<Thread>,
}

impl Doorbell {
    /// A doorbell nobody waits at yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A doorbell that never rings, for consumers that look by themselves from time to time: one for all of them, since
    /// ringing is most of what a frame costs its producer.
    #[must_use]
    pub fn mute() -> Arc<Self> {
        static MUTE: LazyLock<Arc<Doorbell>> =
            LazyLock::new(|| Arc::new(Doorbell { mute: true, ..Doorbell::default() }));
        Arc::clone(&MUTE)
    }

    /// Wakes the consumer, now or at its next [`Doorbell::wait`]. A system call only when it is asleep.
    pub fn ring(&self) {
        if !self.mute
            && !self.rung.swap(true, Ordering::AcqRel)
            && let Some(owner) = self.owner.get()
        {
            owner.unpark();
        }
    }

    /// Sleeps until the bell rings or `timeout` passes; returns whether it rang. Only one thread, always the same,
    /// may wait at a bell;
    /// at one that is mute everybody sleeps.
    pub fn wait(&self, timeout: Duration) -> bool {
        if self.mute {
            std::thread::park_timeout(timeout);
            return false;
        }
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
            retracted: true,
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
    fn frames_of_any_length_are_whole_whatever_lay_there_before() {
        let (mut writer, mut reader) =
            coded_track_ring(SampleRate::HZ_8000, 2, Span::from_millis(20), 160, Doorbell::new());
        let pcm: Vec<i16> = (0..160).map(|n| (n - 80) * 400).collect();
        let octets: Vec<u8> = (1..=160).collect();
        for length in (0..=160).chain((0..160).rev()) {
            let coded = Coded { codec: 1, payload: &octets[160 - length..] };
            writer.push_coded(frame(&pcm[..length], 0), Some(coded)).expect("room");
            reader
                .pop_coded(|frame, coded| {
                    assert_eq!(frame.pcm, &pcm[..length]);
                    let payload = coded.map_or(&[][..], |coded| coded.payload);
                    assert_eq!(payload, &octets[160 - length..]);
                })
                .expect("a frame");
        }
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
    fn a_stall_costs_nothing_but_memory_and_order_is_kept_through_it() {
        let (mut writer, mut reader) = ring(50);
        let (mut next_in, mut next_out) = (0, 0);
        // In and out in all proportions, over the edges of blocks and of the ring again and again.
        for (burst, taken) in
            [(5, 5), (30, 3), (10, 20), (13, 25), (45, 10), (1, 2), (9, 48), (40, 0), (0, 40)]
        {
            for _ in 0..burst {
                writer.push(frame(&[7; 160], next_in)).expect("room");
                next_in += 1;
            }
            for _ in 0..taken {
                assert_eq!(reader.pop(|f| f.at.millis()), Some(next_out));
                next_out += 1;
            }
            assert_eq!(reader.ready() as i64, next_in - next_out);
        }
        for _ in 0..50 {
            writer.push(frame(&[7; 160], next_in)).expect("room");
        }
        assert_eq!(writer.push(frame(&[7; 160], next_in)), Err(Refused::Full));
    }

    #[test]
    fn a_ring_whose_consumer_keeps_up_takes_the_memory_of_one_block() {
        let (mut writer, mut reader) = ring(150);
        for n in 0..1_000 {
            for _ in 0..BLOCK {
                writer.push(frame(&[7; 160], n)).expect("room");
            }
            while reader.pop(|_| ()).is_some() {}
        }
        let taken = |writer: &TrackWriter| writer.shared.blocks.iter().filter(|b| b.get().is_some()).count();
        assert_eq!(taken(&writer), 1);
        for n in 0..150 {
            writer.push(frame(&[7; 160], n)).expect("room");
        }
        assert_eq!(taken(&writer), 150usize.div_ceil(BLOCK));
        assert_eq!(writer.push(frame(&[7; 160], 0)), Err(Refused::Full));
    }

    #[test]
    fn a_payload_goes_beside_its_frame_and_never_beside_another() {
        let (mut writer, mut reader) =
            coded_track_ring(SampleRate::HZ_8000, 4, Span::from_millis(20), 3, Doorbell::new());
        let coded = |payload| Some(Coded { codec: 2, payload });
        writer.push_coded(frame(&[1], 0), coded(&[1, 2, 3])).expect("room");
        writer.push(frame(&[2], 20)).expect("room");
        writer.push_coded(frame(&[3], 40), coded(&[1, 2, 3, 4])).expect("room");
        writer.push_coded(frame(&[4], 60), coded(&[9])).expect("room");
        let mut seen = Vec::new();
        while reader
            .pop_coded(|frame, coded| seen.push((frame.pcm[0], coded.map(|c| (c.codec, c.payload.to_vec())))))
            .is_some()
        {}
        assert_eq!(seen, [(1, Some((2, vec![1, 2, 3]))), (2, None), (3, None), (4, Some((2, vec![9])))]);
    }

    #[test]
    fn a_mute_bell_wakes_nobody_and_frames_are_there_all_the_same() {
        let (mut writer, mut reader) =
            track_ring(SampleRate::HZ_8000, 2, Span::from_millis(20), Doorbell::mute());
        writer.push(frame(&[5], 0)).expect("room");
        assert!(!Doorbell::mute().wait(Duration::from_millis(1)));
        assert_eq!(reader.pop(|frame| frame.pcm.to_vec()), Some(vec![5]));
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
        for depth in [8, 24, 100] {
            frames_cross_threads(depth);
        }
    }

    fn frames_cross_threads(depth: usize) {
        let bell = Doorbell::new();
        let (mut writer, mut reader) =
            track_ring(SampleRate::HZ_8000, depth, Span::from_millis(20), Arc::clone(&bell));
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
