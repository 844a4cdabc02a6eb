//! A strict reader of session descriptions (RFC 8866 §9), with a limit on everything.

use std::net::IpAddr;

use super::ice::MAX_CANDIDATES;
use super::security::SetupOffer;
use super::{Candidate, Fingerprint, IceCredentials, MediaDirection, SdpError};

pub(super) use super::security::Crypto;

/// Longest description read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most lines read.
pub const MAX_LINES: usize = 1_024;
/// Most `m=` lines read.
pub const MAX_STREAMS: usize = 32;
/// Most formats read of one `m=` line, and most `a=rtpmap` lines of one stream.
pub const MAX_FORMATS: usize = 128;
/// Most `a=crypto` lines read of one stream.
const MAX_CRYPTO: usize = 32;
/// Longest name of a stream or label read, in bytes.
const MAX_NAME: usize = 128;

/// A description with the parts that telephony needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// Version of the `o=` line.
    pub(super) version: u64,
    /// The value of the first `t=` line, which an answer repeats (RFC 3264 §6).
    pub(super) timing: String,
    /// Names of the streams of the first `a=group:BUNDLE`.
    pub(super) bundle: Vec<String>,
    pub(super) media: Vec<Media>,
}

/// One `m=` section, with what it inherits from the session level filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) kind: String,
    pub(super) port: u16,
    pub(super) profile: String,
    pub(super) formats: Vec<String>,
    pub(super) connection: Option<Connection>,
    pub(super) maps: Vec<Map>,
    pub(super) rtcp: Option<(u16, Option<Connection>)>,
    pub(super) rtcp_mux: bool,
    pub(super) rtcp_rsize: bool,
    pub(super) max_ptime_ms: Option<u16>,
    pub(super) direction: MediaDirection,
    pub(super) parameters: Vec<Parameters>,
    pub(super) crypto: Vec<Crypto>,
    /// The first with SHA-256.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) setup: Option<SetupOffer>,
    pub(super) ice: Ice,
    pub(super) mid: Option<String>,
    pub(super) label: Option<String>,
    pub(super) bundle_only: bool,
}

/// What a stream says about ICE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ice {
    pub(super) credentials: Option<IceCredentials>,
    pub(super) lite: bool,
    pub(super) trickle: bool,
    pub(super) complete: bool,
    pub(super) candidates: Vec<Candidate>,
}

/// One `a=fmtp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) payload_type: u8,
    pub(super) text: String,
    pub(super) line: usize,
}

/// One `a=rtpmap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) payload_type: u8,
    pub(super) encoding: String,
    pub(super) clock_hz: u32,
    pub(super) channels: u32,
}

/// The address of a `c=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// One host.
    Unicast(IpAddr),
    /// A host name or a multicast group: valid SDP, no use for a call.
    Unusable,
}

/// What `a=` lines at the session level lend to streams that do not say otherwise.
#[derive(Default)]
struct Inherited {
    connection: Option<Connection>,
    max_ptime_ms: Option<u16>,
    direction: Option<MediaDirection>,
    bundle: Option<Vec<String>>,
    ice_lite: bool,
    transport: Transport,
}

/// What a stream or the session says about the transport; the stream's word counts.
#[derive(Default)]
struct Transport {
    fingerprint: Option<Fingerprint>,
    setup: Option<SetupOffer>,
    ufrag: Option<String>,
    password: Option<String>,
    trickle: Option<bool>,
    complete: bool,
}

/// A stream while its lines are read: what it said itself.
struct Section {
    media: Media,
    direction: Option<MediaDirection>,
    transport: Transport,
    line: usize,
}

