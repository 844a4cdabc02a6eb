//! Records from a call's end to the store and to webhooks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Instant;

use antiphon_engine_call::{Cause, EventBody};
use antiphon_media_frame::{CallId, MediaTime};

use super::*;
use crate::config::{Length, Secret, Webhook};
use antiphon_engine_store::{CallFilter, DeliveryState};

/// Whatever a test waits for comes well before this.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(dir: &tempfile::TempDir) -> Config {
    Config { data: dir.path().to_owned(), ..Config::default() }
}

fn webhook(url: String, events: &[&str]) -> Webhook {
    Webhook {
        name: "crm".into(),
        url: Secret::new(url),
        secret: Some(Secret::new("0123456789abcdef".into())),
        secret_env: None,
        secret_file: None,
        events: events.iter().map(|&event| event.to_owned()).collect(),
        timeout: Length::millis(5_000),
        give_up: Length::millis(86_400_000),
    }
}

/// A record of a call that ended just now.
fn fresh(n: usize) -> CallRecord {
    let offered = Timestamp::now() - jiff::SignedDuration::from_secs(62);
    example(&format!("{n:032x}"), &offered.to_string())
}

async fn until(what: &str, mut fits: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fits().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn stored(store: &Store) -> usize {
    store.calls(&CallFilter::default(), 10_000).await.expect("a page").records.len()
}

/// A receiver that answers with these statuses, one request after the other, and passes on what it got.
fn receiver(statuses: &[u16]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook?key=hunter2", listener.local_addr().expect("bound"));
    let (sender, requests) = sync_channel(100);
    let statuses = statuses.to_vec();
    std::thread::spawn(move || {
        for status in statuses {
            let Ok((stream, _)) = listener.accept() else { return };
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a head");
                if line == "\r\n" {
                    break;
                }
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                head += &lower;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).expect("answered");
            let _ = sender.send((head, String::from_utf8(body).expect("text")));
        }
    });
    (url, requests)
}

