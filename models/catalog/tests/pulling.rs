//! Pulls from a server on the loopback that misbehaves on request.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_models_catalog::{
    Catalog, FetchError, Mirror, Model, PullError, Pulled, Source, State, Store, StoreError, Verdict, Watch,
    pull,
};

/// How the server answers one path.
#[derive(Clone)]
struct Answer {
    body: Vec<u8>,
    tag: &'static str,
    /// The connection ends after so many bytes of each answer.
    cut: Option<usize>,
    /// The first answers are this status.
    failing: Vec<u16>,
    redirect: Option<String>,
    /// Ranges are not understood.
    whole: bool,
    /// `Content-Length` says this.
    length: Option<usize>,
    /// A pause between pieces of the body.
    slow: Option<Duration>,
}

impl Answer {
    fn new(body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            tag: "\"v1\"",
            cut: None,
            failing: Vec::new(),
            redirect: None,
            whole: false,
            length: None,
            slow: None,
        }
    }
}

/// The path and range of a request.
type Request = (String, Option<String>);

#[derive(Clone, Default)]
struct Shared {
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

struct Server {
    base: String,
    shared: Shared,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared::default();
        let serving = shared.clone();
        #[expect(clippy::disallowed_methods, reason = "a test's server needs a thread")]
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = serving.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { base, shared }
    }

    fn put(&self, path: &str, answer: Answer) {
        self.shared.answers.lock().unwrap().insert(path.into(), answer);
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.shared.requests.lock().unwrap().iter().map(|(_, range)| range.clone()).collect()
    }

    fn model(&self, extra: &str) -> Model {
        let list = format!(
            "[[model]]\nname = \"m\"\nengine = \"whisper\"\ntask = \"recognition\"\nlanguages = [\"en\"]\nrates_hz = [16000]\n\
             licence = \"MIT\"\nsize_mb = 1\nrecommended = \"tests\"\n[[model.file]]\nurl = \"{}/a.bin\"\n{extra}",
            self.base
        );
        Catalog::parse(&list).unwrap().models()[0].clone()
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut condition) = (None, None);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).is_err() || header.trim().is_empty() {
            break;
        }
        let (name, value) = header.trim().split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "range" => range = Some(value.to_owned()),
            "if-range" => condition = Some(value.to_owned()),
            _ => {}
        }
    }
    shared.requests.lock().unwrap().push((path.clone(), range.clone()));
    let answer = {
        let mut answers = shared.answers.lock().unwrap();
        let Some(answer) = answers.get_mut(&path) else {
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        };
        if let Some(status) = answer.failing.pop() {
            let _ =
                write!(stream, "HTTP/1.1 {status} Sorry\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        }
        answer.clone()
    };
    if let Some(to) = answer.redirect {
        let _ = write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return;
    }
    let total = answer.body.len();
    let start = range
        .filter(|_| !answer.whole && condition.as_deref() == Some(answer.tag))
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let body = &answer.body[start.unwrap_or(0).min(total)..];
    let head = match start {
        Some(start) if start >= total => {
            let _ = write!(
                stream,
                "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            return;
        }
        Some(start) => format!("206 Partial\r\nContent-Range: bytes {start}-{}/{total}", total - 1),
        None => "200 OK".to_owned(),
    };
    let length = answer.length.unwrap_or(body.len());
    let _ = write!(
        stream,
        "HTTP/1.1 {head}\r\nETag: {}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
        answer.tag
    );
    let body = &body[..answer.cut.unwrap_or(body.len()).min(body.len())];
    for piece in body.chunks(if answer.slow.is_some() { 1_000 } else { 1 << 20 }) {
        if stream.write_all(piece).is_err() {
            return;
        }
        if let Some(pause) = answer.slow {
            #[expect(clippy::disallowed_methods, reason = "a slow server waits")]
            std::thread::sleep(pause);
        }
    }
}

/// Counts what happens and never waits.
#[derive(Default)]
struct Counter {
    bytes: u64,
    retries: usize,
    waited: Duration,
}

impl Watch for Counter {
    fn more(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn retry(&mut self, _: &str) {
        self.retries += 1;
    }

    fn wait(&mut self, time: Duration) {
        self.waited += time;
    }
}

const BODY: usize = 10_000;

fn body() -> Vec<u8> {
    (0..BODY).map(|i| (i * 7 % 251) as u8).collect()
}

fn store(folder: &Path) -> Store {
    Store::new(folder.join("store"))
}

fn take(model: &Model, store: &Store) -> (Result<Pulled, PullError>, Counter) {
    take_from(model, store, &Source::default())
}

fn take_from(model: &Model, store: &Store, source: &Source) -> (Result<Pulled, PullError>, Counter) {
    let mut counter = Counter::default();
    (pull(model, store, source, &mut counter), counter)
}

#[test]
fn a_model_comes_is_recorded_verified_and_removed() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer::new(&body()));
    let (model, store) = (server.model(""), store(folder.path()));
    assert_eq!(store.state(&model).unwrap(), State::Absent);
    let (pulled, counter) = take(&model, &store);
    assert_eq!(pulled.unwrap(), Pulled::Now);
    assert_eq!(counter.bytes, BODY as u64);
    assert_eq!(fs::read(store.folder(&model).join("a.bin")).unwrap(), body());
    assert_eq!(store.lock().unwrap().file("m", "a.bin").unwrap().bytes, BODY as u64);
    assert_eq!(take(&model, &store).0.unwrap(), Pulled::Already);
    assert_eq!(store.verify(&model, |_| {}).unwrap()[0].verdict, Verdict::Good);
    let mut changed = body();
    changed[5] ^= 1;
    fs::write(store.folder(&model).join("a.bin"), changed).unwrap();
    assert_eq!(store.verify(&model, |_| {}).unwrap()[0].verdict, Verdict::Changed);
    assert!(store.remove(&model).unwrap());
    assert_eq!(store.state(&model).unwrap(), State::Absent);
    assert!(!store.remove(&model).unwrap());
    assert!(store.lock().unwrap().file("m", "a.bin").is_some(), "the record stays");
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_broke_off() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer { cut: Some(3_000), ..Answer::new(&body()) });
    let (model, store) = (server.model(""), store(folder.path()));
    let (pulled, counter) = take(&model, &store);
    assert_eq!(pulled.unwrap(), Pulled::Now);
    assert_eq!(counter.bytes, BODY as u64, "no byte twice");
    assert_eq!(
        server.ranges(),
        [None, Some("bytes=3000-".into()), Some("bytes=6000-".into()), Some("bytes=9000-".into())]
    );
    assert_eq!(fs::read(store.folder(&model).join("a.bin")).unwrap(), body());
}

