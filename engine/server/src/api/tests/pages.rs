//! Tokens of web pages, and what pages are told of relays.

use super::webrtc::{SDP, offer, post, server_with};
use super::*;
use crate::config::{Config, IceServer, Length};

const KEY: &str = "a-key-of-some-length";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn protected(config: &mut Config) {
    config.http.token = Some(Secret::new(KEY.to_owned()));
    config.call.concurrent = 4;
    config.ice_servers = vec![IceServer {
        urls: vec!["turn:turn.example:3478?transport=udp".to_owned()],
        secret: Some(Secret::new("north".to_owned())),
        secret_env: None,
        secret_file: None,
        lifetime: Length::millis(60_000),
    }];
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A token of a page by what is asked for.
async fn token(server: &Server, body: &str) -> String {
    let key = bearer(KEY);
    let issued = post(server, "/v1/webrtc/tokens", &[JSON, ("Authorization", &key)], body).await;
    assert_eq!(issued.status, 201, "{issued:?}");
    assert!(issued.json()["expires_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{issued:?}");
    issued.json()["token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pages_token_is_good_for_its_own_calls_and_nothing_else() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server_with(&data, protected).await;
    let page = bearer(&token(&server, r#"{"to": ["1001"], "from": "customer-7"}"#).await);
    let page = ("Authorization", page.as_str());
    let key = bearer(KEY);
    let key = ("Authorization", key.as_str());

    let elsewhere = post(&server, "/v1/webrtc?to=1002", &[SDP, page], &offer()).await;
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (403, "token.scope"));
    let broken = post(&server, "/v1/webrtc?to=1001", &[SDP, page], "hello").await;
    assert_eq!(broken.status, 400, "it does not count");
    let opened = post(&server, "/v1/webrtc?to=1001", &[SDP, page], &offer()).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let spent = post(&server, "/v1/webrtc?to=1001", &[SDP, page], &offer()).await;
    assert_eq!((spent.status, spent.code().as_str()), (403, "token.spent"));

    let session = opened.header("location").expect("where it is").to_owned();
    let call = session.replace("/v1/webrtc/", "/v1/calls/");
    let other = post(&server, "/v1/webrtc", &[SDP, key], &offer()).await;
    let other = other.header("location").expect("where it is").to_owned();
    let others = other.replace("/v1/webrtc/", "/v1/calls/");
    assert_eq!(server.ask("GET", &call, &[key]).await.json()["from"], "customer-7");
    for (method, path) in [
        ("GET", "/v1/calls"),
        ("GET", call.as_str()),
        ("DELETE", call.as_str()),
        ("GET", &format!("{call}/recording")),
        ("POST", &format!("{call}/transfer")),
        ("GET", &format!("{others}/events")),
        ("DELETE", other.as_str()),
        ("PATCH", other.as_str()),
        ("GET", "/v1/events"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("POST", "/v1/webrtc/tokens"),
    ] {
        let refused = server.ask(method, path, &[page]).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "token.scope"), "{method} {path}");
    }
    let events = server.ask("GET", &format!("{call}/events"), &[page]).await;
    assert!(events.status == 200 && events.text().contains("call.started"), "{events:?}");
    assert_eq!(server.ask("DELETE", &session, &[page]).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_page_is_told_what_is_heard_and_not_how_a_flow_decides() {
    let server = Server::start().await;
    let (mut log, _ends) = server.call(1);
    let slot = EventBody::Slot { name: "account".into(), value: Pii::new("12345678".into()) };
    log.write(MediaTime::from_millis(1), slot);
    log.write(MediaTime::from_millis(2), EventBody::HoldStarted { by_far_side: true });
    let history = server.calls.watch(CallId(1)).expect("known").0;
    let told: Vec<_> = history
        .iter()
        .filter(|event| crate::api::watch::is_for_pages(event))
        .map(|event| event.seq)
        .collect();
    assert_eq!(told, [1, 3]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_tokens_are_checked() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server_with(&data, protected).await;
    let none = post(&server, "/v1/webrtc/tokens", &[JSON], r#"{"to": ["1001"]}"#).await;
    assert_eq!((none.status, none.code().as_str()), (401, "token.missing"));
    let key = bearer(KEY);
    for body in [
        r#"{}"#,
        r#"{"to": []}"#,
        r#"{"to": ["sip:x@evil.example"]}"#,
        r#"{"to": ["1001"], "from": "a b"}"#,
        r#"{"to": ["1001"], "calls": 0}"#,
        r#"{"to": ["1001"], "calls": 1001}"#,
        r#"{"to": ["1001"], "lifetime": "1s"}"#,
        r#"{"to": ["1001"], "lifetime": "25h"}"#,
        r#"{"to": ["1001"], "scopes": ["admin"]}"#,
    ] {
        let refused = post(&server, "/v1/webrtc/tokens", &[JSON, ("Authorization", &key)], body).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "body.invalid"), "{body}");
    }
    let made_up = bearer(&format!("page_{}", "0".repeat(64)));
    let wrong = post(&server, "/v1/webrtc", &[SDP, ("Authorization", &made_up)], &offer()).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (401, "token.wrong"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_call_is_told_of_relays_and_nobody_else() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server_with(&data, protected).await;
    let page = bearer(&token(&server, r#"{"to": [""]}"#).await);
    let page = ("Authorization", page.as_str());
    let opened = post(&server, "/v1/webrtc", &[SDP, page], &offer()).await;
    let call = opened.header("location").and_then(|path| path.rsplit('/').next()).expect("a call").to_owned();
    let link = opened.header("link").expect("a relay");
    assert!(link.starts_with("<turn:turn.example:3478?transport=udp>; rel=\"ice-server\""), "{link}");
    assert!(link.contains(&format!(":{call}\"; credential=\"")), "they are of this call: {link}");

    let early = server.ask("OPTIONS", "/v1/webrtc", &[page]).await;
    assert!(early.status == 204 && early.header("link").is_some(), "{early:?}");
    for (path, headers) in [
        ("/v1/webrtc", vec![]),
        ("/v1/webrtc", vec![("Authorization", "Bearer made-up")]),
        ("/v1/webrtc", vec![page, ("Access-Control-Request-Method", "POST")]),
        ("/v1/calls", vec![page]),
    ] {
        let reply = server.ask("OPTIONS", path, &headers).await;
        assert_eq!((reply.status, reply.header("link")), (204, None), "{path} {headers:?}");
    }
    server.stop().await;
}
