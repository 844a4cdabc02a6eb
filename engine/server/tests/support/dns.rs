//! A name server of a few fixed records (RFC 1035, SRV: RFC 2782), over UDP.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::HOST;

/// What is known of a name.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    A(Ipv4Addr),
    Srv { priority: u16, weight: u16, port: u16, target: &'static str },
}

/// A running name server.
pub(crate) struct Dns {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dns {
    /// Answers with these records; any other name does not exist.
    pub(crate) fn start(records: Vec<(&'static str, Record)>) -> Self {
        let socket = UdpSocket::bind((HOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a valid time");
        let address = socket.local_addr().expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(answer) = answer(&buffer[..length], &records) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(query: &[u8], records: &[(&'static str, Record)]) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while *query.get(at)? != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_lowercase());
        at += 1 + length;
    }
    let name = labels.join(".");
    let question = query.get(12..at + 5)?;
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let known = records.iter().any(|(of, _)| *of == name);
    let mut answers = Vec::new();
    let mut count = 0u16;
    for (_, record) in records.iter().filter(|(of, _)| *of == name) {
        let (of_kind, data) = match record {
            Record::A(address) => (1, address.octets().to_vec()),
            Record::Srv { priority, weight, port, target } => {
                let mut data: Vec<u8> =
                    [*priority, *weight, *port].iter().flat_map(|n| n.to_be_bytes()).collect();
                for label in target.split('.').filter(|label| !label.is_empty()) {
                    data.push(label.len() as u8);
                    data.extend(label.as_bytes());
                }
                data.push(0);
                (33, data)
            }
        };
        if of_kind == kind {
            count += 1;
            // The name of the question, class IN, kept for a second.
            answers.extend([0xc0, 12]);
            answers.extend(of_kind.to_be_bytes());
            answers.extend([0, 1, 0, 0, 0, 1]);
            answers.extend((data.len() as u16).to_be_bytes());
            answers.extend(data);
        }
    }
    let mut reply = query[..2].to_vec();
    // A response, authoritative, recursion asked for and there; NXDOMAIN where nothing is known.
    reply.extend([0x85, if known { 0x80 } else { 0x83 }, 0, 1]);
    reply.extend(count.to_be_bytes());
    reply.extend([0, 0, 0, 0]);
    reply.extend(question);
    reply.extend(answers);
    Some(reply)
}
