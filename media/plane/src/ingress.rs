//! What a leg receives, from packets to frames on the call's clock; one for each codec the call uses in turn.

use antiphon_media_codec::{Concealer, Decoder, NoiseDecoder};
use antiphon_media_frame::{AudioFrame, Coded, FrameKind, MediaTime, SampleRate, Span};
use antiphon_media_rtp::{
    JitterConfig, KeyReceiver, Pull, Receiver, ReceiverConfig, ReceiverFigures, RtpPacket,
};

use crate::format::Format;
use crate::leg::FRAME;
use crate::pending::Pending;
use crate::steady::Steady;

/// The longest packet that is taken: senders use 60 ms at most, so this is twice what is needed.
pub(crate) const LONGEST_PACKET: Span = Span::from_millis(120);
/// Silent frames made up for in one tick, so that a pause is caught up with soon but not in a burst.
const SILENT_FRAMES: usize = 8;
/// The longest payload that may be passed on as it came: a frame of Opus at 100 kbit/s.
pub(crate) const CODED: usize = 256;
/// The most sound that waits in the jitter buffer when a codec's time is over.
const LAST_WORDS: Span = Span::from_millis(300);

/// Hears a frame, and the payload it was decoded from where it was this very frame; says whether somebody speaks in it.
pub(crate) type Emit<'a> = dyn FnMut(AudioFrame<'_>, Option<Coded<'_>>) -> bool + 'a;

pub(crate) struct Ingress {
    pub(crate) format: Format,
    /// An earlier payload type of the same codec: packets under way when the agreement changed.
    former: Option<u8>,
    rate: SampleRate,
    /// Samples in a frame.
    samples: usize,
    pub(crate) keys: KeyReceiver,
    pub(crate) receiver: Receiver,
    decoder: Decoder,
    concealer: Concealer,
    /// What the far side's pauses sound like, where it says so.
    noise: NoiseDecoder,
    /// When the pause began.
    paused: MediaTime,
    /// Puts it on our clock.
    steady: Steady,
    /// Sound not yet a frame.
    pending: Pending,
    scratch: Vec<i16>,
    /// The last payload, where the next frame is all of it and nothing else.
    coded: Vec<u8>,
    frame: Vec<i16>,
    /// Where the newest frame begins; frames never run backwards.
    at: MediaTime,
    /// Where it ends, and silence would go on.
    until: MediaTime,
}

impl Ingress {
    /// Makes one whose first frame begins at `now` or later, and takes all its memory.
    pub(crate) fn new(format: Format, now: MediaTime) -> Self {
        let rate = format.codec.sample_rate();
        let samples = rate.samples(FRAME);
        let longest = rate.samples(LONGEST_PACKET);
        Self {
            former: None,
            rate,
            samples,
            keys: KeyReceiver::new(format.telephone_event_hz),
            receiver: Receiver::new(ReceiverConfig {
                jitter: JitterConfig {
                    max_payload: format.codec.longest_payload(),
                    ..JitterConfig::default()
                },
                ..ReceiverConfig::new(format.codec.rtp_clock_hz())
            }),
            decoder: Decoder::new(format.codec),
            concealer: Concealer::new(rate),
            noise: NoiseDecoder::new(u64::from(format.payload_type)),
            paused: now,
            steady: Steady::new(rate, now),
            pending: Pending::new(rate, longest + samples, now),
            scratch: vec![0; longest],
            coded: Vec::with_capacity(CODED),
            frame: vec![0; samples],
            at: now,
            until: now,
            format,
        }
    }

    /// The one after it: its frames go on where this one's ended.
    pub(crate) fn successor(&self, format: Format) -> Self {
        let steady = self.steady.at_rate(format.codec.sample_rate(), self.until);
        Self { at: self.at, until: self.until, steady, ..Self::new(format, self.until) }
    }

    /// Takes over payload types that changed while the codec did not.
    pub(crate) fn renumber(&mut self, format: Format) {
        if format.payload_type != self.format.payload_type {
            self.former = Some(self.format.payload_type);
        }
        if format.telephone_event_hz != self.format.telephone_event_hz {
            self.keys = KeyReceiver::new(format.telephone_event_hz);
        }
        self.format = format;
    }

    /// Rate of its frames.
    pub(crate) fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Whether a packet of this type is to be decoded here.
    pub(crate) fn decodes(&self, payload_type: u8) -> bool {
        payload_type == self.format.payload_type || self.former == Some(payload_type)
    }

    /// Takes a packet of sound.
    pub(crate) fn receive(&mut self, now: MediaTime, packet: RtpPacket<'_>) {
        let ticks = self.format.codec.ticks(packet.payload);
        self.receiver.receive(now, packet, ticks);
    }

    /// Takes a description of the far side's background, which fills its pause.
    pub(crate) fn comfort(&mut self, now: MediaTime, packet: RtpPacket<'_>) {
        if self.noise.update(packet.payload) {
            self.paused = self.receiver.time_of(packet.timestamp).unwrap_or(now);
        }
        self.receiver.pause(packet.timestamp);
        self.count(now, packet);
    }

    /// Takes note of a packet without sound, which has a number in the sequence all the same.
    pub(crate) fn count(&mut self, now: MediaTime, packet: RtpPacket<'_>) {
        self.receiver.receive(now, packet, 0);
    }

