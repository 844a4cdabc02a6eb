//! Call records of real calls: what each field says, and that file, store, API and webhook say the same.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use support::server::{Options, Server};
use support::sipp::{Finished, Running, Sipp};
use support::{HOST, free_port, tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
/// Where the carrier lives, so that it is told from the callers.
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const LIMIT: Duration = Duration::from_secs(40);
const TOKENS: &str = "[[token]]\nname = \"desk\"\nsecret = \"desk-0123456789abcd\"\nscopes = [\"calls:write\", \"calls:read\"]\n\
                      [[token]]\nname = \"boss\"\nsecret = \"boss-0123456789abcd\"\nscopes = [\"admin\"]\n";
const DESK: &str = "desk-0123456789abcd";
const BOSS: &str = "boss-0123456789abcd";

/// Callers at 127.0.0.1 are an exchange; 9 leads to a carrier of these hosts, 8 into a conference.
fn tables(ports: &[u16], more: &str) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("\"{CARRIER}:{port}\"")).collect();
    format!(
        "[[route]]\ncalled = \"9*\"\nfrom = [\"trunk:pbx\", \"api\"]\ntrunk = \"carrier\"\n\
         [[route]]\ncalled = \"8*\"\nconference = \"room-$1\"\n\
         [[trunk]]\nname = \"pbx\"\nmatch = [\"127.0.0.1\"]\ntrusted = true\n\
         [[trunk]]\nname = \"carrier\"\nhosts = [{}]\nallow = [\"9*\"]\noptions_interval = \"0s\"\ntry_limit = \"3s\"\n{more}\n",
        hosts.join(", ")
    )
}

fn server(ports: &[u16], more: &str) -> Server {
    Server::start(Options { flow: Some(LINE), tables: &tables(ports, more), ..Options::default() })
}

fn callee(server: &Server, scenario: &str, port: u16, values: &[(&str, &str)]) -> Running {
    Sipp { scenario, host: CARRIER, port: Some(port), values, limit: LIMIT, ..Sipp::default() }.start(server)
}

fn well(running: Running) -> Finished {
    let finished = running.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    finished
}

/// Asks the API with a token; the status and what came back.
fn ask(server: &Server, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", server.http()))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(body.to_string())
        .expect("a request");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.run(request).expect("the API answers");
    (response.status().as_u16(), response.body_mut().read_json().unwrap_or(Value::Null))
}

/// The records of these many calls, by direction and then as they ended.
fn records(server: &Server, count: usize, token: &str) -> Vec<Value> {
    let mut records = wait_for("the records", Duration::from_secs(20), || {
        let (status, page) = ask(server, "GET", "/v1/cdr", token, &Value::Null);
        assert_eq!(status, 200, "{page}");
        let records = page["records"].as_array().expect("records").clone();
        (records.len() >= count).then_some(records)
    });
    assert_eq!(records.len(), count, "{records:?}");
    records.sort_by_key(|record| (record["direction"].to_string(), record["ended_at"].to_string()));
    records
}

/// The one record of a server without tokens.
fn record(server: &Server) -> Value {
    records(server, 1, "").remove(0)
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == "2026-11-22T01:02:03.004Z".len())
}

/// Takes one webhook's requests and passes their bodies on.
fn receiver() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind((HOST, 0)).expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
    let (sender, bodies) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(100) {
            let Ok(stream) = stream else { return };
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let answer = b"HTTP/1.1 204 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            if reader.get_mut().write_all(answer).is_ok()
                && let Ok(body) = serde_json::from_slice(&body)
                && sender.send(body).is_err()
            {
                return;
            }
        }
    });
    (url, bodies)
}