impl Description {
    pub(super) fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_BYTES {
            return Err(SdpError::TooLarge { what: "bytes", limit: MAX_BYTES });
        }
        let mut version = None;
        let mut named = false;
        let mut timing = None;
        let mut session = Inherited::default();
        let mut sections: Vec<Section> = Vec::new();
        let mut last = 0;
        for (index, raw) in text.split('\n').enumerate() {
            let line = index + 1;
            let raw = raw.strip_suffix('\r').unwrap_or(raw);
            if raw.is_empty() {
                // Only the end may be empty: whatever follows is not part of the description.
                if text.split('\n').skip(index).any(|rest| !rest.trim_end_matches('\r').is_empty()) {
                    return Err(SdpError::Malformed { line, what: "empty line" });
                }
                break;
            }
            if line > MAX_LINES {
                return Err(SdpError::TooLarge { what: "lines", limit: MAX_LINES });
            }
            last = line;
            let bad = |what| SdpError::Malformed { line, what };
            if raw.bytes().any(|b| b == 0 || b == b'\r') {
                return Err(bad("control character"));
            }
            let Some((key, value)) = raw.split_once('=').filter(|(key, _)| key.len() == 1) else {
                return Err(bad("not a letter and an equals sign"));
            };
            match (line, key) {
                (1, "v") if value == "0" => continue,
                (1, _) => return Err(bad("a description starts with v=0")),
                (2, "o") => {
                    version = Some(origin_version(value).ok_or(bad("origin"))?);
                    continue;
                }
                (2, _) => return Err(bad("the second line is the origin")),
                (3, "s") => {
                    named = true;
                    continue;
                }
                (3, _) => return Err(bad("the third line is the session name")),
                _ => {}
            }
            match (key, sections.last_mut()) {
                ("v" | "o" | "s", _) => return Err(bad("repeated line")),
                ("m", _) => {
                    if sections.len() == MAX_STREAMS {
                        return Err(SdpError::TooLarge { what: "streams", limit: MAX_STREAMS });
                    }
                    sections.push(Section {
                        media: media_line(value, line)?,
                        direction: None,
                        transport: Transport::default(),
                        line,
                    });
                }
                ("c", None) => {
                    if session.connection.is_some() {
                        return Err(bad("repeated connection"));
                    }
                    session.connection = Some(connection(value).ok_or(bad("connection"))?);
                }
                ("c", Some(section)) => {
                    let address = connection(value).ok_or(bad("connection"))?;
                    // Several are a layered multicast session (RFC 8866 §5.7).
                    section.media.connection = Some(match section.media.connection {
                        None => address,
                        Some(_) => Connection::Unusable,
                    });
                }
                ("t", None) => {
                    let parts = value.split(' ').filter(|n| is_number(n)).count();
                    if parts != 2 || value.split(' ').count() != 2 {
                        return Err(bad("timing"));
                    }
                    timing.get_or_insert_with(|| value.to_owned());
                }
                ("a", None) => session_attribute(&mut session, value).map_err(bad)?,
                ("a", Some(section)) => stream_attribute(section, value, line)?,
                ("i" | "b" | "k", _) | ("u" | "e" | "p" | "r" | "z", None) => {}
                ("t" | "u" | "e" | "p" | "r" | "z", Some(_)) => {
                    return Err(bad("session line inside a stream"));
                }
                _ => return Err(bad("unknown line")),
            }
        }
        let missing = |what| SdpError::Malformed { line: last + 1, what };
        let version = version.ok_or(missing("no origin"))?;
        if !named {
            return Err(missing("no session name"));
        }
        let timing = timing.ok_or(missing("no timing"))?;
        let media = sections.into_iter().map(|section| section.finish(&session)).collect::<Result<_, _>>()?;
        Ok(Self { version, timing, bundle: session.bundle.unwrap_or_default(), media })
    }
}

impl Section {
    fn finish(self, session: &Inherited) -> Result<Media, SdpError> {
        let (mut media, own, lent) = (self.media, self.transport, &session.transport);
        media.fingerprint = own.fingerprint.or(lent.fingerprint);
        media.setup = own.setup.or(lent.setup);
        media.ice.lite = session.ice_lite;
        media.ice.trickle = own.trickle.or(lent.trickle).unwrap_or(false);
        media.ice.complete = own.complete || lent.complete;
        // Half a pair of one level is not completed from the other (RFC 8839 §5.4).
        let (ufrag, password) = match (own.ufrag, own.password) {
            (None, None) => (lent.ufrag.clone(), lent.password.clone()),
            pair => pair,
        };
        media.ice.credentials = match (ufrag, password) {
            (Some(ufrag), Some(password)) => {
                let credentials = IceCredentials { ufrag, password };
                if !credentials.valid() {
                    return Err(SdpError::Malformed {
                        line: self.line,
                        what: "ICE credentials of this stream",
                    });
                }
                Some(credentials)
            }
            (None, None) => None,
            _ => return Err(SdpError::Malformed { line: self.line, what: "half of the ICE credentials" }),
        };
        media.connection = media.connection.or(session.connection);
        media.max_ptime_ms = media.max_ptime_ms.or(session.max_ptime_ms);
        media.direction = self.direction.or(session.direction).unwrap_or_default();
        Ok(media)
    }
}

