//! ICE between two links of ours: every pairing of roles, NAT, loss, consent and restarts.

mod world;

use std::net::SocketAddr;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_link::{DtlsRole, IceConfig, IceRole, Link, LinkConfig, LinkEvent, Protection, Remote};
use world::{HERE, THERE, World, address, dtls, ice, secured};

const MINUTE: Span = Span::from_secs(60);

fn plain(ice: IceConfig) -> LinkConfig {
    LinkConfig { protection: Protection::Plain, ice: Some(ice) }
}

fn offerer() -> IceConfig {
    ice("here", "there", IceRole::Controlling, &[address(2)])
}

fn answerer() -> IceConfig {
    ice("there", "here", IceRole::Controlled, &[address(1)])
}

#[test]
fn two_full_agents_agree_on_a_pair() {
    let mut world = World::new(plain(offerer()), plain(answerer()));
    assert!(world.run(MINUTE, World::both_ready));
    assert!(world.now < MediaTime::from_millis(700), "{}", world.now);
    assert_eq!(world.ends[0].link.remote(), Some(address(2).into()));
    assert_eq!(world.ends[1].link.remote(), Some(address(1).into()));
    assert!(world.media_flows());
}

#[test]
fn a_lite_agent_is_found_and_told_nothing_else() {
    let here = IceConfig { remote_lite: true, ..offerer() };
    let there = IceConfig { lite: true, candidates: Vec::new(), ..answerer() };
    let mut world = World::new(plain(here), plain(there));
    assert!(world.run(MINUTE, World::both_ready));
    assert_eq!(world.ends[1].link.figures().ice.checks, 0);
    assert!(world.media_flows());
}

#[test]
fn loss_and_delay_only_take_longer() {
    for seed in 0..20 {
        for lite in [false, true] {
            let there = IceConfig { lite, ..answerer() };
            let here = IceConfig { remote_lite: lite, ..offerer() };
            let mut world = World::new(plain(here), plain(there)).seeded(seed);
            world.loss = 0.25;
            world.delay = (Span::from_millis(5), Span::from_millis(200));
            assert!(world.run(MINUTE, World::both_ready), "seed {seed} lite {lite}");
        }
    }
}

#[test]
fn an_address_that_no_description_named_is_learnt_from_its_checks() {
    // The offerer is behind a NAT: its candidate leads nowhere.
    let there =
        IceConfig { candidates: ice("", "", IceRole::Controlled, &[address(77)]).candidates, ..answerer() };
    let mut world = World::new(plain(offerer()), plain(there));
    let public = SocketAddr::from(([198, 51, 100, 9], 61_234));
    world.ends[0].address = public;
    assert!(world.run(MINUTE, World::both_ready));
    assert_eq!(world.ends[1].link.remote(), Some(public.into()));
    assert!(world.media_flows());
}

#[test]
fn a_conflict_of_roles_is_settled() {
    for role in [IceRole::Controlling, IceRole::Controlled] {
        let mut world =
            World::new(plain(IceConfig { role, ..offerer() }), plain(IceConfig { role, ..answerer() }));
        assert!(world.run(MINUTE, World::both_ready), "{role:?}");
        assert!(world.media_flows(), "{role:?}");
    }
}

#[test]
fn the_wrong_password_or_name_is_never_answered() {
    for wrong in ["password", "name"] {
        let mut here = offerer();
        match wrong {
            "password" => here.remote.password = "another-password-of-22".into(),
            _ => here.remote.ufrag = "ther".into(),
        }
        let there = IceConfig { lite: true, ..answerer() };
        let mut world = World::new(plain(here), plain(there));
        assert!(!world.run(MINUTE, |world| world.ends[1].sent > 0), "{wrong}");
        assert!(world.ends[1].link.figures().ice.refused > 0);
        assert!(matches!(world.ends[0].events[..], [LinkEvent::Failed { .. }]), "{:?}", world.ends[0].events);
        assert!(!world.media_flows());
    }
}

#[test]
fn plain_media_of_strangers_is_dropped() {
    let mut world = World::new(plain(offerer()), plain(answerer()));
    assert!(world.run(MINUTE, World::both_ready));
    world.arrive(address(66), address(2), world::rtp(1));
    assert!(world.ends[1].media.is_empty());
}

