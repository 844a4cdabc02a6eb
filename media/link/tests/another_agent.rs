//! ICE with another implementation at the other end, on virtual time.
#![expect(clippy::disallowed_methods, reason = "the other implementation wants an instant to count from")]

mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_link::{IceConfig, IceRole, Link, LinkConfig, Protection};
use bytes::BytesMut;
use rtc_ice::candidate::candidate_host::CandidateHostConfig;
use rtc_ice::candidate::{CandidateConfig, CandidateType};
use rtc_ice::state::ConnectionState;
use rtc_ice::{Agent, AgentConfig};
use rtc_shared::{TransportContext, TransportMessage, TransportProtocol};
use sansio::Protocol;
use world::{address, credentials, ice};

fn candidate(address: SocketAddr) -> rtc_ice::candidate::Candidate {
    let base_config = CandidateConfig {
        network: "udp".into(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..CandidateConfig::default()
    };
    CandidateHostConfig { base_config, ..CandidateHostConfig::default() }
        .new_candidate_host()
        .expect("a candidate")
}

/// Runs our link against the other agent for `limit`; whether both found each other.
fn connects(ours: IceConfig, theirs_control: bool, theirs_lite: bool) -> bool {
    let (here, there) = (address(1), address(2));
    let origin = Instant::now();
    let them = credentials("there");
    let config = AgentConfig {
        local_ufrag: them.ufrag,
        local_pwd: them.password,
        is_controlling: theirs_control,
        lite: theirs_lite,
        candidate_types: vec![CandidateType::Host],
        ..AgentConfig::default()
    };
    let provider = rtc_ice::crypto::default_provider().expect("a provider");
    let mut agent = Agent::new(origin, Arc::new(config), provider).expect("an agent");
    agent.add_local_candidate(candidate(there)).expect("added");
    agent.add_remote_candidate(candidate(here)).expect("added");
    let us = credentials("here");
    agent.start_connectivity_checks(origin, theirs_control, us.ufrag, us.password).expect("started");

    let mut link = Link::new(LinkConfig { protection: Protection::Plain, ice: Some(ours) }, MediaTime::ZERO)
        .expect("a link");
    for step in 0..600u32 {
        let elapsed = Duration::from_millis(10) * step;
        let (now, instant) = (MediaTime::ZERO + Span::from(elapsed), origin + elapsed);
        link.handle_timeout(now);
        if agent.poll_timeout().is_some_and(|due| due <= instant) {
            agent.handle_timeout(instant).expect("a timeout");
        }
        while let Some((to, datagram)) = link.poll_transmit() {
            assert_eq!(to.address(), there);
            let transport = TransportContext {
                local_addr: there,
                peer_addr: here,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            };
            let message = BytesMut::from(datagram);
            agent.handle_read(TransportMessage { now: instant, transport, message }).expect("understood");
        }
        while let Some(message) = agent.poll_write() {
            let mut datagram = message.message.to_vec();
            link.handle(now, there, &mut datagram);
        }
        let connected = matches!(agent.state(), ConnectionState::Connected | ConnectionState::Completed);
        if connected && link.ready() {
            assert_eq!(link.remote(), Some(there.into()));
            return true;
        }
    }
    false
}

#[test]
fn a_full_agent_of_another_implementation_finds_us_whoever_controls() {
    assert!(connects(ice("here", "there", IceRole::Controlling, &[address(2)]), false, false));
    assert!(connects(ice("here", "there", IceRole::Controlled, &[address(2)]), true, false));
}

#[test]
fn it_finds_us_as_a_lite_agent_too() {
    let lite = IceConfig { lite: true, ..ice("here", "there", IceRole::Controlled, &[]) };
    assert!(connects(lite, true, false));
}

#[test]
fn and_we_find_it_as_a_lite_agent() {
    let ours = IceConfig { remote_lite: true, ..ice("here", "there", IceRole::Controlling, &[address(2)]) };
    assert!(connects(ours, false, true));
}
