//! A harness for tests that run the built binary and call it with independent peers, all on loopback.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test owns processes, threads and clocks"
)]

pub(crate) mod certificate;
pub(crate) mod chromium;
pub(crate) mod coturn;
pub(crate) mod dns;
pub(crate) mod kamailio;
pub(crate) mod linphone;
pub(crate) mod npm;
pub(crate) mod python;
pub(crate) mod rtp;
pub(crate) mod server;
pub(crate) mod sipp;
pub(crate) mod site;
pub(crate) mod softphone;
pub(crate) mod tone;
pub(crate) mod wav;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Whether one of `tools` is not installed; says what is skipped. On CI, where all are installed, that is a failure.
pub(crate) fn tool_missing(tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<_> = tools
        .iter()
        // Servers lie where only root's PATH leads.
        .filter(|tool| {
            let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
            !folders.any(|folder| folder.join(tool).is_file())
        })
        .collect();
    if missing.is_empty() {
        return false;
    }
    let on_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!on_ci, "not installed: {missing:?}; scripts/setup.sh installs them");
    eprintln!("skipped: this test needs {missing:?}, which this machine does not have (make setup-test)");
    true
}

/// A port that is free over UDP and TCP, below the range that outgoing connections take theirs from.
pub(crate) fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many free ports in a row; an even one. None is given out twice by one process.
pub(crate) fn free_ports(count: u16) -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("no panic");
    let is_free = |port: u16| {
        let address = SocketAddr::from((HOST, port));
        UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
    };
    let first = (0..1_000)
        .map(|_| rand::random_range(5_000..9_500) * 2)
        .find(|first| (0..count).all(|n| !given.contains(&(first + n)) && is_free(first + n)))
        .expect("free ports between 10000 and 19000");
    given.extend(first..first + count);
    first
}

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A child process that ends with its owner: asked first, then killed, by its id.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends SIGTERM and waits; `None` where it does not end in time.
    pub(crate) fn terminate(&mut self, limit: Duration) -> Option<std::process::ExitStatus> {
        if let Ok(Some(status)) = self.0.try_wait() {
            return Some(status);
        }
        let _ = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.terminate(Duration::from_secs(8)).is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
