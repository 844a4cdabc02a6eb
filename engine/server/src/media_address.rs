//! Where our media is reached behind a NAT whose address nobody configured: a STUN server tells.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_media_plane::SocketPair;
use antiphon_media_sip::sdp::{Candidate, LocalMedia};

use crate::shared::Shared;

/// How long an answer may be waited for, the lookup of the server's name included: the far side waits as well.
const PATIENCE: Duration = Duration::from_millis(600);

impl Shared {
    /// Adds the address at which others see the RTP socket to our side of ICE, where a STUN server is configured and no
    /// address is (`sip.advertise`). Whoever is behind a NAT has to send checks so that answers come in, and so is no lite
    /// agent (RFC 8445 section 2.5). Without an answer the call goes on as it would have.
    ///
    /// `None` only if asking panicked, and the sockets are gone.
    pub(crate) async fn gather(&self, pair: SocketPair, local: &mut LocalMedia) -> Option<SocketPair> {
        let (Some(ice), Some(server), None) =
            (&mut local.ice, &self.config.media.stun, self.config.sip.advertise)
        else {
            return Some(pair);
        };
        let begun = tokio::time::Instant::now();
        let Some(server_at) = look_up(server, &pair).await else { return Some(pair) };
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let asked = tokio::task::spawn_blocking(move || (pair.reflexive(server_at, left), pair)).await;
        let Ok((seen, pair)) = asked else {
            tracing::error!("asking the STUN server panicked");
            return None;
        };
        match seen {
            Ok(seen) if ice.candidates.iter().all(|candidate| candidate.address != seen) => {
                ice.candidates.push(Candidate::reflexive(seen));
                ice.lite = false;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "media.stun: the address behind the NAT is not known"),
        }
        Some(pair)
    }
}

/// The server's address of the socket's family.
async fn look_up(server: &str, pair: &SocketPair) -> Option<SocketAddr> {
    let ours = pair.address().ok()?;
    match tokio::time::timeout(PATIENCE, tokio::net::lookup_host(server)).await {
        Ok(Ok(mut found)) => {
            let found = found.find(|found| found.is_ipv4() == ours.is_ipv4());
            if found.is_none() {
                tracing::warn!(server, "media.stun: the name has no address of the family we listen on");
            }
            found
        }
        Ok(Err(error)) => {
            tracing::warn!(server, %error, "media.stun: the name is not known");
            None
        }
        Err(_) => {
            tracing::warn!(server, "media.stun: the name could not be looked up in time");
            None
        }
    }
}
