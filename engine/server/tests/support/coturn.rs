//! coturn, an independent relay (TURN), on loopback.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::certificate::Certificate;
use super::{HOST, Process, free_ports, wait_for};

/// What it shares with us.
pub(crate) const SECRET: &str = "between-relay-and-server";

/// A running relay.
pub(crate) struct Coturn {
    // Ended before its folder goes.
    _process: Process,
    port: u16,
    dir: TempDir,
}

impl Coturn {
    /// Starts a relay for whoever has credentials made of [`SECRET`].
    pub(crate) fn start(certificate: &Certificate) -> Self {
        let dir = tempfile::Builder::new().prefix("antiphon-coturn-").tempdir().expect("a folder");
        let path = dir.path();
        // In the clear, encrypted, and where relayed media comes from.
        let port = free_ports(2);
        let relayed = free_ports(20);
        std::fs::write(path.join("server.pem"), &certificate.pem).expect("written");
        std::fs::write(path.join("server.key"), &certificate.key).expect("written");
        let config = format!(
            "listening-ip={HOST}\nlistening-port={port}\ntls-listening-port={tls}\nrelay-ip={HOST}\n\
             min-port={relayed}\nmax-port={last}\nuse-auth-secret\nstatic-auth-secret={SECRET}\nrealm=relay.test\n\
             allow-loopback-peers\nno-multicast-peers\nno-cli\ncert={dir}/server.pem\npkey={dir}/server.key\n\
             pidfile={dir}/pid\nuserdb={dir}/db\nlog-file=stdout\nsimple-log\nverbose\n",
            tls = port + 1,
            last = relayed + 19,
            dir = path.display(),
        );
        std::fs::write(path.join("turnserver.conf"), config).expect("written");
        let output = File::create(path.join("output")).expect("created");
        let child = Command::new("turnserver")
            .arg("-c")
            .arg(path.join("turnserver.conf"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("cloned"))
            .stderr(output)
            .spawn()
            .expect("coturn is installed");
        let mut process = Process(child);
        wait_for("coturn", Duration::from_secs(10), || {
            let ended = process.0.try_wait().expect("a child of ours");
            let said = std::fs::read_to_string(path.join("output")).unwrap_or_default();
            assert!(ended.is_none(), "coturn did not start: {said}");
            TcpStream::connect((HOST, port + 1)).ok()
        });
        Self { _process: process, port, dir }
    }

    /// Its address for web pages over `udp`, `tcp` or `tls`.
    pub(crate) fn url(&self, way: &str) -> String {
        match way {
            "tls" => format!("turns:{HOST}:{}?transport=tcp", self.port + 1),
            way => format!("turn:{HOST}:{}?transport={way}", self.port),
        }
    }

    /// Where it says, without a password, at which address it sees somebody (STUN).
    pub(crate) fn stun(&self) -> SocketAddr {
        SocketAddr::from((HOST, self.port))
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("output")).unwrap_or_default())
            .into_owned()
    }
}
