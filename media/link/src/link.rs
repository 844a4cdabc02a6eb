//! One way to one far side.

use std::net::SocketAddr;

use antiphon_media_frame::MediaTime;
use antiphon_media_rtp::is_rtcp;

use crate::keys::SrtpKeys;
use crate::srtp::{Opener, Sealer, SrtpError};

/// Most octets that protection adds to a packet: buffers given to [`Link::protect_rtp`] need as much room behind it.
pub const OVERHEAD: usize = 20;

/// What a link is made with, and changed to by [`Link::change`]. The default is plain RTP.
#[derive(Clone, Debug, Default)]
pub struct LinkConfig {
    /// How media is protected.
    pub protection: Protection,
}

/// How media is protected.
#[derive(Clone, Debug, Default)]
pub enum Protection {
    /// Not at all.
    #[default]
    Plain,
    /// By SRTP with keys from the descriptions.
    Sdes {
        /// For what we send.
        local: SrtpKeys,
        /// For what we receive.
        remote: SrtpKeys,
    },
}

/// What a datagram was.
#[derive(Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// An RTP packet, opened.
    Rtp(&'a [u8]),
    /// A compound RTCP packet, opened.
    Rtcp(&'a [u8]),
    /// The link's own business, or worth nothing.
    Nothing,
}

/// What happened to a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Media can flow both ways.
    Connected,
}

/// What a link counted. Numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFigures {
    /// Packets whose tag was wrong: forged, damaged, or of other keys.
    pub bad_tags: u64,
    /// Packets that came before.
    pub replays: u64,
    /// Datagrams that were nothing at all, or came before there were keys.
    pub dropped: u64,
    /// Packets that could not be protected.
    pub unsent: u64,
}

/// One way to one far side.
pub struct Link {
    media: Media,
    figures: LinkFigures,
}

/// Protection in force.
enum Media {
    Plain,
    Srtp(Box<Srtp>),
}

struct Srtp {
    local: SrtpKeys,
    remote: SrtpKeys,
    sealer: Sealer,
    opener: Opener,
}

impl Srtp {
    fn new(local: SrtpKeys, remote: SrtpKeys) -> Box<Self> {
        Box::new(Self { sealer: Sealer::new(&local), opener: Opener::new(&remote), local, remote })
    }

    /// Takes new keys. Where one stays the same, so do its roll-over counters and what came already.
    fn rekey(&mut self, local: &SrtpKeys, remote: &SrtpKeys) {
        if self.local != *local {
            (self.sealer, self.local) = (Sealer::new(local), local.clone());
        }
        if self.remote != *remote {
            (self.opener, self.remote) = (Opener::new(remote), remote.clone());
        }
    }
}

impl Link {
    /// Plain RTP, straight through.
    #[must_use]
    pub const fn plain() -> Self {
        Self { media: Media::Plain, figures: LinkFigures { bad_tags: 0, replays: 0, dropped: 0, unsent: 0 } }
    }

    /// SRTP with keys from the descriptions.
    #[must_use]
    pub fn sdes(local: SrtpKeys, remote: SrtpKeys) -> Self {
        Self { media: Media::Srtp(Srtp::new(local, remote)), figures: LinkFigures::default() }
    }

    /// A link as configured.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        match config.protection {
            Protection::Plain => Self::plain(),
            Protection::Sdes { local, remote } => Self::sdes(local, remote),
        }
    }

    /// Changes the link as a new description wants. Whatever stays the same goes on undisturbed: keys that are
    /// repeated keep their roll-over counters and replay windows (RFC 3711 §3.3.1).
    pub fn change(&mut self, _now: MediaTime, config: LinkConfig) {
        match (config.protection, &mut self.media) {
            (Protection::Plain, media) => *media = Media::Plain,
            (Protection::Sdes { local, remote }, Media::Srtp(srtp)) => srtp.rekey(&local, &remote),
            (Protection::Sdes { local, remote }, media) => *media = Media::Srtp(Srtp::new(local, remote)),
        }
    }

    /// Takes a datagram that came from `from`; media is opened in place.
    pub fn handle<'a>(&mut self, _now: MediaTime, _from: SocketAddr, datagram: &'a mut [u8]) -> Input<'a> {
        // RFC 7983 section 7.
        match datagram.first() {
            Some(128..=191) => self.media(datagram),
            _ => {
                self.figures.dropped += 1;
                Input::Nothing
            }
        }
    }

    /// Protects the RTP packet in the first `len` octets of `buffer`, in place; returns how many octets to send, or `None` where nothing
    /// can be sent (yet). The buffer needs [`OVERHEAD`] octets of room behind the packet.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let result = match &mut self.media {
            Media::Plain => return Some(len),
            Media::Srtp(srtp) => srtp.sealer.rtp(buffer, len),
        };
        self.sent(result)
    }

    /// The same for a compound RTCP packet.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let result = match &mut self.media {
            Media::Plain => return Some(len),
            Media::Srtp(srtp) => srtp.sealer.rtcp(buffer, len),
        };
        self.sent(result)
    }

    /// What the link itself wants sent, and where to. To be called until it returns `None` after each
    /// [`handle`](Self::handle), [`handle_timeout`](Self::handle_timeout) and [`change`](Self::change).
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, &[u8])> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MediaTime> {
        None
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: MediaTime) {}

    /// What happened since, oldest first.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        None
    }

    /// Where ICE says media goes; `None` where the descriptions decide.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        None
    }

    /// Whether media can flow.
    #[must_use]
    pub fn ready(&self) -> bool {
        true
    }

    /// Whether what [`handle`](Self::handle) gives out is known to come from the far side, whichever address it came from.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        !matches!(self.media, Media::Plain)
    }

    /// What was counted.
    #[must_use]
    pub fn figures(&self) -> LinkFigures {
        self.figures
    }

    fn media<'a>(&mut self, datagram: &'a mut [u8]) -> Input<'a> {
        let rtcp = is_rtcp(datagram);
        let result = match &mut self.media {
            Media::Plain => Ok(datagram.len()),
            Media::Srtp(srtp) if rtcp => srtp.opener.rtcp(datagram),
            Media::Srtp(srtp) => srtp.opener.rtp(datagram),
        };
        match result {
            Ok(len) if rtcp => Input::Rtcp(&datagram[..len]),
            Ok(len) => Input::Rtp(&datagram[..len]),
            Err(error) => {
                match error {
                    SrtpError::Tag => self.figures.bad_tags += 1,
                    SrtpError::Replay => self.figures.replays += 1,
                    _ => self.figures.dropped += 1,
                }
                Input::Nothing
            }
        }
    }

    fn sent(&mut self, result: Result<usize, SrtpError>) -> Option<usize> {
        if result.is_err() {
            self.figures.unsent += 1;
        }
        result.ok()
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::plain()
    }
}