#[test]
fn a_pull_goes_on_with_what_an_earlier_one_left() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer { cut: Some(4_000), length: Some(BODY), ..Answer::new(&body()) });
    let (model, store) = (server.model(""), store(folder.path()));
    // Nothing but the first part ever comes: a range is answered by no byte at all.
    server.put("/a.bin", Answer { cut: Some(4_000), ..Answer::new(&body()) });
    let partial = folder.path().join("store/.pull/m/a.bin.part");
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &body()[..6_000]).unwrap();
    fs::write(partial.with_extension("part.tag"), "\"v1\"").unwrap();
    assert_eq!(store.state(&model).unwrap(), State::Begun);
    let (pulled, counter) = take(&model, &store);
    assert_eq!(pulled.unwrap(), Pulled::Now);
    assert_eq!(counter.bytes, 4_000);
    assert_eq!(server.ranges(), [Some("bytes=6000-".into())]);
}

#[test]
fn a_file_that_was_replaced_meanwhile_comes_anew() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer { tag: "\"v2\"", ..Answer::new(&body()) });
    let (model, store) = (server.model(""), store(folder.path()));
    let partial = folder.path().join("store/.pull/m/a.bin.part");
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, [0; 6_000]).unwrap();
    fs::write(partial.with_extension("part.tag"), "\"v1\"").unwrap();
    assert_eq!(take(&model, &store).0.unwrap(), Pulled::Now);
    assert_eq!(fs::read(store.folder(&model).join("a.bin")).unwrap(), body());
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer { whole: true, ..Answer::new(&body()) });
    let (model, store) = (server.model(""), store(folder.path()));
    let partial = folder.path().join("store/.pull/m/a.bin.part");
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, [0; 6_000]).unwrap();
    fs::write(partial.with_extension("part.tag"), "\"v1\"").unwrap();
    assert_eq!(take(&model, &store).0.unwrap(), Pulled::Now);
    assert_eq!(fs::read(store.folder(&model).join("a.bin")).unwrap(), body());
}

