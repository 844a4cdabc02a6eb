//! Session keys and what is done with them, in place (RFC 3711 §4, RFC 7714 §8).

use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128Enc, Aes256Enc, Block};
use hmac::{Hmac, Mac};
use ring::aead;
use sha1::Sha1;
use subtle::ConstantTimeEq;

use crate::keys::{SrtpKeys, Suite};

/// Labels of the key derivation for RTP; RTCP's follow by three (RFC 3711 §4.3.2).
const ENCRYPTION: u8 = 0;
const AUTHENTICATION: u8 = 1;
const SALT: u8 = 2;
const RTCP: u8 = 3;

/// Counter blocks encrypted at once: AES instructions overlap eight of them.
const BLOCKS: usize = 8;
const BLOCK: usize = 16;

/// What a packet is protected with: keys of RTP or of RTCP, of one direction.
pub(super) enum Cipher {
    /// AES counter mode and HMAC-SHA1.
    Counter { block: Box<Aes128Enc>, salt: [u8; 14], hmac: Box<Hmac<Sha1>>, tag: usize },
    /// AES-GCM.
    Gcm { key: Box<aead::LessSafeKey>, salt: [u8; 12] },
}

impl Cipher {
    pub(super) fn rtp(keys: &SrtpKeys) -> Self {
        Self::derive(keys, 0)
    }

    pub(super) fn rtcp(keys: &SrtpKeys) -> Self {
        Self::derive(keys, RTCP)
    }

    fn derive(keys: &SrtpKeys, first_label: u8) -> Self {
        let mut key = [0; 32];
        let key = &mut key[..keys.suite().key_len()];
        derive(keys, first_label + ENCRYPTION, key);
        match keys.suite() {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => {
                let (mut auth, mut salt) = ([0; 20], [0; 14]);
                derive(keys, first_label + AUTHENTICATION, &mut auth);
                derive(keys, first_label + SALT, &mut salt);
                // The short tag is RTP's only (RFC 4568 §6.2.2).
                let short = keys.suite() == Suite::AesCm128HmacSha1_32 && first_label == 0;
                Self::Counter {
                    block: Box::new(
                        Aes128Enc::new_from_slice(key).expect("the key has the suite's 16 octets"),
                    ),
                    salt,
                    hmac: Box::new(
                        <Hmac<Sha1> as Mac>::new_from_slice(&auth).expect("HMAC takes keys of any length"),
                    ),
                    tag: if short { 4 } else { 10 },
                }
            }
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => {
                let mut salt = [0; 12];
                derive(keys, first_label + SALT, &mut salt);
                let algorithm = if keys.suite() == Suite::AeadAes128Gcm {
                    &aead::AES_128_GCM
                } else {
                    &aead::AES_256_GCM
                };
                let key = aead::UnboundKey::new(algorithm, key)
                    .expect("the key has the octets that the suite wants");
                Self::Gcm { key: Box::new(aead::LessSafeKey::new(key)), salt }
            }
        }
    }

    /// Octets of the tag.
    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Counter { tag, .. } => *tag,
            Self::Gcm { .. } => 16,
        }
    }

    /// Whether the tag stands before what is only authenticated at the end (RTCP's index), as in GCM.
    pub(super) fn tag_comes_first(&self) -> bool {
        matches!(self, Self::Gcm { .. })
    }

    /// Encrypts `body` of the packet `head || body` in place and returns the tag over head, body and `tail`.
    pub(super) fn seal(&self, index: u64, ssrc: u32, head: &[u8], body: &mut [u8], tail: &[u8]) -> [u8; 16] {
        let mut out = [0; 16];
        match self {
            Self::Counter { block, salt, hmac, .. } => {
                keystream(block.as_ref(), counter(salt, ssrc, index), body);
                out.copy_from_slice(&authenticate(hmac, &[head, body, tail])[..16]);
            }
            Self::Gcm { key, salt } => {
                let aad = Joined::new(head, tail);
                let tag = key
                    .seal_in_place_separate_tag(nonce(salt, ssrc, index), aead::Aad::from(aad.octets()), body)
                    .expect("a datagram is shorter than the 64 GiB that GCM takes");
                out.copy_from_slice(tag.as_ref());
            }
        }
        out
    }

    /// Checks the tag and decrypts `body` in place; `false`, with `body` worth nothing, if the tag is wrong.
    pub(super) fn open(
        &self,
        index: u64,
        ssrc: u32,
        head: &[u8],
        body: &mut [u8],
        tail: &[u8],
        tag: &[u8],
    ) -> bool {
        match self {
            Self::Counter { block, salt, hmac, .. } => {
                let expected = authenticate(hmac, &[head, body, tail]);
                if tag.len() != self.tag_len() || !bool::from(expected[..tag.len()].ct_eq(tag)) {
                    return false;
                }
                keystream(block.as_ref(), counter(salt, ssrc, index), body);
                true
            }
            Self::Gcm { key, salt } => {
                let aad = Joined::new(head, tail);
                let Ok(tag) = aead::Tag::try_from(tag) else {
                    return false;
                };
                let nonce = nonce(salt, ssrc, index);
                key.open_in_place_separate_tag(nonce, aead::Aad::from(aad.octets()), tag, body, 0..).is_ok()
            }
        }
    }
}

/// The AES-CM pseudo-random function, key derivation rate zero (RFC 3711 §4.3.3, RFC 7714 §11).
fn derive(keys: &SrtpKeys, label: u8, out: &mut [u8]) {
    let mut block = [0; BLOCK];
    block[..keys.salt().len()].copy_from_slice(keys.salt());
    block[7] ^= label;
    out.fill(0);
    match keys.key().len() {
        32 => {
            let cipher = Aes256Enc::new_from_slice(keys.key()).expect("the length was matched");
            keystream(&cipher, block, out);
        }
        _ => {
            let cipher = Aes128Enc::new_from_slice(keys.key()).expect("keys have 16 or 32 octets");
            keystream(&cipher, block, out);
        }
    }
}

