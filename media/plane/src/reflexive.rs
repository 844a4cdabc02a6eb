//! Which address others see a leg's socket at (RFC 8445 §5.1.1.2).

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use antiphon_media_link::Reflection;
use nix::poll::{PollFd, PollFlags, poll};

use crate::SocketPair;

/// Until the question is repeated for the first time; doubles each time (RFC 8489 §6.2.1 begins with 500 ms, which
/// nobody who waits for a call to begin has: servers that are asked here are some 50 ms away).
const REPEAT: Duration = Duration::from_millis(100);

/// A STUN server did not say where we are.
#[derive(Debug, thiserror::Error)]
pub enum ReflexiveError {
    /// It said nothing in time.
    #[error("the STUN server {server} did not answer within {} ms", patience.as_millis())]
    Silent {
        /// Who was asked.
        server: SocketAddr,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The system's.
    #[error("cannot ask the STUN server {server}: {source}")]
    System {
        /// Who was to be asked.
        server: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
}

impl SocketPair {
    /// Asks a STUN server at which address it sees the RTP socket. Blocks for `patience` at most; to be asked before the
    /// pair is given to a leg, since whatever else comes meanwhile is lost.
    ///
    /// # Errors
    /// [`ReflexiveError`].
    pub fn reflexive(&self, server: SocketAddr, patience: Duration) -> Result<SocketAddr, ReflexiveError> {
        let failed = |source| ReflexiveError::System { server, source };
        let question = Reflection::random();
        let request = question.request();
        let (begun, mut wait, mut buffer) = (Instant::now(), REPEAT, [0; 576]);
        while begun.elapsed() < patience {
            self.rtp.send_to(&request, server).map_err(failed)?;
            let until = (begun.elapsed() + wait).min(patience);
            wait *= 2;
            while let Some(left) = until.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
                let mut asked = [PollFd::new(self.rtp.as_fd(), PollFlags::POLLIN)];
                // Rounded up, so that a rest of less than a millisecond is not spun away.
                let millis = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
                // Interrupted is as good as nothing come.
                let _ = poll(&mut asked, millis);
                while let Ok((length, from)) = self.rtp.recv_from(&mut buffer) {
                    if from == server
                        && let Some(seen) = question.answer(&buffer[..length])
                    {
                        return Ok(seen);
                    }
                }
            }
        }
        Err(ReflexiveError::Silent { server, patience })
    }
}
