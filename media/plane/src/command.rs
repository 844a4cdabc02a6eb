//! What an owner asks of its leg.

use std::net::SocketAddr;

use antiphon_media_frame::{Direction, Span, TrackReader, TrackWriter};
use antiphon_media_link::{LinkConfig, RemoteCandidate};

use crate::{Clip, Format, HearId, TapId};

/// What an owner asks of its leg.
pub enum LegCommand {
    /// Play after what is being played. Refused clips come back as `PlayStopped` with `Cancelled`.
    Play(Clip),
    /// Stop playing, interruptible or not.
    Stop,
    /// Let the far side hear this track, mixed with prompts and with up to 15 other sources; its rate may be any. A
    /// source of the same name is replaced. A refused one comes back as `HearEnded`.
    Hear {
        /// Names it.
        source: HearId,
        /// The track: usually what another leg receives.
        reader: TrackReader,
        /// Factor of its loudness, 0 to 16.
        gain: f32,
    },
    /// Let the far side hear this source no more; it fades out within a frame.
    Unhear {
        /// Which.
        source: HearId,
    },
    /// Change the loudness of a source.
    Gain {
        /// Which.
        source: HearId,
        /// Its new factor, 0 to 16.
        gain: f32,
    },
    /// Silence all sources, or let them be heard again. Clips are played all the same: hold music is one that repeats.
    Hold(bool),
    /// Write a track of this leg into a ring as well, at the ring's rate. A tap of the same name is replaced. Where
    /// there are [`TAPS`](crate::TAPS) already the ring is closed at once.
    Tap {
        /// Names it.
        id: TapId,
        /// What the far side says, or what is said to it.
        track: Direction,
        /// The ring, for frames of 25 ms: a resampler may owe a sample or two of the frame before.
        writer: TrackWriter,
    },
    /// Close a tap's ring.
    Untap {
        /// Which.
        id: TapId,
    },
    /// Send these keys one after another: as RFC 4733 events, or as tones where none were agreed on.
    Keys(Vec<char>),
    /// Send these keys as tones in any case.
    KeysInband(Vec<char>),
    /// The far side pressed a key, says signalling (SIP INFO). Told once, however often else it comes.
    KeyFromSignalling {
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        key: char,
        /// How long it was held.
        duration: Span,
    },
    /// The far side moved (re-INVITE): send there, lock anew.
    Remote {
        /// Its RTP address.
        rtp: SocketAddr,
        /// Its RTCP address.
        rtcp: SocketAddr,
    },
    /// Another codec or other payload types (re-INVITE). Sent from the next frame on; received from the first packet of
    /// the new payload type on, so that nothing under way is lost. The leg's clock goes on, taps keep their rates.
    Codec(Format),
    /// The way media takes changes (re-INVITE): other keys, ICE anew. What stays the same goes on undisturbed.
    Link {
        /// The whole of it, as it is from here on.
        link: Box<LinkConfig>,
        /// Whether RTCP shares the RTP port.
        rtcp_mux: bool,
    },
    /// More addresses of the far side, for ICE (RFC 8838).
    Candidates(Vec<RemoteCandidate>),
    /// Listen for keys in the sound, or do so no more. They are told once, however often else they come.
    InbandKeys(bool),
    /// Which ways media may flow (hold).
    Flow {
        /// We may send.
        send: bool,
        /// We expect to receive.
        receive: bool,
    },
    /// Close the leg.
    Close,
}
