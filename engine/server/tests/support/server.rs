//! `antiphon serve` as a process of its own, and what it leaves on disk.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::wav::Wav;
use super::{HOST, Process, free_port, wait_for};

/// A debug build opens its models in this time, also on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// What differs from the defaults.
#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) engine: &'a str,
    /// Lines of `[call]`.
    pub(crate) call: &'a str,
    /// Lines of `[recognizer]` after the engine, and tables of its own.
    pub(crate) recognizer: &'a str,
    /// Text of the flow; the built-in bank line where there is none.
    pub(crate) flow: Option<&'a str>,
    /// Lines of `[sip]`.
    pub(crate) sip: &'a str,
    /// Lines of `[http]`.
    pub(crate) http: &'a str,
    /// Tables of their own: trunks, routes, users. `@DIR@` is the folder of the configuration.
    pub(crate) tables: &'a str,
    /// Files beside the configuration: name and content.
    pub(crate) files: &'a [(&'a str, &'a [u8])],
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            engine: "none",
            call: "",
            recognizer: "",
            flow: None,
            sip: "",
            http: "",
            tables: "",
            files: &[],
        }
    }
}

/// A running server.
pub(crate) struct Server {
    process: Process,
    sip: SocketAddr,
    http: SocketAddr,
    dir: TempDir,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server on free ports and waits until it says that it is ready.
    pub(crate) fn start(options: Options<'_>) -> Self {
        let dir = tempfile::Builder::new().prefix("antiphon-test-").tempdir().expect("a folder");
        let mut said = Vec::new();
        for _ in 0..3 {
            match Self::try_start(options, dir.path()) {
                Ok((process, sip, http, log)) => return Self { process, sip, http, dir, log },
                // Somebody else took one of the ports.
                Err(log) => said = log,
            }
        }
        panic!("the server did not start:\n{}", said.join("\n"));
    }

