//! Requests and their answers.

use antiphon_engine_call::{EventBody, MediaFigures, ResponseTime, Side};

use super::*;

const UNKNOWN: &str = "/v1/calls/000000000000000000000000000000ff";

fn path(id: u128) -> String {
    format!("/v1/calls/{id:032x}")
}

#[tokio::test]
async fn calls_are_listed_newest_first_and_in_pages() {
    let server = Server::start().await;
    let mut logs: Vec<_> = (1..=5).map(|id| server.call(id).0).collect();
    logs[1].write(MediaTime::ZERO, ended());
    let page = server.get("/v1/calls?limit=2").await.json();
    let ids = |page: &Value| -> Vec<u64> {
        let id =
            |call: &Value| u64::from_str_radix(call["id"].as_str().expect("an id"), 16).expect("hexadecimal");
        page["calls"].as_array().expect("calls").iter().map(id).collect()
    };
    assert_eq!(ids(&page), [5, 4]);
    let next = page["next"].as_str().expect("more");
    let page = server.get(&format!("/v1/calls?limit=3&after={next}")).await.json();
    assert_eq!((ids(&page), &page["next"]), (vec![3, 2, 1], &Value::Null));
    assert_eq!(ids(&server.get("/v1/calls?state=ended").await.json()), [2]);
    assert_eq!(ids(&server.get("/v1/calls?state=ringing&limit=1").await.json()), [5]);
    for query in ["state=over", "limit=0", "limit=1001", "limit=x", "colour=red"] {
        let reply = server.get(&format!("/v1/calls?{query}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "query.invalid"), "{query}");
    }
    let after = |id: &str| format!("/v1/calls?after={id}");
    assert_eq!(server.get(&after("000000000000000000000000000000ff")).await.code(), "page.gone");
    assert_eq!(server.get(&after("ff")).await.code(), "call.id");
}

#[tokio::test]
async fn a_call_is_found_and_ended() {
    let server = Server::start().await;
    let (mut log, mut ends) = server.call(7);
    let found = server.get(&path(7)).await.json();
    assert_eq!((&found["from"], &found["state"]), (&"13800138000".into(), &"ringing".into()));
    assert_eq!(server.ask("DELETE", &path(7), &[]).await.status, 202);
    assert_eq!(ends.try_recv().expect("asked"), Cause::OPERATOR_HUNG_UP);
    log.write(MediaTime::ZERO, ended());
    let again = server.ask("DELETE", &path(7), &[]).await;
    assert_eq!((again.status, again.code().as_str()), (409, "call.ended"));
    assert_eq!(server.get(&path(7)).await.json()["cause"], "call.hangup.caller");
    for method in ["GET", "DELETE"] {
        let reply = server.ask(method, UNKNOWN, &[]).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "call.unknown"));
        for id in ["ff", "%2e%2e", "zz000000000000000000000000000000", "%ff"] {
            let reply = server.ask(method, &format!("/v1/calls/{id}"), &[]).await;
            assert_eq!(reply.status, 400, "{id}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_as_json() {
    let server = Server::start().await;
    let lost = server.get("/v1/nothing").await;
    assert_eq!((lost.status, lost.code().as_str()), (404, "route.unknown"));
    let wrong = server.ask("POST", "/v1/events", &[]).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (405, "route.method"));
    assert_eq!(wrong.header("allow"), Some("get,head"));
    let large = server.ask("DELETE", UNKNOWN, &[("Content-Length", "65537")]).await;
    assert_eq!((large.status, large.code().as_str()), (413, "body.too_large"));
    let plain = server.get("/v1/events").await;
    assert_eq!((plain.status, plain.code().as_str()), (426, "upgrade.required"));
    assert_eq!(plain.header("upgrade"), Some("websocket"));
    let half = server.ask("GET", "/v1/events", &[("Upgrade", "websocket")]).await;
    assert_eq!((half.status, half.code().as_str()), (400, "upgrade.invalid"));
}

#[tokio::test]
async fn the_token_opens_everything_and_nothing_else_does() {
    let server = Server::start_with(Some("open sesame"), Limits::default()).await;
    assert_eq!(server.get("/healthz").await.text(), "ok\n");
    for path in ["/", "/readyz", "/metrics", "/openapi.json", "/v1/calls", "/v1/events", "/v1/nothing"] {
        let none = server.get(path).await;
        assert_eq!((none.status, none.code().as_str()), (401, "token.missing"), "{path}");
        assert_eq!(none.header("www-authenticate"), Some("bearer realm=\"antiphon\""));
    }
    for wrong in ["Bearer open", "Bearer open sesame!", "Bearer OPEN SESAME", "Bearer "] {
        assert_eq!(server.ask("GET", "/v1/calls", &[("Authorization", wrong)]).await.status, 401, "{wrong}");
    }
    for other in ["/v1/calls?token=open%20sesame", "/v1/calls?access_token=open%20sesame"] {
        assert_eq!(server.get(other).await.status, 401, "{other}");
    }
    // With a token, names other than loopback are for the network to judge.
    for good in ["Bearer open sesame", "bearer open sesame"] {
        let headers = [("Authorization", good), ("Host", "calls.example")];
        assert_eq!(server.ask("GET", "/v1/calls", &headers).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn other_names_and_other_sites_are_refused_on_loopback() {
    let server = Server::start().await;
    for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8080", ""] {
        let reply = server.ask("GET", "/v1/calls", &[("Host", host)]).await;
        assert_eq!((reply.status, reply.code().as_str()), (421, "host.refused"), "{host}");
    }
    let absolute = server.get("http://evil.example/v1/calls").await;
    assert_eq!(absolute.status, 421);
    for host in ["localhost", "127.0.0.1:1", "[::1]:8080"] {
        assert_eq!(server.ask("GET", "/v1/calls", &[("Host", host)]).await.status, 200, "{host}");
    }
    let _call = server.call(1);
    for origin in ["http://evil.example", "null", "http://localhost.evil.example"] {
        let reply = server.ask("DELETE", &path(1), &[("Origin", origin)]).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "origin.refused"), "{origin}");
        assert_eq!(server.watch("/v1/events", &[("Origin", origin)]).await.err(), Some(403), "{origin}");
    }
    let local = [("Origin", "http://localhost:3000")];
    assert_eq!(server.ask("DELETE", &path(1), &local).await.status, 202);
    assert!(server.watch("/v1/events", &local).await.is_ok());
}

#[tokio::test]
async fn recordings_are_served_whole_and_in_ranges() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let wav = folder.path().join("a.wav");
    std::fs::write(&wav, b"RIFF0123456789").expect("written");
    let (mut log, _ends) = server.call(1);
    let (recording, sidecar) = (path(1) + "/recording", path(1) + "/sidecar");
    let early = server.get(&recording).await;
    assert_eq!((early.status, early.code().as_str()), (409, "recording.unfinished"));
    log.write(MediaTime::ZERO, EventBody::Recording { path: wav.display().to_string(), duration_ms: 10 });
    assert_eq!(server.get(&sidecar).await.code(), "recording.unfinished");
    std::fs::write(wav.with_extension("json"), "{\"format\":1}").expect("written");
    log.write(MediaTime::ZERO, ended());
    let whole = server.get(&recording).await;
    assert_eq!((whole.status, whole.body.as_slice()), (200, b"RIFF0123456789".as_slice()));
    assert_eq!(whole.header("content-type"), Some("audio/wav"));
    let part = server.ask("GET", &recording, &[("Range", "bytes=4-6")]).await;
    assert_eq!((part.status, part.text()), (206, "012"));
    assert_eq!(part.header("content-range"), Some("bytes 4-6/14"));
    assert_eq!(server.ask("GET", &recording, &[("Range", "bytes=99-")]).await.status, 416);
    assert_eq!(server.ask("HEAD", &recording, &[]).await.header("content-length"), Some("14"));
    assert_eq!(server.get(&sidecar).await.json()["format"], 1);
    std::fs::remove_file(&wav).expect("removed");
    let gone = server.get(&recording).await;
    assert_eq!((gone.status, gone.code().as_str()), (410, "recording.gone"));
    server.call(2).0.write(MediaTime::ZERO, ended());
    assert_eq!(server.get(&(path(2) + "/recording")).await.code(), "recording.none");
}

#[tokio::test]
async fn readiness_follows_the_limit_and_the_end() {
    let server = Server::start().await;
    assert_eq!(server.get("/readyz").await.text(), "ready\n");
    let calls: Vec<_> = (1..=3).map(|id| server.call(id)).collect();
    let full = server.get("/readyz").await;
    assert_eq!((full.status, full.code().as_str()), (503, "limit.calls"));
    drop(calls);
    assert_eq!(server.get("/readyz").await.status, 200);
    server.calls.end_all(Cause::SHUTDOWN);
    assert_eq!(server.get("/readyz").await.code(), "server.stopping");
}

#[tokio::test]
async fn the_page_shows_calls_and_no_markup_of_theirs() {
    let server = Server::start().await;
    let (end, _ends) = mpsc::channel(1);
    let mut log = server.calls.begin(CallId(1), "inbound", "2026-11-22T01:02:03Z".into(), None, end);
    let (from, to) = (Pii::new("<script>alert('x')</script>".to_owned()), Pii::new("a&b".to_owned()));
    log.write(MediaTime::ZERO, EventBody::CallStarted { from, to, direction: "inbound" });
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    assert!(page.header("cache-control") == Some("no-store"));
    let html = page.text();
    assert!(
        html.contains("&lt;script&gt;alert(&#39;x&#39;)")
            && html.contains("a&amp;b")
            && !html.contains("<script")
    );
    assert!(html.contains(&format!("href=\"{}/events\"", path(1))));
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src="));
}

#[tokio::test]
async fn metrics_are_well_formed_and_anonymous() {
    let server = Server::start().await;
    let (mut log, _ends) = server.call(1);
    log.write(MediaTime::ZERO, EventBody::Response(ResponseTime { recognized_ms: 300, first_audio_ms: 450 }));
    let figures = MediaFigures {
        packets: 120,
        lost: 3,
        late: 1,
        jitter_ms: 8.0,
        round_trip_ms: Some(125.0),
        mos: Some(4.25),
        ..MediaFigures::default()
    };
    log.write(MediaTime::ZERO, EventBody::Media { side: Side::Caller, figures });
    log.write(MediaTime::ZERO, ended());
    let reply = server.get("/metrics").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = reply.text();
    assert!(!text.contains("13800138000") && !text.contains(&path(1)[10..]));
    for line in [
        "antiphon_calls_active 0",
        "antiphon_calls_limit 3",
        "antiphon_calls_started_total{direction=\"inbound\"} 1",
        "antiphon_calls_ended_total{cause=\"call.hangup.caller\"} 1",
        "antiphon_calls_ended_total{cause=\"limit.calls\"} 0",
        "antiphon_call_duration_seconds_bucket{le=\"1\"} 0",
        "antiphon_call_duration_seconds_bucket{le=\"5\"} 1",
        "antiphon_call_duration_seconds_sum 2.5",
        "antiphon_response_first_audio_seconds_bucket{le=\"0.4\"} 0",
        "antiphon_response_first_audio_seconds_bucket{le=\"0.5\"} 1",
        "antiphon_response_recognized_seconds_bucket{le=\"+Inf\"} 1",
        "antiphon_media_packets_total{direction=\"received\"} 120",
        "antiphon_media_packets_lost_total{direction=\"received\"} 3",
        "antiphon_media_packets_late_total{direction=\"received\"} 1",
        "antiphon_media_jitter_seconds_bucket{direction=\"received\",le=\"0.005\"} 0",
        "antiphon_media_jitter_seconds_bucket{direction=\"received\",le=\"0.01\"} 1",
        "antiphon_media_jitter_seconds_sum{direction=\"received\"} 0.008",
        "antiphon_media_round_trip_seconds_bucket{direction=\"received\",le=\"0.15\"} 1",
        "antiphon_media_round_trip_seconds_sum{direction=\"received\"} 0.125",
        "antiphon_media_mos_bucket{direction=\"received\",le=\"4\"} 0",
        "antiphon_media_mos_bucket{direction=\"received\",le=\"4.3\"} 1",
        "antiphon_media_mos_sum{direction=\"received\"} 4.25",
        "antiphon_media_mos_count{direction=\"received\"} 1",
        "antiphon_media_mos_count{direction=\"sent\"} 0",
        "antiphon_shard_worst_delay_seconds 0.003",
        "antiphon_pool_busy_seconds_total{worker=\"1\"} 2",
        "antiphon_pool_audio_seconds_total 1.5",
        "antiphon_uptime_seconds 7",
    ] {
        assert!(text.lines().any(|have| have == line), "lacks `{line}`:\n{text}");
    }
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().expect("a name").to_owned();
            assert_eq!(text.matches(&format!("# TYPE {family} ")).count(), 1, "{family}");
        } else if !line.starts_with("# TYPE ") {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            let name = name.split('{').next().expect("a name");
            let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} under {family}"));
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[tokio::test]
async fn who_sends_no_request_is_let_go() {
    let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start_with(None, limits).await;
    for start in ["", "GET /healthz HTTP/1.1\r\nHost: lo"] {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        stream.write_all(start.as_bytes()).await.expect("sent");
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "still open after {start:?}");
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
}

#[tokio::test]
async fn who_takes_no_byte_of_a_recording_is_let_go() {
    let limits = Limits { connections: 1, send: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start_with(None, limits).await;
    let wav = tempfile::NamedTempFile::new().expect("a file");
    // More than the buffers of both ends take.
    wav.as_file().set_len(256 << 20).expect("as long");
    let (mut log, _ends) = server.call(1);
    log.write(
        MediaTime::ZERO,
        EventBody::Recording { path: wav.path().display().to_string(), duration_ms: 10 },
    );
    let mut stalled = TcpStream::connect(server.address).await.expect("connected");
    let request = format!("GET {}/recording HTTP/1.1\r\nHost: {}\r\n\r\n", path(1), server.address);
    stalled.write_all(request.as_bytes()).await.expect("sent");
    // The one place is taken until then.
    assert_eq!(server.get("/healthz").await.status, 200);
    drop(stalled);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let limits = Limits { connections: 1, head: Duration::from_millis(500), ..Limits::default() };
    let server = Server::start_with(None, limits).await;
    let idle = TcpStream::connect(server.address).await.expect("connected");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waited = std::time::Instant::now();
    assert_eq!(server.get("/healthz").await.status, 200);
    assert!(
        waited.elapsed() > Duration::from_millis(200),
        "served beside the idle one: {:?}",
        waited.elapsed()
    );
    drop(idle);
}
