//! Telephones that register with us, and we with kamailio: calls both ways through either, and bridges between
//! telephones that have neither codec nor protection in common. Every side hears the other.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test waits, and says what it found")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::certificate::Certificate;
use support::kamailio::{Kamailio, PASSWORD};
use support::server::{Options, Server};
use support::softphone::{Setup, Softphone, rate_of};
use support::tone::{sine, within};
use support::wav::Wav;
use support::{free_port, tool_missing, wait_for};

const TONE: &str = include_str!("scenarios/tone.yaml");
/// A user whose password is `between-us`. baresip 1.0 knows MD5 alone, and nothing but that is asked for where all users
/// have its hash.
const PHONE: &str = "[registrar]\nenabled = true\n[[user]]\nname = \"phone\"\n\
                     ha1 = \"2a00bf314c709392a22413324e1eb156\"\n";
const PHONE_HZ: f64 = 600.0;
const OTHER_HZ: f64 = 1_400.0;
const OUR_HZ: f64 = 1_000.0;
const ALL: [f64; 3] = [PHONE_HZ, OTHER_HZ, OUR_HZ];

fn our_tone() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("tone.wav");
    Wav::write(&path, 16_000, &sine(OUR_HZ, 16_000, 30.0));
    std::fs::read(path).expect("written")
}

/// A server whose flow plays a tone; TLS on a port of its own.
fn server(tables: &str, certificate: &Certificate) -> (Server, u16) {
    let tls = free_port();
    let tables = format!(
        "[media]\ncodecs = [\"opus\", \"G722\", \"PCMU\", \"PCMA\"]\n\
         [tls]\nlisten = \"127.0.0.1:{tls}\"\ncertificate = \"@DIR@/server.pem\"\nkey = \"@DIR@/server.key\"\n\
         trust = [\"@DIR@/server.pem\"]\n{tables}"
    );
    let tone = our_tone();
    let files = [
        ("tone.wav", tone.as_slice()),
        ("server.pem", certificate.pem.as_bytes()),
        ("server.key", certificate.key.as_bytes()),
    ];
    let options = Options { flow: Some(TONE), tables: &tables, files: &files, ..Options::default() };
    (Server::start(options), tls)
}

/// Which tones a telephone heard in its last second.
fn hears(phone: &Softphone) -> Vec<f64> {
    let wav = phone.heard();
    let pcm = &wav.channels[0];
    within(&pcm[pcm.len().saturating_sub(wav.rate_hz as usize)..], wav.rate_hz, &ALL)
}

/// Which tones the far side said in the last seconds of a recording but one.
fn said(server: &Server, call: &str) -> Vec<f64> {
    wait_for("the sidecar", Duration::from_secs(8), || {
        server.sidecars().into_iter().find(|sidecar| sidecar.to_string().contains(call))
    });
    let wav = server.recording_of(call);
    let (pcm, second) = (&wav.channels[0], wav.rate_hz as usize);
    let end = pcm.len().saturating_sub(second / 2);
    within(&pcm[end.saturating_sub(second)..end], wav.rate_hz, &ALL)
}

