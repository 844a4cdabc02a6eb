//! What is heard before a call is answered (RFC 3960): our prompts by the caller of a trunk, the called side by whoever
//! waits for it. Each party is a tone, and what counts is what comes out of the telephone, and when.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Finished, OFFER, Running, Sipp};
use support::tone::{level, sine, wait_heard};
use support::wav::Wav;
use support::{free_port, tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp"];
const EARLY: &str = include_str!("scenarios/early.yaml");
const HANDED_ON: &str = include_str!("scenarios/handed_on.yaml");
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const LIMIT: Duration = Duration::from_secs(40);
/// What our flow plays before and after the answer.
const BEFORE_HZ: f64 = 1_000.0;
const AFTER_HZ: f64 = 1_700.0;
const CALLER_HZ: u16 = 500;
const CALLEE_HZ: u16 = 900;
const OTHER_HZ: u16 = 1_300;
/// Ringing of ours (425 Hz) is one of them.
const TONES: [f64; 6] = [425.0, CALLER_HZ as f64, CALLEE_HZ as f64, OTHER_HZ as f64, BEFORE_HZ, AFTER_HZ];

/// What a caller that cannot do 100rel asks for; `Via` is in every response, and so something to look for.
const PLAIN: &[(&str, &str)] =
    &[("@EXTENSION@", "X-Nothing: 1"), ("@PRACK@", ""), ("@RSEQ@", ".*"), ("@RSEQ_IN@", "Via")];
const PRACK: &str = "<send retrans=\"500\">\n<![CDATA[\n@next PRACK 2@\nRAck: [$rseq] 1 INVITE\nContent-Length: 0\n\n]]>\n</send>\n\
                     <recv response=\"200\"/>";

fn well(running: Running) -> Finished {
    let finished = running.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    finished
}

fn file(hz: f64, seconds: f64) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("tone.wav");
    Wav::write(&path, 8_000, &sine(hz, 8_000, seconds));
    std::fs::read(path).expect("written")
}

/// A server whose callers at the carrier's address come over a trunk, and whose flow plays tones.
fn line(early_media: bool) -> Server {
    let tables = format!(
        "[[trunk]]\nname = \"carrier\"\nmatch = [\"{CARRIER}\"]\nearly_media = {early_media}\n\
         [media]\ncodecs = [\"PCMU\"]\n"
    );
    let (before, after) = (file(BEFORE_HZ, 2.0), file(AFTER_HZ, 30.0));
    let files = [("before.wav", before.as_slice()), ("after.wav", after.as_slice())];
    Server::start(Options { flow: Some(EARLY), tables: &tables, files: &files, ..Options::default() })
}

/// A caller of the trunk.
fn caller<'a>(scenario: &'a str, rtp: &Rtp, values: &'a [(&'a str, &'a str)]) -> Sipp<'a> {
    Sipp { scenario, host: CARRIER, rtp: rtp.port(), values, limit: LIMIT, ..Sipp::default() }
}

fn time_of(server: &Server, kind: &str) -> f64 {
    server.of_type(kind)[0]["at"].as_f64().expect("a time")
}

/// Where a tone is first and last heard in a sound of 8 kHz, in seconds.
fn stretch(pcm: &[i16], hz: f64) -> Option<(f64, f64)> {
    let there = |n: &usize| level(&pcm[n * 800..(n + 1) * 800], 8_000, hz) > -30.0;
    let heard: Vec<_> = (0..pcm.len() / 800).filter(there).collect();
    Some((*heard.first()? as f64 / 10.0, *heard.last()? as f64 / 10.0 + 0.1))
}

