//! What lets a page use a relay (TURN) for a while.
//!
//! The scheme is coturn's `use-auth-secret`: the name holds the second (of Unix time) in which the credentials end, the
//! password is a MAC of the name with the secret that both servers share.

mod trial;

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::config::{IceServer, Secret};
use trial::TrialError;

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

/// How long credentials hold that are merely tried.
const TRIAL: Duration = Duration::from_secs(60);

/// Tries each relay once, as a page would use it, and says what is wrong with it. Calls go on either way: pages that reach us
/// need no relay.
pub(crate) async fn try_all(servers: Vec<IceServer>) {
    for server in servers {
        let Some(secret) = &server.secret else { continue };
        for url in &server.urls {
            // A clock before 1970 gives credentials that are over already, which the relay then says.
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let login = login(secret, "trial", (now + TRIAL).as_secs());
            match trial::attempt(url, &login).await {
                None | Some(Ok(())) => {}
                Some(Err(TrialError::Credentials)) => tracing::error!(
                    relay = url,
                    "the relay does not take the credentials made of ice_server.secret: set that to the relay's \
                     static-auth-secret, and both clocks; pages that need the relay cannot call"
                ),
                Some(Err(error)) => {
                    tracing::warn!(relay = url, %error, "pages that need the relay cannot call");
                }
            }
        }
    }
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
