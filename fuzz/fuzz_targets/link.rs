//! Any datagrams at links of every kind: nothing panics, nothing is reflected larger than it came, and the link
//! still works afterwards.
#![no_main]

use std::net::SocketAddr;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_link::tcp::Deframer;
use antiphon_media_link::{
    IceConfig, IceCredentials, IceRole, Input, Link, LinkConfig, OVERHEAD, Protection, RemoteCandidate,
    SrtpKeys, Suite,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Op {
    /// A datagram from one of a few addresses.
    Datagram { from: u8, octets: Vec<u8> },
    /// What was protected, damaged.
    Damaged { at: u8, with: u8 },
    /// Time passes.
    Wait { ms: u16 },
}

fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: name.to_owned(), password: "a-password-of-22-chars".to_owned() }
}

fn keys(suite: Suite) -> SrtpKeys {
    SrtpKeys::new(suite, &vec![1; suite.key_len()], &vec![2; suite.salt_len()]).expect("the suite's lengths")
}

fn config(kind: u8, lite: bool) -> LinkConfig {
    let ice = (kind & 4 != 0).then(|| IceConfig {
        local: credentials("here"),
        remote: credentials("there"),
        lite,
        remote_lite: false,
        role: IceRole::Controlled,
        candidates: vec![RemoteCandidate { address: address(1), priority: 1 }],
    });
    let suite = Suite::ALL[usize::from(kind & 3)];
    let protection = Protection::Sdes { local: keys(suite), remote: keys(suite) };
    LinkConfig { protection, ice }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 4_000))
}

fuzz_target!(|input: (u8, bool, Vec<Op>)| {
    let (kind, lite, ops) = input;
    let mut link = Link::new(config(kind, lite), MediaTime::ZERO).expect("no certificate is needed");
    let mut now = MediaTime::ZERO;
    let mut sequence = 0u16;
    for op in ops.into_iter().take(64) {
        match op {
            Op::Datagram { from, mut octets } => {
                Deframer::new(1_500).push(&octets, |_| {}).ok();
                let len = octets.len();
                // Only our own packets have the right tag, and none is here.
                assert_eq!(link.handle(now, address(from), &mut octets), Input::Nothing);
                if lite || kind & 4 == 0 {
                    let sent: usize = std::iter::from_fn(|| link.poll_transmit().map(|(_, d)| d.len())).sum();
                    assert!(sent <= len, "{sent} octets for {len}");
                }
            }
            Op::Damaged { at, with } => {
                sequence = sequence.wrapping_add(1);
                let mut packet = vec![0; 60 + OVERHEAD];
                packet[0] = 0x80;
                packet[2..4].copy_from_slice(&sequence.to_be_bytes());
                let Some(len) = link.protect_rtp(&mut packet, 60) else { continue };
                let at = usize::from(at) % len;
                packet[at] ^= with;
                let opened = matches!(link.handle(now, address(1), &mut packet[..len]), Input::Rtp(_));
                assert!(!opened || with == 0, "octet {at} was not noticed");
            }
            Op::Wait { ms } => {
                now += Span::from_millis(u64::from(ms));
                link.handle_timeout(now);
            }
        }
        while link.poll_transmit().is_some() {}
        while link.poll_event().is_some() {}
    }
});
