//! SIPp, run with a scenario of `tests/scenarios`, as the one who calls or the one who is called.
//!
//! The heads of messages are written once, here: in a scenario
//! - `@open INVITE 1@` is a request of the caller outside a dialog, with this CSeq, up to its Max-Forwards;
//! - `@next BYE 2@` one within the dialog, `@ack 1@` the ACK for anything but a 2xx;
//! - `@register 1@` a REGISTER of the called user, up to its Max-Forwards;
//! - `@reply 200 OK@` an answer to a request within a dialog;
//! - `@answer 180 Ringing@` an answer of the called one to what opens a dialog, with its tag and Contact, to what came last;
//! - `@keep@` within its `<recv request="INVITE">` notes what `@final 200 OK@`, an answer to that INVITE
//!   after others, and `@back BYE 1@`, a request of the called one, need.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
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
#[derive(Clone, Copy)]
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
    /// Whom it calls: the user of the Request-URI.
    pub(crate) service: &'a str,
    /// Who it is: the user of its From and Contact.
    pub(crate) user: &'a str,
    /// Its own address; another than [`HOST`] where the server is to tell it from others.
    pub(crate) host: Ipv4Addr,
    /// Its own SIP port; any where there is none. One that waits for calls has one.
    pub(crate) port: Option<u16>,
    /// User and password of its digest.
    pub(crate) digest: Option<(&'a str, &'a str)>,
    /// SIPp neither repeats what it sent nor takes a repeated message for one it has had.
    pub(crate) literal: bool,
    pub(crate) limit: Duration,
}

