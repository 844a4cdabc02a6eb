//! Supervision by dialling a code from a registered telephone: who hears whom is proved on the sound of each, and who has no
//! right to it hears nothing. The telephones are baresip's, which knows passwords by MD5 alone.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::time::Duration;

use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Running, Sipp};
use support::softphone::{Setup, Softphone};
use support::tone::{sine, wait_heard};
use support::{tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp", "baresip"];
const LINE: &str = include_str!("scenarios/line.yaml");
const CUSTOMER_HZ: u16 = 500;
const AGENT_HZ: u16 = 900;
const BOSS_HZ: u16 = 1_300;
const TONES: [f64; 3] = [CUSTOMER_HZ as f64, AGENT_HZ as f64, BOSS_HZ as f64];
const PASSWORD: &str = "between-us-and-nobody-else";

/// Users `agent`, `boss`, who may supervise, and `other`, who may not; 555 leads to the agent.
fn server() -> Server {
    let user = |name: &str, supervise: bool| {
        format!("[[user]]\nname = \"{name}\"\npassword = \"{PASSWORD}\"\nsupervise = {supervise}\n")
    };
    let tables = format!(
        "[registrar]\nenabled = true\nalgorithms = [\"MD5\"]\n[media]\ncodecs = [\"PCMU\"]\n\
         [[route]]\ncalled = \"555\"\nuser = \"agent\"\n{}{}{}",
        user("agent", false),
        user("boss", true),
        user("other", false)
    );
    Server::start(Options { flow: Some(LINE), tables: &tables, ..Options::default() })
}

/// A telephone that has registered with a password.
fn telephone(server: &Server, user: &str, hz: u16) -> Softphone {
    let registrar = server.sip().to_string();
    let says = sine(f64::from(hz), 8_000, 90.0);
    let setup =
        Setup { account: Some((user, PASSWORD, &registrar)), answers: true, ..Setup::of("PCMU", &says) };
    let mut phone = Softphone::with(setup);
    phone.wait_registration("OK");
    phone
}

fn customer(server: &Server, rtp: &Rtp) -> Running {
    let sipp = Sipp {
        scenario: "ends_or_is_ended.xml",
        service: "555",
        user: "customer",
        rtp: rtp.port(),
        limit: Duration::from_secs(120),
        ..Sipp::default()
    };
    sipp.start(server)
}

fn hears(what: &str, phone: &Softphone, expected: &[u16]) {
    let expected: Vec<_> = expected.iter().map(|hz| f64::from(*hz)).collect();
    wait_heard(what, &TONES, &expected, || {
        let wav = phone.heard();
        let pcm = &wav.channels[0];
        let part = wav.rate_hz as usize * 8 / 10;
        (pcm[pcm.len().saturating_sub(part)..].to_vec(), wav.rate_hz)
    });
}

fn customer_hears(what: &str, rtp: &Rtp, expected: &[u16]) {
    let expected: Vec<_> = expected.iter().map(|hz| f64::from(*hz)).collect();
    wait_heard(what, &TONES, &expected, || (rtp.heard_last(0.8), 8_000));
}

/// A customer who speaks with an agent, and the telephone of the boss.
struct Line {
    server: Server,
    agent: Softphone,
    boss: Softphone,
    rtp: Rtp,
    calling: Running,
}

impl Line {
    fn open() -> Self {
        let server = server();
        let (mut agent, boss) = (telephone(&server, "agent", AGENT_HZ), telephone(&server, "boss", BOSS_HZ));
        let rtp = Rtp::bind(Answer::sine(CUSTOMER_HZ));
        let calling = customer(&server, &rtp);
        agent.wait_event("CALL_ESTABLISHED", Duration::from_secs(15));
        customer_hears("before: the customer", &rtp, &[AGENT_HZ]);
        Self { server, agent, boss, rtp, calling }
    }
}

#[test]
fn a_telephone_supervises_by_dialling_a_code() {
    if tool_missing(TOOLS) {
        return;
    }
    let Line { server, mut agent, mut boss, rtp, calling } = Line::open();
    hears("before: the agent", &agent, &[CUSTOMER_HZ]);
    for (code, to_customer, to_agent) in [
        ("*81*", &[AGENT_HZ][..], &[CUSTOMER_HZ][..]),
        ("*82*", &[AGENT_HZ], &[CUSTOMER_HZ, BOSS_HZ]),
        ("*83*", &[AGENT_HZ, BOSS_HZ], &[CUSTOMER_HZ, BOSS_HZ]),
    ] {
        boss.dial(&format!("sip:{code}agent@{}", server.sip()));
        std::thread::sleep(Duration::from_millis(1_500));
        customer_hears(&format!("{code}: the customer"), &rtp, to_customer);
        hears(&format!("{code}: the agent"), &agent, to_agent);
        hears(&format!("{code}: the boss"), &boss, &[CUSTOMER_HZ, AGENT_HZ]);
        boss.hang_up();
        boss.forget();
        std::thread::sleep(Duration::from_millis(500));
        customer_hears(&format!("after {code}: the customer"), &rtp, &[AGENT_HZ]);
        hears(&format!("after {code}: the agent"), &agent, &[CUSTOMER_HZ]);
    }
    boss.dial(&format!("sip:*84*agent@{}", server.sip()));
    agent.wait_event("CALL_CLOSED", Duration::from_secs(10));
    customer_hears("taken over: the customer", &rtp, &[BOSS_HZ]);
    hears("taken over: the boss", &boss, &[CUSTOMER_HZ]);
    let modes: Vec<_> =
        server.of_type("supervision.started").iter().map(|event| event["mode"].clone()).collect();
    for mode in ["listen", "whisper", "barge", "take_over"] {
        assert!(modes.iter().any(|told| told == mode), "{mode}: {modes:?}");
    }
    boss.hang_up();
    calling.stop();
    assert_eq!(server.errors(), [""; 0]);
}

#[test]
fn a_telephone_ends_a_call_by_dialling_a_code() {
    if tool_missing(TOOLS) {
        return;
    }
    let Line { server, mut agent, mut boss, rtp: _rtp, calling } = Line::open();
    // Nobody of that name is in a call.
    boss.command("dial", &format!("sip:*85*other@{}", server.sip()));
    let closed = boss.wait_event("CALL_CLOSED", Duration::from_secs(10));
    assert!(closed["param"].as_str().is_some_and(|why| why.contains("404")), "{closed}");
    boss.forget();
    assert_eq!(server.active(), 2);
    boss.dial(&format!("sip:*85*agent@{}", server.sip()));
    agent.wait_event("CALL_CLOSED", Duration::from_secs(10));
    boss.wait_event("CALL_CLOSED", Duration::from_secs(10));
    let finished = calling.finish();
    assert!(finished.well, "the customer was hung up on: {}", finished.errors);
    wait_for("everybody gone", Duration::from_secs(5), || (server.active() == 0).then_some(()));
    let ended = server.of_type("call.ended");
    let by_supervisor = |event: &&serde_json::Value| event["cause"] == "call.hangup.supervisor";
    assert_eq!(ended.iter().filter(by_supervisor).count(), 3, "{ended:?}");
    assert_eq!(server.errors(), [""; 0]);
}

#[test]
fn whoever_has_no_right_to_supervise_is_refused() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = server();
    let mut agent = telephone(&server, "agent", AGENT_HZ);
    let mut other = telephone(&server, "other", BOSS_HZ);
    let rtp = Rtp::bind(Answer::sine(CUSTOMER_HZ));
    let calling = customer(&server, &rtp);
    agent.wait_event("CALL_ESTABLISHED", Duration::from_secs(15));
    for code in ["*81*", "*82*", "*83*", "*84*", "*85*"] {
        other.command("dial", &format!("sip:{code}agent@{}", server.sip()));
        let closed = other.wait_event("CALL_CLOSED", Duration::from_secs(10));
        assert!(closed["param"].as_str().is_some_and(|why| why.contains("403")), "{code}: {closed}");
        other.forget();
    }
    // Nor is a stranger, who is nobody at all.
    let values = [("@STATUS@", "403")];
    for service in ["*81*agent", "*85*agent"] {
        Sipp { scenario: "refused.xml", service, values: &values, ..Sipp::default() }.pass(&server);
    }
    customer_hears("the customer", &rtp, &[AGENT_HZ]);
    hears("the agent", &agent, &[CUSTOMER_HZ]);
    assert!(server.of_type("supervision.started").is_empty());
    wait_for("nobody but the two", Duration::from_secs(5), || (server.active() == 2).then_some(()));
    calling.stop();
}
