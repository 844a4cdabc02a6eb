//! What a leg sends: keys, or else prompts and what others say, encoded frame by frame.

use antiphon_media_codec::{CodecKind, Encoder, NoiseEncoder, OpusConfig, mix};
use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate};
use antiphon_media_link::Remote;
use antiphon_media_rtp::Sender;
use antiphon_media_rtp::telephone_event::KeyStep;

use crate::config::LegConfig;
use crate::dial::{Dial, DialStep};
use crate::egress::Egress;
use crate::event::Events;
use crate::format::Format;
use crate::hear::Hearing;
use crate::leg::FRAME;
use crate::wire::Wire;
use crate::{LegEvent, Tap};

/// A frame of the widest codec; more than a network takes in one piece is not sent.
const PAYLOAD: usize = 1_400;

pub(crate) struct Outgoing {
    format: Format,
    rate: SampleRate,
    /// Samples in a frame.
    samples: usize,
    encoder: Encoder,
    pub(crate) sender: Sender,
    pub(crate) egress: Egress,
    pub(crate) hearing: Hearing,
    pub(crate) dial: Dial,
    out: Vec<i16>,
    payload: Vec<u8>,
    /// What stands for our pauses, where they are not sent.
    pauses: Option<Pauses>,
    /// Our packets lost, as the far side reported last, in percent.
    loss: u8,
    /// The frame before, while payloads are passed on: an encoder that takes over listens to it first.
    passed: Vec<i16>,
}

impl Outgoing {
    pub(crate) fn new(config: &LegConfig) -> Self {
        let format = config.format;
        let rate = format.codec.sample_rate();
        let samples = rate.samples(FRAME);
        Self {
            format,
            rate,
            samples,
            encoder: encoder(&format, config.suppress_silence),
            sender: Sender::new(
                config.ssrc,
                config.first_sequence,
                config.first_timestamp,
                format.codec.rtp_clock_hz(),
            ),
            egress: Egress::new(rate),
            hearing: Hearing::new(rate),
            dial: Dial::new(rate, event_hz(&format)),
            out: vec![0; samples],
            passed: Vec::with_capacity(samples),
            pauses: config.suppress_silence.then(Pauses::new),
            loss: 0,
            payload: vec![0; format.codec.payload_len(samples).min(PAYLOAD)],
        }
    }

    /// Rate of its frames.
    pub(crate) fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Sends another format from the next frame on. Returns whether the stream is another one by that: a clock of its
    /// own needs an SSRC of its own (RFC 7160 section 4.1).
    pub(crate) fn change(&mut self, format: Format) -> bool {
        let before = std::mem::replace(&mut self.format, format);
        if before.codec != format.codec || before.opus != format.opus {
            self.encoder = encoder(&format, self.pauses.is_some());
            self.encoder.set_loss(self.loss);
            let samples = format.codec.sample_rate().samples(FRAME);
            self.payload.resize(format.codec.payload_len(samples).min(PAYLOAD), 0);
        }
        let rate = format.codec.sample_rate();
        if rate != self.rate {
            self.rate = rate;
            self.samples = rate.samples(FRAME);
            self.out = vec![0; self.samples];
            self.egress.change(rate);
            self.hearing.change(rate);
        }
        self.dial.change(rate, event_hz(&format));
        let clock = format.codec.rtp_clock_hz();
        let another = clock != self.sender.clock_hz();
        if another {
            self.sender.restart(clock);
        }
        another
    }

    /// Adapts to the share of our packets that the far side misses, 0 to 1. Bad news count at once, good ones by and by:
    /// loss comes in bursts.
    pub(crate) fn adapt(&mut self, loss: f64) {
        let reported = (loss * 100.0).ceil().clamp(0.0, 100.0) as u8;
        let loss = reported.max(self.loss / 4 * 3);
        if loss != self.loss {
            self.loss = loss;
            self.encoder.set_loss(loss);
        }
    }

    /// RTP ticks of a frame.
    pub(crate) fn frame_ticks(&self) -> u32 {
        self.format.codec.ticks_of(self.samples)
    }

    /// Sends a frame to `to`. While nothing may be sent (hold) and while keys are, clips wait: what was never on the wire
    /// was not said.
    pub(crate) fn frame(
        &mut self,
        now: MediaTime,
        to: Option<Remote>,
        wire: &mut Wire<'_>,
        events: &mut Events,
        taps: &mut [Tap],
    ) {
        let dialled = if to.is_some() { self.dial(to, wire, events) } else { Dialled::Nothing };
        let mut spoke = dialled == Dialled::Tone;
        let mut alone = false;
        if to.is_some() && dialled == Dialled::Nothing {
            alone = self.egress.is_silent();
            spoke = self.egress.fill(&mut self.out, now, |played| events.tell(played.into()));
            alone &= !spoke;
            spoke |= self.hearing.mix(&mut self.out, |source| events.tell(LegEvent::HearEnded { source }));
        } else {
            if !spoke {
                self.out.fill(0);
            }
            self.egress.rest();
            self.hearing.pass(|source| events.tell(LegEvent::HearEnded { source }));
        }
        let kind = if spoke { FrameKind::Voice } else { FrameKind::Silence };
        let active = spoke && mix::level_db(&self.out) > AUDIBLE_DB;
        let frame = AudioFrame { pcm: &self.out, rate: self.rate, at: now, kind, active, retracted: false };
        for tap in taps {
            tap.push(frame, None);
        }
        let quiet = dialled == Dialled::Nothing && !active && !self.hearing.is_active();
        match to {
            Some(to) if quiet && self.pause(to, wire) => {}
            Some(to) if dialled != Dialled::Event => {
                if !quiet && let Some(pauses) = &mut self.pauses {
                    pauses.end();
                }
                if !(alone && self.pass(to, wire)) {
                    self.encode(to, wire);
                }
            }
            _ => self.sender.skip(self.frame_ticks()),
        }
    }

