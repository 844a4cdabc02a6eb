//! The sessions that web pages hold open, as HTTP knows them (RFC 9725).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use antiphon_media_frame::CallId;
use antiphon_media_plane::{LegCommand, LegControl};
use antiphon_media_sip::sdp::RemoteIce;
use rand::Rng;

use crate::secure::remote_candidates;

/// Sessions by their calls.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<BTreeMap<CallId, Session>>,
}

struct Session {
    /// The ICE session in force, quoted.
    tag: String,
    /// The page's user fragment.
    ufrag: String,
    /// Who wants to know of candidates.
    leg: Option<LegControl>,
}

/// Why candidates are not taken (RFC 9725 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TrickleError {
    #[error("there is no such session")]
    Unknown,
    #[error("the request names no ICE session (If-Match)")]
    NoTag,
    #[error("the request is for another ICE session")]
    Stale,
    #[error("the request begins ICE anew")]
    Restart,
    #[error("{0}")]
    Malformed(&'static str),
}

impl Sessions {
    /// Keeps a session until [`Sessions::leave`]; its entity tag. A `leg` that sends checks is told of candidates.
    pub(crate) fn enter(&self, call: CallId, ufrag: String, leg: Option<LegControl>) -> String {
        let tag = format!("\"{:016x}\"", rand::rng().random::<u64>());
        self.lock().insert(call, Session { tag: tag.clone(), ufrag, leg });
        tag
    }

    pub(crate) fn leave(&self, call: CallId) {
        self.lock().remove(&call);
    }

    pub(crate) fn holds(&self, call: CallId) -> bool {
        self.lock().contains_key(&call)
    }

    /// Reads candidates that came after the offer. A lite agent sends no checks of its own and so needs none of them: the
    /// page's checks show where it is.
    ///
    /// # Errors
    /// If they are no candidates of this session.
    pub(crate) fn trickle(
        &self,
        call: CallId,
        if_match: Option<&str>,
        fragment: &str,
    ) -> Result<(), TrickleError> {
        let open = self.lock();
        let session = open.get(&call).ok_or(TrickleError::Unknown)?;
        let wanted = if_match.ok_or(TrickleError::NoTag)?;
        let lines = || fragment.lines().map(str::trim);
        if lines().filter_map(|line| line.strip_prefix("a=ice-ufrag:")).any(|ufrag| ufrag != session.ufrag) {
            return Err(TrickleError::Restart);
        }
        if wanted != "*" && !wanted.split(',').any(|tag| tag.trim() == session.tag) {
            return Err(TrickleError::Stale);
        }
        let candidates = RemoteIce::trickled(fragment).map_err(TrickleError::Malformed)?;
        if let Some(leg) = &session.leg
            && let Err(error) = leg.send(LegCommand::Candidates(remote_candidates(&candidates)))
        {
            // Its checks show where the page is, if later.
            tracing::debug!(%error, "candidates of a page are lost");
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CallId, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallId = CallId(7);
    const LATER: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                         a=candidate:1 1 udp 2122262783 192.0.2.9 50000 typ host\r\na=end-of-candidates\r\n";

    #[test]
    fn candidates_of_the_session_are_taken() {
        let sessions = Sessions::default();
        let tag = sessions.enter(CALL, "abcd".to_owned(), None);
        assert_eq!(sessions.trickle(CALL, Some(&tag), LATER), Ok(()));
        assert_eq!(sessions.trickle(CALL, Some(&format!("\"other\", {tag}")), LATER), Ok(()));
    }

    #[test]
    fn requests_of_another_state_are_told_so() {
        let sessions = Sessions::default();
        let tag = sessions.enter(CALL, "abcd".to_owned(), None);
        let restart = LATER.replace("abcd", "efgh");
        let broken = LATER.replace("50000", "port");
        for (tag, body, expected) in [
            (None, LATER, TrickleError::NoTag),
            (Some("\"0\""), LATER, TrickleError::Stale),
            (Some("*"), restart.as_str(), TrickleError::Restart),
            (Some(tag.as_str()), broken.as_str(), TrickleError::Malformed("candidate port")),
        ] {
            assert_eq!(sessions.trickle(CALL, tag, body), Err(expected));
        }
        sessions.leave(CALL);
        assert_eq!(sessions.trickle(CALL, Some(&tag), LATER), Err(TrickleError::Unknown));
        assert!(!sessions.holds(CALL));
    }
}
