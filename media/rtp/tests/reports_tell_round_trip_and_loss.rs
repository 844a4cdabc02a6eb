//! RTCP between two peers on virtual time, and against hostile octets.

use std::time::Duration;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_rtp::rtcp::RtcpError;
use antiphon_media_rtp::{NtpTime, Receiver, ReceiverConfig, RtcpSession, Sender, is_rtcp};
use proptest::prelude::*;

struct Peer {
    sender: Sender,
    receiver: Receiver,
    session: RtcpSession,
}

fn peer(ssrc: u32) -> Peer {
    Peer {
        sender: Sender::new(ssrc, 65_000, 0xffff_0000, 8_000),
        receiver: Receiver::new(ReceiverConfig::new(8_000)),
        session: RtcpSession::new(ssrc, "random-name", u64::from(ssrc), MediaTime::ZERO),
    }
}

fn wall(now: MediaTime) -> NtpTime {
    NtpTime::from_unix(Duration::from_secs(1_800_000_000) + Duration::from_nanos(now.nanos() as u64))
}

#[test]
fn two_peers_learn_round_trip_loss_and_good_bye() {
    let (mut a, mut b) = (peer(1), peer(2));
    let one_way = Span::from_millis(35);
    let mut flying: Vec<(MediaTime, bool, Vec<u8>)> = Vec::new();
    let mut reports = Vec::new();
    for n in 0..3_000i64 {
        let now = MediaTime::from_millis(n * 20);
        let due: Vec<_> = flying.extract_if(.., |(arrives, ..)| *arrives <= now).collect();
        for (arrives, to_a, bytes) in due {
            let (to, source) = if to_a { (&mut a, 2) } else { (&mut b, 1) };
            let heard = to.session.handle(&bytes, Some(source), arrives, wall(arrives)).expect("a compound");
            assert!(!heard.bye);
        }
        for to_a in [false, true] {
            let (from, to) = if to_a { (&mut b, &mut a) } else { (&mut a, &mut b) };
            let packet = from.sender.packet(0, 160, &[0; 160]);
            // Every tenth of A's packets is lost.
            if to_a || n % 10 != 5 {
                to.receiver.receive(now, packet, 160);
            }
            let figures = from.sender.figures();
            if let Some(bytes) = from.session.poll(now, wall(now), &figures, &mut from.receiver) {
                assert!(is_rtcp(&bytes));
                if !to_a {
                    reports.push(n * 20);
                }
                flying.push((now + one_way, to_a, bytes));
            }
        }
    }
    for session in [&a.session, &b.session] {
        let trip = session.round_trip().expect("both answered").millis();
        assert!((69..=71).contains(&trip), "{trip} ms");
    }
    let remote = a.session.remote().expect("B reported");
    assert!((0.09..0.11).contains(&remote.loss), "{}", remote.loss);
    assert!((250..=300).contains(&remote.lost), "{}", remote.lost);
    assert!(reports[0] < 3_200, "the first report comes after half an interval");
    assert!(reports.windows(2).all(|w| (2_000..=6_300).contains(&(w[1] - w[0]))), "{reports:?}");
    assert!(reports.windows(3).any(|w| w[1] - w[0] != w[2] - w[1]), "intervals are spread");

    let now = MediaTime::from_millis(60_000);
    let figures = b.sender.figures();
    let bye = b.session.bye(now, wall(now), &figures, &mut b.receiver);
    let mut hear = |source| a.session.handle(&bye, source, now, wall(now)).expect("a compound").bye;
    assert!(!hear(Some(77)), "somebody else's good-bye");
    assert!(!hear(None));
    assert!(hear(Some(2)));
}

#[test]
fn truncated_compounds_are_refused() {
    let mut a = peer(1);
    let figures = a.sender.figures();
    let bytes = a.session.bye(MediaTime::ZERO, wall(MediaTime::ZERO), &figures, &mut a.receiver);
    let cut = &bytes[..bytes.len() - 1];
    let got = a.session.handle(cut, None, MediaTime::ZERO, wall(MediaTime::ZERO));
    assert!(matches!(got, Err(RtcpError::Malformed(_))), "{got:?}");
    let got = a.session.handle(&[0; 2_000], None, MediaTime::ZERO, wall(MediaTime::ZERO));
    assert_eq!(got, Err(RtcpError::Long(2_000)));
}

#[test]
fn a_name_longer_than_rfc_3550_allows_is_cut() {
    let name = "ä".repeat(300);
    let mut session = RtcpSession::new(1, &name, 0, MediaTime::ZERO);
    let mut receiver = Receiver::new(ReceiverConfig::new(8_000));
    let figures = Sender::new(1, 0, 0, 8_000).figures();
    assert!(session.bye(MediaTime::ZERO, NtpTime::default(), &figures, &mut receiver).len() < 300);
}

proptest! {
    #[test]
    fn hostile_octets_never_panic(
        kind in prop_oneof![Just(200u8), Just(201), Just(202), Just(203), any::<u8>()],
        count in 0u8..32,
        words in 0u8..40,
        body in proptest::collection::vec(any::<u8>(), 0..200),
        fit: bool,
    ) {
        let mut bytes = vec![0x80 | count, kind, 0, words];
        bytes.extend(body);
        if fit {
            bytes.resize(4 + usize::from(words) * 4, 1);
        }
        let mut session = RtcpSession::new(0x0101_0101, "x", 0, MediaTime::ZERO);
        let _ = session.handle(&bytes, Some(0x0101_0101), MediaTime::from_millis(20), NtpTime(u64::MAX));
    }
}