#[test]
fn a_trunks_caller_hears_the_flow_before_the_call_is_answered() {
    if tool_missing(TOOLS) {
        return;
    }
    let reliable: &[(&str, &str)] = &[
        ("@EXTENSION@", "Supported: 100rel"),
        ("@PRACK@", PRACK),
        ("@RSEQ@", "[0-9]+"),
        ("@RSEQ_IN@", "RSeq"),
    ];
    for extension in [PLAIN, reliable] {
        let server = line(true);
        let rtp = Rtp::bind(Answer::sine(CALLER_HZ));
        let prack = extension[1].1.replace("@next PRACK 2@", &prack_head());
        let values: Vec<_> = extension
            .iter()
            .map(|(name, value)| (*name, if *name == "@PRACK@" { prack.as_str() } else { *value }))
            .chain([("@HOLD@", "2000")])
            .collect();
        let finished = caller("early.xml", &rtp, &values).pass(&server);
        assert_eq!(server.cause(), "call.hangup.caller");
        assert_eq!(finished.received("SIP/2.0 183"), 1, "{}", finished.messages);
        assert_eq!(finished.received("SIP/2.0 180"), 0, "who hears us does not ring: {}", finished.messages);
        let is_reliable = extension[0].1.contains("100rel");
        assert_eq!(finished.line("RSeq: ").is_some(), is_reliable, "{}", finished.messages);

        let (early, answered) = (time_of(&server, "call.early"), time_of(&server, "call.answered"));
        assert!((1.9..3.5).contains(&(answered - early)), "two seconds of tone: {early} {answered}");
        let heard = rtp.heard();
        let (begun, over) = stretch(&heard, BEFORE_HZ).expect("the tone before the answer");
        assert!((over - begun - 2.0).abs() < 0.3, "all of it: {begun} to {over}");
        let (after, _) = stretch(&heard, AFTER_HZ).expect("the tone after the answer");
        assert!(after >= over - 0.1, "{after} after {over}");

        // The recording begins with the early media, on the call's clock, and goes on over the answer.
        let recording = server.recording();
        let ours: Vec<i16> = recording.channels[1].clone();
        let (begun, over) = stretch(&ours, BEFORE_HZ).expect("recorded before the answer");
        assert!(
            (begun - early).abs() < 0.5 && (over - begun - 2.0).abs() < 0.3,
            "{early}: {begun} to {over}"
        );
        assert!((over - answered).abs() < 0.5, "answered at {answered}, right after it: {over}");
        let ended = server.of_type("call.ended")[0].clone();
        let ms = ended["duration_ms"].as_f64().expect("a length");
        // Two seconds from the answer; with the time before it there would be four.
        assert!((1_900.0..3_000.0).contains(&ms), "what is paid for begins with the answer: {ended}");
        assert_eq!(server.errors(), [""; 0]);
    }
}

/// The head of a PRACK: heads are written out before values are put in.
fn prack_head() -> String {
    let me = "<sip:sipp@[local_ip]:[local_port];transport=[transport]>";
    let you = "<sip:[service]@[remote_ip]:[remote_port]>";
    format!(
        "PRACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From: {me};tag=[pid]sipp[call_number]\nTo: {you}[peer_tag_param]\nCall-ID: [call_id]\nCSeq: 2 PRACK\nContact: {me}\n\
         Max-Forwards: 70"
    )
}

#[test]
fn a_trunk_without_early_media_is_answered_at_once() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = line(false);
    let rtp = Rtp::bind(Answer::sine(CALLER_HZ));
    let finished = caller("answered.xml", &rtp, &[("@HOLD@", "3500")]).pass(&server);
    assert_eq!(finished.received("SIP/2.0 183"), 0, "{}", finished.messages);
    assert_eq!(server.cause(), "call.hangup.caller");
    assert!(server.of_type("call.early").is_empty());
    let heard = rtp.heard();
    let ((_, over), (after, _)) =
        (stretch(&heard, BEFORE_HZ).expect("the first"), stretch(&heard, AFTER_HZ).expect("the second"));
    assert!(after >= over - 0.1, "both are heard, one after the other");
    assert_eq!(server.of_type("call.ringing").len(), 1);
}

#[test]
fn a_caller_may_give_up_while_he_is_let_hear() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = line(true);
    let rtp = Rtp::bind(Answer::sine(CALLER_HZ));
    caller("early_gives_up.xml", &rtp, &[("@HOLD@", "900")]).pass(&server);
    assert_eq!(server.cause(), "call.cancelled");
    assert!(server.of_type("call.answered").is_empty());
    assert_eq!(server.active(), 0);
    let said = &server.recording().channels[1];
    assert!(stretch(said, BEFORE_HZ).is_some(), "what was heard is recorded");
}

