//! SRTP against the vectors of its RFCs, another implementation, loss and attackers.

use antiphon_media_link::srtp::{Opener, Sealer, SrtpError};
use antiphon_media_link::{OVERHEAD, SrtpKeys, Suite};
use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

fn keys(suite: Suite, seed: u8) -> SrtpKeys {
    let octets: Vec<u8> = (0..46).map(|n| seed.wrapping_add(n)).collect();
    SrtpKeys::new(suite, &octets[..suite.key_len()], &octets[32..32 + suite.salt_len()])
        .expect("the suite's lengths")
}

fn rtp(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend(u32::from(sequence).wrapping_mul(160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([7; 20]);
    packet
}

fn sealed(sealer: &mut Sealer, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + OVERHEAD, 0);
    let is_rtcp = (192..=223).contains(&packet[1]);
    let len =
        if is_rtcp { sealer.rtcp(&mut buffer, packet.len()) } else { sealer.rtp(&mut buffer, packet.len()) };
    buffer.truncate(len.expect("protected"));
    buffer
}

fn opened(opener: &mut Opener, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = packet.to_vec();
    let len = opener.rtp(&mut buffer)?;
    buffer.truncate(len);
    Ok(buffer)
}

fn profile(suite: Suite) -> ProtectionProfile {
    match suite {
        Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    }
}

/// The other implementation, with the master keys of [`keys`].
fn other(suite: Suite, seed: u8) -> Context {
    let octets: Vec<u8> = (0..46).map(|n| seed.wrapping_add(n)).collect();
    let (rtp, rtcp) = (srtp_replay_protection(64), srtcp_replay_protection(64));
    let crypto = rtc_srtp::crypto::default_provider().expect("a provider is built in");
    Context::new(
        &octets[..suite.key_len()],
        &octets[32..32 + suite.salt_len()],
        profile(suite),
        Some(rtp),
        Some(rtcp),
        crypto.crypto(),
    )
    .expect("the suite's lengths")
}

#[test]
fn another_implementation_understands_us_and_we_it() {
    for suite in Suite::ALL {
        let (mut sealer, mut opener) = (Sealer::new(&keys(suite, 1)), Opener::new(&keys(suite, 1)));
        let (mut theirs_out, mut theirs_in) = (other(suite, 1), other(suite, 1));
        // Across two roll-overs, with an extension and without payload now and then.
        for number in 32_000u32..170_000 {
            if number % 17 != 0 && !(65_530..65_540).contains(&(number % 65_536)) {
                continue;
            }
            let mut packet = rtp(number as u16, 0xCAFE_0001, &vec![number as u8; number as usize % 200]);
            if number % 3 == 0 {
                packet[0] |= 0x10;
                packet.splice(12..12, [0xBE, 0xDE, 0, 1, 0x12, 2, 3, 4]);
            }
            let sealed = sealed(&mut sealer, &packet);
            assert_eq!(sealed.len(), packet.len() + suite.rtp_overhead());
            assert_eq!(theirs_out.encrypt_rtp(&packet).unwrap(), sealed, "{suite:?} {number}");
            assert_eq!(theirs_in.decrypt_rtp(&sealed).unwrap(), packet, "{suite:?} {number}");
            assert_eq!(opened(&mut opener, &sealed).unwrap(), packet, "{suite:?} {number}");
        }
        for _ in 0..3 {
            let report = rtcp(0xCAFE_0001);
            let mut sealed = sealed(&mut sealer, &report);
            assert_eq!(theirs_out.encrypt_rtcp(&report).unwrap(), sealed, "{suite:?}");
            assert_eq!(theirs_in.decrypt_rtcp(&sealed).unwrap(), report, "{suite:?}");
            let len = opener.rtcp(&mut sealed).unwrap();
            assert_eq!(sealed[..len], report, "{suite:?}");
        }
    }
}

#[test]
fn a_packet_opens_once() {
    for suite in Suite::ALL {
        let (mut sealer, mut opener) = (Sealer::new(&keys(suite, 1)), Opener::new(&keys(suite, 1)));
        let packets: Vec<_> = (0..300u16).map(|n| sealed(&mut sealer, &rtp(n, 1, &[5; 40]))).collect();
        for packet in &packets {
            opened(&mut opener, packet).unwrap();
        }
        for packet in &packets {
            assert_eq!(opened(&mut opener, packet), Err(SrtpError::Replay));
        }
        let mut report = sealed(&mut sealer, &rtcp(1));
        let mut again = report.clone();
        opener.rtcp(&mut report).unwrap();
        assert_eq!(opener.rtcp(&mut again), Err(SrtpError::Replay));
    }
}

#[test]
fn other_keys_and_damage_are_refused_and_change_nothing() {
    for suite in Suite::ALL {
        let mut opener = Opener::new(&keys(suite, 1));
        let mut stranger = Sealer::new(&keys(suite, 2));
        for sequence in 0..100 {
            assert_eq!(
                opened(&mut opener, &sealed(&mut stranger, &rtp(sequence, 1, &[0; 20]))),
                Err(SrtpError::Tag)
            );
            assert_eq!(opener.rtcp(&mut sealed(&mut stranger, &rtcp(1))), Err(SrtpError::Tag));
        }
        let mut sealer = Sealer::new(&keys(suite, 1));
        let whole = sealed(&mut sealer, &rtp(65_000, 1, &[9; 20]));
        for at in 2..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(opened(&mut opener, &damaged).is_err(), "{suite:?} {at}");
        }
        assert!(opened(&mut opener, &whole).is_ok(), "{suite:?}");
        // What a stranger says afterwards moves nothing either.
        assert_eq!(
            opened(&mut opener, &sealed(&mut stranger, &rtp(30_000, 1, &[0; 20]))),
            Err(SrtpError::Tag)
        );
        assert!(opened(&mut opener, &sealed(&mut sealer, &rtp(65_001, 1, &[9; 20]))).is_ok());
    }
}

