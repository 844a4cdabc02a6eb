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

/// What a softphone is like.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// Its one codec: `G722`, `PCMU`, `PCMA`, `OPUS`.
    pub(crate) codec: &'a str,
    /// What it says, over and over, at [`rate_of`] its codec.
    pub(crate) says: &'a [i16],
    /// How it keeps sound secret, by baresip's names: nothing, `srtp-mand`, `dtls_srtp`.
    pub(crate) security: &'a str,
    /// Whether it looks for a way by ICE.
    pub(crate) ice: bool,
    /// Its user, password, and where it registers: `127.0.0.1:5060;transport=tcp`.
    pub(crate) account: Option<(&'a str, &'a str, &'a str)>,
    /// Whether it takes calls as soon as they come.
    pub(crate) answers: bool,
    /// Certificates it trusts.
    pub(crate) trust: Option<&'a Path>,
}

impl Setup<'_> {
    /// A softphone of this codec with nothing special to it.
    pub(crate) fn of<'a>(codec: &'a str, says: &'a [i16]) -> Setup<'a> {
        Setup { codec, says, security: "", ice: false, account: None, answers: false, trust: None }
    }
}

/// The rate at which baresip handles a codec's sound.
pub(crate) fn rate_of(codec: &str) -> u32 {
    match codec {
        "G722" => 16_000,
        "OPUS" => 48_000,
        _ => 8_000,
    }
}

/// A running softphone, with one audio file in place of a microphone and nothing in place of a loudspeaker.
pub(crate) struct Softphone {
    // Ended before its folder goes.
    _process: Process,
    control: TcpStream,
    unread: Vec<u8>,
    events: Vec<Value>,
    dir: TempDir,
    port: u16,
}

impl Softphone {
    /// Starts a softphone that speaks one codec (`G722`, `PCMU`, `PCMA`) and says `pcm`, which has the codec's rate.
    pub(crate) fn start(codec: &str, rate_hz: u32, pcm: &[i16]) -> Self {
        assert_eq!(rate_hz, rate_of(codec));
        Self::with(Setup::of(codec, pcm))
    }

    pub(crate) fn with(setup: Setup<'_>) -> Self {
        let mut said = String::new();
        for _ in 0..3 {
            match Self::try_start(setup) {
                Ok(phone) => return phone,
                // Somebody else took one of the ports, or it rests after a connection.
                Err(output) => said = output,
            }
        }
        panic!("baresip did not start: {said}");
    }

    fn try_start(setup: Setup<'_>) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("antiphon-baresip-").tempdir().expect("a folder");
        let path = dir.path();
        let rate_hz = rate_of(setup.codec);
        // Opus is stereo in SDP, whatever is in it (RFC 7587 section 7).
        let channels = if setup.codec == "OPUS" { 2 } else { 1 };
        Wav::write_alike(&path.join("says.wav"), rate_hz, setup.says, channels);
        // baresip takes the port after the SIP port too, for TLS.
        let (sip, control, rtp) = (free_ports(2), free_port(), free_ports(22));
        let codec = match setup.codec {
            "G722" => "g722.so",
            "OPUS" => "opus.so",
            _ => "g711.so",
        };
        let mut modules = vec![codec];
        if setup.security.starts_with("srtp") {
            modules.push("srtp.so");
        }
        if setup.security.starts_with("dtls") {
            modules.push("dtls_srtp.so");
        }
        if setup.ice {
            modules.push("ice.so");
        }
        let modules: String = modules.iter().map(|module| format!("module {module}\n")).collect();
        let trust = setup.trust.map(|path| format!("sip_cafile {}\n", path.display())).unwrap_or_default();
        let config = format!(
            "poll_method epoll\nsip_listen {HOST}:{sip}\nnet_interface {HOST}\ncall_max_calls 4\n{trust}\
             audio_source aufile,{dir}/says.wav\naudio_player aufile,{dir}/none.wav\naudio_alert aufile,{dir}/none.wav\n\
             ausrc_srate {rate_hz}\nauplay_srate {rate_hz}\nausrc_channels {channels}\nauplay_channels {channels}\n\
             audio_buffer 20-160\nrtp_ports {rtp}-{last}\nrtcp_mux {mux}\njitter_buffer_delay 1-5\nsnd_path {dir}\n\
             statmode_default off\nmodule_path {MODULES}\n{modules}module aufile.so\nmodule sndfile.so\n\
             module_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {HOST}:{control}\n",
            dir = path.display(),
            mux = if setup.ice { "yes" } else { "no" },
            last = rtp + 20,
        );
        std::fs::write(path.join("config"), config).expect("written");
        std::fs::write(path.join("accounts"), account(setup, rate_hz, channels)).expect("written");
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
        Ok(Self { _process: process, control, unread: Vec::new(), events: Vec::new(), dir, port: sip })
    }

