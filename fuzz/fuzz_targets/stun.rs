//! STUN: any datagram at the reader, any message through writer and reader, and signed checks in any order at an ICE
//! agent. The reader is private to its crate, so its source is taken in here.
#![no_main]

#[path = "../../media/link/src/stun.rs"]
#[allow(dead_code, unreachable_pub, reason = "the agent uses more of it than the target")]
mod stun;

use std::net::SocketAddr;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_link::{
    IceConfig, IceCredentials, IceRole, Link, LinkConfig, Protection, RemoteCandidate, SrtpKeys, Suite,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use stun::{Claim, Class, Message, Reflection, Writer};

const OURS: &str = "a-password-of-22-chars";
const THEIRS: &str = "another-of-22-chars-xx";

#[derive(Arbitrary, Debug)]
enum Op {
    /// Any octets, from one of a few addresses.
    Datagram {
        from: u8,
        octets: Vec<u8>,
    },
    /// A check by somebody who knows the passwords, or does not.
    Check {
        from: u8,
        name: Name,
        priority: Option<u32>,
        nominate: bool,
        claim: Option<(bool, u64)>,
        signed: bool,
    },
    /// An answer to one of the agent's own checks.
    Answer {
        which: u8,
        from: u8,
        seen: Option<u8>,
        error: Option<u8>,
        signed: bool,
    },
    /// Its own check comes back to it.
    Reflect {
        which: u8,
    },
    Wait {
        ms: u16,
    },
}

#[derive(Arbitrary, Debug)]
enum Name {
    Right,
    Swapped,
    Text(String),
    None,
}

#[derive(Arbitrary, Debug)]
struct Input {
    octets: Vec<u8>,
    bit: u16,
    lite: bool,
    controlling: bool,
    ops: Vec<Op>,
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host % 8], 4_000))
}

fn agent(input: &Input) -> Link {
    let credentials =
        |name: &str, password: &str| IceCredentials { ufrag: name.into(), password: password.into() };
    let suite = Suite::ALL[0];
    let keys =
        || SrtpKeys::new(suite, &vec![1; suite.key_len()], &vec![2; suite.salt_len()]).expect("its lengths");
    let ice = IceConfig {
        local: credentials("here", OURS),
        remote: credentials("there", THEIRS),
        lite: input.lite,
        remote_lite: false,
        role: if input.controlling && !input.lite { IceRole::Controlling } else { IceRole::Controlled },
        candidates: vec![RemoteCandidate { address: address(1), priority: 1 }],
    };
    let protection = Protection::Sdes { local: keys(), remote: keys() };
    Link::new(LinkConfig { protection, ice: Some(ice) }, MediaTime::ZERO).expect("no certificate is needed")
}

/// Reads octets, and what is read is not what it is not.
fn read(octets: &[u8]) {
    let Some(message) = Message::parse(octets) else {
        assert_eq!(stun::called(octets), None);
        return;
    };
    assert!(octets.len() >= 20 && octets.len().is_multiple_of(4));
    // Twenty octets of HMAC are not guessed.
    assert!(!message.is_signed_with(b"a password that nobody wrote into a corpus"));
    let answered = Reflection::random().answer(octets);
    assert_eq!(answered, None, "an answer to a question that nobody has seen");
}

/// A message of every attribute reads as it was written, and any other bit of what is signed is noticed.
fn round_trip(input: &Input) {
    let mut transaction = [0; 12];
    for (to, from) in transaction.iter_mut().zip(&input.octets) {
        *to = *from;
    }
    let seen = address(input.octets.len() as u8);
    let written = Writer::new(Class::Request, transaction)
        .username("here:there")
        .priority(u32::from(input.bit))
        .claim(Claim::Controlling(u64::from(input.bit)))
        .mapped(seen)
        .signed(OURS.as_bytes());
    let message = Message::parse(&written).expect("our own message is well formed");
    assert_eq!((message.mapped, message.transaction), (Some(seen), transaction));
    assert!(message.is_signed_with(OURS.as_bytes()) && !message.is_signed_with(THEIRS.as_bytes()));
    let mut damaged = written.clone();
    // The fingerprint behind the signature may be there or not (RFC 8489 §14.7).
    let bit = usize::from(input.bit) % (8 * (written.len() - 8));
    damaged[bit / 8] ^= 1 << (bit % 8);
    let taken = Message::parse(&damaged).is_some_and(|message| message.is_signed_with(OURS.as_bytes()));
    assert!(!taken, "bit {bit} was not noticed");
}

fuzz_target!(|input: Input| {
    read(&input.octets);
    round_trip(&input);
    let mut link = agent(&input);
    let mut now = MediaTime::ZERO;
    let mut asked: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    for op in input.ops.iter().take(64) {
        match op {
            Op::Datagram { from, octets } => {
                read(octets);
                link.handle(now, address(*from), &mut octets.clone());
            }
            Op::Check { from, name, priority, nominate, claim, signed } => {
                let mut check = Writer::new(Class::Request, [*from; 12]);
                check = match name {
                    Name::Right => check.username("here:there"),
                    Name::Swapped => check.username("there:here"),
                    Name::Text(text) => check.username(&text.chars().take(128).collect::<String>()),
                    Name::None => check,
                };
                if let Some(priority) = priority {
                    check = check.priority(*priority);
                }
                if *nominate {
                    check = check.use_candidate();
                }
                if let Some((controlling, tie)) = *claim {
                    check = check.claim(if controlling {
                        Claim::Controlling(tie)
                    } else {
                        Claim::Controlled(tie)
                    });
                }
                let mut datagram = check.signed(if *signed { OURS } else { THEIRS }.as_bytes());
                link.handle(now, address(*from), &mut datagram);
            }
            Op::Answer { which, from, seen, error, signed } => {
                let Some((_, question)) = asked.get(usize::from(*which) % asked.len().max(1)) else {
                    continue;
                };
                let Some(question) = Message::parse(question) else { continue };
                let class = if error.is_some() { Class::Error } else { Class::Success };
                let mut answer = Writer::new(class, question.transaction);
                if let Some(seen) = seen {
                    answer = answer.mapped(address(*seen));
                }
                if let Some(error) = error {
                    answer = answer.error(400 + u16::from(*error), "no");
                }
                let mut datagram = answer.signed(if *signed { THEIRS } else { OURS }.as_bytes());
                link.handle(now, address(*from), &mut datagram);
            }
            Op::Reflect { which } => {
                let Some((to, question)) = asked.get(usize::from(*which) % asked.len().max(1)) else {
                    continue;
                };
                link.handle(now, *to, &mut question.clone());
            }
            Op::Wait { ms } => {
                now += Span::from_millis(u64::from(*ms));
                link.handle_timeout(now);
            }
        }
        let mut sent = 0;
        while let Some((to, datagram)) = link.poll_transmit() {
            sent += 1;
            assert!(sent <= 64, "one thing that happens makes few datagrams");
            let to = to.address();
            assert!((0..8).any(|host| address(host) == to), "{to} never took part");
            if asked.len() < 64 {
                asked.push((to, datagram.to_vec()));
            }
        }
        while link.poll_event().is_some() {}
    }
});
