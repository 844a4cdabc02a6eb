//! Writing descriptions.

use std::fmt::Write;

use super::parse::{Crypto, Media};
use super::{AgreedSecurity, Codec, LocalMedia, MediaDirection, Negotiated};

/// Payload types under which offers name what has no static one.
const OPUS_PAYLOAD_TYPE: u8 = 111;
/// The number most phones use.
const EVENT_PAYLOAD_TYPE: u8 = 101;
const WIDE_EVENT_PAYLOAD_TYPE: u8 = 110;
/// Static (RFC 3551 table 4).
pub(super) const COMFORT_NOISE_PAYLOAD_TYPE: u8 = 13;

/// One format of a stream: its number, its name and what is said about it.
struct Format {
    payload_type: u8,
    map: String,
    parameters: Option<String>,
}

/// The payload type that offers of `local` give to `codec`.
pub(super) fn payload_type(local: &LocalMedia, codec: Codec) -> u8 {
    let kept = local.payload_types.iter().find(|(known, _)| *known == codec).map(|(_, pt)| *pt);
    kept.or(codec.static_payload_type()).unwrap_or_else(|| free(local, OPUS_PAYLOAD_TYPE))
}

/// The wanted dynamic payload type, or the next that no earlier description gave to a codec.
fn free(local: &LocalMedia, wanted: u8) -> u8 {
    let taken = |pt: u8| local.payload_types.iter().any(|(_, known)| *known == pt);
    (wanted..=127).chain(96..wanted).find(|pt| !taken(*pt)).unwrap_or(wanted)
}

fn codec_format(payload_type: u8, codec: Codec, local: &LocalMedia) -> Format {
    let channels = if codec.channels() == 1 { String::new() } else { format!("/{}", codec.channels()) };
    let parameters = match codec {
        Codec::Opus => Some(local.opus.write()),
        Codec::G729 => Some("annexb=no".to_owned()),
        Codec::Pcmu | Codec::Pcma | Codec::G722 => None,
    };
    Format { payload_type, map: format!("{}/{}{channels}", codec.name(), codec.clock_hz()), parameters }
}

fn event_format(payload_type: u8, clock_hz: u32) -> Format {
    Format { payload_type, map: format!("telephone-event/{clock_hz}"), parameters: Some("0-15".to_owned()) }
}

fn noise_format(payload_type: u8) -> Format {
    Format { payload_type, map: "CN/8000".to_owned(), parameters: None }
}

/// The whole of an offer.
pub(super) fn offer(local: &LocalMedia) -> String {
    let mut formats: Vec<Format> =
        local.codecs.iter().map(|codec| codec_format(payload_type(local, *codec), *codec, local)).collect();
    let narrow = local.codecs.iter().any(|codec| codec.clock_hz() == 8_000);
    if local.comfort_noise && narrow {
        formats.push(noise_format(COMFORT_NOISE_PAYLOAD_TYPE));
    }
    if local.telephone_event {
        if local.codecs.contains(&Codec::Opus) {
            formats.push(event_format(free(local, WIDE_EVENT_PAYLOAD_TYPE), Codec::Opus.clock_hz()));
        }
        // Beside Opus too: gateways that came from telephones know no other clock.
        formats.push(event_format(free(local, EVENT_PAYLOAD_TYPE), 8_000));
    }
    let security = &local.security;
    let feedback = if local.feedback { "F" } else { "" };
    let mut lines = Vec::new();
    let profile = if let Some(dtls) = &security.dtls {
        lines.push(format!("fingerprint:{}", dtls.fingerprint));
        // A settled role is repeated by the answerer; the offerer leaves the choice (RFC 8842 §5.5).
        lines.push("setup:actpass".to_owned());
        format!("UDP/TLS/RTP/SAVP{feedback}")
    } else {
        lines.extend(security.sdes.iter().zip(1..).map(|(key, tag)| format!("crypto:{}", key.write(tag))));
        let secure = if security.sdes.is_empty() || security.plain { "AVP" } else { "SAVP" };
        format!("RTP/{secure}{feedback}")
    };
    let section = Section {
        profile: &profile,
        formats: &formats,
        security: &lines,
        direction: local.direction,
        mux: local.rtcp_mux,
        reduced: false,
        mid: local.mid.as_deref(),
        ice: local.ice.is_some(),
        browser: security.dtls.is_some(),
    };
    let mut text = session_part(local, "0 0", section.ice, local.mid.as_deref().filter(|_| section.browser));
    section.write(&mut text, local);
    text
}

