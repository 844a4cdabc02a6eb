//! Bit-exactness with the ITU-T's test sequences and libg722's, where `shared/` lies beside the checkout.

use std::io::Write;
use std::path::Path;

use antiphon_media_codec::{CodecKind, Decoder, Encoder};
use sha2::{Digest, Sha256};

/// The bytes of a vector; `None`, said aloud, where the vectors are not there.
fn vector(name: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance").join(name);
    let bytes = std::fs::read(&path);
    if bytes.is_err() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no {}", path.display());
    }
    bytes.ok()
}

fn words(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Codes that the ITU's tools store one a 16-bit word.
fn codes(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks_exact(2).map(|pair| pair[0]).collect()
}

fn decode(kind: CodecKind, payload: &[u8]) -> Vec<i16> {
    let mut pcm = vec![0; kind.samples(kind.ticks(payload))];
    let mut decoder = Decoder::new(kind);
    // Packets of 20 ms, as a call has them: state must carry over.
    let samples = kind.samples(160);
    for (payload, out) in payload.chunks(160).zip(pcm.chunks_mut(samples)) {
        assert_eq!(decoder.decode(payload, out), Ok(out.len()));
    }
    pcm
}

fn encode(kind: CodecKind, pcm: &[i16]) -> Vec<u8> {
    let mut payload = vec![0; kind.payload_len(pcm.len())];
    let mut encoder = Encoder::new(kind);
    for (pcm, out) in pcm.chunks(kind.samples(160)).zip(payload.chunks_mut(160)) {
        assert_eq!(encoder.encode(pcm, out), Ok(out.len()));
    }
    payload
}

fn sha256(bytes: impl Iterator<Item = u8>) -> String {
    Sha256::digest(bytes.collect::<Vec<u8>>()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn g711(kind: CodecKind, law: &str) {
    let Some(source) = vector("itu-g711/sweep.src") else { return };
    let name = |suffix: &str| vector(&format!("itu-g711/sweep-r.{suffix}")).expect("the folder is whole");
    let coded = codes(&name(law));
    assert_eq!(encode(kind, &words(&source)), coded, "{law} encoder");
    assert_eq!(decode(kind, &coded), words(&name(&format!("re{law}"))), "{law} decoder");
    assert_eq!(decode(kind, &coded), words(&name(&format!("{law}-{law}"))), "{law} both ways");
}

#[test]
fn mu_law_is_the_itus() {
    g711(CodecKind::Pcmu, "u");
}

#[test]
fn a_law_is_the_itus() {
    g711(CodecKind::Pcma, "a");
}

#[test]
fn g722_encodes_as_the_itu_does() {
    let (Some(source), Some(coded)) = (vector("itu-g722/inpsp.bin"), vector("itu-g722/codspw.cod")) else {
        return;
    };
    assert!(encode(CodecKind::G722, &words(&source)) == codes(&coded));
    // The same codes without padding, in words of the other byte order.
    let packed = vector("itu-g722/codsp.cod").expect("the folder is whole");
    let swapped: Vec<u8> = packed.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    assert!(swapped == codes(&coded));
}

/// `outsp2` and `outsp3` are modes 2 and 3, which RTP does not have.
#[test]
fn g722_decodes_as_the_itu_does_in_mode_1() {
    let (Some(coded), Some(decoded)) = (vector("itu-g722/codspw.cod"), vector("itu-g722/outsp1.bin")) else {
        return;
    };
    assert!(decode(CodecKind::G722, &codes(&coded)) == words(&decoded));
}

#[test]
fn g722_agrees_with_libg722() {
    let (Some(listed), Some(source)) = (vector("libg722/test.checksum"), vector("libg722/pcminb.dat")) else {
        return;
    };
    let listed = String::from_utf8(listed).expect("a text");
    let sum = |name: &str| {
        let line = listed.lines().find(|line| line.ends_with(&format!("*{name}")));
        line.and_then(|line| line.split(' ').next()).expect("a listed sum").to_owned()
    };
    for (name, decoded) in [("test.g722", "test.raw.16k.out"), ("fullscale.g722", "fullscale.raw.out")] {
        let pcm = decode(CodecKind::G722, &vector(&format!("libg722/{name}")).expect("the folder is whole"));
        assert_eq!(sha256(pcm.iter().flat_map(|sample| sample.to_le_bytes())), sum(decoded), "{name}");
    }
    // This one is stored high byte first, in and out.
    let source: Vec<i16> =
        source.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
    let coded = encode(CodecKind::G722, &source);
    assert_eq!(sha256(coded.iter().copied()), sum("pcminb.g722.out"));
    let pcm = decode(CodecKind::G722, &coded);
    assert_eq!(sha256(pcm.iter().flat_map(|sample| sample.to_be_bytes())), sum("pcminb.raw.16k.out"));
}