#[test]
fn a_call_to_a_flow_is_told_alike_in_file_store_and_webhook() {
    if tool_missing(TOOLS) {
        return;
    }
    for tcp in [false, true] {
        let (url, told) = receiver();
        let hook = format!(
            "[[webhook]]\nname = \"crm\"\nurl = \"{url}\"\nsecret = \"0123456789abcdef\"\nevents = [\"cdr\"]\n"
        );
        let server = server(&[free_port()], &hook);
        let port = free_port();
        let values = [("@HOLD@", "700")];
        let caller = Sipp { port: Some(port), values: &values, tcp, user: "1042", ..Sipp::default() };
        let caller = caller.pass(&server);
        let call_id = caller.line("Call-ID: ").expect("a Call-ID");
        let record = record(&server);
        assert_eq!((&record["flow"], &record["trunk"]), (&json!("line"), &json!("pbx")), "{record}");
        assert_eq!((&record["from"], &record["to"]), (&json!("1042"), &json!("bank")), "{record}");
        assert_eq!((&record["cause"], &record["hung_up"]), (&json!("call.hangup.caller"), &json!("caller")));
        assert_eq!((&record["sip_status"], &record["q850"]), (&json!(200), &json!(16)), "{record}");
        assert_eq!(
            (&record["token"], &record["ended_by"], &record["parent"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        for time in ["offered_at", "ringing_at", "answered_at", "ended_at"] {
            assert!(is_time(&record[time]), "{time}: {record}");
        }
        assert_eq!(record["legs"].as_array().map(Vec::len), Some(1), "{record}");
        let leg = &record["legs"][0];
        assert_eq!(leg["sip_call_id"], call_id, "{leg}");
        assert_eq!((&leg["trunk"], &leg["user"]), (&json!("pbx"), &Value::Null), "{leg}");
        assert_eq!(leg["transport"], if tcp { "tcp" } else { "udp" }, "{leg}");
        let host = leg["host"].as_str().expect("a host");
        assert!(host.starts_with("127.0.0.1:") && (tcp || host == format!("127.0.0.1:{port}")), "{leg}");
        assert_eq!((&leg["from"], &leg["to"]), (&json!("1042"), &json!("bank")), "{leg}");
        assert_eq!(
            (&leg["codecs"][0]["codec"], &leg["security"]),
            (&json!("PCMU"), &json!("plain")),
            "{leg}"
        );
        assert!(leg["sent"]["packets"].as_u64().is_some_and(|packets| packets > 10), "{leg}");

        let news = told.recv_timeout(Duration::from_secs(10)).expect("the webhook is told");
        assert_eq!((&news["type"], &news["data"]), (&json!("cdr"), &record));
        let files = std::fs::read_dir(server.data().join("cdr")).expect("a folder");
        let lines: Vec<Value> = files
            .flatten()
            .flat_map(|file| {
                let text = std::fs::read_to_string(file.path()).expect("readable");
                text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(lines, std::slice::from_ref(&record));
        let id = record["id"].as_str().expect("an id");
        assert_eq!(server.fetch(&format!("/v1/cdr/{id}")), record);
    }
}

#[test]
fn a_call_over_a_trunk_has_a_leg_for_each_host_and_names_the_tokens() {
    if tool_missing(TOOLS) {
        return;
    }
    let (first, second) = (free_port(), free_port());
    let server = server(&[first, second], TOKENS);
    let values = [("@STATUS@", "503 Service Unavailable"), ("@HEADER@", "X-Nothing: 1")];
    let refusing = callee(&server, "callee_refuses.xml", first, &values);
    let answering = callee(&server, "callee.xml", second, &[("@RING@", "400")]);
    let body = json!({"to": "9555", "from": "5550100"});
    let (status, begun) = ask(&server, "POST", "/v1/calls", DESK, &body);
    assert_eq!(status, 202, "{begun}");
    server.wait_events("call.answered", 1, Duration::from_secs(10));
    let path = format!("/v1/calls/{}", begun["id"].as_str().expect("an id"));
    assert_eq!(ask(&server, "DELETE", &path, BOSS, &Value::Null).0, 202);
    well(refusing);
    let answering = well(answering);
    let record = records(&server, 1, BOSS).remove(0);
    assert_eq!((&record["id"], &record["direction"]), (&begun["id"], &json!("outbound")));
    assert_eq!((&record["token"], &record["ended_by"]), (&json!("desk"), &json!("boss")), "{record}");
    assert_eq!((&record["flow"], &record["trunk"]), (&json!("line"), &json!("carrier")), "{record}");
    assert_eq!((&record["cause"], &record["hung_up"]), (&json!("call.hangup.operator"), &json!("api")));
    assert!(is_time(&record["ringing_at"]) && is_time(&record["answered_at"]), "{record}");
    assert!(record["ringing_at"].as_str() < record["answered_at"].as_str(), "{record}");
    let legs = record["legs"].as_array().expect("legs");
    let told: Vec<_> = legs.iter().map(|leg| (&leg["host"], &leg["sip_status"], &leg["cause"])).collect();
    let (one, two) = (json!(format!("{CARRIER}:{first}")), json!(format!("{CARRIER}:{second}")));
    assert_eq!(
        told,
        [(&one, &json!(503), &json!("sip.refused")), (&two, &json!(200), &json!("call.hangup.operator"))]
    );
    for leg in legs {
        assert_eq!((&leg["trunk"], &leg["transport"]), (&json!("carrier"), &json!("udp")), "{leg}");
        assert_eq!((&leg["from"], &leg["to"]), (&json!("5550100"), &json!("9555")), "{leg}");
    }
    assert_eq!(legs[1]["sip_call_id"], answering.line("Call-ID: ").expect("a Call-ID"));
    assert_eq!((legs[0]["ringing_at"].is_null(), is_time(&legs[1]["ringing_at"])), (true, true), "{record}");
}

#[test]
fn what_a_called_one_refused_with_is_in_the_record() {
    if tool_missing(TOOLS) {
        return;
    }
    for (status, code, q850, header) in [
        ("486 Busy Here", 486, 17, "X-Nothing: 1"),
        ("603 Decline", 603, 21, "X-Nothing: 1"),
        ("301 Moved Permanently", 301, 31, "Contact: <sip:+1900555@127.0.0.3:5060>"),
    ] {
        let port = free_port();
        let server = server(&[port], "");
        let values = [("@STATUS@", status), ("@HEADER@", header)];
        let refusing = callee(&server, "callee_refuses.xml", port, &values);
        let (answer, begun) = server.post("/v1/calls", &json!({"to": "9555"}));
        assert_eq!(answer, 202, "{begun}");
        well(refusing);
        let record = record(&server);
        assert_eq!((&record["sip_status"], &record["q850"]), (&json!(code), &json!(q850)), "{record}");
        assert_eq!((&record["cause"], &record["hung_up"]), (&json!("sip.refused"), &json!("callee")));
        assert_eq!((&record["answered_at"], &record["billable_s"]), (&Value::Null, &json!(0)), "{record}");
        let leg = &record["legs"][0];
        assert_eq!((&leg["sip_status"], &leg["trunk"]), (&json!(code), &json!("carrier")), "{leg}");
        let places: Vec<_> = leg["redirections"].as_array().expect("a list").iter().collect();
        if code == 301 {
            // SIPp's own Contact, and the one that counts.
            let target =
                |place: &&Value| place["target"].as_str().is_some_and(|to| to.contains("+1900555@127.0.0.3"));
            assert!(places.iter().any(target) && places.iter().all(|place| is_time(&place["at"])), "{leg}");
            let results: Vec<_> = places.iter().map(|place| &place["result"]).collect();
            assert!(results == ["route", "host"] || results == ["host", "route"], "{leg}");
        } else {
            assert!(places.is_empty(), "{leg}");
        }
    }
}

#[test]
fn nobody_is_rung_and_nobody_answered_whom_no_recogniser_would_hear() {
    if tool_missing(TOOLS) {
        return;
    }
    let carrier = UdpSocket::bind((CARRIER, 0)).expect("a port");
    carrier.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
    let port = carrier.local_addr().expect("bound").port();
    let tables = tables(&[port], "[[tenant]]\nname = \"small\"\nlive = 0\noutbound = 1\n");
    let tables = tables.replace("name = \"pbx\"", "name = \"pbx\"\ntenant = \"small\"")
        + "[[token]]\nname = \"desk\"\nsecret = \"desk-0123456789abcd\"\nscopes = [\"admin\"]\ntenant = \"small\"\n";
    let server = Server::start(Options {
        engine: "scripted",
        flow: Some(LINE),
        tables: &tables,
        ..Options::default()
    });

    // The first rings, and has the tenant's one place.
    let body = json!({"to": "9555", "ring": "20s"});
    let (status, begun) = ask(&server, "POST", "/v1/calls", DESK, &body);
    assert_eq!(status, 202, "{begun}");
    let invited = |packet: &[u8]| {
        let text = String::from_utf8_lossy(packet).into_owned();
        let id = text.lines().find_map(|line| line.strip_prefix("Call-ID: ")).map(str::to_owned);
        text.starts_with("INVITE").then_some(id).flatten()
    };
    let mut packet = [0; 65_536];
    let length = carrier.recv(&mut packet).expect("the first is rung");
    let first = invited(&packet[..length]).expect("an INVITE");

    // The second is refused at once, and nobody hears of it.
    let request = ureq::post(format!("http://{}/v1/calls", server.http()))
        .header("authorization", format!("Bearer {DESK}"))
        .config()
        .http_status_as_error(false)
        .build();
    let mut refused = request.send_json(&body).expect("the API answers");
    let after =
        refused.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
    let told: Value = refused.body_mut().read_json().expect("JSON");
    assert_eq!(
        (refused.status().as_u16(), &told["error"]["code"]),
        (503, &json!("limit.recognizers")),
        "{told}"
    );
    assert!(after.is_some_and(|after| (1..=3_600).contains(&after)), "{after:?}");
    while let Ok(length) = carrier.recv(&mut packet) {
        assert!(invited(&packet[..length]).is_none_or(|id| id == first), "somebody was rung");
    }
    let record = wait_for("the refused call's record", LIMIT, || {
        let page = ask(&server, "GET", "/v1/cdr", DESK, &Value::Null).1;
        page["records"].as_array()?.iter().find(|record| record["cause"] == "limit.calls").cloned()
    });
    assert_eq!((&record["direction"], &record["legs"][0]["rung_at"]), (&json!("outbound"), &Value::Null));

    // A caller is told when to come back.
    let values = [("@STATUS@", "503")];
    let refused =
        Sipp { scenario: "refused.xml", values: &values, limit: LIMIT, ..Sipp::default() }.pass(&server);
    let after = refused.line("Retry-After: ").and_then(|after| after.trim().parse::<u64>().ok());
    assert!(after.is_some_and(|after| after > 0), "{}", refused.messages);
}

#[test]
fn nobody_at_a_host_is_told_apart_from_somebody_who_does_not_answer() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "");
    let silent = callee(&server, "callee_silent.xml", port, &[]);
    let (status, begun) = server.post("/v1/calls", &json!({"to": "9555", "ring": "2s"}));
    assert_eq!(status, 202, "{begun}");
    well(silent);
    let unanswered = record(&server);
    assert_eq!((&unanswered["cause"], &unanswered["q850"]), (&json!("sip.no_answer"), &json!(19)));
    assert!(is_time(&unanswered["ringing_at"]), "{unanswered}");
    let (status, begun) = server.post("/v1/calls", &json!({"to": "9555"}));
    assert_eq!(status, 202, "{begun}");
    let records = records(&server, 2, "");
    let dead = records.iter().find(|record| record["id"] == begun["id"]).expect("its record");
    assert_eq!((&dead["cause"], &dead["hung_up"]), (&json!("sip.unreachable"), &json!("system")), "{dead}");
    assert_eq!(dead["legs"][0]["ringing_at"], Value::Null, "{dead}");
}

#[test]
fn a_call_that_is_put_through_names_its_partner_its_parent_and_the_trunks() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "");
    let called = callee(&server, "callee.xml", port, &[("@RING@", "200")]);
    let values = [("@HOLD@", "700")];
    Sipp { service: "9555", values: &values, limit: LIMIT, ..Sipp::default() }.pass(&server);
    well(called);
    let records = records(&server, 2, "");
    let (inbound, outbound) = (&records[0], &records[1]);
    assert_eq!((&inbound["direction"], &inbound["trunk"]), (&json!("inbound"), &json!("pbx")), "{inbound}");
    assert_eq!((&outbound["trunk"], &outbound["parent"]), (&json!("carrier"), &inbound["id"]), "{outbound}");
    assert_eq!(inbound["legs"][0]["partners"], json!([outbound["id"]]), "{inbound}");
    assert_eq!(outbound["legs"][0]["partners"], json!([inbound["id"]]), "{outbound}");
    assert_eq!((&inbound["flow"], &outbound["flow"]), (&Value::Null, &Value::Null));
    assert!(is_time(&inbound["ringing_at"]) && is_time(&outbound["ringing_at"]), "{inbound} {outbound}");
    assert_eq!(outbound["legs"][0]["host"], format!("{CARRIER}:{port}"), "{outbound}");
}

#[test]
fn each_telephone_of_a_user_is_a_leg() {
    if tool_missing(TOOLS) {
        return;
    }
    // MD5 of `anna:antiphon:a long password`: SIPp knows nothing newer.
    let user = "[registrar]\nenabled = true\n[[user]]\nname = \"anna\"\nha1 = \"2c9dd54fb465bb2ad31bd5513ccb7703\"\n";
    let server = server(&[free_port()], user);
    let ports = [free_port(), free_port()];
    for port in ports {
        let digest = Some(("anna", "a long password"));
        let phone =
            Sipp { scenario: "registers.xml", service: "anna", port: Some(port), digest, ..Sipp::default() };
        phone.pass(&server);
    }
    let phone = |scenario, port, values| {
        Sipp { scenario, port: Some(port), user: "anna", values, limit: LIMIT, ..Sipp::default() }
            .start(&server)
    };
    let desk = phone("callee.xml", ports[0], &[("@RING@", "600")]);
    let home = phone("callee_silent.xml", ports[1], &[]);
    let (status, begun) = server.post("/v1/calls", &json!({"to": "user:anna"}));
    assert_eq!(status, 202, "{begun}");
    server.wait_events("call.answered", 1, Duration::from_secs(10));
    well(home);
    let path = format!("http://{}/v1/calls/{}", server.http(), begun["id"].as_str().expect("an id"));
    assert!(ureq::delete(&path).call().expect("the API answers").status().is_success());
    well(desk);
    let record = record(&server);
    assert_eq!((&record["user"], &record["trunk"]), (&json!("anna"), &Value::Null), "{record}");
    assert_eq!(
        (&record["token"], &record["ended_by"]),
        (&Value::Null, &Value::Null),
        "no token is configured"
    );
    let mut told: Vec<_> = record["legs"]
        .as_array()
        .expect("legs")
        .iter()
        .map(|leg| {
            assert_eq!(leg["user"], "anna", "{leg}");
            assert!(is_time(&leg["ringing_at"]), "{leg}");
            (leg["host"].as_str().expect("a host"), leg["cause"].as_str().expect("a cause"))
        })
        .collect();
    told.sort_by_key(|(_, cause)| *cause);
    let hosts = ports.map(|port| format!("{HOST}:{port}"));
    assert_eq!(told, [(hosts[1].as_str(), "call.elsewhere"), (hosts[0].as_str(), "call.hangup.operator")]);
}

#[test]
fn a_conference_is_named() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = server(&[free_port()], "");
    let values = [("@HOLD@", "700")];
    Sipp { service: "81", values: &values, ..Sipp::default() }.pass(&server);
    let record = record(&server);
    assert_eq!(record["legs"][0]["conference"], "room-1", "{record}");
}

