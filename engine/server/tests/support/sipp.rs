//! SIPp, run with a scenario of `tests/scenarios`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::server::Server;
use super::{HOST, Process, free_port, free_ports};

/// Offers µ-law and telephone-events.
pub(crate) const OFFER: &str = "v=0
o=sipp 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio @RTP@ RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=sendrecv";

/// One run of SIPp.
pub(crate) struct Sipp<'a> {
    pub(crate) scenario: &'a str,
    /// The session description; its `@RTP@` becomes `rtp`.
    pub(crate) offer: &'a str,
    pub(crate) rtp: u16,
    /// What else to replace in the scenario: `("@STATUS@", "488")`.
    pub(crate) values: &'a [(&'a str, &'a str)],
    pub(crate) calls: usize,
    /// Calls a second.
    pub(crate) rate: usize,
    pub(crate) tcp: bool,
    /// SIPp neither repeats what it sent nor takes a repeated message for one it has had.
    pub(crate) literal: bool,
    pub(crate) limit: Duration,
}

impl Default for Sipp<'_> {
    fn default() -> Self {
        Self {
            scenario: "answered.xml",
            offer: OFFER,
            // The discard port: nobody listens, and what is sent there is lost.
            rtp: 9,
            values: &[],
            calls: 1,
            rate: 10,
            tcp: false,
            literal: false,
            limit: Duration::from_secs(20),
        }
    }
}

/// SIPp under way.
pub(crate) struct Running {
    process: Process,
    dir: tempfile::TempDir,
    deadline: Instant,
}

/// What came of a run.
pub(crate) struct Finished {
    /// Every call went as the scenario says.
    pub(crate) well: bool,
    /// All messages, with SIPp's own lines in between.
    pub(crate) messages: String,
    /// SIPp's complaints.
    pub(crate) errors: String,
}

impl Sipp<'_> {
    /// Runs to the end.
    pub(crate) fn run(&self, server: &Server) -> Finished {
        self.start(server).finish()
    }

    /// Runs to the end and demands that every call went as the scenario says.
    pub(crate) fn pass(&self, server: &Server) -> Finished {
        let finished = self.run(server);
        assert!(finished.well, "{}: {}\n{}", self.scenario, finished.errors, finished.messages);
        finished
    }

    pub(crate) fn start(&self, server: &Server) -> Running {
        let dir = tempfile::tempdir().expect("a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(self.scenario);
        let mut text =
            std::fs::read_to_string(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
        text = text.replace("@OFFER@", &self.offer.replace("@RTP@", &self.rtp.to_string()));
        for (name, value) in self.values {
            text = text.replace(name, value);
        }
        let scenario = dir.path().join("scenario.xml");
        std::fs::write(&scenario, text).expect("written");
        let file = |name: &str| dir.path().join(name).display().to_string();
        let output = File::create(dir.path().join("output")).expect("created");
        // SIPp binds its media port for sound and the second next for pictures, whether or not there are any.
        let mut command = Command::new("sipp");
        command
            .arg(server.sip().to_string())
            .args(["-sf", &file("scenario.xml"), "-s", "bank", "-i", &HOST.to_string()])
            .args(["-p", &free_port().to_string(), "-mp", &free_ports(4).to_string()])
            .args(["-t", if self.tcp { "t1" } else { "u1" }])
            .args(["-m", &self.calls.to_string(), "-r", &self.rate.to_string(), "-l", "200"])
            .args(["-timeout", &format!("{}s", self.limit.as_secs()), "-timeout_error", "-nostdin"])
            .args([
                "-trace_err",
                "-error_file",
                &file("errors"),
                "-trace_msg",
                "-message_file",
                &file("messages"),
            ])
            .args(self.literal.then_some("-nr"))
            .env("TERM", "dumb")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("cloned"))
            .stderr(output);
        let process = Process(command.spawn().expect("sipp is installed"));
        Running { process, dir, deadline: Instant::now() + self.limit + Duration::from_secs(10) }
    }
}

impl Running {
    pub(crate) fn finish(mut self) -> Finished {
        let status = loop {
            if let Some(status) = self.process.0.try_wait().expect("a child of ours") {
                break Some(status);
            }
            if Instant::now() > self.deadline {
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let read =
            |path: PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let mut errors = read(self.dir.path().join("errors"));
        if errors.is_empty() && status.is_none_or(|status| !status.success()) {
            errors = format!("{status:?} {}", read(self.dir.path().join("output")));
        }
        let messages = read(self.dir.path().join("messages"));
        Finished { well: status.is_some_and(|status| status.success()), messages, errors }
    }
}

impl Finished {
    /// How often a received message begins like this: `SIP/2.0 488`.
    pub(crate) fn received(&self, start: &str) -> usize {
        self.messages
            .split("message received")
            .skip(1)
            .filter(|part| {
                part.lines()
                    .map(str::trim)
                    .find(|line| line.contains("SIP/2.0"))
                    .is_some_and(|l| l.starts_with(start))
            })
            .count()
    }

    /// The value of the first such line of what was received: `Warning: `, `a=ptime:`.
    pub(crate) fn line(&self, start: &str) -> Option<&str> {
        self.messages
            .split("message received")
            .skip(1)
            // What was sent since then belongs to the next part.
            .map(|part| part.split("message sent").next().unwrap_or_default())
            .flat_map(str::lines)
            .find_map(|line| line.trim_end().strip_prefix(start))
    }
}