#[test]
fn consent_is_renewed_and_its_loss_stops_what_is_sent() {
    let mut world = World::new(plain(offerer()), plain(answerer()));
    assert!(world.run(MINUTE, World::both_ready));
    world.run(Span::from_secs(300), |_| false);
    assert!(world.media_flows());
    assert!(world.ends.iter().all(|end| !end.events.contains(&LinkEvent::ConsentLost)));
    world.loss = 1.0;
    world.run(Span::from_secs(40), |_| false);
    for end in &mut world.ends {
        assert_eq!(end.events.last(), Some(&LinkEvent::ConsentLost));
        let mut buffer = [0x80; 200];
        assert_eq!(end.link.protect_rtp(&mut buffer, 100), None);
    }
}

#[test]
fn a_far_side_that_comes_back_is_heard_again() {
    for lite in [false, true] {
        let here = IceConfig { remote_lite: lite, ..offerer() };
        let there = IceConfig { lite, ..answerer() };
        let mut world = World::new(plain(here), plain(there));
        assert!(world.run(MINUTE, World::both_ready));
        world.loss = 1.0;
        world.run(Span::from_secs(40), |_| false);
        world.loss = 0.0;
        assert_eq!(world.ends[1].events.last(), Some(&LinkEvent::ConsentLost), "lite {lite}");
        let now = world.now;
        let restarted = IceConfig { remote_lite: lite, ..offerer() };
        world.ends[0].link = antiphon_media_link::Link::new(plain(restarted), now).unwrap();
        assert!(world.run(MINUTE, World::both_ready), "lite {lite}");
        assert_eq!(world.ends[1].events.last(), Some(&LinkEvent::Connected), "lite {lite}");
        assert!(world.media_flows(), "lite {lite}");
    }
}

#[test]
fn whoever_is_full_controls_whoever_is_lite() {
    let here = IceConfig { remote_lite: true, role: IceRole::Controlled, ..offerer() };
    let there = IceConfig { lite: true, role: IceRole::Controlling, ..answerer() };
    let mut world = World::new(plain(here), plain(there));
    assert!(world.run(MINUTE, World::both_ready));
}

#[test]
fn a_lite_agent_notices_that_the_far_side_is_gone() {
    let here = IceConfig { remote_lite: true, ..offerer() };
    let there = IceConfig { lite: true, ..answerer() };
    let mut world = World::new(plain(here), plain(there));
    assert!(world.run(MINUTE, World::both_ready));
    world.run(Span::from_secs(120), |_| false);
    assert!(world.both_ready());
    world.loss = 1.0;
    world.run(Span::from_secs(40), |_| false);
    assert_eq!(world.ends[1].events.last(), Some(&LinkEvent::ConsentLost));
}

#[test]
fn candidates_may_trickle_in() {
    let there = IceConfig { candidates: Vec::new(), ..answerer() };
    let here = IceConfig { candidates: Vec::new(), ..offerer() };
    let mut world = World::new(plain(here), plain(there));
    assert!(!world.run(Span::from_secs(2), World::both_ready));
    let now = world.now;
    world.ends[0].link.change(plain(offerer()), now).unwrap();
    assert!(world.run(MINUTE, World::both_ready));
}

#[test]
fn a_restart_keeps_media_flowing_and_finds_the_new_way() {
    let mut world = World::new(plain(offerer()), plain(answerer()));
    assert!(world.run(MINUTE, World::both_ready));
    let now = world.now;
    let here = ice("here2", "there2", IceRole::Controlling, &[address(2)]);
    let there = ice("there2", "here2", IceRole::Controlled, &[address(1)]);
    world.ends[0].link.change(plain(here), now).unwrap();
    world.ends[1].link.change(plain(there), now).unwrap();
    assert!(world.media_flows());
    world.run(Span::from_secs(2), |_| false);
    assert!(world.media_flows());
    world.run(Span::from_secs(60), |_| false);
    assert!(world.both_ready(), "consent is asked with the new credentials");
}

#[test]
fn the_best_of_several_addresses_is_used() {
    let mut here = ice("here", "there", IceRole::Controlling, &[address(90), address(2), address(91)]);
    here.candidates.reverse();
    let mut world = World::new(plain(here), plain(answerer()));
    assert!(world.run(MINUTE, World::both_ready));
    assert_eq!(world.ends[0].link.remote(), Some(address(2).into()));
}

