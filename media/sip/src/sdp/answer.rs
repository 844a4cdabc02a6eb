//! Making offers and answers, and agreeing (RFC 3264).

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::parse::{Connection, Description, Media};
use super::{Codec, LocalMedia, MediaDirection, Negotiated, Offer, Preference, SdpError};

/// Payload type under which telephone-events are offered, the one most phones use.
const EVENT_PAYLOAD_TYPE: u8 = 101;
/// Shortest packet this side makes, in milliseconds.
const SHORTEST_PACKET_MS: u16 = 10;

/// Writes an offer of one audio stream.
#[must_use]
pub fn offer(local: &LocalMedia) -> String {
    let formats: Vec<(u8, Codec)> = local.codecs.iter().map(|c| (c.static_payload_type(), *c)).collect();
    let event = local.telephone_event.then_some(EVENT_PAYLOAD_TYPE);
    let mut text = session_part(local, "0 0");
    let media = AudioSection {
        profile: "RTP/AVP",
        formats: &formats,
        event,
        direction: local.direction,
        mux: local.rtcp_mux,
    };
    media.write(&mut text, local);
    text
}

/// Answers an offer: takes its first acceptable audio stream and switches the others off.
///
/// # Errors
/// Why no stream can be taken; [`SdpError::status`] is the SIP status to refuse the call with.
pub fn answer(offer: &Offer, local: &LocalMedia) -> Result<(String, Negotiated), SdpError> {
    let mut refusal = SdpError::NoAudio;
    let mut chosen = None;
    for (index, media) in offer.description.media.iter().enumerate() {
        if media.kind != "audio" || media.port == 0 {
            continue;
        }
        match agree(media, local, local.preference) {
            Ok(agreed) => {
                chosen = Some((index, agreed));
                break;
            }
            Err(error) => refusal = error,
        }
    }
    let Some((chosen, agreed)) = chosen else {
        return Err(refusal);
    };
    let mut text = session_part(local, &offer.description.timing);
    for (index, media) in offer.description.media.iter().enumerate() {
        if index == chosen {
            let section = AudioSection {
                profile: &media.profile,
                formats: &[(agreed.payload_type, agreed.codec)],
                event: agreed.telephone_event,
                direction: agreed.direction,
                mux: agreed.rtcp_mux,
            };
            section.write(&mut text, local);
        } else {
            push(&mut text, format_args!("m={} 0 {} {}", media.kind, media.profile, media.formats.join(" ")));
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
    // The answerer lists what it will send first (RFC 3264 §7).
    agree(media, local, Preference::Offerer)
}

/// What `media`, written by the far side, and `local` have in common.
fn agree(media: &Media, local: &LocalMedia, preference: Preference) -> Result<Negotiated, SdpError> {
    if media.profile != "RTP/AVP" && media.profile != "RTP/AVPF" {
        return Err(SdpError::Profile { profile: media.profile.clone() });
    }
    let payload_types = || media.formats.iter().filter_map(|format| format.parse::<u8>().ok());
    let acceptable = |pt: u8| codec(media, pt).filter(|codec| local.codecs.contains(codec)).map(|c| (pt, c));
    let (payload_type, codec) = match preference {
        Preference::Offerer => payload_types().find_map(acceptable),
        Preference::Ours => local
            .codecs
            .iter()
            .find_map(|want| payload_types().find_map(|pt| acceptable(pt).filter(|(_, c)| c == want))),
    }
    .ok_or(SdpError::NoCommonCodec)?;

    let address = usable(media.connection, local.address).ok_or(SdpError::Address)?;
    // Holding by c=0.0.0.0 (RFC 3264 §8.4, for old phones): they may send, nothing may be sent to them.
    let theirs = if address.is_unspecified() {
        media.direction.and(MediaDirection::SendOnly)
    } else {
        media.direction
    };
    let rtcp_mux = media.rtcp_mux && local.rtcp_mux;
    let remote_rtcp = match media.rtcp {
        _ if rtcp_mux => SocketAddr::new(address, media.port),
        Some((port, None)) => SocketAddr::new(address, port),
        Some((port, connection)) => {
            SocketAddr::new(usable(connection, local.address).ok_or(SdpError::Address)?, port)
        }
        None => SocketAddr::new(address, media.port.saturating_add(1)),
    };
    let ptime_ms = match media.max_ptime_ms {
        Some(max_ms) if max_ms < SHORTEST_PACKET_MS => return Err(SdpError::PacketTime { max_ms }),
        Some(max_ms) if max_ms < local.ptime_ms => max_ms / SHORTEST_PACKET_MS * SHORTEST_PACKET_MS,
        _ => local.ptime_ms,
    };
    Ok(Negotiated {
        codec,
        payload_type,
        telephone_event: if local.telephone_event {
            payload_types().find(|pt| is_event(media, *pt))
        } else {
            None
        },
        remote: SocketAddr::new(address, media.port),
        remote_rtcp,
        rtcp_mux,
        ptime_ms,
        direction: theirs.reversed().and(local.direction),
    })
}

/// The codec that `payload_type` stands for in this stream.
fn codec(media: &Media, payload_type: u8) -> Option<Codec> {
    let Some(map) = media.maps.iter().find(|map| map.payload_type == payload_type) else {
        return [Codec::Pcmu, Codec::Pcma, Codec::G722]
            .into_iter()
            .find(|codec| codec.static_payload_type() == payload_type);
    };
    let codec = [Codec::Pcmu, Codec::Pcma, Codec::G722]
        .into_iter()
        .find(|codec| map.encoding.eq_ignore_ascii_case(codec.name()))?;
    // Some phones write the honest 16000 for G.722. Under its static number there is no doubt what is meant;
    // under a dynamic one the clock could be meant as well, and a wrong clock tears the call's time apart.
    let honest =
        codec == Codec::G722 && map.clock_hz == 16_000 && payload_type == codec.static_payload_type();
    ((map.clock_hz == codec.clock_hz() || honest) && map.channels == 1).then_some(codec)
}

/// Events at the clock of the codecs; browsers offer a second one at 48000.
fn is_event(media: &Media, payload_type: u8) -> bool {
    media.maps.iter().any(|map| {
        map.payload_type == payload_type
            && map.encoding.eq_ignore_ascii_case("telephone-event")
            && map.clock_hz == 8_000
            && map.channels == 1
    })
}

fn usable(connection: Option<Connection>, ours: IpAddr) -> Option<IpAddr> {
    match connection {
        Some(Connection::Unicast(address)) if address.is_ipv4() == ours.is_ipv4() => Some(address),
        _ => None,
    }
}

struct AudioSection<'a> {
    profile: &'a str,
    formats: &'a [(u8, Codec)],
    event: Option<u8>,
    direction: MediaDirection,
    mux: bool,
}

impl AudioSection<'_> {
    fn write(&self, text: &mut String, local: &LocalMedia) {
        let formats: Vec<String> =
            self.formats.iter().map(|(pt, _)| *pt).chain(self.event).map(|pt| pt.to_string()).collect();
        push(text, format_args!("m=audio {} {} {}", local.port, self.profile, formats.join(" ")));
        for (pt, codec) in self.formats {
            push(text, format_args!("a=rtpmap:{pt} {}/{}", codec.name(), codec.clock_hz()));
        }
        if let Some(pt) = self.event {
            push(text, format_args!("a=rtpmap:{pt} telephone-event/8000"));
            push(text, format_args!("a=fmtp:{pt} 0-15"));
        }
        push(text, format_args!("a=ptime:{}", local.ptime_ms));
        if self.mux {
            push(text, format_args!("a=rtcp-mux"));
        }
        push(text, format_args!("a={}", self.direction.attribute()));
    }
}

fn session_part(local: &LocalMedia, timing: &str) -> String {
    let family = if local.address.is_ipv4() { "IP4" } else { "IP6" };
    let LocalMedia { address, session_id, session_version, .. } = local;
    let mut text = String::with_capacity(512);
    push(&mut text, format_args!("v=0"));
    push(&mut text, format_args!("o=- {session_id} {session_version} IN {family} {address}"));
    push(&mut text, format_args!("s=-"));
    push(&mut text, format_args!("c=IN {family} {address}"));
    push(&mut text, format_args!("t={timing}"));
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("writing to a String cannot fail");
    text.push_str("\r\n");
}