/// The section that takes `media` as agreed.
pub(super) fn answered(
    text: &mut String,
    media: &Media,
    crypto: Option<&Crypto>,
    agreed: &Negotiated,
    local: &LocalMedia,
) {
    let mut formats = vec![codec_format(agreed.payload_type, agreed.codec, local)];
    formats.extend(agreed.comfort_noise.map(noise_format));
    formats.extend(agreed.telephone_event.map(|pt| event_format(pt, agreed.telephone_event_hz)));
    let lines = match (&agreed.security, crypto) {
        (AgreedSecurity::Sdes { ours, .. }, Some(crypto)) => {
            vec![format!("crypto:{}", ours.write(crypto.tag))]
        }
        (AgreedSecurity::Dtls { role, .. }, _) => {
            let fingerprint =
                local.security.dtls.iter().map(|dtls| format!("fingerprint:{}", dtls.fingerprint));
            fingerprint.chain([format!("setup:{}", role.attribute())]).collect()
        }
        _ => Vec::new(),
    };
    let section = Section {
        profile: &media.profile,
        formats: &formats,
        security: &lines,
        direction: agreed.direction,
        mux: agreed.rtcp_mux,
        reduced: agreed.rtcp_rsize,
        mid: media.mid.as_deref(),
        ice: agreed.ice.is_some(),
        browser: matches!(agreed.security, AgreedSecurity::Dtls { .. }),
    };
    section.write(text, local);
}

/// The section that switches `media` off.
pub(super) fn refused(text: &mut String, media: &Media) {
    push(text, format_args!("m={} 0 {} {}", media.kind, media.profile, media.formats.join(" ")));
    if let Some(mid) = &media.mid {
        push(text, format_args!("a=mid:{mid}"));
    }
}

/// Everything before the first stream; `bundled` is the name of the one stream that answers a bundle (RFC 8843).
pub(super) fn session_part(local: &LocalMedia, timing: &str, ice: bool, bundled: Option<&str>) -> String {
    let family = if local.address.is_ipv4() { "IP4" } else { "IP6" };
    let LocalMedia { address, session_id, session_version, .. } = local;
    let mut text = String::with_capacity(1_024);
    push(&mut text, format_args!("v=0"));
    push(&mut text, format_args!("o=- {session_id} {session_version} IN {family} {address}"));
    push(&mut text, format_args!("s=-"));
    push(&mut text, format_args!("c=IN {family} {address}"));
    push(&mut text, format_args!("t={timing}"));
    if let Some(mid) = bundled {
        push(&mut text, format_args!("a=group:BUNDLE {mid}"));
    }
    if ice && local.ice.as_ref().is_some_and(|ice| ice.lite) {
        push(&mut text, format_args!("a=ice-lite"));
    }
    text
}

struct Section<'a> {
    profile: &'a str,
    formats: &'a [Format],
    /// Attributes that carry keys or fingerprints.
    security: &'a [String],
    direction: MediaDirection,
    mux: bool,
    reduced: bool,
    mid: Option<&'a str>,
    ice: bool,
    /// Whether names of streams and sources are of use to the reader.
    browser: bool,
}

impl Section<'_> {
    fn write(&self, text: &mut String, local: &LocalMedia) {
        let numbers: Vec<String> =
            self.formats.iter().map(|format| format.payload_type.to_string()).collect();
        push(text, format_args!("m=audio {} {} {}", local.port, self.profile, numbers.join(" ")));
        if let Some(mid) = self.mid {
            push(text, format_args!("a=mid:{mid}"));
        }
        for Format { payload_type, map, parameters } in self.formats {
            push(text, format_args!("a=rtpmap:{payload_type} {map}"));
            if let Some(parameters) = parameters {
                push(text, format_args!("a=fmtp:{payload_type} {parameters}"));
            }
        }
        push(text, format_args!("a=ptime:{}", local.ptime_ms));
        for line in self.security {
            push(text, format_args!("a={line}"));
        }
        if let Some(ice) = local.ice.as_ref().filter(|_| self.ice) {
            push(text, format_args!("a=ice-ufrag:{}", ice.credentials.ufrag));
            push(text, format_args!("a=ice-pwd:{}", ice.credentials.password));
            for candidate in &ice.candidates {
                push(text, format_args!("a=candidate:{}", candidate.write()));
            }
            push(text, format_args!("a=end-of-candidates"));
        }
        if self.mux {
            push(text, format_args!("a=rtcp-mux"));
        }
        if self.reduced {
            push(text, format_args!("a=rtcp-rsize"));
        }
        if self.browser && self.direction.sends() {
            push(text, format_args!("a=msid:call audio"));
        }
        if let Some((ssrc, name)) = local.source.as_ref().filter(|_| self.direction.sends()) {
            push(text, format_args!("a=ssrc:{ssrc} cname:{name}"));
        }
        push(text, format_args!("a={}", self.direction.attribute()));
    }
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("writing to a String cannot fail");
    text.push_str("\r\n");
}
