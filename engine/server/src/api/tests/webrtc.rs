//! Calls of web pages, as HTTP sees them.

use super::*;

pub(super) const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");
const DESK: &str = "https://desk.example";
const LATER: &str = "a=ice-ufrag:abcd\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                     a=candidate:1 1 udp 2122262783 192.0.2.9 50000 typ host\r\n";

/// What a browser sends, shortened to one stream.
pub(super) fn offer() -> String {
    let fingerprint = ["AB"; 32].join(":");
    [
        "v=0",
        "o=- 1 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 9 0 110",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=ice-options:trickle",
        &format!("a=fingerprint:sha-256 {fingerprint}"),
        "a=setup:actpass",
        "a=mid:0",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:110 telephone-event/48000",
        "",
    ]
    .join("\r\n")
}

/// A server with everything behind it, one call wide, that knows a page from elsewhere.
async fn server(data: &tempfile::TempDir) -> Server {
    server_with(data, |_| {}).await
}

/// The same with other settings.
pub(super) async fn server_with(data: &tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config { data: data.path().into(), ..Config::default() };
    config.call.concurrent = 1;
    config.http.origins = vec![DESK.to_owned()];
    config.http.examples = true;
    change(&mut config);
    Server::open(config).await
}

pub(super) async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let length = body.len().to_string();
    server.send("POST", path, &[headers, &[("Content-Length", length.as_str())]].concat(), body).await
}

async fn patch(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let length = body.len().to_string();
    server.send("PATCH", path, &[headers, &[("Content-Length", length.as_str())]].concat(), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_opened_trickled_and_closed() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(&data).await;
    let opened = post(&server, "/v1/webrtc", &[SDP], &offer()).await;
    assert_eq!((opened.status, opened.header("content-type")), (201, Some("application/sdp")), "{opened:?}");
    for line in
        ["a=ice-lite", "a=setup:passive", "a=rtcp-mux", "a=group:BUNDLE 0", "a=rtpmap:111 opus/48000/2"]
    {
        assert!(opened.text().lines().any(|found| found == line), "{line} is missing in\n{}", opened.text());
    }
    assert!(opened.text().contains("typ host") && opened.text().contains("telephone-event/48000"));
    let session = opened.header("location").expect("where it is").to_owned();
    let tag = opened.header("etag").expect("a tag").to_owned();

    let again = post(&server, "/v1/webrtc", &[SDP], &offer()).await;
    assert_eq!((again.status, again.code().as_str()), (503, "limit.calls"), "one call is allowed");

    assert_eq!(patch(&server, &session, &[FRAGMENT, ("If-Match", &tag)], LATER).await.status, 204);
    let restart = LATER.replace("abcd", "efgh");
    for (headers, body, expected) in [
        (vec![FRAGMENT], LATER, (428, "session.tag_missing")),
        (vec![FRAGMENT, ("If-Match", "\"0\"")], LATER, (412, "session.tag")),
        (vec![FRAGMENT, ("If-Match", "*")], restart.as_str(), (422, "session.restart")),
        (vec![SDP, ("If-Match", "*")], LATER, (415, "body.type")),
    ] {
        let reply = patch(&server, &session, &headers, body).await;
        assert_eq!((reply.status, reply.code().as_str()), expected);
    }
    assert_eq!(server.ask("DELETE", &session, &[]).await.status, 200);
    let gone = tokio::time::timeout(PATIENCE, async {
        while server.ask("DELETE", &session, &[]).await.status != 404 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    gone.await.expect("the session ends");
    let call = session.replace("/v1/webrtc/", "/v1/calls/");
    assert_eq!(server.get(&call).await.json()["cause"], "call.hangup.caller");
    let free = tokio::time::timeout(PATIENCE, async {
        while post(&server, "/v1/webrtc", &[SDP], &offer()).await.status != 201 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    free.await.expect("its place is free again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_cannot_be_answered_are_refused_with_reasons() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(&data).await;
    let (plain, deaf) = (
        offer().replace("UDP/TLS/RTP/SAVPF", "RTP/AVP").replace("a=fing", "a=x-fing"),
        offer().replace("opus", "magic"),
    );
    let (deaf, no_ice) = (deaf.replace("111 9 0 110", "111"), offer().replace("a=ice-", "a=x-"));
    for (path, kind, body, expected) in [
        ("/v1/webrtc", SDP, "hello", (400, "offer.invalid")),
        ("/v1/webrtc", ("Content-Type", "application/json"), "{}", (415, "body.type")),
        ("/v1/webrtc", SDP, plain.as_str(), (406, "offer.refused")),
        ("/v1/webrtc", SDP, deaf.as_str(), (406, "offer.refused")),
        ("/v1/webrtc", SDP, no_ice.as_str(), (406, "offer.refused")),
        ("/v1/webrtc?to=sip:x@evil.example", SDP, "", (400, "query.invalid")),
        ("/v1/webrtc?whom=1", SDP, "", (400, "query.invalid")),
        ("/v1/webrtc/1", SDP, "", (405, "route.method")),
    ] {
        let reply = post(&server, path, &[kind], body).await;
        assert_eq!((reply.status, reply.code().as_str()), expected, "{path} {reply:?}");
    }
    assert_eq!(server.calls.active(), 0, "nothing is left of them");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_known_origins_may_ask_and_others_may_not() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(&data).await;
    let asks = ("Access-Control-Request-Method", "POST");
    let known = server.ask("OPTIONS", "/v1/webrtc", &[("Origin", DESK), asks]).await;
    assert_eq!((known.status, known.header("access-control-allow-origin")), (204, Some(DESK)));
    assert_eq!(known.header("accept-post"), Some("application/sdp"));
    assert!(known.header("access-control-allow-methods").is_some_and(|methods| methods.contains("delete")));
    let other = server.ask("OPTIONS", "/v1/webrtc", &[("Origin", "https://evil.example"), asks]).await;
    assert_eq!(other.header("access-control-allow-origin"), None);
    assert_eq!(other.header("access-control-allow-methods"), None);
    let evil = post(&server, "/v1/webrtc", &[SDP, ("Origin", "https://evil.example")], &offer()).await;
    assert_eq!((evil.status, evil.code().as_str()), (403, "origin.refused"));
    let good = post(&server, "/v1/webrtc", &[SDP, ("Origin", DESK)], &offer()).await;
    assert_eq!((good.status, good.header("access-control-allow-origin")), (201, Some(DESK)));
    assert!(good.header("access-control-expose-headers").is_some_and(|names| names.contains("location")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_page_is_served_where_it_is_wanted() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(&data).await;
    assert_eq!(server.get("/browser-call").await.header("location"), Some("/browser-call/"));
    let page = server.get("/browser-call/").await;
    assert!(page.status == 200 && page.text().contains("page.js"), "{page:?}");
    assert!(
        page.header("content-security-policy").is_some_and(|policy| policy.contains("script-src 'self'"))
    );
    for (name, kind) in
        [("page.js", "text/javascript"), ("call.js", "text/javascript"), ("style.css", "text/css")]
    {
        let file = server.get(&format!("/browser-call/{name}")).await;
        assert!(file.header("content-type").is_some_and(|found| found.starts_with(kind)), "{name}");
    }
    assert_eq!(server.get("/browser-call/other.js").await.status, 404);
    server.stop().await;
    assert_eq!(Server::start().await.get("/browser-call/").await.status, 404, "unless configured");
}
