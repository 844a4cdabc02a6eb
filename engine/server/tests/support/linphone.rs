//! linphone's console telephone, driven by what it reads from its standard input; files in place of a sound card.

use std::fs::File;
use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::wav::Wav;
use super::{HOST, Process, free_port, free_ports, wait_for};

/// What a telephone is like.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// Its one codec and the rate of it in SDP: `PCMU`, 8000.
    pub(crate) codec: (&'a str, u32),
    /// What it says, at 16 kHz.
    pub(crate) says: &'a [i16],
    /// Whether sound is kept secret by keys in SDP; then it takes nothing else.
    pub(crate) srtp: bool,
    /// User and password.
    pub(crate) account: (&'a str, &'a str),
    /// Where it registers: `127.0.0.1:5060;transport=tcp`.
    pub(crate) registrar: &'a str,
    /// Its own SIP port; any where there is none.
    pub(crate) port: Option<u16>,
}

/// A running telephone.
pub(crate) struct Linphone {
    // Ended before its folder goes.
    _process: Process,
    input: ChildStdin,
    dir: TempDir,
    rate_hz: u32,
}

impl Linphone {
    /// Starts a telephone and waits until it is registered.
    pub(crate) fn start(setup: Setup<'_>) -> Self {
        let dir = tempfile::Builder::new().prefix("antiphon-linphone-").tempdir().expect("a folder");
        let path = dir.path();
        // Its call history and keys have their place under the home folder.
        std::fs::create_dir_all(path.join(".local/share/linphone")).expect("made");
        Wav::write(&path.join("says.wav"), 16_000, setup.says);
        let (sip, rtp) = (setup.port.unwrap_or_else(free_port), free_ports(2));
        let (user, password) = setup.account;
        let (codec, rate) = setup.codec;
        let registrar = setup.registrar;
        let protection =
            if setup.srtp { "media_encryption=srtp\nmedia_encryption_mandatory=1\n" } else { "" };
        let config = format!(
            "[sip]\nsip_port={sip}\nsip_tcp_port={sip}\nsip_tls_port=-1\ndefault_proxy=0\n{protection}\
             use_rfc2833=1\nuse_info=0\nguess_hostname=0\n\
             [proxy_0]\nreg_proxy=<sip:{registrar}>\nreg_identity=sip:{user}@{HOST}\nreg_sendregister=1\n\
             reg_expires=120\npublish=0\n\
             [auth_info_0]\nusername={user}\npasswd={password}\nrealm=antiphon\n\
             [video]\nenabled=0\ncapture=0\ndisplay=0\nautomatically_initiate=0\nautomatically_accept=0\n\
             [rtp]\naudio_rtp_port={rtp}\n[sound]\nec=0\n[misc]\nlog_collection_enabled=0\n"
        );
        std::fs::write(path.join("config"), config).expect("written");
        let output = File::create(path.join("output")).expect("created");
        let mut child = Command::new("linphonec")
            .args(["-d", "0", "-c"])
            .arg(path.join("config"))
            .env("HOME", path)
            .current_dir(path)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("cloned"))
            .stderr(output)
            .spawn()
            .expect("linphonec is installed");
        let input = child.stdin.take().expect("piped");
        let mut phone = Self { _process: Process(child), input, dir, rate_hz: rate };
        phone.wait_said("linphonec>", 1);
        phone.only(codec, rate);
        phone.command("soundcard use files");
        phone.play();
        phone.command(&format!("record {}", phone.dir.path().join("heard.wav").display()));
        wait_for("linphone's registration", Duration::from_secs(15), || {
            phone.command("status register");
            std::thread::sleep(Duration::from_millis(200));
            phone.said().contains("registered, identity").then_some(())
        });
        phone
    }

    /// Gives a command; digits and `*` and `#` are keys.
    pub(crate) fn command(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("linphonec reads");
    }

    /// Says its file from the beginning.
    pub(crate) fn play(&mut self) {
        self.command(&format!("play {}", self.dir.path().join("says.wav").display()));
    }

    /// Waits until it has said something so many times.
    pub(crate) fn wait_said(&self, what: &str, times: usize) {
        let what_for = format!("linphone to say {what} {times} times");
        wait_for(&what_for, Duration::from_secs(15), || {
            (self.said().matches(what).count() >= times).then_some(())
        });
    }

    /// All it has said so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("output")).unwrap_or_default())
            .into_owned()
    }

    /// What was heard so far.
    pub(crate) fn heard(&self) -> Wav {
        // Its head is written when the call is over.
        let bytes = std::fs::read(self.dir.path().join("heard.wav")).unwrap_or_default();
        let sound = bytes.get(44..).unwrap_or_default();
        let pcm = sound.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        Wav { rate_hz: self.rate_hz, channels: vec![pcm] }
    }

    /// Leaves one codec switched on.
    fn only(&mut self, codec: &str, rate: u32) {
        self.command("codec list");
        self.wait_said("L16 (44100)", 1);
        let wanted = format!("{codec} ({rate})");
        let listed: Vec<(String, bool)> = self
            .said()
            .lines()
            .filter(|line| line.contains("abled"))
            .filter_map(|line| {
                let (index, rest) = line.split_once(": ")?;
                Some((index.trim().rsplit(' ').next()?.to_owned(), rest.starts_with(&wanted)))
            })
            .collect();
        assert!(listed.iter().any(|(_, wanted)| *wanted), "linphone has no {wanted}: {listed:?}");
        for (index, wanted) in listed {
            self.command(&format!("codec {} {index}", if wanted { "enable" } else { "disable" }));
        }
    }
}

impl Drop for Linphone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- linphone ---\n{}", self.said());
        }
        let _ = writeln!(self.input, "quit");
    }
}