#[test]
fn a_flow_may_end_a_call_that_it_never_answered() {
    if tool_missing(TOOLS) {
        return;
    }
    let flow = EARLY.replace("  pick_up:\n    answer:\n", "  pick_up:\n    branch: [{if: called == \"nobody\", goto: taken}, {else: bye}]\n  taken:\n    answer:\n");
    let tables = format!("[[trunk]]\nname = \"carrier\"\nmatch = [\"{CARRIER}\"]\nearly_media = true\n");
    let (before, after) = (file(BEFORE_HZ, 1.0), file(AFTER_HZ, 1.0));
    let files = [("before.wav", before.as_slice()), ("after.wav", after.as_slice())];
    let server =
        Server::start(Options { flow: Some(&flow), tables: &tables, files: &files, ..Options::default() });
    let rtp = Rtp::bind(Answer::sine(CALLER_HZ));
    caller("early_refused.xml", &rtp, &[("@STATUS@", "480")]).pass(&server);
    assert_eq!(server.cause(), "call.hangup.flow");
    assert!(server.of_type("call.answered").is_empty());
    assert!(stretch(&rtp.heard(), BEFORE_HZ).is_some(), "the caller was told why");
}

/// 9 leads to a carrier, for everybody.
fn house(port: u16, flow: &str) -> Server {
    let tables = format!(
        "[[route]]\ncalled = \"9*\"\nfrom = [\"anonymous\", \"api\"]\ntrunk = \"carrier\"\n\
         [[trunk]]\nname = \"carrier\"\nhosts = [\"{CARRIER}:{port}\"]\nallow = [\"9*\"]\noptions_interval = \"0s\"\n"
    );
    Server::start(Options { flow: Some(flow), tables: &tables, ..Options::default() })
}

fn callee(server: &Server, scenario: &str, port: u16, rtp: &Rtp, values: &[(&str, &str)]) -> Running {
    let (port, rtp) = (Some(port), rtp.port());
    Sipp { scenario, host: CARRIER, port, rtp, values, limit: LIMIT, ..Sipp::default() }.start(server)
}

/// Somebody who dials the number that leads to the carrier.
fn dials<'a>(scenario: &'a str, rtp: &Rtp, values: &'a [(&'a str, &'a str)]) -> Sipp<'a> {
    Sipp { scenario, service: "9555", rtp: rtp.port(), values, limit: LIMIT, ..Sipp::default() }
}

fn hears(what: &str, rtp: &Rtp, expected: u16) {
    wait_heard(what, &TONES, &[f64::from(expected)], || (rtp.heard_last(0.7), 8_000));
}

const PROGRESS: &[(&str, &str)] = &[("@EXTENSION@", "X-Nothing: 1"), ("@PRACK@", ""), ("@RING@", "4000")];

#[test]
fn the_called_side_is_heard_before_it_answers() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = house(port, EARLY_FREE);
    let (one, other) = (Rtp::bind(Answer::sine(CALLER_HZ)), Rtp::bind(Answer::sine(CALLEE_HZ)));
    let called = callee(&server, "callee_early.xml", port, &other, PROGRESS);
    let values: Vec<_> = PLAIN.iter().copied().chain([("@HOLD@", "2500")]).collect();
    let calling = dials("early.xml", &one, &values).start(&server);
    hears("before the answer", &one, CALLEE_HZ);
    assert!(server.of_type("call.answered").is_empty(), "not answered yet");
    hears("before the answer, the called one", &other, CALLER_HZ);
    server.wait_events("call.answered", 2, Duration::from_secs(10));
    std::thread::sleep(Duration::from_millis(1_500));
    hears("after the answer, the caller", &one, CALLEE_HZ);
    hears("after the answer, the called one", &other, CALLER_HZ);
    let calling = well(calling);
    assert_eq!(calling.received("SIP/2.0 180"), 0, "{}", calling.messages);
    assert_eq!(calling.received("SIP/2.0 183"), 1, "{}", calling.messages);
    well(called);
    assert_eq!(server.errors(), [""; 0]);
}

