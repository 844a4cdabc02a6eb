//! How much a source may do, on virtual time.

use super::*;
use crate::access::OpenAccess;

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(100.0 + seconds)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn limits(change: impl FnOnce(&mut LimitConfig)) -> Limits {
    let mut config = LimitConfig {
        messages_per_second: 10,
        message_burst: 20,
        calls_per_second: 1,
        call_burst: 2,
        connections: 2,
        failures: 3,
        user_failures: 5,
        ..LimitConfig::default()
    };
    change(&mut config);
    Limits::new(config, Arc::new(OpenAccess))
}

#[test]
fn a_source_has_its_burst_and_then_its_rate() {
    let limits = limits(|_| {});
    let taken =
        |now: f64, of: &str| (0..100).filter(|_| limits.message(at(now), ip(of)) == Room::Free).count();
    assert_eq!(taken(0.0, "192.0.2.1"), 20);
    assert_eq!(taken(1.0, "192.0.2.1"), 10);
    assert_eq!(taken(1.0, "192.0.2.2"), 20, "another source has its own");
    assert_eq!(taken(100.0, "192.0.2.1"), 20, "no more than the burst is saved");
    assert_eq!((0..10).filter(|_| limits.call(at(0.0), ip("192.0.2.1"))).count(), 2);
    let stats = limits.stats();
    assert_eq!((stats.limited, stats.calls_limited), (80 + 90 + 80 + 80, 8));
}

#[test]
fn an_ipv6_host_does_not_gain_by_changing_its_address() {
    let limits = limits(|_| {});
    let taken = (0..100u32)
        .filter(|i| limits.message(at(0.0), ip(&format!("2001:db8::{i:x}"))) == Room::Free)
        .count();
    assert_eq!(taken, 20);
    assert_eq!(limits.message(at(0.0), ip("2001:db8:0:1::1")), Room::Free);
}

#[test]
fn failures_lead_to_a_ban_that_ends() {
    let limits = limits(|_| {});
    let guesser = ip("192.0.2.1");
    assert!(!limits.fail(at(0.0), guesser) && !limits.fail(at(1.0), guesser));
    assert!(!limits.fail(at(70.0), guesser), "the window has passed");
    assert!(!limits.fail(at(71.0), guesser));
    assert!(limits.fail(at(72.0), guesser));
    assert_eq!(limits.message(at(73.0), guesser), Room::Banned);
    assert!(!limits.connect(at(73.0), guesser));
    assert_eq!(limits.bans(at(73.0)), [(guesser, Duration::from_secs(599))]);
    assert_eq!(limits.message(at(700.0), guesser), Room::Free);
    assert_eq!(limits.bans(at(700.0)), []);
    for _ in 0..3 {
        limits.fail(at(700.0), guesser);
    }
    assert!(limits.unban(at(700.0), guesser) && !limits.unban(at(700.0), guesser));
    assert_eq!(limits.message(at(700.0), guesser), Room::Free);
    assert_eq!(limits.stats().bans, 2);
}

#[test]
fn the_allow_list_and_loopback_are_never_touched() {
    let limits = limits(|config| config.allow = vec!["198.51.100.0/24".parse().unwrap()]);
    for source in ["198.51.100.9", "127.0.0.1", "::1", "::ffff:198.51.100.9"] {
        let source = ip(source);
        assert!((0..100).all(|_| !limits.fail(at(0.0), source)));
        assert!((0..100).all(|_| limits.message(at(0.0), source) == Room::Free));
    }
    let strict = LimitConfig { loopback: true, failures: 1, ..LimitConfig::default() };
    let strict = Limits::new(strict, Arc::new(OpenAccess));
    assert!(strict.fail(at(0.0), ip("127.0.0.1")));
}

#[test]
fn memory_is_bounded_whoever_comes() {
    let limits = limits(|config| config.max_sources = 100);
    for i in 0..10_000u32 {
        let source = IpAddr::V4((0x0a00_0000 + i).into());
        limits.message(at(0.0), source);
        limits.fail(at(0.0), source);
        limits.tried(at(0.0), source, &i.to_string(), false);
    }
    assert_eq!(limits.stats().sources, 100);
    assert!(limits.state().users.len() <= 100);
    assert_eq!(limits.message(at(0.0), ip("192.0.2.1")), Room::Full, "the rest share one bucket");
    assert_eq!(limits.message(at(120.0), ip("192.0.2.1")), Room::Free, "idle sources make room");
    assert_eq!(limits.stats().sources, 1);
}

#[test]
fn a_user_under_attack_is_still_heard_from_where_it_was() {
    let limits = limits(|_| {});
    let home = ip("192.0.2.1");
    limits.tried(at(0.0), home, "bob", true);
    for i in 0..5u32 {
        limits.tried(at(1.0), IpAddr::V4((0x0a00_0000 + i).into()), "bob", false);
    }
    assert!(!limits.may_try(at(2.0), ip("10.9.9.9"), "bob"));
    assert!(limits.may_try(at(2.0), home, "bob"));
    assert!(limits.may_try(at(2.0), ip("10.9.9.9"), "eve"));
    assert!(limits.may_try(at(62.0), ip("10.9.9.9"), "bob"));
}

#[test]
fn connections_are_counted_while_they_stand() {
    let limits = limits(|_| {});
    let source = ip("192.0.2.1");
    assert!(limits.connect(at(0.0), source) && limits.connect(at(0.0), source));
    assert!(!limits.connect(at(0.0), source));
    limits.disconnect(source);
    assert!(limits.connect(at(0.0), source));
    for _ in 0..3 {
        limits.fail(at(0.0), source);
    }
    limits.disconnect(source);
    assert!(!limits.connect(at(0.0), source), "banned");
}

#[test]
fn networks_are_read() {
    let network: Network = "203.0.113.77/24".parse().unwrap();
    assert!(network.contains(ip("203.0.113.1")) && !network.contains(ip("203.0.114.1")));
    assert!(!network.contains(ip("2001:db8::1")));
    assert!("0.0.0.0/0".parse::<Network>().unwrap().contains(ip("8.8.8.8")));
    assert!("2001:db8::/32".parse::<Network>().unwrap().contains(ip("2001:db8:1::1")));
    assert!("::/0".parse::<Network>().unwrap().contains(ip("::1")));
    assert_eq!("192.0.2.1".parse::<Network>().unwrap(), Network::from(ip("192.0.2.1")));
    for wrong in ["", "203.0.113.0/33", "2001:db8::/129", "host", "203.0.113.0/-1", "203.0.113.0/"] {
        let error = wrong.parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("203.0.113.0/24"), "{error}");
    }
}
