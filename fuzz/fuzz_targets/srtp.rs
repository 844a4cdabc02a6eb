//! Any order of sealing, losing, repeating, damaging and opening: what was sealed opens to what it was, once; nothing
//! else opens at all; and no garbage keeps a good packet out.
#![no_main]

use antiphon_media_link::srtp::{Opener, Sealer};
use antiphon_media_link::{SrtpKeys, Suite};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Room for a packet and what protects it.
const ROOM: usize = 512;
/// Sealed packets that may be delivered later.
const KEPT: usize = 64;

#[derive(Arbitrary, Debug)]
enum Op {
    /// The sender goes on by so many numbers, and its packet is on the way.
    Rtp {
        ahead: u8,
        octets: u8,
        extension: bool,
    },
    /// It jumps, as after a long silence.
    Jump {
        ahead: u16,
    },
    Rtcp {
        octets: u8,
    },
    /// A packet arrives; one that came before is a replay.
    Deliver {
        which: u8,
    },
    /// A packet arrives with one octet changed.
    Damage {
        which: u8,
        at: u16,
        with: u8,
    },
    /// Somebody without the keys sends something.
    Garbage {
        octets: Vec<u8>,
        control: bool,
    },
}

struct Sealed {
    plain: Vec<u8>,
    wire: Vec<u8>,
    control: bool,
    opened: bool,
    /// The number it was sealed under, roll-overs counted.
    index: u64,
}

fn keys(suite: Suite) -> SrtpKeys {
    SrtpKeys::new(suite, &vec![7; suite.key_len()], &vec![9; suite.salt_len()]).expect("the suite's lengths")
}

fuzz_target!(|input: (u8, u16, Vec<Op>)| {
    let (suite, first, ops) = input;
    let suite = Suite::ALL[usize::from(suite) % Suite::ALL.len()];
    let (mut sealer, mut opener) = (Sealer::new(&keys(suite)), Opener::new(&keys(suite)));
    let mut index = u64::from(first);
    let mut last = index;
    let mut reports = 0;
    let mut highest = None;
    let mut sent: Vec<Sealed> = Vec::new();
    for op in ops.into_iter().take(256) {
        match op {
            Op::Rtp { ahead, octets, extension } => {
                index += u64::from(ahead) + 1;
                last = index;
                let mut plain = vec![if extension { 0x90 } else { 0x80 }, 0];
                plain.extend((index as u16).to_be_bytes());
                plain.extend([0, 0, 0, 1, 0, 0, 0, 5]);
                if extension {
                    plain.extend([0xBE, 0xDE, 0, 1, 0x10, 1, 2, 3]);
                }
                plain.resize(plain.len() + usize::from(octets), 0xA5);
                let mut buffer = [0; ROOM];
                buffer[..plain.len()].copy_from_slice(&plain);
                let len = sealer.rtp(&mut buffer, plain.len()).expect("numbers run forwards");
                keep(
                    &mut sent,
                    Sealed { wire: buffer[..len].to_vec(), plain, control: false, opened: false, index },
                );
            }
            // Half of all numbers ahead is as far as a receiver can tell a jump from a late packet.
            Op::Jump { ahead } => index = (index + u64::from(ahead)).min(last + 0x3F00),
            Op::Rtcp { octets } => {
                reports += 1;
                let words = usize::from(octets) / 4;
                let mut plain = vec![0x80, 201, 0, (words + 1) as u8, 0, 0, 0, 5];
                plain.resize(8 + 4 * words, 0x5A);
                let mut buffer = [0; ROOM];
                buffer[..plain.len()].copy_from_slice(&plain);
                let len = sealer.rtcp(&mut buffer, plain.len()).expect("a few reports");
                let index = reports;
                keep(
                    &mut sent,
                    Sealed { wire: buffer[..len].to_vec(), plain, control: true, opened: false, index },
                );
            }
            Op::Deliver { which } if !sent.is_empty() => {
                let which = usize::from(which) % sent.len();
                let packet = &mut sent[which];
                let mut wire = packet.wire.clone();
                let opened = if packet.control { opener.rtcp(&mut wire) } else { opener.rtp(&mut wire) };
                match opened {
                    Ok(len) => {
                        assert!(!packet.opened, "a replay was opened");
                        assert_eq!(&wire[..len], &packet.plain[..], "what is opened is what was sealed");
                        packet.opened = true;
                        if !packet.control {
                            highest = highest.max(Some(packet.index));
                        }
                    }
                    Err(error) => {
                        // The newest of what is on the way must open, unless the receiver has lost count.
                        let newest =
                            highest.is_none_or(|seen| packet.index > seen && packet.index - seen < 0x4000);
                        let begun = highest.is_some() || packet.index < 0x1_8000;
                        let fresh = !packet.control && newest && begun && !packet.opened;
                        assert!(!fresh, "{error}: number {} after {highest:?}", packet.index);
                    }
                }
            }
            Op::Damage { which, at, with } if !sent.is_empty() && with != 0 => {
                let packet = &sent[usize::from(which) % sent.len()];
                let mut wire = packet.wire.clone();
                let at = usize::from(at) % wire.len();
                wire[at] ^= with;
                let opened = if packet.control { opener.rtcp(&mut wire) } else { opener.rtp(&mut wire) };
                assert!(opened.is_err(), "octet {at} was not noticed");
            }
            Op::Garbage { mut octets, control } => {
                let opened = if control { opener.rtcp(&mut octets) } else { opener.rtp(&mut octets) };
                assert!(opened.is_err(), "nobody but the sender has the keys");
            }
            Op::Deliver { .. } | Op::Damage { .. } => {}
        }
    }
});

fn keep(sent: &mut Vec<Sealed>, packet: Sealed) {
    if sent.len() == KEPT {
        sent.remove(0);
    }
    sent.push(packet);
}