#[test]
fn who_takes_a_place_is_another_leg() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = server(&[free_port()], "");
    let first =
        Sipp { scenario: "replaced.xml", user: "old", limit: LIMIT, ..Sipp::default() }.start(&server);
    server.wait_events("call.answered", 1, Duration::from_secs(10));
    let seen = wait_for("the ACK", Duration::from_secs(5), || {
        let messages = first.messages();
        messages.contains("ACK sip:").then_some(messages)
    });
    let value = |name: &str, inside: &str| -> String {
        let mut lines = seen.lines().map(str::trim).filter_map(|line| line.strip_prefix(name));
        lines.find(|line| line.contains(inside)).expect("the header is there").to_owned()
    };
    let tag = |header: String| header.rsplit("tag=").next().expect("a tag").to_owned();
    let call_id = value("Call-ID: ", "");
    let (from, to) = (tag(value("From: ", "tag=")), tag(value("To: ", "tag=")));
    let replaces = format!("{call_id};to-tag={to};from-tag={from}");
    let values = [("@REPLACES@", replaces.as_str()), ("@HOLD@", "700")];
    let second =
        Sipp { scenario: "replacing.xml", user: "new", values: &values, ..Sipp::default() }.pass(&server);
    well(first);
    let record = record(&server);
    let legs = record["legs"].as_array().expect("legs");
    let told: Vec<_> = legs.iter().map(|leg| (&leg["from"], &leg["sip_call_id"], &leg["cause"])).collect();
    let (old, new) = (json!(call_id), json!(second.line("Call-ID: ").expect("a Call-ID")));
    assert_eq!(
        told,
        [
            (&json!("old"), &old, &json!("call.hangup.replaced")),
            (&json!("new"), &new, &json!("call.hangup.caller"))
        ]
    );
    assert_eq!(record["answered_at"], legs[0]["answered_at"], "{record}");
    assert_eq!(legs[0]["ended_at"], legs[1]["answered_at"], "{record}");
}