#[test]
fn keys_reach_a_machine_that_asks_before_it_answers() {
    if tool_missing(TOOLS) {
        return;
    }
    // By whom it is rung for: a caller's own call, and a flow that hands him on.
    let handed =
        HANDED_ON.replace("@TO@", "9555").replace("@HOW@", "bridge").replace("ring: 3s", "ring: 20s");
    for (flow, service, scenario) in
        [(EARLY_FREE, "9555", "early.xml"), (handed.as_str(), "bank", "answered.xml")]
    {
        let port = free_port();
        let server = house(port, flow);
        let (one, other) = (Rtp::bind(Answer::sine(CALLER_HZ)), Rtp::bind(Answer::sine(CALLEE_HZ)));
        let values: Vec<_> =
            PROGRESS.iter().map(|(n, v)| (*n, if *n == "@RING@" { "9000" } else { *v })).collect();
        let called = callee(&server, "callee_early.xml", port, &other, &values);
        let hold = if service == "bank" { "14000" } else { "2000" };
        let values: Vec<_> = PLAIN.iter().copied().chain([("@HOLD@", hold)]).collect();
        let sipp =
            Sipp { scenario, service, rtp: one.port(), values: &values, limit: LIMIT, ..Sipp::default() };
        let calling = sipp.start(&server);
        hears("the machine", &one, CALLEE_HZ);
        one.press(5);
        let pressed = || {
            let mut at: Vec<_> =
                other.packets().iter().filter(|p| p.payload_type == 101).map(|p| p.timestamp).collect();
            at.dedup();
            at
        };
        wait_for("the key", Duration::from_secs(5), || (!pressed().is_empty()).then_some(()));
        let answered = server.of_type("call.answered").len();
        assert_eq!(answered, usize::from(service == "bank"), "{service}: the machine has not answered yet");
        hears("the machine hears the caller", &other, CALLER_HZ);
        well(calling);
        well(called);
        assert_eq!(pressed().len(), 1, "{service}: one key, told once");
        assert_eq!(server.errors(), [""; 0]);
    }
}

#[test]
fn a_caller_without_an_offer_hears_us_early_and_so_do_called_sides() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = line(true);
    let rtp = Rtp::bind(Answer::sine(CALLER_HZ));
    let finished = caller("early_delayed.xml", &rtp, &[("@HOLD@", "2000")]).pass(&server);
    assert_eq!(finished.received("SIP/2.0 183"), 1, "{}", finished.messages);
    assert_eq!(server.cause(), "call.hangup.caller");
    let (early, answered) = (time_of(&server, "call.early"), time_of(&server, "call.answered"));
    assert!((1.9..3.5).contains(&(answered - early)), "two seconds of tone: {early} {answered}");
    let heard = rtp.heard();
    let (begun, over) = stretch(&heard, BEFORE_HZ).expect("the tone before the answer");
    assert!((over - begun - 2.0).abs() < 0.3, "all of it: {begun} to {over}");
    assert!(stretch(&heard, AFTER_HZ).is_some(), "the tone after the answer");
    assert!(stretch(&server.recording().channels[0], CALLER_HZ.into()).is_some(), "the caller is heard");
    assert_eq!(server.errors(), [""; 0]);
    // It speaks on after its call, and the next server's first port may be that of this one.
    drop((rtp, server));

    let port = free_port();
    let server = house(port, EARLY_FREE);
    let (one, other) = (Rtp::bind(Answer::sine(CALLER_HZ)), Rtp::bind(Answer::sine(CALLEE_HZ)));
    let called = callee(&server, "callee_early.xml", port, &other, PROGRESS);
    let values = [("@HOLD@", "2500")];
    let calling = dials("early_delayed.xml", &one, &values).start(&server);
    hears("before the answer", &one, CALLEE_HZ);
    hears("before the answer, the called one", &other, CALLER_HZ);
    assert!(server.of_type("call.answered").is_empty(), "not answered yet");
    server.wait_events("call.answered", 2, Duration::from_secs(10));
    std::thread::sleep(Duration::from_secs(1));
    hears("after the answer, the caller", &one, CALLEE_HZ);
    hears("after the answer, the called one", &other, CALLER_HZ);
    well(calling);
    well(called);
}

/// Whoever is not routed anywhere.
const EARLY_FREE: &str = include_str!("scenarios/line.yaml");

#[test]
fn a_called_side_that_merely_rings_lets_the_caller_ring_by_himself() {
    if tool_missing(TOOLS) {
        return;
    }
    // Without a word about sound, and with one but without any sound.
    for (scenario, silent) in [("callee.xml", false), ("callee_early.xml", true)] {
        let port = free_port();
        let server = house(port, EARLY_FREE);
        let one = Rtp::bind(Answer::sine(CALLER_HZ));
        let other = Rtp::bind(if silent { Answer::Nothing } else { Answer::sine(CALLEE_HZ) });
        let values: Vec<_> =
            PROGRESS.iter().map(|(n, v)| (*n, if *n == "@RING@" { "2500" } else { *v })).collect();
        let called = callee(&server, scenario, port, &other, &values);
        let values = [("@HOLD@", "1000")];
        let calling =
            Sipp { service: "9555", rtp: one.port(), values: &values, limit: LIMIT, ..Sipp::default() }
                .pass(&server);
        assert_eq!(calling.received("SIP/2.0 180"), 1, "{scenario}: {}", calling.messages);
        assert_eq!(calling.received("SIP/2.0 183"), 0, "{scenario}: {}", calling.messages);
        well(called);
    }
}