    /// Leaves a frame of silence unsent, where that was agreed on and the silence has lasted; says whether it did.
    fn pause(&mut self, to: Remote, wire: &mut Wire<'_>) -> bool {
        let (Some(pauses), Some(payload_type)) = (&mut self.pauses, self.format.comfort_noise) else {
            return false;
        };
        let Some(description) = pauses.hear(&self.out) else { return false };
        let mut payload = [0; NoiseEncoder::LONGEST];
        let length = if description { pauses.noise.encode(&mut payload) } else { 0 };
        if length > 0 {
            let packet =
                self.sender.stamped(payload_type, false, self.sender.timestamp(), &payload[..length]);
            wire.rtp(to, &packet);
        }
        self.passed.clear();
        let ticks = self.frame_ticks();
        self.sender.skip(ticks);
        true
    }

    /// Passes the payload on that the frame was decoded from; says whether there was one.
    fn pass(&mut self, to: Remote, wire: &mut Wire<'_>) -> bool {
        let ticks = self.frame_ticks();
        let coded = self.hearing.whole().filter(|coded| coded.codec == self.format.codec as u8);
        let Some(coded) = coded else { return false };
        wire.rtp(to, &self.sender.packet(self.format.payload_type, ticks, coded.payload));
        self.passed.clear();
        self.passed.extend_from_slice(&self.out);
        true
    }

    /// Lets the encoder hear what the far side heard last, so that it goes on from there without a click.
    fn take_over(&mut self) {
        if self.passed.len() == self.samples {
            self.encoder.reset();
            // What it makes of it has been sent already, by somebody else.
            let _ = self.encoder.encode(&self.passed, &mut self.payload[..]);
        }
        self.passed.clear();
    }

    fn encode(&mut self, to: Remote, wire: &mut Wire<'_>) {
        if !self.passed.is_empty() {
            self.take_over();
        }
        let ticks = self.frame_ticks();
        match self.encoder.encode(&self.out, &mut self.payload[..]) {
            Ok(length) if length > 0 => {
                let packet = self.sender.packet(self.format.payload_type, ticks, &self.payload[..length]);
                wire.rtp(to, &packet);
            }
            // Silence that the codec leaves unsent, or a codec this build lacks.
            _ => self.sender.skip(ticks),
        }
    }

    /// Does what is due of a key instead of sound.
    fn dial(&mut self, to: Option<Remote>, wire: &mut Wire<'_>, events: &mut Events) -> Dialled {
        let hz = u64::from(self.format.telephone_event_hz);
        let clock = u64::from(self.sender.clock_hz());
        let timestamp = if hz == clock {
            self.sender.timestamp()
        } else {
            (u64::from(self.sender.timestamp()) * hz / clock) as u32
        };
        match self.dial.step(timestamp) {
            DialStep::Idle => Dialled::Nothing,
            DialStep::Done => {
                events.tell(LegEvent::KeysSent);
                Dialled::Nothing
            }
            DialStep::Tone(pcm) => {
                self.out.copy_from_slice(pcm);
                Dialled::Tone
            }
            DialStep::Event(KeyStep::Gap, _) => Dialled::Event,
            DialStep::Event(KeyStep::Send(part), started) => {
                if let (Some(to), Some(payload_type)) = (to, self.format.telephone_event) {
                    let timestamp = started.wrapping_add(part.timestamp_offset);
                    let packet = self.sender.stamped(payload_type, part.marker, timestamp, &part.payload);
                    wire.rtp(to, &packet);
                }
                Dialled::Event
            }
        }
    }
}

/// What we send while we say nothing.
struct Pauses {
    noise: NoiseEncoder,
    /// Frames of silence so far.
    frames: u32,
}

impl Pauses {
    /// Frames of silence that are still sent: 200 ms, so that the end of a word is whole and short pauses stay.
    const HANGOVER: u32 = 10;
    /// Frames between two descriptions, half a second: a far side that lost one, or joined late, soon has another; and a NAT
    /// keeps its way open.
    const EVERY: u32 = 25;

    fn new() -> Self {
        // Ten coefficients describe a background; who knows the level alone passes over them (RFC 3389 section 3).
        Self { noise: NoiseEncoder::new(10), frames: 0 }
    }

    /// Takes a silent frame: whether the background is to be described now, `None` while the frame is still sent.
    fn hear(&mut self, pcm: &[i16]) -> Option<bool> {
        self.noise.hear(pcm);
        self.frames = self.frames.saturating_add(1);
        let since = self.frames.checked_sub(Self::HANGOVER + 1)?;
        Some(since.is_multiple_of(Self::EVERY))
    }

    /// Something is said.
    fn end(&mut self) {
        self.frames = 0;
    }
}

/// What became of a tick that may be a key's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialled {
    Nothing,
    Event,
    Tone,
}

/// Below this our own track counts as quiet.
const AUDIBLE_DB: f32 = -55.0;

fn encoder(format: &Format, suppress_silence: bool) -> Encoder {
    match format.codec {
        CodecKind::Opus => {
            let config = OpusConfig { dtx: format.opus.dtx && suppress_silence, ..format.opus };
            Encoder::opus(&config).unwrap_or_else(|_| Encoder::new(format.codec))
        }
        codec => Encoder::new(codec),
    }
}

fn event_hz(format: &Format) -> Option<u32> {
    format.telephone_event.map(|_| format.telephone_event_hz)
}
