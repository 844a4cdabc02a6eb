//! What a leg tells its owner.

use std::collections::VecDeque;
use std::net::SocketAddr;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_link::LinkEvent;

use crate::{ClipEnd, ClipId, HearId};

/// What happened on a leg, in order. Times are on the leg's clock.
#[derive(Clone, Debug, PartialEq)]
pub enum LegEvent {
    /// Packets in a row came from one source, which is locked now: the first, or another one after silence.
    Locked {
        /// Where the far side's media comes from and ours goes to.
        remote: SocketAddr,
    },
    /// The gate heard a voice begin.
    VoiceStarted {
        /// When, by the time of the sound itself.
        at: MediaTime,
    },
    /// The gate heard it end.
    VoiceEnded {
        /// When.
        at: MediaTime,
    },
    /// A key of the far side, once.
    Key {
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        key: char,
        /// When it was pressed.
        at: MediaTime,
        /// How long it was held.
        duration: Span,
    },
    /// The first sample of a clip is on the wire.
    PlayStarted {
        /// Which.
        id: ClipId,
        /// When.
        at: MediaTime,
    },
    /// A clip is over. Comes exactly once for every clip that was taken.
    PlayStopped {
        /// Which.
        id: ClipId,
        /// When.
        at: MediaTime,
        /// How much of it was played.
        played: Span,
        /// How it ended.
        end: ClipEnd,
    },
    /// All keys asked for have been sent.
    KeysSent,
    /// Keys were asked for, but one of them is no key, there were none, or too many wait already. None of them is sent.
    KeysRefused,
    /// A heard source is over: its track has ended and its last sample was played, or it was refused because there are
    /// [`SOURCES`](crate::SOURCES) already. Does not follow on an `Unhear`.
    HearEnded {
        /// Which.
        source: HearId,
    },
    /// Something happened on the way to the far side: ICE, DTLS.
    Link(LinkEvent),
    /// A change of the way could not be made; all is as it was.
    LinkRefused {
        /// What is wrong with it.
        why: String,
    },
    /// How the leg is doing, every few seconds.
    Quality {
        /// When.
        at: MediaTime,
        /// What it came to so far; its `mos` is that of the time since the last one.
        figures: Box<LegFigures>,
    },
    /// Nothing has come from the far side for the configured time. Told once per silence.
    Silent {
        /// When the last packet came.
        since: MediaTime,
    },
    /// The leg is gone: the last event.
    Closed {
        /// When.
        at: MediaTime,
        /// What it came to.
        figures: Box<LegFigures>,
    },
}

/// What a leg came to (RFC 3550 terms).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LegFigures {
    /// Packets received from the locked source.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets too late to be played.
    pub late: u64,
    /// Packets that came more than once.
    pub duplicate: u64,
    /// Packets dropped to bring the delay down.
    pub drained: u64,
    /// Interarrival jitter.
    pub jitter: Span,
    /// Sound made up by concealment.
    pub concealed: Span,
    /// Packets of strangers refused.
    pub strangers: u64,
    /// Datagrams that were no valid RTP or of an unknown payload type.
    pub invalid: u64,
    /// Packets whose protection was wrong or that came before: nobody with the keys sent them.
    pub forged: u64,
    /// How far behind the fastest packets sound is played: the jitter buffer's part of the delay.
    pub delay: Span,
    /// The far side's clock against ours in parts per million, positive where it is slow; 0 until known.
    pub drift_ppm: f32,
    /// What a listener would say of what we hear, 1 to 4.5 (ITU-T G.107); 0 before the first packet.
    pub mos: f32,
    /// The same of what the far side hears of us, where it reports.
    pub remote_mos: Option<f32>,
    /// Packets sent.
    pub sent: u64,
    /// Payload octets sent.
    pub sent_octets: u64,
    /// Round trip from RTCP, where the far side reports.
    pub round_trip: Option<Span>,
    /// Fraction of our packets the far side reports lost, 0 to 1.
    pub remote_loss: Option<f32>,
    /// Jitter of our packets, as the far side reports it.
    pub remote_jitter: Option<Span>,
    /// Frames the recorder or recogniser could not take because it was behind.
    pub tap_refused: u64,
}

/// Events waiting to be fetched. They are fetched after every call, so this is never reached by a living owner.
const WAITING: usize = 256;

/// The events of one leg on their way to its owner.
pub(crate) struct Events(VecDeque<LegEvent>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(32))
    }

    /// Keeps the event, unless nobody has fetched any for long; the last one is kept in any case.
    pub(crate) fn tell(&mut self, event: LegEvent) {
        if self.0.len() < WAITING || matches!(event, LegEvent::Closed { .. }) {
            self.0.push_back(event);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<LegEvent> {
        self.0.pop_front()
    }
}