    /// Hands on the frames that are due: one a tick in the long run, silent ones where nothing came. `emit` says whether
    /// somebody speaks in it.
    pub(crate) fn play(&mut self, now: MediaTime, emit: &mut Emit<'_>) {
        while self.pending.len() < self.samples {
            let Some((count, at, concealed)) = self.decode(now) else { break };
            self.observe(now);
            if self.pending.ends_before(at) {
                // What is left of the packet before the hole keeps its place, as a frame of its own.
                let left = self.pending.len();
                self.take(left, left, emit);
            }
            if self.pending.len() > 0 || concealed || count != self.samples || !self.steady.is_idle() {
                self.coded.clear();
            }
            let end = self.pending.end().unwrap_or(self.until);
            let (pcm, at) = self.steady.convert(&self.scratch[..count], at, end);
            self.pending.append(pcm, at, concealed);
        }
        if self.pending.len() >= self.samples {
            self.take(self.samples, self.samples, emit);
            return;
        }
        // Nothing will be played before `settled` any more, so silence up to there is the truth. What is left of the
        // last packet comes first.
        let settled = self.receiver.settled(now);
        for _ in 0..SILENT_FRAMES {
            let next = self.pending.at().unwrap_or(self.until);
            if settled.since(next) < FRAME {
                break;
            }
            self.take(self.pending.len(), self.samples, emit);
        }
    }

    fn observe(&mut self, now: MediaTime) {
        if !self.steady.is_due(now) {
            return;
        }
        let figures = self.receiver.figures();
        self.steady.observe(now, figures.drift_ppm, figures.target_delay, self.receiver.is_ready());
    }

    /// Hands on what has come and was held back for its turn: the last word before the end.
    pub(crate) fn flush(&mut self, now: MediaTime, emit: &mut Emit<'_>) {
        let mut later = now;
        while self.receiver.figures().buffered > 0 && later.since(now) < LAST_WORDS {
            self.play(later, emit);
            later += FRAME;
        }
        while self.pending.len() > 0 {
            let count = self.pending.len().min(self.samples);
            self.take(count, count, emit);
        }
    }

    pub(crate) fn figures(&self) -> ReceiverFigures {
        self.receiver.figures()
    }

    /// Sound made up so far.
    pub(crate) fn concealed(&self) -> Span {
        let clock = u64::from(self.receiver.clock_hz());
        Span::from_nanos(self.figures().concealed_ticks * 1_000_000_000 / clock)
    }

    /// Where the newest frame ended.
    pub(crate) fn until(&self) -> MediaTime {
        self.until
    }

    /// Decodes, or makes up, what comes next; says how many samples, where they belong and whether they are made up.
    fn decode(&mut self, now: MediaTime) -> Option<(usize, MediaTime, bool)> {
        loop {
            match self.receiver.pull(now) {
                Pull::Play { payload, at, .. } => {
                    // A payload longer than the longest packet is refused by the receiver, what is no payload by its
                    // ticks.
                    let Ok(decoded) = self.decoder.decode(payload, &mut self.scratch) else { continue };
                    self.coded.clear();
                    if payload.len() <= CODED {
                        self.coded.extend_from_slice(payload);
                    }
                    self.concealer.good(&mut self.scratch[..decoded]);
                    // What was said before the pause may be played after its description came.
                    if self.noise.is_told() && at >= self.paused {
                        self.noise.reset();
                    }
                    return Some((decoded, at, false));
                }
                Pull::Conceal { at, ticks, next } => {
                    let samples = self.format.codec.samples(ticks).min(self.scratch.len());
                    let out = &mut self.scratch[..samples];
                    // Codecs that can make it up themselves need no concealer, and some find a copy in the next packet.
                    match self.decoder.decode_lost(next, out) {
                        Ok(made) if made == samples => {}
                        _ => self.concealer.conceal(out),
                    }
                    return Some((samples, at, true));
                }
                Pull::Wait => return None,
            }
        }
    }

    /// Hands on a frame of `length` samples: `count` decoded ones and silence for the rest.
    fn take(&mut self, count: usize, length: usize, emit: &mut Emit<'_>) {
        self.frame[..count].copy_from_slice(&self.pending.pcm()[..count]);
        match count {
            0 if self.noise.is_told() => self.noise.fill(&mut self.frame[..length]),
            _ => self.frame[count..length].fill(0),
        }
        // A sender whose clock runs fast brings more sound than time: frames overlap by what its clock is corrected by,
        // instead of sliding away from the truth.
        let at = self.pending.at().unwrap_or(self.until).max(self.at);
        let kind = match (count, self.pending.is_concealed()) {
            (0, _) => FrameKind::Silence,
            (_, true) => FrameKind::Concealed,
            (_, false) => FrameKind::Voice,
        };
        self.pending.consume(count);
        if kind == FrameKind::Silence || count < length {
            self.steady.settle();
        }
        let frame = AudioFrame {
            pcm: &self.frame[..length],
            rate: self.rate,
            at,
            kind,
            active: false,
            retracted: false,
        };
        self.at = at;
        self.until = frame.end();
        let coded = Coded { codec: self.format.codec as u8, payload: &self.coded };
        let whole = count == self.samples && !self.coded.is_empty();
        let active = emit(frame, whole.then_some(coded));
        self.coded.clear();
        self.receiver.set_quiet(!active);
    }
}
