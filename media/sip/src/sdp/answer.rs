//! Making offers and answers, and agreeing (RFC 3264).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::parse::{Connection, Crypto, Description, Media};
use super::security::SetupOffer;
use super::write;
use super::{
    AgreedSecurity, Codec, LocalMedia, MediaDirection, Negotiated, Offer, OpusParameters, Preference,
    RemoteIce, SdpError, Setup,
};

/// Shortest packet this side makes, in milliseconds.
const SHORTEST_PACKET_MS: u16 = 10;

/// Writes an offer of one audio stream. Its protection is DTLS-SRTP where [`LocalMedia::security`] has it, else SDES (as
/// best effort where plain RTP would do as well), else none.
#[must_use]
pub fn offer(local: &LocalMedia) -> String {
    write::offer(local)
}

/// Answers an offer: takes its first acceptable audio stream and switches the others off.
///
/// # Errors
/// Why no stream can be taken; [`SdpError::status`] is the SIP status to refuse the call with.
pub fn answer(offer: &Offer, local: &LocalMedia) -> Result<(String, Negotiated), SdpError> {
    let description = &offer.description;
    let mut refusal = SdpError::NoAudio;
    let mut chosen = None;
    for (index, media) in description.media.iter().enumerate() {
        // In a bundle, port 0 with bundle-only is no refusal (RFC 8843 §6).
        if media.kind != "audio" || (media.port == 0 && !media.bundle_only) {
            continue;
        }
        match agree(media, local, Turn::Answer) {
            Ok(agreed) => {
                chosen = Some((index, agreed));
                break;
            }
            Err(error) => refusal = error,
        }
    }
    let Some((chosen, (agreed, crypto))) = chosen else {
        return Err(refusal);
    };
    let mid = agreed.mid.as_deref();
    let bundled = mid.filter(|mid| description.bundle.iter().any(|name| name == mid));
    let mut text = write::session_part(local, &description.timing, agreed.ice.is_some(), bundled);
    for (index, media) in description.media.iter().enumerate() {
        if index == chosen {
            write::answered(&mut text, media, crypto, &agreed, local);
        } else {
            write::refused(&mut text, media);
        }
    }
    Ok((text, agreed))
}

/// Reads the answer to the offer made from `local`.
///
/// # Errors
/// If it is malformed, refuses the stream, or names what was never offered.
pub fn accept_answer(local: &LocalMedia, text: &str) -> Result<Negotiated, SdpError> {
    let description = Description::parse(text)?;
    let [media] = &description.media[..] else {
        return Err(SdpError::Mismatch { what: "number of streams" });
    };
    if media.kind != "audio" {
        return Err(SdpError::Mismatch { what: "kind of stream" });
    }
    if media.port == 0 {
        return Err(SdpError::Refused);
    }
    agree(media, local, Turn::Accept).map(|(agreed, _)| agreed)
}

/// Whether the far side's description is an offer that this side answers, or the answer to its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Answer,
    Accept,
}

