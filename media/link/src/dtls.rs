//! DTLS-SRTP (RFC 5764): a handshake whose certificate has to match the description, for the keys of SRTP.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_media_frame::{MediaTime, Span};
use bytes::BytesMut;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::{RTCCryptoProvider, default_provider};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as RtcError;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::keys::{SrtpKeys, Suite};

/// Between two sendings of a flight.
const REPEAT: Duration = Duration::from_millis(400);
/// A handshake that has not succeeded by then never will.
const LONGEST: Span = Span::from_secs(30);
/// Addresses that may have a handshake under way at once, where the far side's own is not known.
const MOST_PEERS: usize = 4;
/// Datagrams of one association that are looked at before and after the handshake is done, and records in each: a
/// handshake has about ten, and what else comes can only be there to cost time or memory.
const MOST_BEFORE: u32 = 100;
const MOST_AFTER: u32 = 40;
const MOST_RECORDS: usize = 16;
/// How often a flight is sent again where the library has forgotten to: it drops its timer when a message comes twice.
const MOST_AGAIN: u32 = 20;
/// Content types of records.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// Octets of a record's header.
const RECORD: usize = 13;
const LABEL: &str = "EXTRACTOR-dtls_srtp";
const MTU: usize = 1_200;
/// Stands for the far side where ICE moves datagrams between addresses.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// SHA-256 over a certificate's DER encoding (RFC 8122 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02X}"))?;
        f.write_str(")")
    }
}

impl Fingerprint {
    fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

/// Who speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// This side (`a=setup:active`).
    Client,
    /// The far side (`a=setup:passive`).
    Server,
}

/// Our certificate with its key: ECDSA on P-256, self-signed, to be shared by all calls.
pub struct Identity {
    certificate: Certificate,
    fingerprint: Fingerprint,
    provider: Arc<dyn RTCCryptoProvider>,
    /// What the library's instants are counted from.
    origin: Instant,
}

/// No certificate, or none of the library's parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dtls cannot be set up: {0}")]
pub struct DtlsError(String);

impl From<RtcError> for DtlsError {
    fn from(error: RtcError) -> Self {
        Self(error.to_string())
    }
}

impl Identity {
    /// Draws a key and signs a certificate that names nobody.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn generate() -> Result<Self, DtlsError> {
        let provider = default_provider().map_err(|error| DtlsError(error.to_string()))?;
        let certificate = Certificate::generate_self_signed(vec!["call".to_owned()], provider.crypto())?;
        let der =
            certificate.certificate.first().ok_or_else(|| DtlsError("no certificate was made".to_owned()))?;
        let fingerprint = Fingerprint::of(der);
        #[expect(
            clippy::disallowed_methods,
            reason = "an arbitrary point to count from: the library wants instants and only subtracts them"
        )]
        let origin = Instant::now();
        Ok(Self { certificate, fingerprint, provider, origin })
    }

    /// What our descriptions have to say.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// How DTLS is done.
#[derive(Clone, Debug)]
pub struct DtlsConfig {
    /// Ours.
    pub identity: Arc<Identity>,
    /// What the far side's certificate has to hash to.
    pub fingerprint: Fingerprint,
    /// Ours.
    pub role: DtlsRole,
    /// Where the far side is, by its description; with ICE, that says where.
    pub peer: SocketAddr,
    /// Without ICE: whether the far side may speak from another address (NAT). Whoever does still has to show the
    /// right certificate.
    pub latch: bool,
}

/// What came of a datagram or a timer.
#[derive(Debug)]
pub(crate) enum DtlsNews {
    /// Keys for what we send and for what we receive.
    Keys(SrtpKeys, SrtpKeys),
    /// The far side closed the association.
    Closed,
    /// There will be no keys.
    Failed(&'static str),
}

pub(crate) struct Dtls {
    config: DtlsConfig,
    handshake: Arc<HandshakeConfig>,
    endpoint: Endpoint,
    /// Whether ICE says who may speak and where datagrams go.
    by_ice: bool,
    started: Option<MediaTime>,
    state: State,
    peers: Vec<Peer>,
    latched: Option<SocketAddr>,
    out: VecDeque<(SocketAddr, BytesMut)>,
}

/// An association under way.
struct Peer {
    address: SocketAddr,
    /// Datagrams that it may still bring.
    left: u32,
    /// What we sent last, and when.
    flight: Vec<BytesMut>,
    sent: MediaTime,
    again: u32,
}

impl Peer {
    fn new(address: SocketAddr, left: u32, now: MediaTime) -> Self {
        Self { address, left, flight: Vec::new(), sent: now, again: 0 }
    }