#[test]
fn a_checksum_that_does_not_fit_stops_the_pull_and_names_its_source() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer::new(&body()));
    let model = server
        .model("checksum = \"900150983cd24fb0d6963f7d28e17f72\"\ncited = \"https://publisher.test/sums\"\n");
    let store = store(folder.path());
    let error = take(&model, &store).0.unwrap_err();
    assert!(matches!(error, PullError::Published { .. }), "{error}");
    assert!(error.to_string().contains("https://publisher.test/sums"), "{error}");
    assert_ne!(store.state(&model).unwrap(), State::Present);
}

#[test]
fn a_wrong_length_is_noticed() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer::new(&body()));
    let model = server.model("bytes = 12000\n");
    let error = take(&model, &store(folder.path())).0.unwrap_err().to_string();
    assert!(error.contains("12000 bytes") && error.contains("10000 bytes"), "{error}");
    let model = server.model("bytes = 9000\n");
    let error = take(&model, &store(folder.path())).0.unwrap_err();
    assert!(
        matches!(error, PullError::Fetch(FetchError::TooLarge { found: 10_000, most: 9_000, .. })),
        "{error}"
    );
}

#[test]
fn a_later_pull_must_agree_with_the_first() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer::new(&body()));
    let (model, store) = (server.model(""), store(folder.path()));
    take(&model, &store).0.unwrap();
    store.remove(&model).unwrap();
    server.put("/a.bin", Answer { tag: "\"v2\"", ..Answer::new(b"something else") });
    let error = take(&model, &store).0.unwrap_err();
    assert!(matches!(error, PullError::Recorded { .. }), "{error}");
    assert!(error.to_string().contains("models.lock"), "{error}");
    server.put("/a.bin", Answer::new(&body()));
    assert_eq!(take(&model, &store).0.unwrap(), Pulled::Now);
}

#[test]
fn redirects_are_followed() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer { redirect: Some(format!("{}/b.bin", server.base)), ..Answer::new(b"") });
    server.put("/b.bin", Answer { cut: Some(6_000), ..Answer::new(&body()) });
    let (model, store) = (server.model(""), store(folder.path()));
    assert_eq!(take(&model, &store).0.unwrap(), Pulled::Now);
    assert_eq!(fs::read(store.folder(&model).join("a.bin")).unwrap(), body());
}

#[test]
fn what_is_not_there_is_told_at_once() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let (error, counter) = take(&server.model(""), &store(folder.path()));
    assert!(matches!(error.unwrap_err(), PullError::Fetch(FetchError::Status { status: 404, .. })));
    assert_eq!(counter.retries, 0);
}

#[test]
fn a_busy_server_is_asked_again_and_a_dead_one_given_up() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer { failing: vec![503, 429], ..Answer::new(&body()) });
    let (model, store) = (server.model(""), store(folder.path()));
    let (pulled, counter) = take(&model, &store);
    assert_eq!((pulled.unwrap(), counter.retries), (Pulled::Now, 2));
    assert!(counter.waited >= Duration::from_secs(3), "{:?}", counter.waited);
    store.remove(&model).unwrap();
    server.put("/a.bin", Answer { failing: vec![500; 50], ..Answer::new(&body()) });
    let error = take(&model, &store).0.unwrap_err();
    assert!(matches!(error, PullError::Fetch(FetchError::Broken { .. })), "{error}");
}

#[test]
fn a_slow_server_is_waited_for() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer { slow: Some(Duration::from_millis(20)), ..Answer::new(&body()) });
    let (pulled, counter) = take(&server.model(""), &store(folder.path()));
    assert_eq!((pulled.unwrap(), counter.retries), (Pulled::Now, 0));
}