    /// Gives a command of baresip's menu: `dial`, `sndcode`, `hold`, `resume`, `hangup`.
    /// Returns what it says to that.
    pub(crate) fn command(&mut self, command: &str, parameter: &str) -> String {
        let text = json!({"command": command, "params": parameter, "token": command}).to_string();
        write!(self.control, "{}:{text},", text.len()).expect("baresip listens");
        let limit = Duration::from_secs(5);
        let answer = self.wait(&format!("an answer to {command}"), limit, |event| event["token"] == command);
        assert_eq!(answer["ok"], true, "{command}: {answer}");
        self.events.retain(|event| event["token"] != command);
        answer["data"].as_str().unwrap_or_default().to_owned()
    }

    /// Its own SIP address, for UDP and TCP.
    pub(crate) fn sip(&self) -> SocketAddr {
        SocketAddr::from((HOST, self.port))
    }

    /// Calls and waits until the call is answered.
    pub(crate) fn call(&mut self, server: SocketAddr) {
        self.dial(&format!("sip:bank@{server}"));
    }

    /// Calls an address and waits until the call is answered.
    pub(crate) fn dial(&mut self, uri: &str) {
        self.command("dial", uri);
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

    /// Waits until its registration has this state: `OK`, `ERR`. Its first event comes before anybody can listen.
    pub(crate) fn wait_registration(&mut self, state: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let told = self.command("reginfo", "");
            if told.contains(state) {
                return;
            }
            assert!(Instant::now() < deadline, "the registration is not {state}: {told}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Forgets the events so far, before another call.
    pub(crate) fn forget(&mut self) {
        self.read();
        self.events.clear();
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

    /// What was heard since the last time its sound was set up: the decoded sound, before any loudspeaker.
    pub(crate) fn heard(&self) -> Wav {
        let files = std::fs::read_dir(self.dir.path()).expect("readable").flatten().map(|file| file.path());
        let mut decoded: Vec<PathBuf> =
            files.filter(|path| path.to_string_lossy().ends_with("-dec.wav")).collect();
        decoded.sort_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok());
        Wav::read(decoded.last().expect("a call was heard"))
    }
}

fn account(setup: Setup<'_>, rate_hz: u32, channels: u16) -> String {
    // RFC 3551 section 4.5.2 has G.722 at 8000 in SDP; baresip's own name for it has the real rate.
    let mut parameters = format!(";audio_codecs={}/{rate_hz}/{channels}", setup.codec.to_ascii_lowercase());
    if !setup.security.is_empty() {
        parameters += &format!(";mediaenc={}", setup.security);
    }
    if setup.ice {
        parameters += ";medianat=ice";
    }
    if setup.answers {
        parameters += ";answermode=auto";
    }
    match setup.account {
        None => format!("<sip:tester@{HOST}>;regint=0{parameters}\n"),
        Some((user, password, registrar)) => {
            format!("<sip:{user}@{registrar}>;auth_user={user};auth_pass={password};regint=60{parameters}\n")
        }
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
