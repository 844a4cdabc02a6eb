//! What lets a page use a relay (TURN) for a while.
//!
//! The scheme is coturn's `use-auth-secret`: the name holds the second (of Unix time) in which the credentials end, the
//! password is a MAC of the name with the secret that both servers share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::config::Secret;

/// A name and its password, never printed.
pub(crate) struct RelayLogin {
    pub(crate) name: String,
    pub(crate) password: Secret,
}

/// Credentials of `who` until a second of Unix time.
pub(crate) fn login(secret: &Secret, who: &str, until: u64) -> RelayLogin {
    let name = format!("{until}:{who}");
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes a key of any length (RFC 2104 section 2)");
    mac.update(name.as_bytes());
    RelayLogin { name, password: Secret::new(STANDARD.encode(mac.finalize().into_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_a_mac_of_name_and_time() {
        let made = login(&Secret::new("north".to_owned()), "web", 1_763_800_000);
        assert_eq!(made.name, "1763800000:web");
        // printf 1763800000:web | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(made.password.expose(), "ZglOrtjydPw7+TlDI5PbMGqmnT0=");
    }
}
