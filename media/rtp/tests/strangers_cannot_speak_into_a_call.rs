//! The source lock: who is believed, who is refused, and when another may take over.

use std::net::SocketAddr;

use Verdict::{Accepted, Probing, Refused};
use antiphon_media_frame::MediaTime;
use antiphon_media_rtp::{RtpPacket, SourceConfig, SourceLock, Verdict};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn packet(ssrc: u32, sequence: u16) -> RtpPacket<'static> {
    RtpPacket { payload_type: 0, marker: false, sequence, timestamp: 0, ssrc, payload: &[0; 160] }
}

fn hear(lock: &mut SourceLock, port: u16, ssrc: u32, sequence: u16, millis: i64) -> Verdict {
    lock.accept(address(port), &packet(ssrc, sequence), MediaTime::from_millis(millis))
}

#[test]
fn behind_a_nat_the_first_consistent_sender_is_believed() {
    let mut lock = SourceLock::new(Some(address(1)), SourceConfig::default());
    assert_eq!(lock.remote(), Some(address(1)));
    let verdicts: Vec<_> = (0..4).map(|n| hear(&mut lock, 2, 9, 65_534u16.wrapping_add(n), 20)).collect();
    assert_eq!(verdicts, [Probing, Probing, Accepted, Accepted]);
    assert_eq!(lock.remote(), Some(address(2)));
    assert_eq!(lock.ssrc(), Some(9));
}

#[test]
fn the_signalled_address_is_heard_from_its_first_packet() {
    let mut lock = SourceLock::new(Some(address(1)), SourceConfig::default());
    assert_eq!(hear(&mut lock, 1, 9, 100, 0), Accepted);
    assert!(lock.is_locked());
    assert_eq!(hear(&mut lock, 2, 8, 1, 1), Refused);
    assert_eq!(hear(&mut lock, 1, 9, 101, 20), Accepted);
    assert_eq!(hear(&mut lock, 1, 9, 102, 40), Accepted);
    assert!(lock.is_locked());
}

#[test]
fn inconsistent_numbers_are_never_believed() {
    let mut lock = SourceLock::new(None, SourceConfig::default());
    for n in 0..100u16 {
        assert_eq!(hear(&mut lock, 2, 9, n * 7, 20), Probing);
    }
    assert_eq!(lock.remote(), None);
}

#[test]
fn a_stranger_is_refused_until_the_source_falls_silent() {
    let mut lock = SourceLock::new(None, SourceConfig::default());
    for n in 0..3 {
        hear(&mut lock, 1, 9, n, 0);
    }
    for n in 0..10 {
        assert_eq!(hear(&mut lock, 2, 8, n, 4_000), Refused);
    }
    assert_eq!(lock.refused(), 10);
    let verdicts: Vec<_> = (10..13).map(|n| hear(&mut lock, 2, 8, n, 5_000)).collect();
    assert_eq!(verdicts, [Probing, Probing, Accepted]);
    assert_eq!(lock.remote(), Some(address(2)));
}

#[test]
fn a_source_that_comes_back_in_time_stops_a_take_over() {
    let mut lock = SourceLock::new(None, SourceConfig::default());
    for n in 0..3 {
        hear(&mut lock, 1, 9, n, 0);
    }
    hear(&mut lock, 2, 8, 0, 6_000);
    hear(&mut lock, 2, 8, 1, 6_000);
    assert_eq!(hear(&mut lock, 1, 9, 200, 6_010), Accepted);
    assert_eq!(hear(&mut lock, 2, 8, 2, 6_020), Refused);
}

#[test]
fn a_re_invite_unlocks_and_a_new_ssrc_of_the_same_address_is_learnt() {
    let mut lock = SourceLock::new(None, SourceConfig::default());
    for n in 0..3 {
        hear(&mut lock, 1, 9, n, 0);
    }
    let verdicts: Vec<_> = (0..3).map(|n| hear(&mut lock, 1, 10, n, 20 + i64::from(n) * 20)).collect();
    assert_eq!(verdicts, [Probing, Probing, Accepted]);
    lock.expect_restart();
    assert_eq!(hear(&mut lock, 1, 11, 0, 80), Accepted);
    assert_eq!(hear(&mut lock, 1, 12, 0, 100), Probing, "once for each agreement");
    lock.signal(Some(address(5)));
    assert_eq!(lock.remote(), Some(address(5)));
    assert_eq!(hear(&mut lock, 5, 11, 0, 140), Accepted);
    lock.unlock();
    let verdicts: Vec<_> = (0..3).map(|n| hear(&mut lock, 6, 12, n, 160)).collect();
    assert_eq!(verdicts, [Probing, Probing, Accepted]);
}

#[test]
fn a_stranger_who_spoke_first_is_displaced_by_the_signalled_address_at_once_and_for_good() {
    let mut lock = SourceLock::new(Some(address(1)), SourceConfig::default());
    for n in 0..10 {
        hear(&mut lock, 2, 8, n, i64::from(n) * 20);
    }
    assert_eq!(lock.remote(), Some(address(2)));
    assert_eq!(hear(&mut lock, 1, 9, 0, 200), Accepted);
    assert_eq!(lock.remote(), Some(address(1)));
    for n in 10..2_000 {
        // Not even silence lets it back in.
        assert_eq!(hear(&mut lock, 2, 8, n, 220 + i64::from(n) * 20), Refused);
    }
}

