//! Who hears whom where calls are joined: bridges, hold, conferences, supervision. Each party is a tone, and what counts
//! is the sound that comes out of each telephone and lies in each recording.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test waits, and says who heard whom")]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Running, Sipp};
use support::tone::{sine, wait_heard, within};
use support::wav::Wav;
use support::{free_port, tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CUSTOMER: u16 = 500;
const AGENT: u16 = 900;
const BOSS: u16 = 1_300;
const FOURTH: u16 = 1_700;
const TONES: [u16; 4] = [CUSTOMER, AGENT, BOSS, FOURTH];

/// Somebody with a telephone of SIPp's and a tone.
struct Party {
    name: &'static str,
    hz: u16,
    rtp: Rtp,
    phone: Option<Running>,
    /// Its call, as the server names it.
    call: String,
}

impl Party {
    /// Calls a number and is answered.
    fn calls(server: &Server, name: &'static str, hz: u16, number: &str) -> Self {
        let rtp = Rtp::bind(Answer::sine(hz));
        let before = answered(server);
        let sipp = Sipp {
            scenario: "ends_or_is_ended.xml",
            service: number,
            user: name,
            rtp: rtp.port(),
            limit: Duration::from_secs(90),
            ..Sipp::default()
        };
        let phone = sipp.start(server);
        let call = wait_for(&format!("{name}'s call"), Duration::from_secs(15), || {
            answered_by(server, name).filter(|call| !before.contains(call))
        });
        Self { name, hz, rtp, phone: Some(phone), call }
    }

    /// Is hung up by the operator: SIPp's BYE has a time of its own.
    fn hangs_up(&mut self, server: &Server) {
        let path = format!("http://{}/v1/calls/{}", server.http(), self.call);
        assert!(ureq::delete(path).call().expect("the API answers").status().is_success());
        if let Some(phone) = self.phone.take() {
            wait_for("its BYE", Duration::from_secs(5), || {
                phone.messages().contains("BYE sip:").then_some(())
            });
            phone.stop();
        }
    }
}

/// Ids of answered calls.
fn answered(server: &Server) -> Vec<String> {
    let id = |event: &Value| event["call"].as_str().map(str::to_owned);
    server.of_type("call.answered").iter().filter_map(id).collect()
}

/// The newest answered call that came from `name`.
fn answered_by(server: &Server, name: &str) -> Option<String> {
    let answered = answered(server);
    let started = server.of_type("call.started");
    let theirs =
        started.iter().rev().filter(|event| event["from"] == name && event["direction"] == "inbound");
    theirs.filter_map(|event| event["call"].as_str().map(str::to_owned)).find(|call| answered.contains(call))
}

fn settle() {
    std::thread::sleep(Duration::from_millis(1_800));
}

/// Says who hears whom in a row a party, and holds it against what should be.
fn check(what: &str, table: &[(&Party, &[u16])]) {
    settle();
    let name =
        |hz: &u16| table.iter().find(|(party, _)| party.hz == *hz).map_or("?", |(party, _)| party.name);
    for (party, expected) in table {
        let expected: Vec<_> = expected.iter().map(|hz| f64::from(*hz)).collect();
        let whom = format!("{what}: whom {} hears", party.name);
        wait_heard(&whom, &TONES.map(f64::from), &expected, || (party.rtp.heard_last(0.8), 8_000));
    }
    for (party, expected) in table {
        println!("{what}: {} hears {:?}", party.name, expected.iter().map(name).collect::<Vec<_>>());
    }
}

fn recording(server: &Server, call: &str) -> Wav {
    // The sidecar is written when the recording is whole.
    wait_for("the recording's sidecar", Duration::from_secs(8), || {
        server.sidecars().into_iter().find(|sidecar| sidecar.to_string().contains(call))
    });
    server.recording_of(call)
}

/// A server with a carrier that answers 9555, users `agent` and `boss`, and conferences behind 8.
struct House {
    server: Server,
    carrier: u16,
}

impl House {
    fn open() -> Self {
        Self::open_with("", "", &[])
    }

    /// With further tables, keys of the carrier, and files.
    fn open_with(tables: &str, trunk: &str, files: &[(&str, &[u8])]) -> Self {
        let carrier = free_port();
        let user = |name: &str, supervise: bool| {
            format!("[[user]]\nname = \"{name}\"\npassword = \"a long password\"\nsupervise = {supervise}\n")
        };
        let tables = format!(
            "{tables}[[route]]\ncalled = \"9*\"\nfrom = [\"anonymous\", \"user\", \"api\"]\ntrunk = \"carrier\"\n\
             [[route]]\ncalled = \"8*\"\nconference = \"room-$1\"\n\
             [[trunk]]\nname = \"carrier\"\nhosts = [\"{CARRIER}:{carrier}\"]\nallow = [\"9*\"]\noptions_interval = \"0s\"\n{trunk}\
             [registrar]\nenabled = true\n{}{}",
            user("agent", false),
            user("boss", true)
        );
        let options = Options { flow: Some(LINE), tables: &tables, files, ..Options::default() };
        Self { server: Server::start(options), carrier }
    }

    /// An agent behind the carrier picks up the next call.
    fn agent(&self) -> (Rtp, Running) {
        let rtp = Rtp::bind(Answer::sine(AGENT));
        let sipp = Sipp {
            scenario: "callee.xml",
            host: CARRIER,
            port: Some(self.carrier),
            rtp: rtp.port(),
            values: &[("@RING@", "200")],
            limit: Duration::from_secs(90),
            ..Sipp::default()
        };
        let running = sipp.start(&self.server);
        (rtp, running)
    }

    /// A customer and an agent who speak with each other.
    fn bridged(&self) -> (Party, Party) {
        let (rtp, phone) = self.agent();
        let customer = Party::calls(&self.server, "customer", CUSTOMER, "9555");
        let call = wait_for("the agent's call", Duration::from_secs(10), || {
            answered(&self.server).into_iter().find(|call| *call != customer.call)
        });
        (customer, Party { name: "agent", hz: AGENT, rtp, phone: Some(phone), call })
    }

    fn post(&self, path: &str, body: &Value) {
        let (status, answer) = self.server.post(path, body);
        assert!((200..300).contains(&status), "{path} {body}: {status} {answer}");
    }

    fn supervise(&self, target: &Party, supervisor: &Party, mode: &str, hearing: &str) {
        let body = json!({"supervisor": supervisor.call, "mode": mode, "hearing": hearing});
        self.post(&format!("/v1/calls/{}/supervise", target.call), &body);
    }
}

#[test]
fn two_who_are_joined_hear_each_other_and_each_has_a_track_of_its_own() {
    if tool_missing(TOOLS) {
        return;
    }
    let house = House::open();
    let (mut customer, agent) = house.bridged();
    check("bridge", &[(&customer, &[AGENT]), (&agent, &[CUSTOMER])]);
    customer.hangs_up(&house.server);
    house.server.wait_events("call.ended", 2, Duration::from_secs(10));
    // Left what the far side said, right what it heard.
    for (party, said, heard) in [(&customer, CUSTOMER, AGENT), (&agent, AGENT, CUSTOMER)] {
        let wav = recording(&house.server, &party.call);
        for (channel, hz) in [(0, said), (1, heard)] {
            let pcm = &wav.channels[channel];
            let middle = &pcm[pcm.len() * 2 / 3 - wav.rate_hz as usize / 2..pcm.len() * 2 / 3];
            let there = within(middle, wav.rate_hz, &TONES.map(f64::from));
            assert_eq!(there, [f64::from(hz)], "{}'s recording, channel {channel}", party.name);
        }
    }
}

#[test]
fn who_is_on_hold_hears_music_and_nobody_else_does() {
    if tool_missing(TOOLS) {
        return;
    }
    let house = House::open();
    let (customer, agent) = house.bridged();
    check("before", &[(&customer, &[AGENT]), (&agent, &[CUSTOMER])]);
    house.post(&format!("/v1/calls/{}/hold", customer.call), &json!({}));
    check("on hold", &[(&customer, &[]), (&agent, &[])]);
    // Ringing, where no music is configured: loud now and then to the customer, never to the agent.
    let loud = |party: &Party| party.rtp.heard_last(5.0).iter().any(|sample| sample.unsigned_abs() > 1_000);
    wait_for("music", Duration::from_secs(6), || loud(&customer).then_some(()));
    std::thread::sleep(Duration::from_secs(5));
    assert!(!loud(&agent), "the agent hears no music");
    house.post(&format!("/v1/calls/{}/resume", customer.call), &json!({}));
    check("afterwards", &[(&customer, &[AGENT]), (&agent, &[CUSTOMER])]);
}

#[test]
fn music_on_hold_is_what_is_configured_and_a_trunk_may_have_its_own() {
    if tool_missing(TOOLS) {
        return;
    }
    let music = |hz: u16| {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("music.wav");
        Wav::write(&path, 16_000, &sine(f64::from(hz), 16_000, 1.0));
        std::fs::read(path).expect("written")
    };
    let (ours, theirs) = (music(BOSS), music(FOURTH));
    let files = [("ours.wav", ours.as_slice()), ("theirs.wav", theirs.as_slice())];
    let house = House::open_with(
        "[media]\nhold_music = \"@DIR@/ours.wav\"\n",
        "hold_music = \"@DIR@/theirs.wav\"\n",
        &files,
    );
    let (customer, agent) = house.bridged();
    check("before", &[(&customer, &[AGENT]), (&agent, &[CUSTOMER])]);
    house.post(&format!("/v1/calls/{}/hold", customer.call), &json!({}));
    check("the customer on hold", &[(&customer, &[BOSS]), (&agent, &[])]);
    house.post(&format!("/v1/calls/{}/resume", customer.call), &json!({}));
    check("afterwards", &[(&customer, &[AGENT]), (&agent, &[CUSTOMER])]);
    house.post(&format!("/v1/calls/{}/hold", agent.call), &json!({}));
    check("the agent on hold", &[(&customer, &[]), (&agent, &[FOURTH])]);
}

#[test]
fn a_supervisor_is_heard_by_exactly_those_who_should_hear() {
    if tool_missing(TOOLS) {
        return;
    }
    let house = House::open();
    let (customer, agent) = house.bridged();
    let boss = Party::calls(&house.server, "chief", BOSS, "bank");
    // The machine speaks to the boss until he supervises.
    for (mode, hearing, to_customer, to_agent, to_boss) in [
        ("listen", "both", &[AGENT][..], &[CUSTOMER][..], &[CUSTOMER, AGENT][..]),
        ("listen", "caller", &[AGENT], &[CUSTOMER], &[CUSTOMER]),
        ("listen", "other", &[AGENT], &[CUSTOMER], &[AGENT]),
        ("whisper", "both", &[AGENT], &[CUSTOMER, BOSS], &[CUSTOMER, AGENT]),
        ("barge", "both", &[AGENT, BOSS], &[CUSTOMER, BOSS], &[CUSTOMER, AGENT]),
        ("listen", "both", &[AGENT], &[CUSTOMER], &[CUSTOMER, AGENT]),
    ] {
        house.supervise(&customer, &boss, mode, hearing);
        let what = format!("{mode} to {hearing}");
        check(&what, &[(&customer, to_customer), (&agent, to_agent), (&boss, to_boss)]);
    }
    house.supervise(&customer, &boss, "take_over", "both");
    check("take over", &[(&customer, &[BOSS]), (&boss, &[CUSTOMER])]);
    let ended = house.server.wait_events("call.ended", 1, Duration::from_secs(8));
    assert_eq!(ended[0]["call"], agent.call.as_str(), "the agent's call ends: {ended:?}");
}

#[test]
fn a_supervisor_who_leaves_changes_nothing_for_the_two() {
    if tool_missing(TOOLS) {
        return;
    }
    let house = House::open();
    let (customer, agent) = house.bridged();
    let mut boss = Party::calls(&house.server, "chief", BOSS, "bank");
    house.supervise(&customer, &boss, "barge", "both");
    check("barge", &[(&customer, &[AGENT, BOSS]), (&agent, &[CUSTOMER, BOSS]), (&boss, &[CUSTOMER, AGENT])]);
    boss.hangs_up(&house.server);
    check("afterwards", &[(&customer, &[AGENT]), (&agent, &[CUSTOMER])]);
}

#[test]
fn all_in_a_conference_hear_all_others_and_not_themselves() {
    if tool_missing(TOOLS) {
        return;
    }
    let house = House::open();
    let one = Party::calls(&house.server, "one", CUSTOMER, "8red");
    let two = Party::calls(&house.server, "two", AGENT, "8red");
    let mut three = Party::calls(&house.server, "three", BOSS, "8red");
    let others = Party::calls(&house.server, "others", FOURTH, "8blue");
    check(
        "three",
        &[(&one, &[AGENT, BOSS]), (&two, &[CUSTOMER, BOSS]), (&three, &[CUSTOMER, AGENT]), (&others, &[])],
    );
    let four = Party::calls(&house.server, "four", FOURTH, "8red");
    check(
        "four",
        &[
            (&one, &[AGENT, BOSS, FOURTH]),
            (&two, &[CUSTOMER, BOSS, FOURTH]),
            (&three, &[CUSTOMER, AGENT, FOURTH]),
            (&four, &[CUSTOMER, AGENT, BOSS]),
            (&others, &[]),
        ],
    );
    three.hangs_up(&house.server);
    check(
        "three again",
        &[(&one, &[AGENT, FOURTH]), (&two, &[CUSTOMER, FOURTH]), (&four, &[CUSTOMER, AGENT]), (&others, &[])],
    );
    let rooms = house.server.fetch("/v1/conferences");
    assert_eq!(rooms["conferences"].as_array().map(Vec::len), Some(2), "{rooms}");
}