/// What `media`, written by the far side, and `local` have in common, with the key line that was chosen.
fn agree<'a>(
    media: &'a Media,
    local: &LocalMedia,
    turn: Turn,
) -> Result<(Negotiated, Option<&'a Crypto>), SdpError> {
    let (security, crypto) = protection(media, local, turn)?;
    let payload_types = || media.formats.iter().filter_map(|format| format.parse::<u8>().ok());
    let acceptable = |pt: u8| codec(media, pt).filter(|codec| local.codecs.contains(codec)).map(|c| (pt, c));
    // The answerer lists what it will send first (RFC 3264 §7).
    let preference = if turn == Turn::Accept { Preference::Offerer } else { local.preference };
    let (payload_type, codec) = match preference {
        Preference::Offerer => payload_types().find_map(acceptable),
        Preference::Ours => local
            .codecs
            .iter()
            .find_map(|want| payload_types().find_map(|pt| acceptable(pt).filter(|(_, c)| c == want))),
    }
    .ok_or(SdpError::NoCommonCodec)?;

    let rtcp_mux = media.rtcp_mux && local.rtcp_mux;
    let ice = rtcp_mux.then(|| remote_ice(media, local)).flatten();
    let (remote, remote_rtcp) = destinations(media, local, rtcp_mux, ice.is_some())?;
    // Holding by c=0.0.0.0 (RFC 3264 §8.4, for old phones): they may send, nothing may be sent to them.
    let theirs = if remote.ip().is_unspecified() && ice.is_none() {
        media.direction.and(MediaDirection::SendOnly)
    } else {
        media.direction
    };
    let ptime_ms = match media.max_ptime_ms {
        Some(max_ms) if max_ms < SHORTEST_PACKET_MS => return Err(SdpError::PacketTime { max_ms }),
        Some(max_ms) if max_ms < local.ptime_ms => max_ms / SHORTEST_PACKET_MS * SHORTEST_PACKET_MS,
        _ => local.ptime_ms,
    };
    let event = |clock_hz| payload_types().find(|pt| is_event(media, *pt, clock_hz)).map(|pt| (pt, clock_hz));
    let event = if local.telephone_event { event(codec.clock_hz()).or_else(|| event(8_000)) } else { None };
    let narrow = codec.clock_hz() == 8_000;
    let agreed = Negotiated {
        codec,
        payload_type,
        telephone_event: event.map(|(pt, _)| pt),
        telephone_event_hz: event.map_or(8_000, |(_, clock_hz)| clock_hz),
        comfort_noise: payload_types().find(|pt| local.comfort_noise && narrow && is_noise(media, *pt)),
        opus: opus(media, payload_type, codec)?,
        remote,
        remote_rtcp,
        rtcp_mux,
        rtcp_rsize: media.rtcp_rsize && media.profile.ends_with('F'),
        ptime_ms,
        max_ptime_ms: media.max_ptime_ms,
        direction: theirs.reversed().and(local.direction),
        security,
        ice,
        profile: media.profile.clone(),
        mid: media.mid.clone(),
        label: media.label.clone(),
    };
    Ok((agreed, crypto))
}

/// The best protection that the profile, the far side's lines and our policy allow.
fn protection<'a>(
    media: &'a Media,
    local: &LocalMedia,
    turn: Turn,
) -> Result<(AgreedSecurity, Option<&'a Crypto>), SdpError> {
    let security = &local.security;
    let refused = || SdpError::Profile { profile: media.profile.clone() };
    let (plain, secure, datagram_tls) = match media.profile.as_str() {
        "RTP/AVP" | "RTP/AVPF" => (true, false, false),
        "RTP/SAVP" | "RTP/SAVPF" => (false, true, false),
        "UDP/TLS/RTP/SAVP" | "UDP/TLS/RTP/SAVPF" => (false, true, true),
        _ => return Err(refused()),
    };
    if turn == Turn::Accept && datagram_tls != security.dtls.is_some() && !plain {
        return Err(SdpError::Mismatch { what: "profile" });
    }
    let mut why = None;
    if let Some(dtls) = &security.dtls {
        // Before RFC 5764 had its profile name, browsers and PBXs wrote RTP/SAVPF for the same.
        if let Some(fingerprint) = media.fingerprint {
            let role = match media.setup {
                Some(SetupOffer::HoldConn) => return Err(SdpError::Dtls { why: "a=setup:holdconn" }),
                Some(SetupOffer::ActPass) if turn == Turn::Accept => {
                    return Err(SdpError::Dtls { why: "an answer has to choose its a=setup" });
                }
                Some(SetupOffer::ActPass) => dtls.role,
                Some(SetupOffer::Is(theirs)) => theirs.reversed(),
                // The defaults of RFC 4145 §4.
                None if turn == Turn::Accept => Setup::Active,
                None => Setup::Passive,
            };
            return Ok((AgreedSecurity::Dtls { fingerprint, role }, None));
        }
        why = Some(SdpError::Dtls { why: "no SHA-256 a=fingerprint" });
    }
    if !security.sdes.is_empty() && !datagram_tls {
        match keys(media, local, turn) {
            Ok((agreed, crypto)) => return Ok((agreed, Some(crypto))),
            Err(reason) => why = Some(SdpError::Crypto { why: reason }),
        }
    }
    match why {
        _ if plain && security.plain => Ok((AgreedSecurity::Plain, None)),
        // What is missing is said where the far side meant to be secure or this side insists.
        Some(why) if secure || !security.plain => Err(why),
        _ => Err(refused()),
    }
}

