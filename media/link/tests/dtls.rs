//! DTLS-SRTP between two links: over loss, against strangers, across re-INVITEs.

mod world;

use std::net::SocketAddr;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_link::{DtlsRole, Fingerprint, LinkConfig, LinkEvent};
use world::{HERE, THERE, World, address, dtls, identity, rtp, secured};

const MINUTE: Span = Span::from_secs(60);

fn client() -> LinkConfig {
    secured(dtls(&HERE, THERE.fingerprint(), DtlsRole::Client, address(2)), None)
}

fn server() -> LinkConfig {
    secured(dtls(&THERE, HERE.fingerprint(), DtlsRole::Server, address(1)), None)
}

#[test]
fn keys_come_from_the_handshake_and_media_flows_both_ways() {
    let mut world = World::new(client(), server());
    assert!(!world.media_flows(), "nothing passes without keys");
    assert!(world.run(MINUTE, World::both_ready));
    assert!(world.now < MediaTime::from_millis(500), "{}", world.now);
    assert!(world.media_flows());
    for end in &world.ends {
        assert_eq!(end.events, [LinkEvent::Connected]);
        assert!(end.link.authenticates());
    }
}

#[test]
fn loss_and_reordering_only_delay_it() {
    for seed in 0..40 {
        let mut world = World::new(client(), server()).seeded(seed);
        world.loss = 0.25;
        world.delay = (Span::from_millis(5), Span::from_millis(150));
        assert!(world.run(MINUTE, World::both_ready), "seed {seed}");
        assert!(world.media_flows(), "seed {seed}");
    }
}

#[test]
fn a_certificate_that_was_not_described_gets_no_keys() {
    let stranger = identity();
    let wrong_client = secured(dtls(&stranger, THERE.fingerprint(), DtlsRole::Client, address(2)), None);
    let mut world = World::new(wrong_client, server());
    assert!(!world.run(MINUTE, |world| world.ends[1].link.ready()));
    assert!(world.ends[1].events.iter().any(|event| matches!(event, LinkEvent::Failed { .. })));
    let wrong_server = secured(dtls(&stranger, HERE.fingerprint(), DtlsRole::Server, address(1)), None);
    let mut world = World::new(client(), wrong_server);
    assert!(!world.run(MINUTE, |world| world.ends[0].link.ready()));
    assert!(world.ends[0].events.iter().any(|event| matches!(event, LinkEvent::Failed { .. })));
}

#[test]
fn media_before_the_handshake_and_in_the_clear_is_dropped() {
    let mut world = World::new(client(), server());
    world.arrive(address(1), address(2), rtp(1));
    assert!(world.run(MINUTE, World::both_ready));
    world.arrive(address(1), address(2), rtp(2));
    assert!(world.ends[1].media.is_empty());
    assert_eq!(world.ends[1].link.figures().dropped, 1);
    assert_eq!(world.ends[1].link.figures().bad_tags, 1);
}

#[test]
fn a_stranger_who_says_hello_first_is_not_even_answered() {
    // The race: someone else's handshake arrives before that of the far side.
    let mut attacker = World::new(client(), server());
    attacker.ends[0].address = address(66);
    let mut world = World::new(client(), server());
    let hello = attacker.ends[0].link.poll_transmit().expect("a hello").1.to_vec();
    world.arrive(address(66), address(2), hello);
    assert!(world.ends[1].link.poll_transmit().is_none());
    assert!(world.run(MINUTE, World::both_ready));
    assert!(world.media_flows());
}

fn latching() -> LinkConfig {
    let mut config = dtls(&THERE, HERE.fingerprint(), DtlsRole::Server, address(1));
    config.latch = true;
    secured(config, None)
}

#[test]
fn behind_a_nat_the_far_side_is_known_by_its_certificate() {
    let mut world = World::new(client(), latching());
    let public = SocketAddr::from(([198, 51, 100, 9], 61_234));
    world.ends[0].address = public;
    assert!(world.run(MINUTE, World::both_ready));
    assert_eq!(world.ends[1].link.remote(), Some(public.into()));
    assert!(world.media_flows());
    // A description that names another place counts again.
    let mut moved = dtls(&THERE, HERE.fingerprint(), DtlsRole::Server, address(5));
    moved.latch = true;
    let now = world.now;
    world.ends[1].link.change(secured(moved, None), now).unwrap();
    assert_eq!(world.ends[1].link.remote(), None);
}