impl Default for Sipp<'_> {
    fn default() -> Self {
        Self {
            scenario: "answered.xml",
            offer: OFFER,
            // Below the ports that tests take: nobody listens, and what is sent there is lost.
            rtp: 9_999,
            values: &[],
            calls: 1,
            rate: 10,
            tcp: false,
            service: "bank",
            user: "sipp",
            host: HOST,
            port: None,
            digest: None,
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
        self.start_towards(server.sip())
    }

    /// Waits for requests before there is a server.
    pub(crate) fn start_alone(&self) -> Running {
        self.start_towards(SocketAddr::from((HOST, 9)))
    }

    fn start_towards(&self, server: SocketAddr) -> Running {
        let dir = tempfile::tempdir().expect("a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(self.scenario);
        let mut text =
            std::fs::read_to_string(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
        text = heads(&text).replace("@USER@", self.user);
        for (name, value) in self.values {
            text = text.replace(name, value);
        }
        text = text.replace("@OFFER@", self.offer).replace("@RTP@", &self.rtp.to_string());
        let scenario = dir.path().join("scenario.xml");
        std::fs::write(&scenario, text).expect("written");
        let file = |name: &str| dir.path().join(name).display().to_string();
        let output = File::create(dir.path().join("output")).expect("created");
        // SIPp binds its media port for sound and the second next for pictures, whether or not there are any.
        let mut command = Command::new("sipp");
        command
            .arg(server.to_string())
            .args(["-sf", &file("scenario.xml"), "-s", self.service, "-i", &self.host.to_string()])
            .args(["-p", &self.port.unwrap_or_else(free_port).to_string(), "-mp", &free_ports(4).to_string()])
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
            .args(self.digest.iter().flat_map(|(user, password)| ["-au", user, "-ap", password]))
            .env("TERM", "dumb")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("cloned"))
            .stderr(output);
        let process = Process(command.spawn().expect("sipp is installed"));
        Running { process, dir, deadline: Instant::now() + self.limit + Duration::from_secs(10) }
    }
}

/// Writes out the heads that a scenario names.
fn heads(scenario: &str) -> String {
    let line = |line: &str| {
        let head = line.trim().strip_prefix('@').and_then(|head| head.strip_suffix('@'));
        head.and_then(head_of).unwrap_or_else(|| line.to_owned())
    };
    let mut text = scenario.lines().map(line).collect::<Vec<_>>().join("\n");
    if text.contains("assign_to=\"contact\"") {
        // SIPp takes a variable that nobody reads for a slip.
        let read = "<Reference variables=\"contact,via,from,to,cseq\"/>\n</scenario>";
        text = text.replace("</scenario>", read);
    }
    text
}

fn head_of(head: &str) -> Option<String> {
    const VIA: &str = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]";
    const ME: &str = "<sip:@USER@@[local_ip]:[local_port];transport=[transport]>";
    const YOU: &str = "<sip:[service]@[remote_ip]:[remote_port]>";
    const TAG: &str = "tag=[pid]sipp[call_number]";
    const LAST: &str = "[last_Via:]\n[last_From:]\n[last_To:]";
    const REST: &str = "[last_Call-ID:]\n[last_CSeq:]";
    let (kind, rest) = head.split_once(' ').unwrap_or((head, ""));
    let request = |via: &str, tag: &str, method: &str, number: &str| {
        format!(
            "{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n{via}\nFrom: {ME};{TAG}\nTo: {YOU}{tag}\n\
             Call-ID: [call_id]\nCSeq: {number} {method}\nContact: {ME}\nMax-Forwards: 70"
        )
    };
    let written = match kind {
        "open" | "next" => {
            let (method, number) = rest.split_once(' ')?;
            request(VIA, if kind == "open" { "" } else { "[peer_tag_param]" }, method, number)
        }
        "register" => {
            let number = rest;
            format!(
                "REGISTER sip:[remote_ip]:[remote_port] SIP/2.0\n{VIA}\nFrom: {YOU};{TAG}\nTo: {YOU}\n\
                 Call-ID: [call_id]\nCSeq: {number} REGISTER\nMax-Forwards: 70"
            )
        }
        "ack" => request("[last_Via:]", "[peer_tag_param]", "ACK", rest),
        "reply" => format!("SIP/2.0 {rest}\n{LAST}\n{REST}\nContact: {ME}"),
        "answer" => format!("SIP/2.0 {rest}\n{LAST};{TAG}\n{REST}\nContact: {ME}"),
        "final" => format!(
            "SIP/2.0 {rest}\nVia: [$via]\nFrom: [$from]\nTo: [$to];{TAG}\nCall-ID: [call_id]\n\
             CSeq: [$cseq] INVITE\nContact: {ME}"
        ),
        // SIPp's reader of XML stumbles over angle brackets within an attribute.
        "keep" => "<action>\n\
                   <ereg regexp=\"sips?:[a-zA-Z0-9.:@_+~-]*\" search_in=\"hdr\" header=\"Contact:\" assign_to=\"contact\"/>\n\
                   <ereg regexp=\"SIP/2.0.*\" search_in=\"hdr\" header=\"Via:\" assign_to=\"via\"/>\n\
                   <ereg regexp=\"[^ ].*\" search_in=\"hdr\" header=\"From:\" assign_to=\"from\"/>\n\
                   <ereg regexp=\"[^ ].*\" search_in=\"hdr\" header=\"To:\" assign_to=\"to\"/>\n\
                   <ereg regexp=\"[0-9]+\" search_in=\"hdr\" header=\"CSeq:\" assign_to=\"cseq\"/>\n</action>"
            .to_owned(),
        "back" => {
            let (method, number) = rest.split_once(' ')?;
            format!(
                "{method} [$contact] SIP/2.0\n{VIA}\nFrom: [$to];{TAG}\nTo: [$from]\nCall-ID: [call_id]\n\
                 CSeq: {number} {method}\nContact: {ME}\nMax-Forwards: 70"
            )
        }
        _ => return None,
    };
    Some(written)
}

impl Running {
    /// All messages so far.
    pub(crate) fn messages(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("messages")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends it; what it has seen so far. One that waits for calls does not end by itself.
    pub(crate) fn stop(mut self) -> Finished {
        self.process.terminate(Duration::from_secs(5));
        self.finish()
    }

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
