//! Chromium without a window, driven by its own DevTools protocol; its microphone is a file.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use super::{Process, wait_for};

/// Whatever is asked of the browser is answered well before this.
const PATIENCE: Duration = Duration::from_secs(30);

/// The rate of what [`Chromium::heard`] returns.
pub(crate) const HEARD_HZ: u32 = 16_000;

/// What a browser does to speech, and to tones above all, is not on trial: processing off.
const AS_IT_IS: &str = "{
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = () =>
        open({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
}";
/// Keeps what the page plays.
const LISTEN: &str = "{
    window.heard = [];
    window.ears = new AudioContext({ sampleRate: 16000 });
    const source = ears.createMediaStreamSource(document.getElementById('sound').srcObject);
    const tap = ears.createScriptProcessor(4096, 1, 1);
    tap.onaudioprocess = ({ inputBuffer }) => heard.push(Float32Array.from(inputBuffer.getChannelData(0)));
    source.connect(tap).connect(ears.destination);
}";
/// The last so many parts of what was kept, as base64 of 16 bit PCM.
const HEARD: &str = "{
    const all = Int16Array.from(
        heard.slice(-PARTS).flatMap((part) => [...part]), (s) => Math.max(-1, Math.min(1, s)) * 32767);
    const bytes = new Uint8Array(all.buffer);
    let text = '';
    for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
    btoa(text);
}";

/// A running browser with one page.
pub(crate) struct Chromium {
    socket: WebSocketStream<TcpStream>,
    runtime: Runtime,
    asked: u64,
    _process: Process,
    _profile: TempDir,
}

impl Chromium {
    /// Starts a browser whose microphone plays `microphone`, a WAV file, once, from when the page opens it.
    pub(crate) fn start(microphone: &Path) -> Self {
        Self::start_with(microphone, &[])
    }

    /// The same with more of the browser's own arguments.
    pub(crate) fn start_with(microphone: &Path, more: &[&str]) -> Self {
        let profile = tempfile::Builder::new().prefix("antiphon-chromium-").tempdir().expect("a folder");
        let child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--mute-audio", "--window-size=900,1100", "--lang=en"])
            .args(["--remote-debugging-port=0", "--use-fake-ui-for-media-stream"])
            .arg("--use-fake-device-for-media-stream")
            .arg(format!("--use-file-for-fake-audio-capture={}%noloop", microphone.display()))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(more)
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium starts");
        let process = Process(child);
        let port: u16 = wait_for("the browser's port", PATIENCE, || {
            let text = std::fs::read_to_string(profile.path().join("DevToolsActivePort")).ok()?;
            text.lines().next()?.parse().ok()
        });
        let url = wait_for("the browser's page", PATIENCE, || {
            let mut reply = ureq::get(format!("http://127.0.0.1:{port}/json/list")).call().ok()?;
            let pages: Value = reply.body_mut().read_json().ok()?;
            let page = pages.as_array()?.iter().find(|page| page["type"] == "page")?;
            Some(page["webSocketDebuggerUrl"].as_str()?.to_owned())
        });
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = runtime.block_on(async {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
            let request = url.into_client_request().expect("an address");
            tokio_tungstenite::client_async(request, stream).await.expect("a WebSocket").0
        });
        Self { socket, runtime, asked: 0, _process: process, _profile: profile }
    }

    /// Shows a page and waits until its scripts have run.
    pub(crate) fn open(&mut self, url: &str) {
        self.ask("Page.navigate", &json!({ "url": url }));
        self.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// What a script comes to; a promise is waited for.
    pub(crate) fn run(&mut self, script: &str) -> Value {
        let answer = self.ask(
            "Runtime.evaluate",
            &json!({ "expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true }),
        );
        assert!(answer["exceptionDetails"].is_null(), "{script}\n{}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_until(&mut self, expression: &str) {
        let wanted = format!("Boolean({expression})");
        for _ in 0..PATIENCE.as_millis() / 100 {
            if self.run(&wanted) == true {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("waited in vain until {expression}\n{}", self.run("document.body.innerText"));
    }

    /// Takes the microphone's file as it is, from now on.
    pub(crate) fn unprocessed(&mut self) {
        self.run(AS_IT_IS);
    }

    /// Keeps what the page's element `sound` plays, from now on.
    pub(crate) fn listen(&mut self) {
        self.wait_until("document.getElementById('sound').srcObject?.getAudioTracks().length");
        self.run(LISTEN);
    }

    /// The last of what was kept, about so many seconds, at [`HEARD_HZ`].
    pub(crate) fn heard(&mut self, seconds: f64) -> Vec<i16> {
        let parts = (seconds * f64::from(HEARD_HZ) / 4_096.0).ceil();
        let text = self.run(&HEARD.replace("PARTS", &format!("{parts}")));
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(text.as_str().expect("sound")).expect("base64");
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    /// Clicks on what a selector finds.
    pub(crate) fn click(&mut self, what: &str) {
        self.run(&format!("document.querySelector({what:?}).click()"));
    }

    /// A picture of the page.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        let answer = self.ask("Page.captureScreenshot", &json!({ "format": "png" }));
        let text = answer["data"].as_str().expect("a picture");
        let png = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        std::fs::write(path, png).expect("written");
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        let request = json!({ "id": id, "method": method, "params": params }).to_string();
        let socket = &mut self.socket;
        let exchange = async {
            socket.send(Message::text(request)).await.expect("sent");
            loop {
                let message = socket.next().await.expect("the browser runs").expect("a message");
                let Ok(text) = message.into_text() else { continue };
                let answer: Value = serde_json::from_str(&text).unwrap_or_default();
                if answer["id"] == id {
                    return answer;
                }
            }
        };
        // The timer wants the runtime around it.
        let answer = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await });
        let answer = answer.unwrap_or_else(|_| panic!("{method} is not answered"));
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }
}
