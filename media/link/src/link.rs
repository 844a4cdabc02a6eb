//! One way to one far side.

use std::collections::VecDeque;

use antiphon_media_frame::MediaTime;
use antiphon_media_rtp::is_rtcp;

use crate::dtls::{Dtls, DtlsConfig, DtlsError, DtlsNews, DtlsRole};
use crate::ice::{Ice, IceConfig, IceFigures, IceNews, RemoteCandidate};
use crate::keys::SrtpKeys;
use crate::remote::Remote;
use crate::srtp::{Opener, Sealer, SrtpError};

/// Most octets that protection adds to a packet: buffers given to [`Link::protect_rtp`] need as much room behind it.
pub const OVERHEAD: usize = 20;
/// Most events that wait; the oldest is forgotten.
const MOST_EVENTS: usize = 16;

/// What a link is made with, and changed to by [`Link::change`]. The default is plain RTP without ICE.
#[derive(Clone, Debug, Default)]
pub struct LinkConfig {
    /// How media is protected.
    pub protection: Protection,
    /// How the way is found; `None`: the descriptions say where media goes.
    pub ice: Option<IceConfig>,
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
    /// By SRTP with keys from a DTLS handshake. Until it is done nothing passes.
    Dtls(DtlsConfig),
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
    /// Media can flow both ways, for the first time or again.
    Connected,
    /// ICE goes another way now: [`Link::remote`].
    Moved,
    /// The far side no longer answers (RFC 7675): nothing may be sent until it does.
    ConsentLost,
    /// The far side closed its DTLS association; keys stay in force until the call ends.
    Closed,
    /// There will be no connection.
    Failed {
        /// What went wrong.
        why: &'static str,
    },
}

/// What a link counted. Numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFigures {
    /// Packets whose tag was wrong: forged, damaged, or of other keys.
    pub bad_tags: u64,
    /// Packets that came before.
    pub replays: u64,
    /// Datagrams that were nothing at all, came from a stranger, or came before there were keys.
    pub dropped: u64,
    /// Packets that could not be protected or had no way to go.
    pub unsent: u64,
    /// Of ICE.
    pub ice: IceFigures,
}

/// One way to one far side.
pub struct Link {
    media: Media,
    dtls: Option<Box<Dtls>>,
    ice: Option<Box<Ice>>,
    /// Where DTLS came from last: answers go there until ICE has chosen.
    spoke: Option<Remote>,
    was_ready: bool,
    events: VecDeque<LinkEvent>,
    figures: LinkFigures,
    /// The datagram last given out, for its borrow.
    sending: Vec<u8>,
}

/// Protection in force.
enum Media {
    Plain,
    /// Keys are yet to come: nothing passes.
    Waiting,
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
    pub fn plain() -> Self {
        Self::with(Media::Plain)
    }

    /// SRTP with keys from the descriptions.
    #[must_use]
    pub fn sdes(local: SrtpKeys, remote: SrtpKeys) -> Self {
        Self::with(Media::Srtp(Srtp::new(local, remote)))
    }

    /// A link as configured, which begins to find its way and its keys at `now`.
    ///
    /// # Errors
    /// If DTLS cannot be set up; never for plain RTP and SDES.
    pub fn new(config: LinkConfig, now: MediaTime) -> Result<Self, DtlsError> {
        let mut link = Self::with(Media::Waiting);
        link.change(config, now)?;
        Ok(link)
    }

    fn with(media: Media) -> Self {
        let was_ready = !matches!(media, Media::Waiting);
        Self {
            media,
            dtls: None,
            ice: None,
            spoke: None,
            was_ready,
            events: VecDeque::new(),
            figures: LinkFigures::default(),
            sending: Vec::new(),
        }
    }

    /// Changes the link as a new description wants. Whatever stays the same goes on undisturbed: keys that are
    /// repeated keep their roll-over counters and replay windows (RFC 3711 §3.3.1), a repeated fingerprint keeps its
    /// association, repeated ICE credentials keep the way and may bring more candidates. New ICE credentials restart
    /// ICE, and media goes on by the old way until there is a new one; so it does with the old keys while another
    /// association is made.
    ///
    /// # Errors
    /// If DTLS cannot be set up. Nothing has then changed.
    pub fn change(&mut self, config: LinkConfig, now: MediaTime) -> Result<(), DtlsError> {
        let by_ice = config.ice.is_some();
        let dtls = match &config.protection {
            Protection::Dtls(dtls) if !self.keeps(dtls, by_ice) => {
                Some(Box::new(Dtls::new(dtls.clone(), by_ice)?))
            }
            _ => None,
        };
        match config.protection {
            Protection::Plain => (self.media, self.dtls) = (Media::Plain, None),
            Protection::Sdes { local, remote } => {
                self.dtls = None;
                match &mut self.media {
                    Media::Srtp(srtp) => srtp.rekey(&local, &remote),
                    media => *media = Media::Srtp(Srtp::new(local, remote)),
                }
            }
            Protection::Dtls(config) => {
                if dtls.is_some() {
                    self.dtls = dtls;
                } else if let Some(dtls) = &mut self.dtls {
                    dtls.moved(config.peer);
                }
                if matches!(self.media, Media::Plain) {
                    self.media = Media::Waiting;
                }
            }
        }
        match config.ice {
            None => self.ice = None,
            Some(config) => self.change_ice(config, now),
        }
        self.begin_dtls(now);
        self.settle();
        Ok(())
    }

