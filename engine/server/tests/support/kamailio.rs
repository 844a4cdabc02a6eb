//! kamailio, an independent registrar and proxy, with a configuration of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::certificate::Certificate;
use super::{Process, free_ports, wait_for};

/// Where it lives, so that it is told from telephones.
const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// The password of all its users.
pub(crate) const PASSWORD: &str = "between-us";
const MODULES: &[&str] = &[
    "kex",
    "tm",
    "tmx",
    "sl",
    "rr",
    "pv",
    "maxfwd",
    "usrloc",
    "registrar",
    "textops",
    "siputils",
    "sanity",
    "auth",
];
const ROUTES: &str = r#"
request_route {
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (!sanity_check("17895", "7")) { exit; }
    if (has_totag()) {
        if (loose_route()) { t_relay(); exit; }
        if (is_method("ACK") && t_check_trans()) { t_relay(); }
        exit;
    }
    if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
    t_check_trans();
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (is_method("REGISTER|INVITE")) {
        if (!pv_auth_check("kamailio.test", "@PASSWORD@", "0", "0")) { auth_challenge("kamailio.test", "1"); exit; }
        if (is_method("REGISTER")) { save("location"); exit; }
        consume_credentials();
        record_route();
    }
    if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
    t_relay();
}
"#;

/// A running proxy.
pub(crate) struct Kamailio {
    // Ended before its folder goes.
    _process: Process,
    port: u16,
    dir: TempDir,
}

impl Kamailio {
    /// Starts a proxy that asks for passwords by an algorithm: `MD5`, `SHA-256`.
    pub(crate) fn start(algorithm: &str, certificate: &Certificate) -> Self {
        let dir = tempfile::Builder::new().prefix("antiphon-kamailio-").tempdir().expect("a folder");
        let path = dir.path().display().to_string();
        // For UDP and TCP, and for TLS.
        let port = free_ports(2);
        let modules: String = MODULES.iter().map(|name| format!("loadmodule \"{name}.so\"\n")).collect();
        let config = format!(
            "#!KAMAILIO\ndebug=1\nlog_stderror=yes\nchildren=2\ntcp_children=2\nauto_aliases=no\nenable_tls=yes\n\
             dns=no\nrev_dns=no\nlisten=udp:{HOST}:{port}\nlisten=tcp:{HOST}:{port}\nlisten=tls:{HOST}:{tls}\n\
             loadmodule \"tls.so\"\n{modules}modparam(\"tls\", \"config\", \"{path}/tls.cfg\")\n\
             modparam(\"usrloc\", \"db_mode\", 0)\nmodparam(\"auth\", \"algorithm\", \"{algorithm}\")\n\
             modparam(\"registrar\", \"min_expires\", 10)\n{ROUTES}",
            tls = port + 1,
        )
        .replace("@PASSWORD@", PASSWORD);
        let tls = format!(
            "[server:default]\nmethod = TLSv1.2+\nprivate_key = {path}/server.key\ncertificate = {path}/server.pem\n\
             verify_certificate = no\n[client:default]\nverify_certificate = no\n"
        );
        for (name, text) in [
            ("kamailio.cfg", config.as_str()),
            ("tls.cfg", &tls),
            ("server.pem", &certificate.pem),
            ("server.key", &certificate.key),
        ] {
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        let output = File::create(dir.path().join("output")).expect("created");
        let child = Command::new("/usr/sbin/kamailio")
            .args(["-DD", "-E", "-m", "32", "-M", "4", "-w", &path, "-Y", &path])
            .args(["-f", &format!("{path}/kamailio.cfg"), "-P", &format!("{path}/pid")])
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("cloned"))
            .stderr(output)
            .spawn()
            .expect("kamailio is installed");
        let mut process = Process(child);
        let said = || {
            String::from_utf8_lossy(&std::fs::read(dir.path().join("output")).unwrap_or_default())
                .into_owned()
        };
        wait_for("kamailio", Duration::from_secs(10), || {
            let ended = process.0.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "kamailio did not start: {}", said());
            TcpStream::connect((HOST, port)).ok()
        });
        Self { _process: process, port, dir }
    }

    /// Where it takes UDP and TCP.
    pub(crate) fn sip(&self) -> SocketAddr {
        SocketAddr::from((HOST, self.port))
    }

    /// Where it takes TLS.
    pub(crate) fn tls(&self) -> SocketAddr {
        SocketAddr::from((HOST, self.port + 1))
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("output")).unwrap_or_default())
            .into_owned()
    }
}
