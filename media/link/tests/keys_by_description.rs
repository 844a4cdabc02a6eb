//! Links keyed by the descriptions (SDES).

use std::net::SocketAddr;

use antiphon_media_frame::MediaTime;
use antiphon_media_link::{Input, Link, LinkConfig, OVERHEAD, Protection, SrtpKeys, Suite};

const NOW: MediaTime = MediaTime::ZERO;

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000))
}

fn keys(seed: u8) -> SrtpKeys {
    SrtpKeys::new(Suite::AesCm128HmacSha1_80, &[seed; 16], &[seed; 14]).expect("the suite's lengths")
}

fn pair() -> (Link, Link) {
    (Link::sdes(keys(1), keys(2)), Link::sdes(keys(2), keys(1)))
}

fn sdes(local: u8, remote: u8) -> LinkConfig {
    LinkConfig {
        protection: Protection::Sdes { local: keys(local), remote: keys(remote) },
        ..LinkConfig::default()
    }
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend([0x55; 160]);
    packet
}

fn sent(link: &mut Link, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + OVERHEAD, 0);
    let len = link.protect_rtp(&mut buffer, packet.len()).expect("protected");
    buffer.truncate(len);
    buffer
}

fn arrives(link: &mut Link, datagram: &[u8]) -> Option<Vec<u8>> {
    match link.handle(NOW, peer(), &mut datagram.to_vec()) {
        Input::Rtp(packet) => Some(packet.to_vec()),
        _ => None,
    }
}

#[test]
fn media_flows_and_strangers_are_counted() {
    let (mut here, mut there) = pair();
    assert!(here.ready() && here.authenticates());
    let wire = sent(&mut here, &rtp(1));
    assert_ne!(wire[12..172], rtp(1)[12..]);
    assert_eq!(arrives(&mut there, &wire), Some(rtp(1)));
    assert_eq!(arrives(&mut there, &wire), None);
    assert_eq!(arrives(&mut there, &rtp(2)), None);
    assert_eq!(arrives(&mut there, b"nothing at all"), None);
    let figures = there.figures();
    assert_eq!((figures.replays, figures.bad_tags, figures.dropped), (1, 1, 1));
}

#[test]
fn repeated_keys_keep_the_roll_over_counter_and_the_window() {
    let (mut here, mut there) = pair();
    let mut last = Vec::new();
    for number in 65_000u32..70_000 {
        last = sent(&mut here, &rtp(number as u16));
        assert!(arrives(&mut there, &last).is_some());
    }
    here.change(sdes(1, 2), NOW).unwrap();
    there.change(sdes(2, 1), NOW).unwrap();
    assert_eq!(arrives(&mut there, &last), None, "a replay over the re-INVITE");
    assert!(arrives(&mut there, &sent(&mut here, &rtp(70_000u32 as u16))).is_some());
}

#[test]
fn one_new_key_leaves_the_other_direction_alone() {
    let (mut here, mut there) = pair();
    for number in 65_000u32..66_000 {
        let wire = sent(&mut there, &rtp(number as u16));
        assert!(arrives(&mut here, &wire).is_some());
    }
    here.change(sdes(7, 2), NOW).unwrap();
    there.change(sdes(2, 7), NOW).unwrap();
    let wire = sent(&mut here, &rtp(5));
    assert!(arrives(&mut there, &wire).is_some());
    let wire = sent(&mut there, &rtp(66_000u32 as u16));
    assert!(arrives(&mut here, &wire).is_some());
}

#[test]
fn bad_packets_never_end_the_link() {
    let (mut here, mut there) = pair();
    for number in 0..5_000u32 {
        let mut forged = rtp(number as u16);
        forged[8..12].copy_from_slice(&number.to_be_bytes());
        assert_eq!(arrives(&mut there, &forged), None);
    }
    assert_eq!(there.figures().bad_tags, 5_000);
    assert!(arrives(&mut there, &sent(&mut here, &rtp(1))).is_some());
}

#[test]
fn a_plain_link_is_a_wire() {
    let mut link = Link::plain();
    assert_eq!(sent(&mut link, &rtp(1)), rtp(1));
    assert_eq!(arrives(&mut link, &rtp(1)), Some(rtp(1)));
    assert!(link.ready() && !link.authenticates());
    let mut report = vec![0x80, 200, 0, 1, 0, 0, 0, 1];
    assert!(matches!(link.handle(NOW, peer(), &mut report), Input::Rtcp(_)));
}