async fn received(requests: &Receiver<(String, String)>) -> (String, String) {
    let mut got = None;
    until("a request comes", async || {
        got = requests.try_recv().ok();
        got.is_some()
    })
    .await;
    got.expect("waited for")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_reaches_journal_and_store() {
    let dir = tempfile::tempdir().expect("a folder");
    let records = Records::start(&config(&dir)).await.expect("started");
    for n in 0..2_000 {
        records.submit(fresh(n));
    }
    until("all are stored", async || records.figures().stored == 2_000).await;
    assert_eq!(stored(records.store()).await, 2_000);
    let reading = records.figures();
    assert_eq!((reading.written, reading.lost), (2_000, 0));
    records.shutdown().await;
    let lines: usize = journal::files(&dir.path().join("cdr"))
        .expect("listed")
        .iter()
        .map(|name| {
            let text = std::fs::read_to_string(dir.path().join("cdr").join(name)).expect("read");
            text.lines().count()
        })
        .sum();
    assert_eq!(lines, 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_missed_is_taken_in_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a folder");
    // A process that was killed between journal and store left these.
    let folder = dir.path().join("cdr");
    let mut journal = Journal::open(&folder, crate::config::Durability::Batch).expect("a folder");
    let old: Vec<_> = (0..700).map(|n| example(&format!("{n:032x}"), "2026-01-02T03:04:05Z")).collect();
    journal.append(&old).expect("written");
    for round in 0..2 {
        let records = Records::start(&config(&dir)).await.expect("started");
        until("all are stored", async || stored(records.store()).await == 700).await;
        // Figures follow what they count; the end waits for both.
        records.shutdown().await;
        let expected = if round == 0 { 700 } else { 0 };
        assert_eq!(records.figures().stored, expected, "the second start takes in nothing twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_before_shutdown_is_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let records = Records::start(&config(&dir)).await.expect("started");
    for n in 0..100 {
        records.submit(fresh(n));
    }
    records.shutdown().await;
    records.submit(fresh(100));
    assert_eq!(records.figures().lost, 1, "afterwards it is told");
    assert_eq!(records.figures().written, 100, "the journal has them, however slow the store is");
    let records = Records::start(&config(&dir)).await.expect("started again");
    until("all are stored", async || stored(records.store()).await == 100).await;
    records.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_with_a_signature_and_again_after_a_failure() {
    let dir = tempfile::tempdir().expect("a folder");
    let (url, requests) = receiver(&[500, 200]);
    let mut config = config(&dir);
    config.webhooks = vec![webhook(url, &["cdr"])];
    let records = Records::start(&config).await.expect("started");
    records.submit(fresh(1));
    let (head, body) = received(&requests).await;
    let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (value["type"].as_str(), value["data"]["cause"].as_str()),
        (Some("cdr"), Some("call.hangup.caller"))
    );
    let id = format!("cdr-{:032x}-crm", 1);
    assert_eq!(value["id"], id);
    assert!(
        head.contains(&format!("idempotency-key: {id}")) && head.contains("antiphon-event: cdr"),
        "{head}"
    );
    let signature =
        head.lines().find_map(|line| line.strip_prefix("antiphon-signature: t=")).expect("signed");
    let (seconds, signature) = signature.split_once(",v1=").expect("both parts");
    let mut mac: hmac::Hmac<sha2::Sha256> = hmac::Mac::new_from_slice(b"0123456789abcdef").expect("a key");
    hmac::Mac::update(&mut mac, format!("{seconds}.{body}").as_bytes());
    let bytes: Vec<u8> =
        (0..32).map(|n| u8::from_str_radix(&signature[2 * n..2 * n + 2], 16).expect("hex")).collect();
    hmac::Mac::verify_slice(mac, &bytes).expect("the signature fits");
    until("the failure is kept", async || records.figures().failed == 1).await;
    let mut waiting = Vec::new();
    until("it waits for its second attempt", async || {
        waiting = records.store().deliveries(None, None, None, 10).await.expect("listed");
        waiting.len() == 1 && waiting[0].attempts == 1
    })
    .await;
    assert!((3_000..7_000).contains(&(waiting[0].next_ms - Timestamp::now().as_millisecond())));
    // An operator need not wait for it.
    assert!(records.retry(&id).await.expect("asked").is_some());
    let (_, again) = received(&requests).await;
    assert_eq!(again, body, "the same news");
    until("it is delivered", async || records.figures().delivered == 1).await;
    until("nothing is left", async || {
        records.store().deliveries(None, None, None, 10).await.expect("listed").is_empty()
    })
    .await;
    records.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("bound");
    drop(nobody);
    let mut config = config(&dir);
    config.webhooks = vec![webhook(format!("http://{address}/"), &["cdr"])];
    let records = Records::start(&config).await.expect("started");
    records.submit(fresh(1));
    until("the first attempt fails", async || records.figures().failed == 1).await;
    records.shutdown().await;
    let (url, requests) = receiver(&[200]);
    config.webhooks = vec![webhook(url, &["cdr"])];
    let records = Records::start(&config).await.expect("started again");
    let id = format!("cdr-{:032x}-crm", 1);
    assert!(records.retry(&id).await.expect("asked").is_some(), "it is still there");
    received(&requests).await;
    records.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_for_good_leaves_a_dead_delivery() {
    let dir = tempfile::tempdir().expect("a folder");
    let (url, _requests) = receiver(&[410]);
    let mut config = config(&dir);
    config.webhooks = vec![webhook(url, &["cdr"])];
    let records = Records::start(&config).await.expect("started");
    records.submit(fresh(1));
    let dead = async || {
        let listed = records.store().deliveries(Some(DeliveryState::Dead), None, None, 10).await;
        listed.expect("listed")
    };
    until("it is given up", async || dead().await.len() == 1).await;
    let delivery = dead().await.remove(0);
    assert_eq!((delivery.last_status, records.figures().dead), (Some(410), 1));
    assert!(!delivery.last_error.expect("why").contains("hunter2"));
    records.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_records_that_a_new_store_takes_in_are_no_news() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut journal =
        Journal::open(&dir.path().join("cdr"), crate::config::Durability::Never).expect("a folder");
    journal.append(&[example("a", "2026-01-02T03:04:05Z")]).expect("written");
    let mut config = config(&dir);
    config.webhooks = vec![webhook("http://127.0.0.1:9/".into(), &["cdr"])];
    let records = Records::start(&config).await.expect("started");
    until("it is stored", async || stored(records.store()).await == 1).await;
    assert!(records.store().deliveries(None, None, None, 10).await.expect("listed").is_empty());
    records.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_the_webhooks_that_want_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let (url, requests) = receiver(&[200]);
    let mut config = config(&dir);
    config.webhooks = vec![webhook(url, &["call.ended"])];
    let records = Records::start(&config).await.expect("started");
    let (sender, events) = broadcast::channel(100);
    records.watch(events);
    let bodies = [
        EventBody::FlowStep { step: "ask".into() },
        EventBody::CallEnded { cause: Cause::CALLER_HUNG_UP, duration_ms: 5 },
    ];
    for (n, body) in bodies.into_iter().enumerate() {
        let event = Event { call: CallId(7), seq: n as u64 + 1, at: MediaTime::ZERO, body };
        sender.send(Arc::new(event)).expect("watched");
    }
    let (_, body) = received(&requests).await;
    let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((value["type"].as_str(), value["data"]["seq"].as_u64()), (Some("call.ended"), Some(2)));
    until("it is delivered", async || records.figures().delivered == 1).await;
    records.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handing_a_record_over_never_waits_for_the_disk() {
    let dir = tempfile::tempdir().expect("a folder");
    let records = Records::start(&config(&dir)).await.expect("started");
    let record = fresh(0);
    // A disk that is far behind: nobody takes from the queue.
    let (full, _held) = sync_channel(1);
    *records.queue.lock().expect("whole") = Some(full);
    let begun = Instant::now();
    for _ in 0..100 {
        records.submit(record.clone());
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(records.figures().lost, 99);
    records.shutdown().await;
}