fn talk_for(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

#[test]
fn we_call_a_telephone_that_registered_with_us_and_it_calls_us() {
    if tool_missing(&["baresip"]) {
        return;
    }
    let certificate = Certificate::new();
    for (transport, codec) in [("udp", "PCMA"), ("tcp", "G722"), ("tls", "OPUS")] {
        let (server, tls) = server(PHONE, &certificate);
        let port = if transport == "tls" { tls } else { server.sip().port() };
        let registrar = format!("127.0.0.1:{port};transport={transport}");
        let (says, trust) = (sine(PHONE_HZ, rate_of(codec), 60.0), certificate.path());
        let mut phone = Softphone::with(Setup {
            account: Some(("phone", "between-us", &registrar)),
            answers: true,
            trust: Some(&trust),
            ..Setup::of(codec, &says)
        });
        phone.wait_registration("OK");
        let (status, begun) = server.post("/v1/calls", &json!({"to": "user:phone", "ring": "10s"}));
        assert_eq!(status, 202, "{transport}: {begun}");
        phone.wait_event("CALL_ESTABLISHED", Duration::from_secs(10));
        talk_for(2.5);
        assert_eq!(hears(&phone), [OUR_HZ], "{transport}: what the telephone hears when we call");
        phone.hang_up();
        server.wait_events("call.ended", 1, Duration::from_secs(5));
        assert_eq!(said(&server, begun["id"].as_str().expect("an id")), [PHONE_HZ], "{transport}");

        phone.forget();
        phone.dial(&format!("sip:bank@127.0.0.1:{port};transport={transport}"));
        talk_for(2.5);
        assert_eq!(hears(&phone), [OUR_HZ], "{transport}: what the telephone hears when it calls");
        phone.hang_up();
        server.wait_events("call.ended", 2, Duration::from_secs(5));
        let started = server.of_type("call.started");
        let inbound = started.iter().find(|event| event["direction"] == "inbound").expect("its call");
        assert_eq!(said(&server, inbound["call"].as_str().expect("an id")), [PHONE_HZ], "{transport}");
    }
}

#[test]
fn a_telephone_with_a_wrong_password_is_not_registered() {
    if tool_missing(&["baresip"]) {
        return;
    }
    let certificate = Certificate::new();
    let (server, _) = server(PHONE, &certificate);
    let registrar = server.sip().to_string();
    let says = sine(PHONE_HZ, 8_000, 10.0);
    let mut phone = Softphone::with(Setup {
        account: Some(("phone", "a guess", &registrar)),
        ..Setup::of("PCMU", &says)
    });
    phone.wait_registration("ERR");
    let (status, begun) = server.post("/v1/calls", &json!({"to": "user:phone", "ring": "2s"}));
    assert!(status == 202 || status >= 400, "{begun}");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(phone.count("CALL_INCOMING"), 0);
}

/// A trunk that is kamailio, and our registration there.
fn trunk(host: &str) -> String {
    format!(
        "[[trunk]]\nname = \"kamailio\"\nhosts = [\"{host}\"]\nmatch = [\"127.0.0.3\"]\nallow = [\"*\"]\noptions_interval = \"5s\"\n\
         register = {{ user = \"ours\", password = \"{PASSWORD}\", expires = \"60s\" }}\n"
    )
}

fn registered(server: &Server, kamailio: &Kamailio) {
    wait_for("our registration", Duration::from_secs(10), || {
        let trunks = server.fetch("/v1/trunks").to_string();
        assert!(!trunks.contains("forbidden"), "{trunks}\n{}", kamailio.log());
        trunks.contains("\"registered\"").then_some(())
    });
}

#[test]
fn calls_go_both_ways_through_a_proxy_that_we_and_the_telephone_registered_with() {
    if tool_missing(&["baresip", "kamailio"]) {
        return;
    }
    let certificate = Certificate::new();
    let kamailio = Kamailio::start("MD5", &certificate);
    for transport in ["udp", "tcp", "tls"] {
        let at = if transport == "tls" { kamailio.tls() } else { kamailio.sip() };
        let (server, _) = server(&trunk(&format!("{at};transport={transport}")), &certificate);
        registered(&server, &kamailio);
        let says = sine(PHONE_HZ, 8_000, 60.0);
        let registrar = format!("{}", kamailio.sip());
        let user = format!("phone-{transport}");
        let mut phone = Softphone::with(Setup {
            account: Some((&user, PASSWORD, &registrar)),
            answers: true,
            ..Setup::of("PCMU", &says)
        });
        phone.wait_registration("OK");
        phone.dial(&format!("sip:ours@{}", kamailio.sip()));
        talk_for(2.5);
        assert_eq!(hears(&phone), [OUR_HZ], "{transport}: in\n{}", kamailio.log());
        phone.hang_up();
        server.wait_events("call.ended", 1, Duration::from_secs(5));
        let call = server.of_type("call.started")[0]["call"].as_str().expect("an id").to_owned();
        assert_eq!(said(&server, &call), [PHONE_HZ], "{transport}: in");

        phone.forget();
        let (status, begun) =
            server.post("/v1/calls", &json!({"to": user, "trunk": "kamailio", "ring": "10s"}));
        assert_eq!(status, 202, "{transport}: {begun}");
        phone.wait_event("CALL_ESTABLISHED", Duration::from_secs(10));
        talk_for(2.5);
        assert_eq!(hears(&phone), [OUR_HZ], "{transport}: out");
        // Our own hang-up finds its way too.
        let call = begun["id"].as_str().expect("an id").to_owned();
        let path = format!("http://{}/v1/calls/{call}", server.http());
        assert!(ureq::delete(path).call().expect("taken").status().is_success());
        phone.wait_event("CALL_CLOSED", Duration::from_secs(5));
        assert_eq!(said(&server, &call), [PHONE_HZ], "{transport}: out");
    }
}

#[test]
fn we_register_with_a_registrar_that_asks_by_sha_256() {
    if tool_missing(&["kamailio"]) {
        return;
    }
    let certificate = Certificate::new();
    let kamailio = Kamailio::start("SHA-256", &certificate);
    let (server, _) = server(&trunk(&kamailio.sip().to_string()), &certificate);
    registered(&server, &kamailio);
}

/// Two telephones that have nothing in common, joined by us. `called` is reached as a trunk of this protection.
fn joined(calling: (&str, &str, &str), called: (&str, &str, &str)) {
    let certificate = Certificate::new();
    let what = format!("{calling:?} calls {called:?}");
    let trust = certificate.path();
    let says = sine(OTHER_HZ, rate_of(called.0), 60.0);
    let other = Softphone::with(Setup {
        security: called.1,
        answers: true,
        trust: Some(&trust),
        ..Setup::of(called.0, &says)
    });
    let srtp = if called.1.is_empty() { "off" } else { "required" };
    let at = other.sip();
    let tables = format!(
        "[[route]]\ncalled = \"9*\"\nfrom = [\"anonymous\"]\ntrunk = \"other\"\n\
         [[trunk]]\nname = \"other\"\nhosts = [\"{at};transport={}\"]\nmatch = [\"192.0.2.1\"]\nallow = [\"9*\"]\n\
         srtp = \"{srtp}\"\ncodecs = [\"{}\"]\noptions_interval = \"0s\"\n[[trunk.called]]\nnumber = \"tester\"\n",
        called.2, called.0
    );
    let (server, tls) = server(&tables, &certificate);
    let port = if calling.2 == "tls" { tls } else { server.sip().port() };
    let says = sine(PHONE_HZ, rate_of(calling.0), 60.0);
    let mut phone =
        Softphone::with(Setup { security: calling.1, trust: Some(&trust), ..Setup::of(calling.0, &says) });
    phone.dial(&format!("sip:9555@127.0.0.1:{port};transport={}", calling.2));
    talk_for(3.0);
    assert_eq!(hears(&phone), [OTHER_HZ], "{what}: the caller");
    assert_eq!(hears(&other), [PHONE_HZ], "{what}: the called one");
    phone.command("hold", "");
    talk_for(1.0);
    phone.command("resume", "");
    talk_for(2.5);
    assert_eq!(hears(&phone), [OTHER_HZ], "{what}: the caller after a hold");
    assert_eq!(hears(&other), [PHONE_HZ], "{what}: the called one after a hold");
    phone.hang_up();
    server.wait_events("call.ended", 2, Duration::from_secs(5));
    println!("{what}: both ways, before and after a hold");
}

macro_rules! bridges {
    ($($name:ident: $calling:expr, $called:expr;)*) => {
        $(#[test]
        fn $name() {
            if !tool_missing(&["baresip"]) {
                joined($calling, $called);
            }
        })*
    };
}

bridges! {
    a_bridge_from_g711_to_g711: ("PCMU", "", "udp"), ("PCMU", "", "udp");
    a_bridge_from_opus_and_dtls_to_g711: ("OPUS", "dtls_srtp", "tls"), ("PCMA", "", "udp");
    a_bridge_from_opus_and_dtls_to_g722_and_sdes: ("OPUS", "dtls_srtp", "udp"), ("G722", "srtp-mand", "tcp");
    a_bridge_from_g722_and_sdes_to_opus: ("G722", "srtp-mand", "tcp"), ("OPUS", "", "udp");
    a_bridge_from_g711_to_g711_and_sdes: ("PCMU", "", "udp"), ("PCMU", "srtp-mand", "udp");
    a_bridge_from_g711_to_opus_and_sdes: ("PCMA", "", "tcp"), ("OPUS", "srtp-mand", "udp");
}