fn media_line(value: &str, line: usize) -> Result<Media, SdpError> {
    let bad = |what| SdpError::Malformed { line, what };
    let mut parts = value.split(' ');
    let (Some(kind), Some(port), Some(profile)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad("media line too short"));
    };
    if !is_token(kind) || !profile.split('/').all(is_token) {
        return Err(bad("media type or profile"));
    }
    let port = match port.split_once('/') {
        None => number(port),
        Some((first, count)) => number(first).filter(|_| number::<u16>(count).is_some_and(|n| n > 0)),
    };
    let formats: Vec<String> = parts.map(str::to_owned).collect();
    if formats.len() > MAX_FORMATS {
        return Err(SdpError::TooLarge { what: "formats", limit: MAX_FORMATS });
    }
    if formats.is_empty() || !formats.iter().all(|format| is_token(format)) {
        return Err(bad("formats"));
    }
    if is_rtp(profile) && !formats.iter().all(|f| number::<u8>(f).is_some_and(|pt| pt < 128)) {
        return Err(bad("payload type"));
    }
    Ok(Media {
        kind: kind.to_owned(),
        port: port.ok_or(bad("port"))?,
        profile: profile.to_owned(),
        formats,
        connection: None,
        maps: Vec::new(),
        rtcp: None,
        rtcp_mux: false,
        rtcp_rsize: false,
        max_ptime_ms: None,
        direction: MediaDirection::SendRecv,
        parameters: Vec::new(),
        crypto: Vec::new(),
        fingerprint: None,
        setup: None,
        ice: Ice::default(),
        mid: None,
        label: None,
        bundle_only: false,
    })
}

fn is_rtp(profile: &str) -> bool {
    profile.starts_with("RTP/") || profile.starts_with("UDP/TLS/RTP/")
}

impl Transport {
    /// Takes an attribute of either level; `false`: it is none about the transport.
    fn attribute(&mut self, name: &str, value: &str) -> Result<bool, &'static str> {
        match name {
            "fingerprint" => {
                let read = Fingerprint::parse(value).ok_or("fingerprint")?;
                self.fingerprint = self.fingerprint.or(read);
            }
            "setup" => self.setup = Some(SetupOffer::parse(value).ok_or("setup")?),
            "ice-ufrag" => self.ufrag = Some(value.trim().to_owned()),
            "ice-pwd" => self.password = Some(value.trim().to_owned()),
            "ice-options" => self.trickle = Some(value.split(' ').any(|option| option == "trickle")),
            "end-of-candidates" => self.complete = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn session_attribute(session: &mut Inherited, value: &str) -> Result<(), &'static str> {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    if session.transport.attribute(name, value)? {
        return Ok(());
    }
    match (name, value) {
        ("ptime", ms) => drop(milliseconds(ms).ok_or("ptime")?),
        ("maxptime", ms) => session.max_ptime_ms = Some(milliseconds(ms).ok_or("maxptime")?),
        ("ice-lite", "") => session.ice_lite = true,
        ("group", group) => {
            if let Some(names) = group.strip_prefix("BUNDLE") {
                let names = names.split_ascii_whitespace().take(MAX_STREAMS).map(str::to_owned);
                session.bundle.get_or_insert_with(|| names.collect());
            }
        }
        (name, "") => session.direction = direction(name).or(session.direction),
        _ => {}
    }
    Ok(())
}

fn stream_attribute(section: &mut Section, value: &str, line: usize) -> Result<(), SdpError> {
    let bad = |what| SdpError::Malformed { line, what };
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    if section.transport.attribute(name, value).map_err(bad)? {
        return Ok(());
    }
    let media = &mut section.media;
    // What streams of other kinds say about their formats and keys is not ours to judge.
    let audio = media.kind == "audio" && is_rtp(&media.profile);
    match (name, value) {
        ("fmtp", parameters) if audio => {
            let (payload_type, text) = parameters.split_once(' ').ok_or(bad("fmtp"))?;
            let payload_type = number(payload_type).filter(|pt| *pt < 128).ok_or(bad("fmtp payload type"))?;
            if media.parameters.len() == MAX_FORMATS {
                return Err(SdpError::TooLarge { what: "fmtps", limit: MAX_FORMATS });
            }
            media.parameters.push(Parameters { payload_type, text: text.to_owned(), line });
        }
        ("crypto", crypto) if audio => {
            if media.crypto.len() == MAX_CRYPTO {
                return Err(SdpError::TooLarge { what: "crypto lines", limit: MAX_CRYPTO });
            }
            media.crypto.push(Crypto::parse(crypto).map_err(bad)?);
        }
        ("candidate", candidate) if audio => {
            let Some(candidate) = Candidate::parse(candidate).map_err(bad)? else { return Ok(()) };
            // Component 2 is RTCP on a port of its own, which is never done together with ICE here.
            if candidate.component == 1 {
                if media.ice.candidates.len() == MAX_CANDIDATES {
                    return Err(SdpError::TooLarge { what: "candidates", limit: MAX_CANDIDATES });
                }
                media.ice.candidates.push(candidate);
            }
        }
        ("mid", name) => media.mid = Some(named(name).ok_or(bad("mid"))?),
        ("label", name) => media.label = Some(named(name).ok_or(bad("label"))?),
        ("bundle-only", "") => media.bundle_only = true,
        ("rtcp-rsize", "") => media.rtcp_rsize = true,
        // Formats of other profiles are no payload types.
        ("rtpmap", map) if is_rtp(&media.profile) => {
            let map = rtpmap(map).ok_or(bad("rtpmap"))?;
            if media.maps.len() == MAX_FORMATS {
                return Err(SdpError::TooLarge { what: "rtpmaps", limit: MAX_FORMATS });
            }
            match media.maps.iter().find(|known| known.payload_type == map.payload_type) {
                Some(known) if *known != map => return Err(bad("one payload type mapped twice")),
                Some(_) => {}
                None => media.maps.push(map),
            }
        }
        ("rtcp", rtcp) => {
            let (port, address) = rtcp.split_once(' ').map_or((rtcp, None), |(p, a)| (p, Some(a)));
            let port = number(port).filter(|port| *port > 0).ok_or(bad("rtcp port"))?;
            let address = address.map(|a| connection(a).ok_or(bad("rtcp address"))).transpose()?;
            media.rtcp = Some((port, address));
        }
        ("rtcp-mux", "") => media.rtcp_mux = true,
        ("ptime", ms) => drop(milliseconds(ms).ok_or(bad("ptime"))?),
        ("maxptime", ms) => media.max_ptime_ms = Some(milliseconds(ms).ok_or(bad("maxptime"))?),
        (name, "") => section.direction = direction(name).or(section.direction),
        _ => {}
    }
    Ok(())
}