/// XORs `data` with the key stream that begins at `counter`.
fn keystream<C: BlockEncrypt<BlockSize = aes::cipher::consts::U16>>(
    cipher: &C,
    counter: [u8; BLOCK],
    data: &mut [u8],
) {
    let mut number = u16::from_be_bytes([counter[14], counter[15]]);
    for chunk in data.chunks_mut(BLOCKS * BLOCK) {
        let mut stream = [Block::from(counter); BLOCKS];
        let used = chunk.len().div_ceil(BLOCK);
        for block in &mut stream[..used] {
            block[14..].copy_from_slice(&number.to_be_bytes());
            // 2^16 blocks are a megabyte: no datagram is as long.
            number = number.wrapping_add(1);
        }
        cipher.encrypt_blocks(&mut stream[..used]);
        for (part, block) in chunk.chunks_mut(BLOCK).zip(&stream) {
            for (octet, key) in part.iter_mut().zip(block) {
                *octet ^= key;
            }
        }
    }
}

/// `(salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16)` (RFC 3711 §4.1.1).
fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..14].copy_from_slice(salt);
    for (octet, other) in block[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
        *octet ^= other;
    }
    for (octet, other) in block[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *octet ^= other;
    }
    block
}

/// Two zero octets, SSRC and 48-bit index, XOR the salt (RFC 7714 §8.1 and §9.1: RTCP's index has zeros before it).
fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> aead::Nonce {
    let mut octets = *salt;
    for (octet, other) in octets[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
        *octet ^= other;
    }
    for (octet, other) in octets[6..].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *octet ^= other;
    }
    aead::Nonce::assume_unique_for_key(octets)
}

fn authenticate(hmac: &Hmac<Sha1>, parts: &[&[u8]]) -> [u8; 20] {
    let mut hmac = hmac.clone();
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}

/// Head and tail of a packet one behind the other, since GCM wants what is only authenticated in one piece.
struct Joined<'a> {
    head: &'a [u8],
    both: Option<([u8; 12], usize)>,
}

impl<'a> Joined<'a> {
    /// `tail` is empty, or `head` has the 8 octets of RTCP and `tail` the 4 of its index.
    fn new(head: &'a [u8], tail: &[u8]) -> Self {
        let both = (!tail.is_empty()).then(|| {
            let mut octets = [0; 12];
            let len = head.len() + tail.len();
            debug_assert!(len <= octets.len(), "only RTCP has a tail");
            octets[..head.len()].copy_from_slice(head);
            octets[head.len()..len].copy_from_slice(tail);
            (octets, len)
        });
        Self { head, both }
    }

    fn octets(&self) -> &[u8] {
        self.both.as_ref().map_or(self.head, |(octets, len)| &octets[..*len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    #[test]
    fn the_key_stream_is_that_of_rfc_3711_appendix_b_2() {
        let cipher = Aes128Enc::new_from_slice(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        let mut stream = [0; 0xFF02 * BLOCK];
        keystream(&cipher, counter(&salt, 0, 0), &mut stream);
        assert_eq!(
            stream[..48],
            hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
                 41E95B3BB0A2E8DD477901E4FCA894C0")
        );
        assert_eq!(
            stream[0xFEFF * BLOCK..],
            hex("EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE
                 6A2CC3787889374FBEB4C81B17BA6C44")
        );
    }

    #[test]
    fn keys_are_derived_as_in_rfc_3711_appendix_b_3() {
        let keys = SrtpKeys::new(
            Suite::AesCm128HmacSha1_80,
            &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            &hex("0EC675AD498AFEEBB6960B3AABE6"),
        )
        .unwrap();
        for (label, expected) in [
            (ENCRYPTION, "C61E7A93744F39EE10734AFE3FF7A087"),
            (SALT, "30CBBC08863D8C85D49DB34A9AE1"),
            (AUTHENTICATION, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"),
        ] {
            let expected = hex(expected);
            let mut key = vec![0; expected.len()];
            derive(&keys, label, &mut key);
            assert_eq!(key, expected);
        }
    }

    fn gcm(algorithm: &'static aead::Algorithm, octets: u8) -> Cipher {
        let key: Vec<u8> = (0..octets).collect();
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &key).unwrap());
        Cipher::Gcm { key: Box::new(key), salt: hex("517569642070726f2071756f").try_into().unwrap() }
    }

    #[test]
    fn gcm_protects_as_in_rfc_7714_section_16() {
        let head = hex("8040f17b 8041f8d3 5501a0b2");
        let body =
            hex("47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573");
        for (cipher, expected) in [
            (
                gcm(&aead::AES_128_GCM, 16),
                "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833
                 899d7f27 beb16a91 52cf765e e4390cce",
            ),
            (
                gcm(&aead::AES_256_GCM, 32),
                "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b
                 7aa3db36 dfffd6b0 f9bb7878 d7a76c13",
            ),
        ] {
            let mut sealed = body.clone();
            let tag = cipher.seal(0xf17b, 0x5501_a0b2, &head, &mut sealed, &[]);
            sealed.extend(tag);
            assert_eq!(sealed, hex(expected));
            let (sealed, tag) = sealed.split_at_mut(body.len());
            assert!(cipher.open(0xf17b, 0x5501_a0b2, &head, sealed, &[], tag));
            assert_eq!(sealed, body);
        }
    }
}