    /// When the last flight has to be sent again. A first answer is not: it may be to a forged address.
    fn again_at(&self) -> Option<MediaTime> {
        let known = self.left + 2 <= MOST_BEFORE;
        (known && !self.flight.is_empty() && self.again < MOST_AGAIN).then(|| self.sent + Span::from(REPEAT))
    }

    /// Sends the last flight again as it was: whoever has seen a record already passes over its repetition.
    fn repeat(&mut self, now: MediaTime, out: &mut VecDeque<(SocketAddr, BytesMut)>) {
        (self.sent, self.again) = (now, self.again + 1);
        let flight = self.flight.iter().map(|datagram| (self.address, datagram.clone()));
        out.extend(flight.take(MOST_RECORDS.saturating_sub(out.len())));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Handshaking,
    /// With the association of this address.
    Done(SocketAddr),
    Over,
}

impl Dtls {
    pub(crate) fn new(mut config: DtlsConfig, by_ice: bool) -> Result<Self, DtlsError> {
        if by_ice {
            config.peer = ANYWHERE;
        }
        let handshake = Arc::new(handshake(&config)?);
        let server = (config.role == DtlsRole::Server).then(|| Arc::clone(&handshake));
        let endpoint = Endpoint::new(config.peer, TransportProtocol::UDP, server);
        let peers = Vec::new();
        Ok(Self {
            config,
            handshake,
            endpoint,
            by_ice,
            started: None,
            state: State::Handshaking,
            peers,
            latched: None,
            out: VecDeque::new(),
        })
    }

    /// Whether `config` asks for the association that stands.
    pub(crate) fn is_same(&self, config: &DtlsConfig, by_ice: bool) -> bool {
        self.by_ice == by_ice
            && self.config.fingerprint == config.fingerprint
            && self.config.role == config.role
            && self.state != State::Over
            && Arc::ptr_eq(&self.config.identity, &config.identity)
    }

    pub(crate) fn role(&self) -> DtlsRole {
        self.config.role
    }

    /// The far side says it is elsewhere now.
    pub(crate) fn moved(&mut self, peer: SocketAddr) {
        if !self.by_ice && self.config.peer != peer {
            self.config.peer = peer;
            self.latched = None;
        }
    }

    /// Where the far side turned out to be, if that is not where its description said.
    pub(crate) fn latched(&self) -> Option<SocketAddr> {
        self.latched
    }

    /// Begins, once packets can be sent.
    pub(crate) fn start(&mut self, now: MediaTime) {
        if self.started.is_some() {
            return;
        }
        self.started = Some(now);
        if self.config.role == DtlsRole::Client {
            self.connect(now);
        }
    }

    fn connect(&mut self, now: MediaTime) {
        let peer = self.config.peer;
        let config = Arc::clone(&self.handshake);
        if let Err(error) = self.endpoint.connect(self.instant(now), peer, config, None) {
            tracing::debug!(%error, "a dtls handshake could not begin");
        }
        self.peers = vec![Peer::new(peer, MOST_BEFORE, now)];
        self.drain(now);
    }

    pub(crate) fn handle(&mut self, now: MediaTime, from: SocketAddr, datagram: &[u8]) -> Option<DtlsNews> {
        let from = if self.by_ice { self.config.peer } else { from };
        // Before there are keys anybody can write an alert; whoever means it will not go on, which shows as well.
        let rumour = self.state == State::Handshaking && datagram.first() == Some(&ALERT);
        if rumour || !self.may_speak(from, now) || records(datagram) > MOST_RECORDS {
            return None;
        }
        let peer = self.peers.iter_mut().find(|peer| peer.address == from)?;
        peer.left = peer.left.checked_sub(1)?;
        let (instant, data) = (self.instant(now), BytesMut::from(datagram));
        let result = self.endpoint.read(instant, from, None, data);
        if !self.drain(now) && self.state == State::Done(from) && datagram.first() == Some(&HANDSHAKE) {
            self.repeat_last(now);
        }
        let events = match result {
            Ok(events) => events,
            Err(error) => {
                tracing::debug!(%error, "a dtls datagram was refused");
                return self.broke(now, from);
            }
        };
        let mut news = None;
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => news = Some(self.complete(from)),
                EndpointEvent::PeerClosed => {
                    let done = self.state == State::Done(from);
                    self.forget(from, now);
                    if done {
                        self.state = State::Over;
                        news = Some(DtlsNews::Closed);
                    }
                }
                _ => {}
            }
        }
        news
    }