#[test]
fn of_several_telephones_the_newest_that_sounds_is_heard_and_the_one_that_answers_is_joined() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = house(port, EARLY_FREE);
    let one = Rtp::bind(Answer::sine(CALLER_HZ));
    let (left, right) = (Rtp::bind(Answer::sine(CALLEE_HZ)), Rtp::bind(Answer::sine(OTHER_HZ)));
    let other = OFFER.replace("@RTP@", &right.port().to_string());
    let values = [("@RING@", "3500"), ("@OTHER@", other.as_str())];
    let called = callee(&server, "callee_early_forks.xml", port, &left, &values);
    let values: Vec<_> = PLAIN.iter().copied().chain([("@HOLD@", "3500")]).collect();
    let calling = dials("early.xml", &one, &values).start(&server);
    hears("the first", &one, CALLEE_HZ);
    hears("the newest", &one, OTHER_HZ);
    assert!(server.of_type("call.answered").is_empty(), "not answered yet");
    server.wait_events("call.answered", 2, Duration::from_secs(10));
    hears("the one that answered", &one, CALLEE_HZ);
    hears("and it hears the caller", &left, CALLER_HZ);
    well(calling);
    well(called);
}

#[test]
fn a_caller_who_is_handed_on_hears_the_called_side_instead_of_our_ringing() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let flow = HANDED_ON.replace("@TO@", "9555").replace("@HOW@", "bridge").replace("ring: 3s", "ring: 20s");
    let server = house(port, &flow);
    let (one, other) = (Rtp::bind(Answer::sine(CALLER_HZ)), Rtp::bind(Answer::sine(CALLEE_HZ)));
    let called = callee(&server, "callee_early.xml", port, &other, PROGRESS);
    let values = [("@HOLD@", "9000")];
    let sipp = Sipp { rtp: one.port(), values: &values, limit: LIMIT, ..Sipp::default() };
    let calling = sipp.start(&server);
    hears("before the target answers", &one, CALLEE_HZ);
    assert_eq!(server.of_type("call.answered").len(), 1, "the caller's own call alone");
    server.wait_events("call.answered", 2, Duration::from_secs(10));
    std::thread::sleep(Duration::from_secs(1));
    hears("after it answered", &one, CALLEE_HZ);
    hears("and it hears the caller", &other, CALLER_HZ);
    well(calling);
    well(called);
}

#[test]
fn what_a_carrier_says_of_a_dead_number_is_heard_and_so_is_what_we_say_then() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let flow = HANDED_ON.replace("@TO@", "9555").replace("@HOW@", "bridge").replace("ring: 3s", "ring: 20s");
    let server = house(port, &flow);
    let (one, other) = (Rtp::bind(Answer::sine(CALLER_HZ)), Rtp::bind(Answer::sine(CALLEE_HZ)));
    let values = [("@RING@", "3000")];
    let called = callee(&server, "callee_early_refuses.xml", port, &other, &values);
    let values = [("@HOLD@", "15000")];
    let sipp = Sipp {
        scenario: "ended_by_server.xml",
        rtp: one.port(),
        values: &values,
        limit: LIMIT,
        ..Sipp::default()
    };
    let calling = sipp.start(&server);
    hears("the announcement", &one, CALLEE_HZ);
    let refused = server.wait_events("transfer.finished", 1, Duration::from_secs(12));
    assert_eq!((refused[0]["outcome"].as_str(), refused[0]["status"].as_u64()), (Some("failed"), Some(404)));
    wait_for("our own words", Duration::from_secs(8), || {
        let prompts = server.of_type("prompt.started");
        prompts.iter().any(|prompt| prompt["text"] == "That did not work.").then_some(())
    });
    well(calling);
    well(called);
    // The event is the called call's, which was never answered: it had sound, and so a file of its own.
    let told = server.wait_events("call.refused", 1, Duration::from_secs(5));
    assert_eq!((told[0]["status"].as_u64(), told[0]["reason"].as_str()), (Some(404), Some("Not Found")));
}
