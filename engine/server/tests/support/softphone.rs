//! baresip, an independent softphone, driven over its control socket (netstrings of JSON).

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::wav::Wav;
use super::{HOST, Process, free_port, free_ports, wait_for};

/// Debian keeps them here, whatever the architecture.
const MODULES: &str = "/usr/lib/baresip/modules";

/// A running softphone, with one audio file in place of a microphone and nothing in place of a loudspeaker.
pub(crate) struct Softphone {
    // Ended before its folder goes.
    _process: Process,
    control: TcpStream,
    unread: Vec<u8>,
    events: Vec<Value>,
    dir: TempDir,
}

impl Softphone {
    /// Starts a softphone that speaks one codec (`G722`, `PCMU`, `PCMA`) and says `pcm`, which has the codec's rate.
    pub(crate) fn start(codec: &str, rate_hz: u32, pcm: &[i16]) -> Self {
        let mut said = String::new();
        for _ in 0..3 {
            match Self::try_start(codec, rate_hz, pcm) {
                Ok(phone) => return phone,
                // Somebody else took one of the ports, or it rests after a connection.
                Err(output) => said = output,
            }
        }
        panic!("baresip did not start: {said}");
    }

    fn try_start(codec: &str, rate_hz: u32, pcm: &[i16]) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("antiphon-baresip-").tempdir().expect("a folder");
        let path = dir.path();
        Wav::write(&path.join("says.wav"), rate_hz, pcm);
        // baresip takes the port after the SIP port too, for TLS.
        let (sip, control, rtp) = (free_ports(2), free_port(), free_ports(22));
        let config = format!(
            "poll_method epoll\nsip_listen {HOST}:{sip}\nnet_interface {HOST}\ncall_max_calls 4\n\
             audio_source aufile,{dir}/says.wav\naudio_player aufile,{dir}/none.wav\naudio_alert aufile,{dir}/none.wav\n\
             ausrc_srate {rate_hz}\nauplay_srate {rate_hz}\nausrc_channels 1\nauplay_channels 1\naudio_buffer 20-160\n\
             rtp_ports {rtp}-{last}\nrtcp_mux no\njitter_buffer_delay 1-5\nsnd_path {dir}\nstatmode_default off\n\
             module_path {MODULES}\nmodule {module}\nmodule aufile.so\nmodule sndfile.so\n\
             module_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {HOST}:{control}\n",
            dir = path.display(),
            last = rtp + 20,
            module = if codec == "G722" { "g722.so" } else { "g711.so" },
        );
        std::fs::write(path.join("config"), config).expect("written");
        // RFC 3551 section 4.5.2 has G.722 at 8000 in SDP; baresip's own name for it has the real rate.
        let account =
            format!("<sip:tester@{HOST}>;regint=0;audio_codecs={}/{rate_hz}/1\n", codec.to_ascii_lowercase());
        std::fs::write(path.join("accounts"), account).expect("written");
        std::fs::write(path.join("contacts"), "").expect("written");
        let output = File::create(path.join("output")).expect("created");
        let child = Command::new("baresip")
            .arg("-f")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("cloned"))
            .stderr(output)
            .spawn()
            .expect("baresip is installed");
        let mut process = Process(child);
        let address = SocketAddr::from((HOST, control));
        let control = wait_for("baresip's control socket", Duration::from_secs(10), || {
            if process.0.try_wait().expect("a child of ours").is_some() {
                return Some(Err(output_of(&path.join("output"))));
            }
            TcpStream::connect(address).ok().map(Ok)
        })?;
        control.set_read_timeout(Some(Duration::from_millis(20))).expect("a valid time");
        Ok(Self { _process: process, control, unread: Vec::new(), events: Vec::new(), dir })
    }

    /// Gives a command of baresip's menu: `dial`, `sndcode`, `hold`, `resume`, `hangup`.
    pub(crate) fn command(&mut self, command: &str, parameter: &str) {
        let text = json!({"command": command, "params": parameter, "token": command}).to_string();
        write!(self.control, "{}:{text},", text.len()).expect("baresip listens");
        let limit = Duration::from_secs(5);
        let answer = self.wait(&format!("an answer to {command}"), limit, |event| event["token"] == command);
        assert_eq!(answer["ok"], true, "{command}: {answer}");
        self.events.retain(|event| event["token"] != command);
    }

    /// Calls and waits until the call is answered.
    pub(crate) fn call(&mut self, server: SocketAddr) {
        self.command("dial", &format!("sip:bank@{server}"));
        self.wait_event("CALL_ESTABLISHED", Duration::from_secs(15));
    }

    pub(crate) fn hang_up(&mut self) {
        self.command("hangup", "");
        self.wait_event("CALL_CLOSED", Duration::from_secs(5));
    }

    /// Waits for an event of this type: `CALL_CLOSED`.
    pub(crate) fn wait_event(&mut self, kind: &str, limit: Duration) -> Value {
        self.wait(kind, limit, |event| event["type"] == kind)
    }

    /// How many events of this type have come.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event["type"] == kind).count()
    }

    fn wait(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.events.iter().find(|event| wanted(event)) {
                return event.clone();
            }
            let said = || output_of(&self.dir.path().join("output"));
            assert!(Instant::now() < deadline, "no {what}; events {:?}\n{}", self.events, said());
            self.read();
        }
    }

    /// Takes in what baresip has to say; waits a moment where there is nothing.
    fn read(&mut self) {
        let mut buffer = [0; 4_096];
        match self.control.read(&mut buffer) {
            Ok(length) => self.unread.extend(&buffer[..length]),
            Err(_) => return,
        }
        while let Some(colon) = self.unread.iter().position(|byte| *byte == b':') {
            let length = std::str::from_utf8(&self.unread[..colon]).expect("a length");
            let length: usize = length.parse().expect("a length");
            let end = colon + 1 + length;
            if self.unread.len() <= end {
                return;
            }
            let event = serde_json::from_slice(&self.unread[colon + 1..end]).expect("JSON");
            self.events.push(event);
            self.unread.drain(..=end);
        }
    }

    /// What was heard so far: the decoded sound, before any loudspeaker.
    pub(crate) fn heard(&self) -> Wav {
        let files = std::fs::read_dir(self.dir.path()).expect("readable").flatten().map(|file| file.path());
        let decoded: Vec<PathBuf> =
            files.filter(|path| path.to_string_lossy().ends_with("-dec.wav")).collect();
        assert_eq!(decoded.len(), 1, "one call was heard: {decoded:?}");
        Wav::read(&decoded[0])
    }
}

fn output_of(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Speech from flite's `slt` voice, 16 kHz.
pub(crate) fn speak(text: &str) -> Vec<i16> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("speech.wav");
    let status = Command::new("flite").args(["-voice", "slt", "-t", text, "-o"]).arg(&path).status();
    assert!(status.expect("flite is installed").success());
    let wav = Wav::read(&path);
    assert_eq!(wav.rate_hz, 16_000);
    wav.channels[0].clone()
}
