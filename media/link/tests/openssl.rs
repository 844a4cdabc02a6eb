//! The DTLS handshake with OpenSSL at the other end, over loopback: same keys on both sides.
#![expect(clippy::disallowed_methods, reason = "another program is waited for")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_link::srtp::Opener;
use antiphon_media_link::{
    DtlsConfig, DtlsRole, Fingerprint, Identity, Link, LinkConfig, OVERHEAD, Protection, SrtpKeys, Suite,
};
use sha2::{Digest, Sha256};

const LONGEST: Duration = Duration::from_secs(20);

/// Ends what it started.
struct Openssl(Child, mpsc::Receiver<String>);

impl Drop for Openssl {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Openssl {
    /// `None` where there is no OpenSSL.
    fn start(arguments: &[&str], files: &Path, profile: &str, length: usize) -> Option<Self> {
        let mut command = Command::new("openssl");
        command.args(arguments).args([
            "-dtls1_2",
            "-use_srtp",
            profile,
            "-keymatexport",
            "EXTRACTOR-dtls_srtp",
        ]);
        command.args(["-keymatexportlen", &length.to_string(), "-cert"]).arg(files.join("cert.pem"));
        command.arg("-key").arg(files.join("key.pem"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let output = BufReader::new(child.stdout.take()?);
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Some(Self(child, receiver))
    }

    /// Waits for a line with `text`.
    fn says(&self, text: &str) -> String {
        let end = Instant::now() + LONGEST;
        loop {
            let line = self
                .1
                .recv_timeout(end.saturating_duration_since(Instant::now()))
                .expect("OpenSSL to say it");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Keys of the client and of the server, as OpenSSL exports them.
    fn keys(&self, suite: Suite) -> (SrtpKeys, SrtpKeys) {
        let line = self.says("Keying material: ");
        let digits = line.rsplit(' ').next().expect("a word").as_bytes();
        let material: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits"))
            .collect();
        let (key, salt) = (suite.key_len(), suite.salt_len());
        let (keys, salts) = material.split_at(2 * key);
        (
            SrtpKeys::new(suite, &keys[..key], &salts[..salt]).expect("lengths"),
            SrtpKeys::new(suite, &keys[key..], &salts[salt..]).expect("lengths"),
        )
    }
}

/// A certificate for OpenSSL, as files, and its fingerprint.
fn certificate(files: &Path) -> Fingerprint {
    let made = rcgen::generate_simple_self_signed(vec!["peer".to_owned()]).expect("a certificate");
    std::fs::write(files.join("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(files.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    Fingerprint(Sha256::digest(made.cert.der()).into())
}

fn link(role: DtlsRole, fingerprint: Fingerprint, peer: SocketAddr) -> Link {
    let identity = Arc::new(Identity::generate().expect("a certificate"));
    let dtls = DtlsConfig { identity, fingerprint, role, peer, latch: true };
    Link::new(LinkConfig { protection: Protection::Dtls(dtls), ice: None }, MediaTime::ZERO).expect("a link")
}

/// Carries datagrams between `link` and its socket until there are keys.
fn run(link: &mut Link, socket: &UdpSocket) {
    let start = Instant::now();
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let mut buffer = [0; 2_048];
    while !link.ready() {
        assert!(start.elapsed() < LONGEST, "no handshake");
        let now = MediaTime::ZERO + Span::from(start.elapsed());
        link.handle_timeout(now);
        while let Some((to, datagram)) = link.poll_transmit() {
            socket.send_to(datagram, to.address()).ok();
        }
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            link.handle(now, from, &mut buffer[..len]);
        }
        while let Some((to, datagram)) = link.poll_transmit() {
            socket.send_to(datagram, to.address()).ok();
        }
    }
}

/// Whether what `link` sends opens with `keys`.
fn sends_with(link: &mut Link, keys: &SrtpKeys) -> bool {
    let mut buffer = [0u8; 100 + OVERHEAD];
    buffer[0] = 0x80;
    let len = link.protect_rtp(&mut buffer, 100).expect("protected");
    Opener::new(keys).rtp(&mut buffer[..len]) == Ok(100)
}

fn suites() -> [(&'static str, Suite); 2] {
    [("SRTP_AES128_CM_SHA1_80", Suite::AesCm128HmacSha1_80), ("SRTP_AEAD_AES_128_GCM", Suite::AeadAes128Gcm)]
}

#[test]
fn as_server_we_agree_with_openssl() {
    for (profile, suite) in suites() {
        let files = tempfile::tempdir().unwrap();
        let fingerprint = certificate(files.path());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut link = link(DtlsRole::Server, fingerprint, "127.0.0.1:9".parse().unwrap());
        let length = 2 * (suite.key_len() + suite.salt_len());
        let arguments = ["s_client", "-connect", &address.to_string()];
        let Some(openssl) = Openssl::start(&arguments, files.path(), profile, length) else {
            eprintln!("skipped: no openssl");
            return;
        };
        run(&mut link, &socket);
        let (_, server) = openssl.keys(suite);
        assert!(sends_with(&mut link, &server), "{profile}");
    }
}

#[test]
fn as_client_we_agree_with_openssl() {
    for (profile, suite) in suites() {
        let files = tempfile::tempdir().unwrap();
        let fingerprint = certificate(files.path());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let length = 2 * (suite.key_len() + suite.salt_len());
        let arguments = ["s_server", "-accept", &free.to_string(), "-Verify", "1"];
        let Some(openssl) = Openssl::start(&arguments, files.path(), profile, length) else {
            eprintln!("skipped: no openssl");
            return;
        };
        openssl.says("ACCEPT");
        let mut link = link(DtlsRole::Client, fingerprint, free);
        run(&mut link, &socket);
        let (client, _) = openssl.keys(suite);
        assert!(sends_with(&mut link, &client), "{profile}");
    }
}

#[test]
fn openssl_with_another_certificate_gets_no_keys() {
    let files = tempfile::tempdir().unwrap();
    certificate(files.path());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut link = link(DtlsRole::Server, Fingerprint([7; 32]), "127.0.0.1:9".parse().unwrap());
    let arguments = ["s_client", "-connect", &address.to_string()];
    let Some(_openssl) = Openssl::start(&arguments, files.path(), suites()[0].0, 60) else {
        eprintln!("skipped: no openssl");
        return;
    };
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (start, mut heard, mut buffer) = (Instant::now(), 0, [0; 2_048]);
    while start.elapsed() < Duration::from_secs(3) {
        let now = MediaTime::ZERO + Span::from(start.elapsed());
        link.handle_timeout(now);
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            link.handle(now, from, &mut buffer[..len]);
            heard += 1;
        }
        while let Some((to, datagram)) = link.poll_transmit() {
            socket.send_to(datagram, to.address()).unwrap();
        }
        assert!(!link.ready());
    }
    assert!(heard >= 3, "the handshake came as far as the certificate");
}