#[test]
fn another_host_has_to_speak_longer_before_it_is_believed() {
    let mut lock = SourceLock::new(Some(([203, 0, 113, 9], 1).into()), SourceConfig::default());
    let verdicts: Vec<_> = (0..11).map(|n| hear(&mut lock, 2, 8, n, i64::from(n) * 20)).collect();
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Probing).count(), 9);
    assert_eq!(verdicts[9..], [Accepted, Accepted]);
}

/// Lets `from` speak for so many packets of 20 ms, from `millis` on.
fn speak(lock: &mut SourceLock, from: SocketAddr, ssrc: u32, packets: u16, millis: i64) {
    for n in 0..packets {
        let now = MediaTime::from_millis(millis + i64::from(n) * 20);
        lock.accept(from, &packet(ssrc, n), now);
    }
}

fn host(octets: [u8; 4]) -> SocketAddr {
    (octets, 4_000).into()
}

#[test]
fn another_host_is_heard_but_never_answered_where_the_signalled_address_can_be_reached() {
    let (said, stranger) = (host([203, 0, 113, 9]), host([198, 51, 100, 66]));
    let private = host([10, 0, 0, 9]);
    for (said, signaller) in
        [(said, None), (said, Some([203, 0, 113, 1].into())), (private, Some(private.ip()))]
    {
        let mut lock = SourceLock::new(Some(said), SourceConfig::default()).signalled_from(signaller);
        speak(&mut lock, stranger, 8, 500, 0);
        assert_eq!((lock.heard(), lock.remote()), (Some(stranger), Some(said)));
    }
}

#[test]
fn behind_a_nat_the_host_that_signals_is_answered_at_once_and_another_after_a_second() {
    let (said, nat) = (host([192, 168, 1, 9]), host([198, 51, 100, 66]));
    let mut lock = SourceLock::new(Some(said), SourceConfig::default()).signalled_from(Some(nat.ip()));
    speak(&mut lock, nat, 8, 3, 0);
    assert_eq!(lock.remote(), Some(nat));
    for signaller in [None, Some([203, 0, 113, 1].into())] {
        let mut lock = SourceLock::new(Some(said), SourceConfig::default()).signalled_from(signaller);
        speak(&mut lock, nat, 8, 50, 0);
        assert_eq!((lock.heard(), lock.remote()), (Some(nat), Some(said)));
        lock.accept(nat, &packet(8, 50), MediaTime::from_millis(1_000));
        assert_eq!(lock.remote(), Some(nat));
    }
}

#[test]
fn a_burst_is_no_second() {
    let (said, stranger) = (host([192, 168, 1, 9]), host([198, 51, 100, 66]));
    let mut lock = SourceLock::new(Some(said), SourceConfig::default());
    for n in 0..2_000 {
        lock.accept(stranger, &packet(8, n), MediaTime::from_millis(100));
    }
    assert_eq!(lock.remote(), Some(said));
}

#[test]
fn a_stranger_who_goes_on_speaking_does_not_keep_the_host_that_signals_out() {
    let (said, nat, stranger) = (host([192, 168, 1, 9]), host([198, 51, 100, 7]), host([198, 51, 100, 66]));
    for early in [0, 5, 100] {
        let mut lock = SourceLock::new(Some(said), SourceConfig::default()).signalled_from(Some(nat.ip()));
        speak(&mut lock, stranger, 8, early, 0);
        for n in 0..5u16 {
            let now = MediaTime::from_millis(i64::from(early + n) * 20);
            lock.accept(stranger, &packet(8, early + n), now);
            lock.accept(nat, &packet(9, n), now);
        }
        assert_eq!((lock.heard(), lock.remote()), (Some(nat), Some(nat)), "{early}");
        speak(&mut lock, stranger, 8, 20, 3_000);
        assert_eq!(lock.heard(), Some(nat));
    }
}

#[test]
fn without_latching_only_the_signalled_address_is_heard() {
    let mut lock =
        SourceLock::new(Some(address(1)), SourceConfig { latch: false, ..SourceConfig::default() });
    for n in 0..100 {
        assert_eq!(hear(&mut lock, 2, 8, n, i64::from(n) * 20), Refused);
    }
    assert_eq!(lock.remote(), Some(address(1)));
    assert_eq!(hear(&mut lock, 1, 9, 0, 9_000), Accepted);
}

#[test]
fn a_forged_burst_between_two_packets_does_not_take_the_stream_over() {
    let mut lock = SourceLock::new(Some(address(1)), SourceConfig::default());
    let mut forged = 0;
    for n in 0..100u16 {
        assert_eq!(hear(&mut lock, 1, 9, n, i64::from(n) * 20), Accepted);
        for k in 0..10 {
            let verdict = hear(&mut lock, 1, 7, n * 10 + k, i64::from(n) * 20 + 1 + i64::from(k));
            forged += u32::from(verdict == Accepted);
        }
    }
    assert_eq!(forged, 0);
    assert_eq!(lock.ssrc(), Some(9));
}
