//! Call records, deliveries, trunks and scopes.

use std::collections::BTreeSet;

use antiphon_engine_call::MediaSecurity;

use super::*;
use crate::api::page::description;
use crate::cdr::{Records, example};
use crate::config::Overrides;

const CONFIG: &str = r#"
[[trunk]]
name = "carrier"
hosts = ["203.0.113.9:5060"]
max_calls = 5
register = { user = "acme", password = "hunter2" }

[[webhook]]
name = "crm"
url = "http://127.0.0.1:9/?key=hunter2"
secret = "0123456789abcdef"

[[token]]
name = "billing"
secret = "billing-0123456789"
scopes = ["cdr:read"]

[[token]]
name = "desk"
secret = "desk-0123456789abcd"
scopes = ["calls:read"]
"#;

fn configured() -> (tempfile::TempDir, Config) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("antiphon.toml");
    std::fs::write(&path, CONFIG).expect("written");
    let overrides = Overrides { config: Some(path), data: Some(dir.path().into()), ..Overrides::default() };
    (dir, Config::load(&overrides).expect("valid"))
}

/// A server that keeps records, of which there are `count`.
async fn recording(count: usize) -> (tempfile::TempDir, Server, Arc<Records>) {
    let (dir, config) = configured();
    let server = Server::start().await;
    let records = Records::start(&config).await.expect("started");
    server.calls.keep_records(Arc::clone(&records));
    let ended = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    for n in 0..count {
        let offered = ended + jiff::SignedDuration::from_secs(n as i64);
        records.submit(example(&format!("{n:032x}"), &offered.to_string()));
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while records.figures().stored < count as u64 {
        assert!(std::time::Instant::now() < deadline, "the records are stored");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (dir, server, records)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_listed_in_pages_and_found_by_id() {
    let (_dir, server, records) = recording(5).await;
    let ids = |page: &Value| -> Vec<String> {
        let id = |record: &Value| record["id"].as_str().expect("an id").trim_start_matches('0').to_owned();
        page["records"].as_array().expect("records").iter().map(id).collect()
    };
    let page = server.get("/v1/cdr?limit=2").await.json();
    assert_eq!(ids(&page), ["4", "3"]);
    let next = page["next"].as_str().expect("more");
    let page = server.get(&format!("/v1/cdr?limit=5&after={next}")).await.json();
    assert_eq!((ids(&page), &page["next"]), (vec!["2".into(), "1".into(), String::new()], &Value::Null));
    assert_eq!(ids(&server.get("/v1/cdr?trunk=carrier&answered=true&to=5550100").await.json()).len(), 5);
    assert_eq!(ids(&server.get("/v1/cdr?direction=outbound").await.json()).len(), 0);
    assert_eq!(ids(&server.get("/v1/cdr?since=2100-01-01T00:00:00Z").await.json()).len(), 0);
    for query in ["since=now", "direction=up", "answered=2", "limit=0", "after=x", "colour=red"] {
        let reply = server.get(&format!("/v1/cdr?{query}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "cdr.query"), "{query}");
    }
    let one = server.get(&format!("/v1/cdr/{:032x}", 3)).await.json();
    assert_eq!(one["cause"], "call.hangup.caller");
    assert_eq!(server.get(&format!("/v1/cdr/{:032x}", 99)).await.code(), "cdr.unknown");
    assert_eq!(server.get("/v1/cdr/3").await.code(), "call.id");
    records.shutdown().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_has_a_record() {
    let (dir, server, records) = recording(0).await;
    let (mut log, _ends) = server.call(7);
    log.record().trunk = Some("carrier".into());
    log.write(
        MediaTime::ZERO,
        EventBody::CallAnswered {
            codec: "PCMA".into(),
            sample_rate_hz: 8_000,
            security: MediaSecurity::None,
        },
    );
    log.write(MediaTime::from_millis(2_500), ended());
    records.shutdown().await;
    server.stop().await;
    let store = antiphon_engine_store::Store::look(&dir.path().join("antiphon.db")).await.expect("opened");
    let record = store.call(&format!("{:032x}", 7)).await.expect("asked").expect("there");
    assert_eq!((record["from"].as_str(), record["trunk"].as_str()), (Some("13800138000"), Some("carrier")));
    assert_eq!((record["duration_ms"].as_u64(), record["billable_s"].as_u64()), (Some(2_500), Some(3)));
    assert_eq!(record["legs"][0]["codecs"][0]["codec"], "PCMA");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_without_what_they_carry_and_tried_again() {
    let (_dir, server, records) = recording(3).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    while records.figures().failed < 3 {
        assert!(std::time::Instant::now() < deadline, "nobody listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let reply = server.get("/v1/webhooks/deliveries?state=pending&webhook=crm&limit=2").await;
    assert!(!reply.text().contains("hunter2") && !reply.text().contains("4420"), "{}", reply.text());
    let page = reply.json();
    let first = page["deliveries"][0].clone();
    let members =
        |value: &Value| value.as_object().expect("members").keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(members(&first), members(&description()["components"]["schemas"]["Delivery"]["properties"]));
    assert_eq!((first["attempts"].as_u64(), &first["last_status"]), (Some(1), &Value::Null));
    let next = page["next"].as_str().expect("more");
    let rest = server.get(&format!("/v1/webhooks/deliveries?after={next}")).await.json();
    assert_eq!(rest["deliveries"].as_array().expect("deliveries").len(), 1);
    assert_eq!(
        server.get("/v1/webhooks/deliveries?state=dead").await.json()["deliveries"],
        Value::Array(vec![])
    );
    let retry = |id: &str| format!("/v1/webhooks/deliveries/{id}/retry");
    let again = server.ask("POST", &retry(first["id"].as_str().expect("an id")), &[]).await;
    assert_eq!((again.status, again.json()["attempts"].as_u64()), (202, Some(0)));
    assert_eq!(server.ask("POST", &retry("none"), &[]).await.code(), "delivery.unknown");
    assert_eq!(server.get("/v1/webhooks/deliveries?state=lost").await.code(), "delivery.query");
    records.shutdown().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trunks_are_shown_as_they_are() {
    let (_dir, config) = configured();
    let server = Server::open(config).await;
    let desk = [("Authorization", "Bearer desk-0123456789abcd")];
    let reply = server.ask("GET", "/v1/trunks", &desk).await;
    assert!(!reply.text().contains("hunter2"));
    let trunk = reply.json()["trunks"][0].clone();
    let members =
        |value: &Value| value.as_object().expect("members").keys().cloned().collect::<BTreeSet<_>>();
    let schema = &description()["components"]["schemas"]["Trunk"]["properties"];
    assert_eq!(members(&trunk), members(schema));
    assert_eq!(members(&trunk["hosts"][0]), members(&schema["hosts"]["items"]["properties"]));
    assert_eq!(
        (trunk["max_calls"].as_u64(), trunk["hosts"][0]["state"].as_str()),
        (Some(5), Some("unknown"))
    );
    assert_eq!(trunk["registration"]["state"], "registering");
    server.stop().await;
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_say() {
    let (_dir, config) = configured();
    let server = Server::start_as(config.tokens, Limits::default()).await;
    let ask = async |method: &str, path: &str, token: &str| {
        let authorization = format!("Bearer {token}");
        server.ask(method, path, &[("Authorization", &authorization)]).await
    };
    for (token, method, path, status) in [
        ("desk-0123456789abcd", "GET", "/v1/calls", 200),
        ("desk-0123456789abcd", "GET", "/metrics", 200),
        ("desk-0123456789abcd", "GET", "/v1/cdr", 403),
        ("desk-0123456789abcd", "DELETE", "/v1/calls/00000000000000000000000000000001", 403),
        ("desk-0123456789abcd", "GET", "/v1/webhooks/deliveries", 403),
        ("billing-0123456789", "GET", "/v1/calls", 403),
        // Records are not kept in this test, but the token would do.
        ("billing-0123456789", "GET", "/v1/cdr", 503),
        ("billing-012345678", "GET", "/v1/cdr", 401),
    ] {
        assert_eq!(ask(method, path, token).await.status, status, "{token} {method} {path}");
    }
    let refused = ask("GET", "/v1/calls", "billing-0123456789").await;
    assert!(refused.status == 403 && refused.text().contains("calls:read"), "{}", refused.text());
    server.stop().await;
}

/// A token for each of these, named by what it may do.
fn tokens(scopes: &[(&str, &[Scope])]) -> Vec<Token> {
    let token = |(name, scopes): &(&str, &[Scope])| Token {
        tenant: None,
        name: (*name).to_owned(),
        secret: Some(Secret::new(format!("{name}-0123456789abcdef"))),
        secret_env: None,
        secret_file: None,
        scopes: scopes.to_vec(),
    };
    scopes.iter().map(token).collect()
}

const SUPERVISORS: [(&str, &[Scope]); 7] = [
    ("listen", &[Scope::SuperviseListen]),
    ("whisper", &[Scope::SuperviseWhisper]),
    ("barge", &[Scope::SuperviseBarge]),
    ("take_over", &[Scope::SuperviseControl]),
    ("writer", &[Scope::CallsRead, Scope::CallsWrite, Scope::CdrRead]),
    ("two", &[Scope::SuperviseListen, Scope::SuperviseBarge]),
    ("admin", &[Scope::Admin]),
];

#[tokio::test]
async fn a_call_is_supervised_in_the_ways_that_the_token_has_a_scope_for() {
    let config = Config { tokens: tokens(&SUPERVISORS), ..Config::default() };
    let server = Server::open(config).await;
    for (name, _) in SUPERVISORS {
        let authorization = format!("Bearer {name}-0123456789abcdef");
        for (mode, scope) in [
            ("listen", "supervise:listen"),
            ("whisper", "supervise:whisper"),
            ("barge", "supervise:barge"),
            ("take_over", "supervise:control"),
        ] {
            let body = format!("{{\"supervisor\": \"{:032x}\", \"mode\": \"{mode}\"}}", 2);
            let length = body.len().to_string();
            let headers = [
                ("Authorization", authorization.as_str()),
                ("Content-Type", "application/json"),
                ("Content-Length", length.as_str()),
            ];
            let reply =
                server.send("POST", &format!("/v1/calls/{:032x}/supervise", 1), &headers, &body).await;
            let may =
                name == mode || name == "admin" || (name == "two" && ["listen", "barge"].contains(&mode));
            if may {
                // Nobody is there to be supervised, which is found out behind the scope.
                assert_eq!(reply.status, 409, "{name} {mode}: {}", reply.text());
            } else {
                assert_eq!((reply.status, reply.code().as_str()), (403, "token.scope"), "{name} {mode}");
                assert!(reply.text().contains(scope), "{name} {mode}: {}", reply.text());
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_call_is_ended_by_who_writes_calls_or_controls_them() {
    let server = Server::start_as(tokens(&SUPERVISORS), Limits::default()).await;
    let (_log, mut ends) = server.call(1);
    for (name, _) in SUPERVISORS {
        let authorization = format!("Bearer {name}-0123456789abcdef");
        let path = format!("/v1/calls/{:032x}", 1);
        let reply = server.ask("DELETE", &path, &[("Authorization", &authorization)]).await;
        let cause = match name {
            "take_over" => Some(Cause::SUPERVISOR_HUNG_UP),
            "writer" | "admin" => Some(Cause::OPERATOR_HUNG_UP),
            _ => None,
        };
        assert_eq!(reply.status, if cause.is_some() { 202 } else { 403 }, "{name}: {}", reply.text());
        assert_eq!(ends.try_recv().ok().map(|cause| cause.code), cause.map(|cause| cause.code), "{name}");
    }
    server.stop().await;
}