#[test]
fn strangers_cannot_keep_the_far_side_out_while_its_address_is_unknown() {
    let mut world = World::new(client(), latching());
    world.ends[0].address = SocketAddr::from(([198, 51, 100, 9], 61_234));
    let stranger = identity();
    let config = secured(dtls(&stranger, THERE.fingerprint(), DtlsRole::Client, address(2)), None);
    let hello = World::new(config, server()).ends[0].link.poll_transmit().expect("a hello").1.to_vec();
    for host in 0..200 {
        world.arrive(SocketAddr::from(([203, 0, 113, host], 1)), address(2), hello.clone());
    }
    assert!(world.run(MINUTE, World::both_ready));
    assert!(world.media_flows());
}

#[test]
fn what_is_sent_at_an_established_association_changes_nothing() {
    let mut world = World::new(client(), server());
    assert!(world.run(MINUTE, World::both_ready));
    let alert = vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    let hello = World::new(client(), server()).ends[0].link.poll_transmit().expect("a hello").1.to_vec();
    for number in 0..1_000u32 {
        let mut hello = hello.clone();
        hello[7..11].copy_from_slice(&number.to_be_bytes());
        world.arrive(address(1), address(2), hello.clone());
        world.arrive(address(2), address(1), hello);
        world.arrive(address(1), address(2), alert.clone());
        world.arrive(address(2), address(1), alert.clone());
    }
    let sent = world.ends[0].sent + world.ends[1].sent;
    assert!(!world.run(Span::from_secs(20), |_| false));
    assert!(world.ends[0].sent + world.ends[1].sent - sent < 60, "a flood is not answered in kind");
    assert!(world.media_flows());
    assert!(world.ends.iter().all(|end| end.events == [LinkEvent::Connected]));
}

#[test]
fn a_repeated_description_keeps_the_association_and_its_counters() {
    let mut world = World::new(client(), server());
    assert!(world.run(MINUTE, World::both_ready));
    assert!(world.media_flows());
    let (sent, now) = (world.ends[0].sent, world.now);
    world.ends[0].link.change(client(), now).unwrap();
    world.ends[1].link.change(server(), now).unwrap();
    assert!(world.media_flows());
    assert_eq!(world.ends[0].sent, sent, "no new handshake");
}

#[test]
fn a_new_fingerprint_makes_a_new_association_while_media_goes_on() {
    let mut world = World::new(client(), server());
    assert!(world.run(MINUTE, World::both_ready));
    let next = identity();
    let now = world.now;
    let here = secured(dtls(&next, THERE.fingerprint(), DtlsRole::Client, address(2)), None);
    let there = secured(dtls(&THERE, next.fingerprint(), DtlsRole::Server, address(1)), None);
    world.ends[1].link.change(there, now).unwrap();
    world.ends[0].link.change(here, now).unwrap();
    assert!(world.media_flows(), "by the old keys");
    world.run(Span::from_secs(3), |_| false);
    assert!(world.media_flows(), "by the new ones");
    // The old association's owner is a stranger now.
    assert_ne!(next.fingerprint(), HERE.fingerprint());
}

#[test]
fn nobody_there_ends_in_a_failure_and_not_in_a_flood() {
    let mut world = World::new(client(), server());
    world.loss = 1.0;
    assert!(!world.run(Span::from_secs(120), |_| false));
    let failed = LinkEvent::Failed { why: "no handshake within 30 s" };
    assert!(world.ends.iter().all(|end| end.events == [failed.clone()]), "{:?}", world.ends[0].events);
    assert!(world.ends[0].sent < 200, "{}", world.ends[0].sent);
}

#[test]
fn an_identity_shows_its_fingerprint_only() {
    let text = format!("{:?}", *HERE);
    assert!(text.contains("fingerprint") && !text.contains("key"), "{text}");
    assert_ne!(HERE.fingerprint(), Fingerprint([0; 32]));
}