#[test]
fn a_thousand_strange_addresses_cost_a_bounded_number_of_checks() {
    let candidates: Vec<SocketAddr> =
        (0..1_000u32).map(|n| SocketAddr::from(([203, 0, 113, n as u8], 1_000 + n as u16))).collect();
    let mut world =
        World::new(plain(ice("here", "there", IceRole::Controlling, &candidates)), plain(answerer()));
    world.loss = 1.0;
    world.run(Span::from_secs(120), |_| false);
    assert!(world.ends[0].link.figures().ice.checks < 64 * 8, "{:?}", world.ends[0].link.figures());
}

#[test]
fn dtls_runs_by_the_way_that_ice_found() {
    for (lite, role) in [(false, DtlsRole::Server), (true, DtlsRole::Server), (true, DtlsRole::Client)] {
        let other = if role == DtlsRole::Server { DtlsRole::Client } else { DtlsRole::Server };
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 9));
        let here = IceConfig { remote_lite: lite, ..offerer() };
        let there = IceConfig { lite, candidates: Vec::new(), ..answerer() };
        let here = secured(dtls(&HERE, THERE.fingerprint(), other, nowhere), Some(here));
        let there = secured(dtls(&THERE, HERE.fingerprint(), role, nowhere), Some(there));
        for seed in 0..5 {
            let mut world = World::new(here.clone(), there.clone()).seeded(seed);
            world.ends[0].address = SocketAddr::from(([198, 51, 100, 9], 61_234));
            world.loss = 0.15;
            assert!(world.run(MINUTE, World::both_ready), "lite {lite} {role:?} seed {seed}");
            assert!(world.media_flows(), "lite {lite} {role:?} seed {seed}");
        }
    }
}

#[test]
fn a_hello_from_an_address_that_ice_does_not_know_is_dropped() {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 9));
    let lite = IceConfig { lite: true, ..answerer() };
    let there = secured(dtls(&THERE, HERE.fingerprint(), DtlsRole::Server, nowhere), Some(lite));
    let client = secured(dtls(&HERE, THERE.fingerprint(), DtlsRole::Client, address(2)), None);
    let mut world = World::new(client, there);
    assert!(!world.run(Span::from_secs(5), |world| world.ends[1].sent > 0));
    assert!(world.ends[1].link.figures().dropped > 0);
}

/// A lite link that was found by UDP, and then by a connection from the very same address and port.
fn found_both_ways() -> (World, Link) {
    let here = IceConfig { remote_lite: true, ..offerer() };
    let there = IceConfig { lite: true, candidates: Vec::new(), ..answerer() };
    let mut world = World::new(plain(here), plain(there.clone()));
    let mut link = Link::new(plain(there), MediaTime::ZERO).expect("a link");
    for remote in [Remote::Udp(address(1)), Remote::Tcp(address(1))] {
        // Each client of the world is the same far side, on another way.
        world = World::new(plain(IceConfig { remote_lite: true, ..offerer() }), plain(answerer()));
        for step in 0..100 {
            let now = MediaTime::from_millis(step * 20);
            world.ends[0].link.handle_timeout(now);
            while let Some((_, check)) = world.ends[0].link.poll_transmit() {
                link.handle(now, remote, &mut check.to_vec());
            }
            while let Some((to, answer)) = link.poll_transmit() {
                assert_eq!(to, remote, "an answer goes back the way the question came");
                let mut answer = answer.to_vec();
                world.ends[0].link.handle(now, address(2), &mut answer);
            }
        }
        assert!(world.ends[0].link.ready(), "{remote:?}");
        assert!(link.knows(remote));
    }
    (world, link)
}

#[test]
fn a_connection_and_a_socket_of_one_address_are_two_ways() {
    let (_, link) = found_both_ways();
    assert!(link.knows(Remote::Udp(address(1))) && link.knows(Remote::Tcp(address(1))));
}

#[test]
fn when_the_connection_in_use_ends_media_goes_by_the_way_that_is_left() {
    let (_, mut link) = found_both_ways();
    let now = MediaTime::from_millis(2_000);
    let (used, other) = match link.remote() {
        Some(Remote::Tcp(used)) => (Remote::Tcp(used), Remote::Udp(used)),
        Some(Remote::Udp(used)) => (Remote::Udp(used), Remote::Tcp(used)),
        None => panic!("no way"),
    };
    link.gone(used, now);
    assert_eq!(link.remote(), Some(other));
    assert!(!link.knows(used) && link.ready());
    // The last way stays until consent runs out: the far side may come again.
    link.gone(other, now);
    assert_eq!(link.remote(), Some(other));
    link.handle_timeout(now + Span::from_secs(31));
    assert!(!link.ready());
}