/// The first of our SDES keys whose suite the far side can do, and its line.
fn keys<'a>(
    media: &'a Media,
    local: &LocalMedia,
    turn: Turn,
) -> Result<(AgreedSecurity, &'a Crypto), &'static str> {
    let mut why = None;
    for (key, tag) in local.security.sdes.iter().zip(1u32..) {
        for crypto in &media.crypto {
            let theirs = match &crypto.key {
                Ok(theirs) if theirs.suite() == key.suite() => theirs,
                Ok(_) => {
                    why.get_or_insert("no common suite");
                    continue;
                }
                Err(reason) => {
                    why.get_or_insert(*reason);
                    continue;
                }
            };
            if turn == Turn::Accept && crypto.tag != tag {
                return Err("a tag that was not offered");
            }
            return Ok((AgreedSecurity::Sdes { ours: key.clone(), theirs: theirs.clone() }, crypto));
        }
    }
    Err(why.unwrap_or("none written"))
}

fn remote_ice(media: &Media, local: &LocalMedia) -> Option<RemoteIce> {
    local.ice.as_ref()?;
    Some(RemoteIce {
        credentials: media.ice.credentials.clone()?,
        lite: media.ice.lite,
        candidates: media.ice.candidates.clone(),
        trickle: media.ice.trickle,
        complete: media.ice.complete,
    })
}

/// Where RTP and RTCP go.
fn destinations(
    media: &Media,
    local: &LocalMedia,
    mux: bool,
    ice: bool,
) -> Result<(SocketAddr, SocketAddr), SdpError> {
    if ice {
        // The checks decide; the default destination may be a placeholder, a name or of another family.
        let address = match media.connection {
            Some(Connection::Unicast(address)) => address,
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let remote = SocketAddr::new(address, media.port);
        return Ok((remote, remote));
    }
    let address = usable(media.connection, local).ok_or(SdpError::Address)?;
    let remote_rtcp = match media.rtcp {
        _ if mux => SocketAddr::new(address, media.port),
        Some((port, None)) => SocketAddr::new(address, port),
        Some((port, connection)) => {
            SocketAddr::new(usable(connection, local).ok_or(SdpError::Address)?, port)
        }
        None => SocketAddr::new(address, media.port.saturating_add(1)),
    };
    let remote = SocketAddr::new(address, media.port);
    let low = |to: SocketAddr| to.port() < 1_024 && !to.ip().is_unspecified();
    if !local.remote.privileged_ports && (low(remote) || low(remote_rtcp)) {
        return Err(SdpError::Address);
    }
    Ok((remote, remote_rtcp))
}

/// The codec that `payload_type` stands for in this stream.
fn codec(media: &Media, payload_type: u8) -> Option<Codec> {
    let Some(map) = media.maps.iter().find(|map| map.payload_type == payload_type) else {
        return Codec::ALL.into_iter().find(|codec| codec.static_payload_type() == Some(payload_type));
    };
    let codec = Codec::from_name(&map.encoding)?;
    // Some phones write the honest 16000 for G.722. Under its static number there is no doubt what is meant;
    // under a dynamic one the clock could be meant as well, and a wrong clock tears the call's time apart.
    let honest =
        codec == Codec::G722 && map.clock_hz == 16_000 && codec.static_payload_type() == Some(payload_type);
    ((map.clock_hz == codec.clock_hz() || honest) && map.channels == u32::from(codec.channels()))
        .then_some(codec)
}

/// What the far side wishes to receive of Opus.
fn opus(media: &Media, payload_type: u8, codec: Codec) -> Result<OpusParameters, SdpError> {
    if codec != Codec::Opus {
        return Ok(OpusParameters::DEFAULT);
    }
    let Some(format) = media.parameters.iter().find(|format| format.payload_type == payload_type) else {
        return Ok(OpusParameters::DEFAULT);
    };
    OpusParameters::parse(&format.text).ok_or(SdpError::Malformed { line: format.line, what: "opus fmtp" })
}

fn is_event(media: &Media, payload_type: u8, clock_hz: u32) -> bool {
    media.maps.iter().any(|map| {
        map.payload_type == payload_type
            && map.encoding.eq_ignore_ascii_case("telephone-event")
            && map.clock_hz == clock_hz
            && map.channels == 1
    })
}

fn is_noise(media: &Media, payload_type: u8) -> bool {
    match media.maps.iter().find(|map| map.payload_type == payload_type) {
        Some(map) => map.encoding.eq_ignore_ascii_case("CN") && map.clock_hz == 8_000 && map.channels == 1,
        None => payload_type == write::COMFORT_NOISE_PAYLOAD_TYPE,
    }
}

fn usable(connection: Option<Connection>, local: &LocalMedia) -> Option<IpAddr> {
    let Some(Connection::Unicast(address)) = connection else {
        return None;
    };
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let loopback = address.to_canonical().is_loopback();
    (address.is_ipv4() == local.address.is_ipv4() && !broadcast && (!loopback || local.remote.loopback))
        .then_some(address)
}