    /// Only the far side may take up our time: the address it signalled, or with `latch` a few others until one of
    /// them has shown its certificate.
    fn may_speak(&mut self, from: SocketAddr, now: MediaTime) -> bool {
        match self.state {
            State::Done(peer) => from == peer,
            State::Over => false,
            State::Handshaking if self.peers.iter().any(|peer| peer.address == from) => true,
            State::Handshaking => {
                let expected = from == self.config.peer || self.config.latch;
                if !expected || self.config.role == DtlsRole::Client {
                    return false;
                }
                if self.peers.len() == MOST_PEERS {
                    self.evict(now);
                }
                self.peers.push(Peer::new(from, MOST_BEFORE, now));
                true
            }
        }
    }

    /// Gives up the association that has come the shortest way: a stranger's single datagram, and not a handshake.
    fn evict(&mut self, now: MediaTime) {
        let strangers = self.peers.iter().filter(|peer| peer.address != self.config.peer);
        if let Some(address) = strangers.max_by_key(|peer| peer.left).map(|peer| peer.address) {
            self.forget(address, now);
        }
    }

    /// An association that failed makes room; a client tries again.
    fn broke(&mut self, now: MediaTime, from: SocketAddr) -> Option<DtlsNews> {
        match self.state {
            // Established keys stand whatever is sent at the handshake afterwards.
            State::Done(_) | State::Over => None,
            State::Handshaking => {
                let budget = self.peers.iter().find(|peer| peer.address == from).map_or(0, |peer| peer.left);
                self.forget(from, now);
                if budget > 0 && self.started.is_some_and(|started| now.since(started) < LONGEST) {
                    if self.config.role == DtlsRole::Client {
                        self.connect(now);
                    }
                    // What is left of the budget goes on: failing again and again is no way to get more.
                    match self.peers.iter_mut().find(|peer| peer.address == from) {
                        Some(peer) => peer.left = budget,
                        None => self.peers.push(Peer::new(from, budget, now)),
                    }
                }
                None
            }
        }
    }

    fn forget(&mut self, peer: SocketAddr, now: MediaTime) {
        let instant = self.instant(now);
        self.endpoint.stop(instant, peer);
        self.peers.retain(|known| known.address != peer);
        // Its farewell would be taken for one of the association that follows.
        while self.endpoint.poll_transmit().is_some() {}
    }