    #[expect(clippy::type_complexity, reason = "the parts of a server whose folder outlives the attempt")]
    fn try_start(
        options: Options<'_>,
        dir: &Path,
    ) -> Result<(Process, SocketAddr, SocketAddr, Arc<Mutex<Vec<String>>>), Vec<String>> {
        let sip = SocketAddr::from((HOST, free_port()));
        let http = SocketAddr::from((HOST, free_port()));
        let config = dir.join("antiphon.toml");
        let Options { engine, call, recognizer, flow, sip: more, http: web, tables, files } = options;
        let tables = tables.replace("@DIR@", &dir.display().to_string());
        let text = format!(
            "data = {:?}\n[sip]\nlisten = \"{sip}\"\n{more}\n[http]\nlisten = \"{http}\"\n{web}\n[call]\n{call}\n\
             [recognizer]\nengine = \"{engine}\"\n{recognizer}\n{tables}\n",
            dir.join("data")
        );
        for (name, content) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, content).expect("written");
        }
        std::fs::write(&config, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(["serve", "--config"]).arg(config).env("NO_COLOR", "1").env_remove("ANTIPHON_TOKEN");
        if let Some(flow) = flow {
            let path = dir.join("flow.yaml");
            std::fs::write(&path, flow).expect("written");
            command.arg("--flow").arg(path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the built binary starts");
        let log = Arc::default();
        collect(child.stdout.take().expect("piped"), &log);
        collect(child.stderr.take().expect("piped"), &log);
        let mut process = Process(child);
        let deadline = Instant::now() + READY;
        loop {
            let lines = log.lock().expect("no panic while collecting").clone();
            if lines.iter().any(|line| line.contains("ready") && line.contains(&sip.to_string())) {
                return Ok((process, sip, http, log));
            }
            let ended = process.0.try_wait().expect("a child of ours").is_some();
            if ended || Instant::now() > deadline {
                return Err(lines);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the server, without a word to it, and starts another one on the same folder.
    pub(crate) fn killed_and_started_again(mut self, options: Options<'_>) -> Self {
        self.process.0.kill().expect("a child of ours");
        self.process.0.wait().expect("a child of ours");
        for _ in 0..3 {
            if let Ok((process, sip, http, log)) = Self::try_start(options, self.dir.path()) {
                (self.process, self.sip, self.http, self.log) = (process, sip, http, log);
                return self;
            }
        }
        panic!("the server did not start again");
    }

    pub(crate) fn sip(&self) -> SocketAddr {
        self.sip
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What the server has said so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic while collecting").clone()
    }

    /// What the server has called an error so far.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| line.contains(" ERROR ")).collect()
    }

    /// Sends SIGTERM; whether the server ended well and in time.
    pub(crate) fn stop(&mut self) -> bool {
        self.process.terminate(Duration::from_secs(20)).is_some_and(|status| status.success())
    }

    /// The events of every call, by call; a line that is being written just now is left out.
    pub(crate) fn calls(&self) -> BTreeMap<String, Vec<Value>> {
        let mut calls: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for path in self.recordings(".events.jsonl") {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
            for line in whole.lines() {
                let event: Value = serde_json::from_str(line).expect("each line is JSON");
                let call = event["call"].as_str().expect("the call's id").to_owned();
                calls.entry(call).or_default().push(event);
            }
        }
        calls
    }

    /// The events of all calls.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.calls().into_values().flatten().collect()
    }

    pub(crate) fn of_type(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["type"] == kind).collect()
    }

    /// Waits until as many events of this type have come.
    pub(crate) fn wait_events(&self, kind: &str, count: usize, limit: Duration) -> Vec<Value> {
        wait_for(&format!("{count} × {kind}"), limit, || {
            let events = self.of_type(kind);
            (events.len() >= count).then_some(events)
        })
    }

    /// Waits until the one call of this server is over; its cause.
    pub(crate) fn cause(&self) -> String {
        let ended = self.wait_events("call.ended", 1, Duration::from_secs(15));
        assert_eq!(ended.len(), 1, "one call: {ended:?}");
        ended[0]["cause"].as_str().expect("a code").to_owned()
    }

    /// The sidecars of every recorded call.
    pub(crate) fn sidecars(&self) -> Vec<Value> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).expect("readable");
            serde_json::from_str(&text).expect("a sidecar is JSON")
        };
        // What was heard lies beside them.
        let files = self.recordings(".json");
        files.iter().filter(|path| !path.to_string_lossy().ends_with(".heard.json")).map(read).collect()
    }

    /// The recording of the one call of this server.
    pub(crate) fn recording(&self) -> Wav {
        let files = self.recordings(".wav");
        assert_eq!(files.len(), 1, "one recording: {files:?}");
        Wav::read(&files[0])
    }

    /// The recording of one call.
    pub(crate) fn recording_of(&self, call: &str) -> Wav {
        let files = self.recordings(".wav");
        let file = files.iter().find(|file| file.to_string_lossy().contains(call));
        Wav::read(file.unwrap_or_else(|| panic!("no recording of {call}: {files:?}")))
    }

    fn recordings(&self, end: &str) -> Vec<PathBuf> {
        let Ok(days) = std::fs::read_dir(self.data().join("recordings")) else { return Vec::new() };
        let files = days.flatten().filter_map(|day| std::fs::read_dir(day.path()).ok()).flatten().flatten();
        let mut paths: Vec<_> =
            files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with(end)).collect();
        paths.sort();
        paths
    }

    /// What the API answers to a GET.
    pub(crate) fn fetch(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.http);
        let mut response = ureq::get(&url).call().expect("the API answers");
        response.body_mut().read_json().expect("JSON")
    }

    /// Sends JSON to the API; the status and what came back.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.http);
        let request = ureq::post(&url).config().http_status_as_error(false).build();
        let mut response = request.send_json(body).expect("the API answers");
        let status = response.status().as_u16();
        (status, response.body_mut().read_json().unwrap_or(Value::Null))
    }

    /// Calls under way, as the API lists them.
    pub(crate) fn active(&self) -> usize {
        let listed = self.fetch("/v1/calls?limit=500");
        let calls = listed["calls"].as_array().or(listed.as_array()).expect("a list of calls");
        calls.iter().filter(|call| call["state"] != "ended").count()
    }

    /// Open files and threads of the process.
    pub(crate) fn resources(&self) -> (usize, usize) {
        let count =
            |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", self.pid())).map_or(0, Iterator::count);
        (count("fd"), count("task"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log().join("\n"));
            for (id, events) in self.calls().into_iter().take(5) {
                eprintln!("--- call {id} ---");
                for event in events.iter().filter(|event| event["type"] != "speech.partial") {
                    eprintln!("{event}");
                }
            }
        }
    }
}

fn collect(pipe: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            log.lock().expect("no panic while collecting").push(line);
        }
    });
}
