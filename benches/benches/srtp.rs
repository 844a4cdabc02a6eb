//! What protection costs a packet: ours in place, and the library's for comparison. A call at 20 ms protects and
//! opens fifty a second.

use std::hint::black_box;
use std::net::SocketAddr;

use antiphon_media_frame::MediaTime;
use antiphon_media_link::{Input, Link, OVERHEAD, SrtpKeys, Suite};
use divan::{AllocProfiler, Bencher};
use rtc_srtp::context::Context;
use rtc_srtp::option::srtp_replay_protection;
use rtc_srtp::protection_profile::ProtectionProfile;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const PACKET: usize = 172;
const KEY: [u8; 32] = [7; 32];
const SALT: [u8; 14] = [9; 14];
const SUITES: [Suite; 4] = Suite::ALL;

fn main() {
    divan::main();
}

fn keys(suite: Suite) -> SrtpKeys {
    SrtpKeys::new(suite, &KEY[..suite.key_len()], &SALT[..suite.salt_len()]).expect("the suite's lengths")
}

fn link(suite: Suite) -> Link {
    Link::sdes(keys(suite), keys(suite))
}

fn packet(buffer: &mut [u8; PACKET + OVERHEAD], sequence: u16) {
    buffer[0] = 0x80;
    buffer[2..4].copy_from_slice(&sequence.to_be_bytes());
}

#[divan::bench(args = SUITES)]
fn protect(bencher: Bencher<'_, '_>, suite: Suite) {
    let (mut link, mut sequence, mut buffer) = (link(suite), 0u16, [0; PACKET + OVERHEAD]);
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        packet(&mut buffer, sequence);
        black_box(link.protect_rtp(&mut buffer, PACKET))
    });
}

#[divan::bench(args = SUITES)]
fn protect_and_open(bencher: Bencher<'_, '_>, suite: Suite) {
    let (mut link, mut sequence, mut buffer) = (link(suite), 0u16, [0; PACKET + OVERHEAD]);
    let from = SocketAddr::from(([127, 0, 0, 1], 4_000));
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        packet(&mut buffer, sequence);
        let len = link.protect_rtp(&mut buffer, PACKET).expect("protected");
        let input = link.handle(MediaTime::ZERO, from, &mut buffer[..len]);
        assert!(matches!(black_box(input), Input::Rtp(_)));
    });
}

#[divan::bench(args = SUITES)]
fn refuse_a_forged_packet(bencher: Bencher<'_, '_>, suite: Suite) {
    let (mut link, mut sequence, mut buffer) = (link(suite), 0u16, [0; PACKET + OVERHEAD]);
    let from = SocketAddr::from(([127, 0, 0, 1], 4_000));
    packet(&mut buffer, 1);
    let len = link.protect_rtp(&mut buffer, PACKET).expect("protected");
    link.handle(MediaTime::ZERO, from, &mut buffer[..len]);
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        packet(&mut buffer, sequence);
        black_box(link.handle(MediaTime::ZERO, from, &mut buffer[..len])) == Input::Nothing
    });
}

#[divan::bench(args = SUITES)]
fn protect_and_open_by_the_library(bencher: Bencher<'_, '_>, suite: Suite) {
    let profile = match suite {
        Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let provider = rtc_srtp::crypto::default_provider().expect("a provider");
    let context = || {
        let (key, salt) = (&KEY[..suite.key_len()], &SALT[..suite.salt_len()]);
        let replay = Some(srtp_replay_protection(128));
        Context::new(key, salt, profile, replay, None, provider.crypto()).expect("the suite's lengths")
    };
    let (mut out, mut back, mut sequence) = (context(), context(), 0u16);
    let mut buffer = [0; PACKET + OVERHEAD];
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        packet(&mut buffer, sequence);
        let sealed = out.encrypt_rtp(&buffer[..PACKET]).expect("protected");
        black_box(back.decrypt_rtp(&sealed).expect("opened")).len()
    });
}