    fn change_ice(&mut self, config: IceConfig, now: MediaTime) {
        if let Some(ice) = &mut self.ice
            && ice.update(&config, now)
        {
            return;
        }
        let old = self.ice.as_ref().and_then(|ice| ice.selected());
        let mut agent = Ice::new(config, now);
        if old.is_some() {
            agent.keep(old);
        }
        self.ice = Some(Box::new(agent));
    }

    fn keeps(&self, config: &DtlsConfig, by_ice: bool) -> bool {
        self.dtls.as_ref().is_some_and(|dtls| dtls.is_same(config, by_ice))
    }

    /// Takes a datagram that came from `from`; media is opened in place.
    pub fn handle<'a>(
        &mut self,
        now: MediaTime,
        from: impl Into<Remote>,
        datagram: &'a mut [u8],
    ) -> Input<'a> {
        let from = from.into();
        // RFC 7983 section 7.
        match datagram.first() {
            Some(128..=191) => return self.media(now, from, datagram),
            Some(0..=3) => {
                if let Some(ice) = &mut self.ice {
                    let news = ice.handle(now, from, datagram);
                    self.ice_news(news, now);
                }
            }
            Some(20..=63) => self.handshake(now, from, datagram),
            _ => self.figures.dropped += 1,
        }
        Input::Nothing
    }

    /// Protects the RTP packet in the first `len` octets of `buffer`, in place; returns how many octets to send, or
    /// `None` where nothing can be sent (yet). The buffer needs [`OVERHEAD`] octets of room behind the packet.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        self.protect(buffer, len, Sealer::rtp)
    }

    /// The same for a compound RTCP packet.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        self.protect(buffer, len, Sealer::rtcp)
    }

    /// What the link itself wants sent, and where to. To be called until it returns `None` after each
    /// [`new`](Self::new), [`handle`](Self::handle), [`handle_timeout`](Self::handle_timeout) and
    /// [`change`](Self::change).
    pub fn poll_transmit(&mut self) -> Option<(Remote, &[u8])> {
        if let Some((to, datagram)) = self.ice.as_mut().and_then(|ice| ice.poll_transmit()) {
            self.sending = datagram;
            return Some((to, &self.sending));
        }
        while let Some((to, datagram)) = self.dtls.as_mut().and_then(|dtls| dtls.poll_transmit()) {
            let to = match &self.ice {
                Some(ice) => ice.selected().or(self.spoke),
                None => Some(Remote::Udp(to)),
            };
            // What finds no way is repeated by its timer.
            let Some(to) = to else { continue };
            self.sending.clear();
            self.sending.extend_from_slice(&datagram);
            return Some((to, &self.sending));
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MediaTime> {
        let ice = self.ice.as_ref().and_then(|ice| ice.poll_timeout());
        let dtls = self.dtls.as_ref().and_then(|dtls| dtls.poll_timeout());
        [ice, dtls].into_iter().flatten().min()
    }

    /// Does what is due; to be called at [`poll_timeout`](Self::poll_timeout) or any time later.
    pub fn handle_timeout(&mut self, now: MediaTime) {
        if let Some(ice) = &mut self.ice {
            let news = ice.handle_timeout(now);
            self.ice_news(news, now);
        }
        if let Some(dtls) = &mut self.dtls {
            let news = dtls.handle_timeout(now);
            self.dtls_news(news);
        }
    }

    /// What happened since, oldest first.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Where media goes by what ICE found, or by where the far side's handshake came from when its description was
    /// wrong about it (NAT); `None` where the description decides, and while ICE knows no way
    /// ([`ready`](Self::ready) tells these apart).
    #[must_use]
    pub fn remote(&self) -> Option<Remote> {
        match &self.ice {
            Some(ice) => ice.selected(),
            None => self.dtls.as_ref().and_then(|dtls| dtls.latched()).map(Remote::Udp),
        }
    }

    /// Whether the far side has shown that it is at `remote`: by a signed check where ICE is done (RFC 8445 §7.3).
    #[must_use]
    pub fn knows(&self, remote: Remote) -> bool {
        self.ice.as_ref().is_some_and(|ice| ice.knows(remote))
    }

    /// Takes more addresses of the far side (RFC 8838); of no account without ICE.
    pub fn candidates(&mut self, candidates: &[RemoteCandidate], now: MediaTime) {
        for candidate in candidates {
            if let Some(ice) = &mut self.ice {
                ice.add(*candidate, now);
            }
        }
    }

    /// Takes note that a connection has ended. Where media went by it, it goes by the best other way that works; where
    /// there is none, it waits for the far side to connect anew (RFC 6544 §7.3) as long as its consent lasts.
    pub fn gone(&mut self, remote: Remote, now: MediaTime) {
        if let Some(ice) = &mut self.ice {
            let news = ice.gone(remote, now);
            self.ice_news(news, now);
        }
    }

    /// Whether media can flow: there are keys where keys are needed, and a way.
    #[must_use]
    pub fn ready(&self) -> bool {
        !matches!(self.media, Media::Waiting) && self.ice.as_ref().is_none_or(|ice| ice.selected().is_some())
    }

    /// Whether what [`handle`](Self::handle) gives out is known to come from the far side, whichever address it
    /// came from.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        !matches!(self.media, Media::Plain)
    }

    /// What was counted.
    #[must_use]
    pub fn figures(&self) -> LinkFigures {
        let ice = self.ice.as_ref().map_or(IceFigures::default(), |ice| ice.figures());
        LinkFigures { ice, ..self.figures }
    }

    fn media<'a>(&mut self, now: MediaTime, from: Remote, datagram: &'a mut [u8]) -> Input<'a> {
        let rtcp = is_rtcp(datagram);
        let result = match &mut self.media {
            Media::Plain if self.ice.as_ref().is_none_or(|ice| ice.knows(from)) => Ok(datagram.len()),
            Media::Plain | Media::Waiting => Err(SrtpError::Malformed),
            Media::Srtp(srtp) if rtcp => srtp.opener.rtcp(datagram),
            Media::Srtp(srtp) => srtp.opener.rtp(datagram),
        };
        if result.is_ok()
            && let Some(ice) = &mut self.ice
        {
            ice.heard(from, matches!(self.media, Media::Srtp(_)), now);
        }
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

    fn protect(
        &mut self,
        buffer: &mut [u8],
        len: usize,
        seal: fn(&mut Sealer, &mut [u8], usize) -> Result<usize, SrtpError>,
    ) -> Option<usize> {
        // Without consent nothing is sent (RFC 7675 section 5.1).
        let way = self.ice.as_ref().is_none_or(|ice| ice.selected().is_some());
        let sealed = match &mut self.media {
            _ if !way => None,
            Media::Plain => Some(len),
            Media::Waiting => None,
            Media::Srtp(srtp) => seal(&mut srtp.sealer, buffer, len).ok(),
        };
        if sealed.is_none() {
            self.figures.unsent += 1;
        }
        sealed
    }

    fn handshake(&mut self, now: MediaTime, from: Remote, datagram: &[u8]) {
        let known = self.ice.as_ref().is_none_or(|ice| ice.knows(from));
        let Some(dtls) = self.dtls.as_mut().filter(|_| known) else {
            self.figures.dropped += 1;
            return;
        };
        self.spoke = Some(from);
        if dtls.role() == DtlsRole::Server {
            dtls.start(now);
        }
        let news = dtls.handle(now, from.address(), datagram);
        self.dtls_news(news);
    }

    /// A client speaks as soon as there is a way.
    fn begin_dtls(&mut self, now: MediaTime) {
        let way = self.ice.as_ref().is_none_or(|ice| ice.selected().is_some());
        if let Some(dtls) = self.dtls.as_mut().filter(|_| way) {
            dtls.start(now);
        }
    }

    fn ice_news(&mut self, news: Option<IceNews>, now: MediaTime) {
        match news {
            Some(IceNews::Selected) => {
                self.begin_dtls(now);
                if self.was_ready {
                    self.tell(LinkEvent::Moved);
                }
            }
            Some(IceNews::Lost) if self.was_ready => {
                self.was_ready = false;
                self.tell(LinkEvent::ConsentLost);
            }
            Some(IceNews::Lost) => self.tell(LinkEvent::Failed { why: "ice found no way in 30 s" }),
            None => {}
        }
        self.settle();
    }

    fn dtls_news(&mut self, news: Option<DtlsNews>) {
        match news {
            Some(DtlsNews::Keys(local, remote)) => self.media = Media::Srtp(Srtp::new(local, remote)),
            Some(DtlsNews::Closed) => self.tell(LinkEvent::Closed),
            Some(DtlsNews::Failed(why)) => self.tell(LinkEvent::Failed { why }),
            None => {}
        }
        self.settle();
    }

    /// Tells when media begins to be able to flow.
    fn settle(&mut self) {
        if self.ready() && !self.was_ready {
            self.was_ready = true;
            self.tell(LinkEvent::Connected);
        }
    }

    fn tell(&mut self, event: LinkEvent) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::plain()
    }
}