/// `<payload type> <encoding>/<clock>[/<channels>]`
fn rtpmap(value: &str) -> Option<Map> {
    let (payload_type, encoding) = value.split_once(' ')?;
    let mut parts = encoding.trim().split('/');
    let map = Map {
        payload_type: number(payload_type).filter(|pt| *pt < 128)?,
        encoding: parts.next().filter(|name| is_token(name))?.to_owned(),
        clock_hz: number(parts.next()?).filter(|hz| *hz > 0)?,
        // The third part is the channel count for audio only; whatever cannot be one is not ours.
        channels: parts.next().map_or(Some(1), |n| Some(number(n).unwrap_or(0)))?,
    };
    parts.next().is_none().then_some(map)
}

/// `<user> <id> <version> IN <IP4|IP6> <address>`
fn origin_version(value: &str) -> Option<u64> {
    let parts: Vec<&str> = value.split(' ').collect();
    let [user, id, version, "IN", "IP4" | "IP6", address] = parts[..] else {
        return None;
    };
    if user.is_empty() || !is_number(id) || !is_number(version) || address.is_empty() {
        return None;
    }
    // NTP-derived versions fit 64 bits; a longer one only has to differ, so it may saturate.
    Some(version.parse().unwrap_or(u64::MAX))
}

/// `IN <IP4|IP6> <address>[/<ttl>][/<count>]`
fn connection(value: &str) -> Option<Connection> {
    let mut parts = value.trim_end().split(' ');
    let (Some("IN"), Some(family), Some(address), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let (host, scope) = address.split_once('/').map_or((address, None), |(host, scope)| (host, Some(scope)));
    let parsed = host.parse::<IpAddr>();
    match (family, parsed) {
        ("IP4", Ok(ip @ IpAddr::V4(_))) | ("IP6", Ok(ip @ IpAddr::V6(_))) => {
            Some(if ip.is_multicast() || scope.is_some() {
                Connection::Unusable
            } else {
                Connection::Unicast(ip)
            })
        }
        ("IP4" | "IP6", Ok(_)) => None,
        ("IP4" | "IP6", Err(_)) if is_host_name(host) => Some(Connection::Unusable),
        _ => None,
    }
}

fn named(text: &str) -> Option<String> {
    (text.len() <= MAX_NAME && is_token(text)).then(|| text.to_owned())
}

fn direction(name: &str) -> Option<MediaDirection> {
    Some(match name {
        "sendrecv" => MediaDirection::SendRecv,
        "sendonly" => MediaDirection::SendOnly,
        "recvonly" => MediaDirection::RecvOnly,
        "inactive" => MediaDirection::Inactive,
        _ => return None,
    })
}

/// A packet time, whole or with a fraction, which is cut off.
fn milliseconds(value: &str) -> Option<u16> {
    let value = value.trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    number(whole).filter(|ms| *ms > 0 && is_number(fraction))
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    is_number(text).then(|| text.parse().ok()).flatten()
}

/// Digits only: `parse` alone would take a plus sign.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b))
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}