#[test]
fn rtcp_that_says_it_is_not_encrypted_is_refused() {
    for suite in Suite::ALL {
        let mut opener = Opener::new(&keys(suite, 1));
        let mut forged = rtcp(1);
        forged.resize(forged.len() + suite.rtcp_overhead(), 0);
        assert_eq!(opener.rtcp(&mut forged), Err(SrtpError::Malformed));
    }
}

#[test]
fn the_roll_over_counter_survives_loss_around_it() {
    for suite in Suite::ALL {
        let (mut sealer, mut opener) = (Sealer::new(&keys(suite, 1)), Opener::new(&keys(suite, 1)));
        for number in 65_000u32..200_000 {
            let packet = rtp(number as u16, 1, &number.to_be_bytes());
            let sealed = sealed(&mut sealer, &packet);
            // Everything near each roll-over is lost, and nine tenths of the rest.
            if (number + 100) % 65_536 < 200 || number % 10 != 0 {
                continue;
            }
            assert_eq!(opened(&mut opener, &sealed).unwrap(), packet);
        }
    }
}

#[test]
fn a_source_may_begin_just_before_a_roll_over_with_its_first_packets_lost() {
    for suite in Suite::ALL {
        let (mut sealer, mut opener) = (Sealer::new(&keys(suite, 1)), Opener::new(&keys(suite, 1)));
        let packets: Vec<_> =
            (65_530u32..65_560).map(|n| sealed(&mut sealer, &rtp(n as u16, 1, &[3; 30]))).collect();
        for packet in &packets[10..] {
            assert!(opened(&mut opener, packet).is_ok(), "{suite:?}");
        }
        // One of before the roll-over, late.
        assert!(opened(&mut opener, &packets[3]).is_ok(), "{suite:?}");
    }
}

#[test]
fn a_key_protects_sixteen_sources_and_hears_any_number() {
    let suite = Suite::AesCm128HmacSha1_80;
    let mut opener = Opener::new(&keys(suite, 1));
    let mut one = Sealer::new(&keys(suite, 1));
    for ssrc in 0..16 {
        assert!(opened(&mut opener, &sealed(&mut one, &rtp(1, ssrc, &[0; 20]))).is_ok());
    }
    let mut buffer = rtp(1, 99, &[0; 60]);
    assert_eq!(one.rtp(&mut buffer, 40), Err(SrtpError::Exhausted));
    let mut two = Sealer::new(&keys(suite, 1));
    for ssrc in 16..32 {
        assert!(opened(&mut opener, &sealed(&mut two, &rtp(1, ssrc, &[0; 20]))).is_ok());
    }
}

#[test]
fn a_packet_without_room_is_refused() {
    for suite in Suite::ALL {
        let mut sealer = Sealer::new(&keys(suite, 1));
        let mut buffer = rtp(1, 1, &[0; 20]);
        let room = buffer.len();
        let needed = room + suite.rtp_overhead();
        assert_eq!(sealer.rtp(&mut buffer, room), Err(SrtpError::Room { needed, room }));
        assert_eq!(sealer.rtp(&mut buffer, room + 1), Err(SrtpError::Malformed));
        assert_eq!(sealer.rtp(&mut buffer, 11), Err(SrtpError::Malformed));
    }
}

proptest! {
    #[test]
    fn nothing_panics(packet in prop::collection::vec(any::<u8>(), 0..80), first in 0x80u8..0xC0) {
        for suite in Suite::ALL {
            let mut packet = packet.clone();
            if let Some(octet) = packet.first_mut() {
                *octet = first;
            }
            let (mut opener, mut sealer) = (Opener::new(&keys(suite, 1)), Sealer::new(&keys(suite, 1)));
            prop_assert!(opener.rtp(&mut packet.clone()).is_err());
            prop_assert!(opener.rtcp(&mut packet.clone()).is_err());
            let len = packet.len();
            packet.resize(len + OVERHEAD, 0);
            sealer.rtp(&mut packet.clone(), len).ok();
            sealer.rtcp(&mut packet, len).ok();
        }
    }
}