#[test]
fn offline_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    // A port that nobody listens on: bound, told and let go.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server { base: format!("http://{port}"), shared: Shared::default() };
    let error = take(&server.model(""), &store(folder.path())).0.unwrap_err();
    assert!(matches!(error, PullError::Fetch(FetchError::Unreachable { .. })), "{error:?}");
    for advice in ["mirror", "copy", "HTTPS_PROXY"] {
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[test]
fn mirrors_go_first_and_where_it_is_published_last() {
    let (folder, server, mirror) = (tempfile::tempdir().unwrap(), Server::start(), Server::start());
    server.put("/a.bin", Answer::new(&body()));
    let (model, store) = (server.model(""), store(folder.path()));
    let mirrors = vec![Mirror::Folder(folder.path().join("usb")), Mirror::parse(&mirror.base).unwrap()];
    let source = Source { mirrors: mirrors.clone(), mirrors_only: true };
    let error = take_from(&model, &store, &source).0.unwrap_err();
    assert!(matches!(error, PullError::NoMirror { .. }), "{error}");
    let source = Source { mirrors, mirrors_only: false };
    assert_eq!(take_from(&model, &store, &source).0.unwrap(), Pulled::Now);
    assert_eq!(server.ranges().len(), 1);
    store.remove(&model).unwrap();
    mirror.put("/m/a.bin", Answer::new(&body()));
    assert_eq!(take_from(&model, &store, &source).0.unwrap(), Pulled::Now);
    assert_eq!(server.ranges().len(), 1, "the mirror had it");
    store.remove(&model).unwrap();
    fs::create_dir_all(folder.path().join("usb/m")).unwrap();
    fs::write(folder.path().join("usb/m/a.bin"), body()).unwrap();
    assert_eq!(take_from(&model, &store, &source).0.unwrap(), Pulled::Now);
    assert_eq!(
        store.lock().unwrap().file("m", "a.bin").unwrap().from,
        folder.path().join("usb/m/a.bin").display().to_string()
    );
}

#[test]
fn an_archive_is_unpacked_and_all_of_it_recorded() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let mut tar = tar::Builder::new(bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast()));
    for (name, content) in [("x/model.onnx", &b"weights"[..]), ("x/tokens.txt", b"tokens")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }
    server.put("/x.tar.bz2", Answer::new(&tar.into_inner().unwrap().finish().unwrap()));
    let list = |expected: &str| {
        let list = format!(
            "[[model]]\nname = \"m\"\nengine = \"e\"\ntask = \"recognition\"\nlanguages = [\"en\"]\nrates_hz = [16000]\n\
             licence = \"MIT\"\nsize_mb = 1\nrecommended = \"tests\"\nexpected = [{expected}]\n\
             [[model.file]]\nurl = \"{}/x.tar.bz2\"\narchive = true\n",
            server.base
        );
        Catalog::parse(&list).unwrap().models()[0].clone()
    };
    let store = store(folder.path());
    let error = take(&list("\"other.onnx\""), &store).0.unwrap_err();
    assert!(matches!(error, PullError::Incomplete { .. }), "{error}");
    let model = list("\"model.onnx\", \"tokens.txt\"");
    assert_eq!(take(&model, &store).0.unwrap(), Pulled::Now);
    assert_eq!(server.ranges().len(), 1, "the archive was there already");
    assert_eq!(fs::read(store.folder(&model).join("model.onnx")).unwrap(), b"weights");
    assert!(!store.folder(&model).join("x.tar.bz2").exists());
    let verified = store.verify(&model, |_| {}).unwrap();
    assert_eq!(verified.iter().filter(|file| file.verdict == Verdict::Good).count(), 2);
}

#[test]
fn two_pulls_of_one_model_do_not_meet() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("/a.bin", Answer::new(&body()));
    let (model, store) = (server.model(""), store(folder.path()));
    fs::create_dir_all(folder.path().join("store/.pull")).unwrap();
    let other = File::create(folder.path().join("store/.pull/m.hold")).unwrap();
    other.try_lock().unwrap();
    let error = take(&model, &store).0.unwrap_err();
    assert!(matches!(error, PullError::Store(StoreError::Busy { .. })), "{error}");
    drop(other);
    assert_eq!(take(&model, &store).0.unwrap(), Pulled::Now);
}

#[test]
fn a_disk_that_is_too_small_is_told_before_anything_comes() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let mut model = server.model("");
    model.size = 1 << 60;
    let error = take(&model, &store(folder.path())).0.unwrap_err();
    assert!(matches!(error, PullError::Space { .. }), "{error}");
    assert!(server.ranges().is_empty());
}
