//! Telephone-events: one event a key, whatever the network does to its packets.

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_rtp::telephone_event::{KeyEvent, KeyPacket, KeyReceiver, KeySender, KeyStep, key_of};
use proptest::prelude::*;

fn at(millis: i64) -> MediaTime {
    MediaTime::from_millis(millis)
}

/// The packets of keys pressed one after another, with the moment of each and its timestamp.
fn pressed(keys: &str, length_ms: u64) -> Vec<(i64, u32, KeyPacket)> {
    let mut packets = Vec::new();
    let (mut now, mut timestamp) = (0, 0xffff_ff00u32);
    for key in keys.chars() {
        let mut sender =
            KeySender::new(key, Span::from_millis(length_ms), Span::from_millis(60), 8_000).expect("a key");
        let start = timestamp;
        while let Some(step) = sender.step() {
            if let KeyStep::Send(packet) = step {
                packets.push((now, start.wrapping_add(packet.timestamp_offset), packet));
            }
            now += 20;
            timestamp = timestamp.wrapping_add(160);
        }
    }
    packets
}

fn heard(packets: &[(i64, u32, KeyPacket)]) -> Vec<KeyEvent> {
    let mut receiver = KeyReceiver::new(8_000);
    let mut events = Vec::new();
    let mut packets = packets.iter().peekable();
    let end = 20_000;
    for now in (0..end).step_by(20) {
        while let Some((_, timestamp, packet)) = packets.next_if(|(sent, ..)| *sent <= now) {
            events.extend(receiver.push(*timestamp, packet.marker, &packet.payload, at(now)));
        }
        events.extend(receiver.poll(at(now)));
    }
    events
}

fn text(events: &[KeyEvent]) -> String {
    events.iter().map(|event| event.key).collect()
}

#[test]
fn a_key_has_its_start_and_duration() {
    let events = heard(&pressed("5", 100));
    assert_eq!(events, [KeyEvent { key: '5', at: at(-20), duration: Span::from_millis(100) }]);
}

#[test]
fn all_sixteen_keys_arrive_in_order_even_the_same_twice() {
    assert_eq!(text(&heard(&pressed("1234567890*#ABCD5577", 80))), "1234567890*#ABCD5577");
}

#[test]
fn a_key_whose_end_packets_are_all_lost_is_told_by_the_next_or_by_time() {
    let packets: Vec<_> =
        pressed("12", 100).into_iter().filter(|(_, _, p)| p.payload[1] & 0x80 == 0).collect();
    let events = heard(&packets);
    assert_eq!(text(&events), "12");
    assert_eq!(events[0].duration, Span::from_millis(80));
}

#[test]
fn one_end_packet_is_enough() {
    let packets = pressed("7", 100);
    let last = &packets[packets.len() - 1..];
    assert_eq!(text(&heard(last)), "7");
}

#[test]
fn a_key_held_for_ten_seconds_is_one_key() {
    let packets = pressed("#", 10_000);
    assert!(packets.iter().any(|(_, _, p)| p.timestamp_offset > 0), "longer than one segment");
    let events = heard(&packets);
    assert_eq!(text(&events), "#");
    assert_eq!(events[0].duration, Span::from_secs(10));
}

#[test]
fn what_is_no_key_is_ignored() {
    let mut receiver = KeyReceiver::new(8_000);
    for payload in [&[][..], &[1, 2, 3], &[16, 0x80, 0, 160], &[255, 0x80, 0, 160]] {
        assert_eq!(receiver.push(0, true, payload, at(0)), None);
    }
    assert_eq!(receiver.poll(at(10_000)), None);
    assert_eq!(KeySender::new('x', Span::from_millis(100), Span::ZERO, 8_000).map(|_| ()), None);
}

#[test]
fn the_end_is_sent_three_times_and_then_there_is_a_gap() {
    let mut sender = KeySender::new('1', Span::from_millis(60), Span::from_millis(40), 8_000).expect("a key");
    let steps: Vec<_> = std::iter::from_fn(|| sender.step()).collect();
    let ends = steps.iter().filter(|s| matches!(s, KeyStep::Send(p) if p.payload == [1, 0x8a, 1, 0xe0]));
    assert_eq!(ends.count(), 3);
    let markers = steps.iter().filter(|s| matches!(s, KeyStep::Send(p) if p.marker)).count();
    assert_eq!(markers, 1);
    assert_eq!(steps.iter().filter(|s| matches!(s, KeyStep::Gap)).count(), 2);
}

proptest! {
    #[test]
    fn loss_and_repetition_tell_each_key_once(
        keys in "[0-9*#A-D]{1,6}",
        length in 40u64..300,
        fates in proptest::collection::vec((0u8..10, 0u8..10), 200),
    ) {
        let sent = pressed(&keys, length);
        let mut survivors = std::collections::BTreeSet::new();
        let mut arriving = Vec::new();
        for (packet, (lost, twice)) in sent.iter().zip(&fates) {
            if *lost < 4 {
                continue;
            }
            survivors.insert(packet.1.wrapping_sub(packet.2.timestamp_offset).wrapping_add(0x100));
            arriving.push(*packet);
            if *twice < 3 {
                arriving.push(*packet);
            }
        }
        prop_assert_eq!(heard(&arriving).len(), survivors.len(), "of {}", keys);
    }

    #[test]
    fn any_packets_never_panic_and_tell_only_keys(
        packets in proptest::collection::vec((any::<u32>(), any::<bool>(), any::<[u8; 5]>(), 0i64..100), 0..200),
    ) {
        let mut receiver = KeyReceiver::new(8_000);
        let mut now = 0;
        let mut events = 0;
        for (timestamp, marker, payload, step) in &packets {
            now += step;
            for event in receiver.push(*timestamp, *marker, payload, at(now)).into_iter().chain(receiver.poll(at(now))) {
                prop_assert!((0..16).any(|code| key_of(code) == Some(event.key)));
                events += 1;
            }
        }
        prop_assert!(events <= packets.len());
    }
}
