//! The codecs against sums taken from others' vectors. Needs nothing but the checkout.

use antiphon_media_codec::{CodecKind, Decoder, Encoder};
use sha2::{Digest, Sha256};

/// Noise from faint to full scale and square waves, in whole numbers so that no machine's arithmetic shows.
fn sound() -> Vec<i16> {
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as i16
    };
    let mut pcm: Vec<i16> = (0..12).flat_map(|shift| [shift; 800]).map(|shift| noise() >> shift).collect();
    for period in [2, 3, 17, 160] {
        pcm.extend((0..1_600).map(|n| if n / period % 2 == 0 { i16::MAX } else { i16::MIN }));
    }
    pcm
}

/// libg722's `fullscale.g722` (public domain): codes that drive every saturation.
const FULL_SCALE: &str = "\
    b48622892392a0a020ad46c4c4d2a2e0e071c6c4c5d7e2e06176c6c4869ce2e062fbc7c588dde4e1e3ddc8c689ffe4e265fec8868afae5\
    e367dfcb888afbe6e368fdcc888bf7e6e467dfcd898cfbe8e468fd4b8a8dfeaae66adf4e8bcffcaa68eadc4ecb90deebe96cfccecb909d\
    edea6dfececc8ebfef6b6efdd1cc8fbbf1e96efcd3cd90dbeeec6dfdd3ce9099f2ed6edfd58d9058b26defdfd8cd91dbf1ed71ba54cf93\
    dcb86d70fb518fd399fff1725dd1cd90d4bd7175dad2ce8ed5dcf77cdb4e8cca98d5fa5fd9ccca8ed2997d7ad68fcdcc90def479d8d0cd\
    8ed8dbf076dbd78ed1d3b678739cd6d18edddf6ffaf8d88dd3dcdfef79f695d194d6f4f378f497d394d6b47575fb94d3d698fcf074ffd4\
    d094d6f5f575ff955292dcbe74f2dad98ed7dafef4f55bd68f9657bb7cf5d9d1d090d9fe79f9d8d190d1d9fdf87bd494cd95d7b97d7d99\
    d0ce96d9dc7affd7d290cff9d8fc78d6d29092ffd9f75cd892d297dcdff35adfd394d2bbfcf479d8935892f8f8f35e9f5791d7b77cf0f9\
    59d3d79adff1f67bd7984fbddcf3f5799a51d598fcaf7bf85ccfdc92f1f6f779d8d297ddfbb46f5bbe4e9cd5f6f1f67bd4d594daf2b774\
    76d39ad2fcf7f9ee5adccf9f9c5fab5df7d1d699d8f5f1f4ddd5d4d3b9faf2f75c96d298d9f2b473579ccedc99f4efdb75d0d29bfefbb8\
    70598fd9d2";

#[test]
fn g722_decodes_full_scale_as_libg722_does() {
    let payload: Vec<u8> = (0..FULL_SCALE.len() / 2)
        .map(|n| u8::from_str_radix(&FULL_SCALE[2 * n..2 * n + 2], 16).expect("hexadecimal"))
        .collect();
    let mut pcm = vec![0; 2 * payload.len()];
    Decoder::new(CodecKind::G722).decode(&payload, &mut pcm).expect("room");
    let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    assert_eq!(sum(&bytes), "e70c92cd2068d112839db12bfaa787cc0ea9a809b64fbf62fd78b6041cd9fbcc");
}

/// The sum was recorded while the encoder passed the ITU's vectors, which the checkout does not hold.
#[test]
fn g722_encodes_as_when_it_met_the_itus_vectors() {
    let pcm = sound();
    let mut payload = vec![0; pcm.len() / 2];
    Encoder::new(CodecKind::G722).encode(&pcm, &mut payload).expect("room");
    assert_eq!(sum(&payload), "9b3f8bee68272a397ff1355c186184df2873a3ea85dae8c4595e95a92381921f");
}

/// SHA-256 of the codes of every 16-bit value in order and of their decoded values, low byte first, taken from the
/// ITU's `sweep-r` vectors.
#[test]
fn g711_codes_every_value_as_the_itu_does() {
    for (kind, coded, decoded) in [
        (
            CodecKind::Pcmu,
            "90c29de505fb68e766118303bd552a16005dcf810873698bee1d8f3b247ce28c",
            "cf9f90195534a105f211b1fb5c511ab45ee76827ac0987d6cc804afb897ef0f6",
        ),
        (
            CodecKind::Pcma,
            "38488f6fd710f4686360edc4d38639f96c491595ef93f8eb8d62d5e07ca6ce7b",
            "faf8570479a0e7d0e1da55d48c42e76961d0e5c285c35d42e9f6dafbafae8a35",
        ),
    ] {
        let pcm: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let mut payload = vec![0; pcm.len()];
        Encoder::new(kind).encode(&pcm, &mut payload).expect("room");
        assert_eq!(sum(&payload), coded, "{kind} encoder");
        let mut out = vec![0; pcm.len()];
        Decoder::new(kind).decode(&payload, &mut out).expect("room");
        let bytes: Vec<u8> = out.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        assert_eq!(sum(&bytes), decoded, "{kind} decoder");
    }
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