    /// Takes the keys of a finished handshake, if its certificate is the right one.
    fn complete(&mut self, from: SocketAddr) -> DtlsNews {
        let keys = self.endpoint.get_connection_state(from).and_then(|state| {
            let certificate = state.peer_certificates.first()?;
            if !matches(certificate, self.config.fingerprint) {
                return None;
            }
            let suite = match state.srtp_protection_profile() {
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Suite::AesCm128HmacSha1_80,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32 => Suite::AesCm128HmacSha1_32,
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Suite::AeadAes128Gcm,
                SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Suite::AeadAes256Gcm,
                _ => return None,
            };
            // RFC 5764 section 4.2: client key, server key, client salt, server salt.
            let (key, salt) = (suite.key_len(), suite.salt_len());
            let material = state.export_keying_material(LABEL, &[], 2 * (key + salt)).ok()?;
            let (keys, salts) = material.as_ref().split_at_checked(2 * key)?;
            let client = SrtpKeys::new(suite, &keys[..key], salts.get(..salt)?).ok()?;
            let server = SrtpKeys::new(suite, &keys[key..], salts.get(salt..)?).ok()?;
            Some((client, server))
        });
        let Some((client, server)) = keys else {
            self.state = State::Over;
            return DtlsNews::Failed("the handshake gave no keys");
        };
        self.state = State::Done(from);
        self.latched = Some(from).filter(|from| !self.by_ice && *from != self.config.peer);
        self.peers.retain(|peer| peer.address == from);
        self.peers.iter_mut().for_each(|peer| peer.left = MOST_AFTER);
        match self.config.role {
            DtlsRole::Client => DtlsNews::Keys(client, server),
            DtlsRole::Server => DtlsNews::Keys(server, client),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<MediaTime> {
        if self.state != State::Handshaking {
            return None;
        }
        let deadline = self.started? + LONGEST;
        let due = self.peers.iter().filter_map(|peer| match self.endpoint.poll_timeout(&peer.address) {
            Some(due) => Some(self.time(due)),
            None => peer.again_at(),
        });
        Some(due.min().map_or(deadline, |due| deadline.min(due)))
    }

    pub(crate) fn handle_timeout(&mut self, now: MediaTime) -> Option<DtlsNews> {
        let started = self.started?;
        if self.state != State::Handshaking {
            return None;
        }
        if now >= started + LONGEST {
            self.state = State::Over;
            return Some(DtlsNews::Failed("no handshake within 30 s"));
        }
        let instant = self.instant(now);
        for at in (0..self.peers.len()).rev() {
            let Some(peer) = self.peers.get_mut(at) else { continue };
            let address = peer.address;
            let due = self.endpoint.poll_timeout(&address);
            if due.is_none() && peer.again_at().is_some_and(|due| due <= now) {
                peer.repeat(now, &mut self.out);
            }
            let due = due.is_some_and(|due| due <= instant);
            if due && self.endpoint.handle_timeout(address, instant).is_err() {
                self.broke(now, address);
            }
        }
        self.drain(now);
        None
    }

    /// Datagrams with the address they are for; with ICE the address says nothing.
    pub(crate) fn poll_transmit(&mut self) -> Option<(SocketAddr, BytesMut)> {
        self.out.pop_front()
    }

    /// A far side that repeats itself has not heard how the handshake ended (RFC 6347 §4.2.4). The library answers
    /// new records only, and ours repeats flights as they were.
    fn repeat_last(&mut self, now: MediaTime) {
        let server = self.config.role == DtlsRole::Server;
        for peer in self.peers.iter_mut().filter(|_| server) {
            if peer.again_at().is_some_and(|due| due <= now) {
                peer.repeat(now, &mut self.out);
            }
        }
    }

    /// Collects what the library wants sent; whether there was anything.
    fn drain(&mut self, now: MediaTime) -> bool {
        let mut first = true;
        while let Some(datagram) = self.endpoint.poll_transmit() {
            let to = datagram.transport.peer_addr;
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == to) {
                if first {
                    peer.flight.clear();
                }
                peer.sent = now;
                if peer.flight.len() < MOST_RECORDS {
                    peer.flight.push(datagram.message.clone());
                }
            }
            first = false;
            if self.out.len() < MOST_RECORDS {
                self.out.push_back((to, datagram.message));
            }
        }
        !first
    }

    fn instant(&self, now: MediaTime) -> Instant {
        // A minute ahead, so that times before the clock's start have an instant too.
        let nanos = u64::try_from(now.nanos().saturating_add(60_000_000_000)).unwrap_or(0);
        self.config.identity.origin + Duration::from_nanos(nanos)
    }

    fn time(&self, instant: Instant) -> MediaTime {
        let nanos = instant.saturating_duration_since(self.config.identity.origin).as_nanos();
        MediaTime::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX).saturating_sub(60_000_000_000))
    }
}

fn matches(certificate: &[u8], expected: Fingerprint) -> bool {
    Fingerprint::of(certificate).0.ct_eq(&expected.0).into()
}

fn handshake(config: &DtlsConfig) -> Result<HandshakeConfig, DtlsError> {
    let expected = config.fingerprint;
    let verify = move |certificates: &[Vec<u8>], _: &[_]| match certificates.first() {
        Some(certificate) if matches(certificate, expected) => Ok(()),
        _ => Err(RtcError::Other("the certificate is not the one described".to_owned())),
    };
    let builder = ConfigBuilder::default()
        .with_crypto_provider(Arc::clone(&config.identity.provider))
        .with_certificates(vec![config.identity.certificate.clone()])
        .with_cipher_suites(vec![
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
            CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_256_Cbc_Sha,
            CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_256_Cbc_Sha,
        ])
        .with_srtp_protection_profiles(vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ])
        .with_extended_master_secret(ExtendedMasterSecretType::Request)
        // Authorities say nothing here: the fingerprint does.
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_insecure_skip_verify(true)
        .with_verify_peer_certificate(Some(Arc::new(verify)))
        .with_flight_interval(REPEAT)
        .with_mtu(MTU);
    Ok(builder.build(config.role == DtlsRole::Client, Some(config.peer))?)
}

/// Records in a datagram, as far as they are whole.
fn records(datagram: &[u8]) -> usize {
    let (mut rest, mut count) = (datagram, 0);
    while let Some(header) = rest.first_chunk::<RECORD>() {
        count += 1;
        let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        rest = rest.get(RECORD + len..).unwrap_or_default();
    }
    count
}
