//! Our zero-copy parser gives the verdicts and fields of `rtc-rtp`'s.

use antiphon_media_rtp::{PacketError, RtpPacket, is_rtcp, parse};
use proptest::prelude::*;
use rtc_shared::marshal::{Marshal, Unmarshal};

fn oracle(bytes: &[u8]) -> Option<rtc_rtp::Packet> {
    rtc_rtp::Packet::unmarshal(&mut &*bytes).ok()
}

/// Extension profiles the oracle looks into (RFC 8285); we skip them whole, so it may refuse what we take.
fn has_inspected_extension(bytes: &[u8]) -> bool {
    let sources = usize::from(bytes[0] & 0x0f) * 4;
    bytes[0] & 0x10 != 0
        && bytes
            .get(12 + sources..14 + sources)
            .is_some_and(|profile| matches!(profile, [0xbe, 0xde] | [0x10, 0x00]))
}

fn compare(bytes: &[u8]) -> Result<(), TestCaseError> {
    if bytes.len() >= 12 && has_inspected_extension(bytes) {
        let _ = parse(bytes);
        return Ok(());
    }
    match parse(bytes) {
        Ok(ours) => {
            let theirs = oracle(bytes);
            prop_assert!(theirs.is_some(), "only we take {bytes:02x?}");
            let Some(theirs) = theirs else { return Ok(()) };
            let fields = RtpPacket {
                payload_type: theirs.header.payload_type,
                marker: theirs.header.marker,
                sequence: theirs.header.sequence_number,
                timestamp: theirs.header.timestamp,
                ssrc: theirs.header.ssrc,
                payload: &theirs.payload,
            };
            prop_assert_eq!(ours, fields);
        }
        // The oracle looks at neither, nor does it mind padding of no octets (RFC 3550 counts the last one in).
        Err(PacketError::Version(_) | PacketError::Rtcp | PacketError::Padding { padding: 0, .. }) => {}
        Err(error) => prop_assert!(oracle(bytes).is_none(), "only we refuse: {error}"),
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_octets_get_the_same_verdict(
        flags in 0x80u8..=0xbf,
        rest in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut bytes = vec![flags];
        bytes.extend(rest);
        compare(&bytes)?;
    }

    #[test]
    fn whole_packets_get_the_same_fields(
        head in any::<([u8; 10], bool, bool)>(),
        sources in 0usize..=15,
        extension in proptest::collection::vec(any::<u8>(), 0..8),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        padding in 0u8..40,
        cut in 0usize..3,
    ) {
        let (fields, extended, padded) = head;
        let mut bytes = vec![0x80 | sources as u8 | u8::from(extended) << 4 | u8::from(padded) << 5];
        bytes.push(fields[0]);
        bytes.extend(&fields);
        bytes.extend(vec![7; sources * 4]);
        if extended {
            bytes.extend([0xab, 0xac, 0, extension.len() as u8]);
            bytes.extend(extension.iter().flat_map(|b| [*b; 4]));
        }
        bytes.extend(payload);
        if padded {
            bytes.extend(vec![0; usize::from(padding)]);
            bytes.push(padding + 1);
        }
        bytes.truncate(bytes.len() - cut);
        compare(&bytes)?;
    }

    #[test]
    fn what_is_written_reads_back_and_equals_theirs(
        payload_type in 0u8..=127, marker: bool, sequence: u16, timestamp: u32, ssrc: u32,
        payload in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let packet = RtpPacket { payload_type, marker, sequence, timestamp, ssrc, payload: &payload };
        let mut out = [0; 512];
        match packet.write(&mut out) {
            Ok(length) => {
                prop_assert_eq!(parse(&out[..length]), Ok(packet));
                let header = rtc_rtp::Header {
                    version: 2, marker, payload_type, sequence_number: sequence, timestamp, ssrc,
                    ..Default::default()
                };
                let theirs = rtc_rtp::Packet { header, payload: payload.clone().into() };
                let theirs = theirs.marshal().expect("the oracle writes it");
                prop_assert_eq!(&theirs[..], &out[..length]);
            }
            Err(error) => {
                prop_assert_eq!(error, PacketError::PayloadType(payload_type));
                prop_assert!(marker && (64..96).contains(&payload_type));
            }
        }
    }
}

#[test]
fn rtcp_on_the_same_port_is_told_apart() {
    assert!(is_rtcp(&[0x80, 200, 0, 6]));
    assert!(is_rtcp(&[0x81, 207]));
    assert!(!is_rtcp(&[0x80, 0x80 | 8]));
    assert!(!is_rtcp(&[0x00, 200]));
    assert!(!is_rtcp(&[0x80]));
    let mut report = [0u8; 28];
    (report[0], report[1]) = (0x80, 200);
    assert_eq!(parse(&report), Err(PacketError::Rtcp));
}

#[test]
fn a_buffer_too_small_is_refused() {
    let packet =
        RtpPacket { payload_type: 0, marker: false, sequence: 0, timestamp: 0, ssrc: 0, payload: &[0; 160] };
    assert_eq!(packet.write(&mut [0; 171]), Err(PacketError::Room { needed: 172, room: 171 }));
}
