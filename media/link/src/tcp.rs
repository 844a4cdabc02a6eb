//! Datagrams over a connection: two octets of length before each (RFC 4571 §2), as ICE does over TCP (RFC 6544 §3).

/// Longest datagram that the length can say.
pub const LONGEST: usize = u16::MAX as usize;

/// The far side announced a datagram longer than is taken: the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {announced} octets, at most {limit} are taken")]
pub struct FrameError {
    /// What it announced.
    pub announced: usize,
    /// What is taken.
    pub limit: usize,
}

/// Writes `datagram` with its length before it; `false`, with nothing written, if it is longer than [`LONGEST`].
pub fn frame(datagram: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(len) = u16::try_from(datagram.len()) else {
        return false;
    };
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(datagram);
    true
}

/// Cuts a stream of octets back into datagrams. It holds one frame at most.
#[derive(Debug)]
pub struct Deframer {
    held: Vec<u8>,
    limit: usize,
}

impl Deframer {
    /// Takes datagrams of up to `limit` octets (at most [`LONGEST`]).
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { held: Vec::new(), limit: limit.min(LONGEST) }
    }

    /// Takes octets as they come and gives every whole datagram to `each`, which may change it.
    ///
    /// # Errors
    /// If a frame is longer than the limit; the stream cannot be read any further.
    pub fn push(&mut self, mut octets: &[u8], mut each: impl FnMut(&mut [u8])) -> Result<(), FrameError> {
        while !octets.is_empty() {
            let wanted = match self.held.first_chunk::<2>() {
                None => 2,
                Some(len) => 2 + usize::from(u16::from_be_bytes(*len)),
            };
            let taken = octets.len().min(wanted - self.held.len());
            let (now, rest) = octets.split_at(taken);
            self.held.extend_from_slice(now);
            octets = rest;
            let Some(len) = self.held.first_chunk::<2>() else { continue };
            let announced = usize::from(u16::from_be_bytes(*len));
            if announced > self.limit {
                return Err(FrameError { announced, limit: self.limit });
            }
            if self.held.len() == 2 + announced {
                each(&mut self.held[2..]);
                self.held.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_the_cuts_the_same_datagrams_come_out(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10),
            cut in 1usize..20,
        ) {
            let mut stream = Vec::new();
            for datagram in &datagrams {
                prop_assert!(frame(datagram, &mut stream));
            }
            let (mut deframer, mut out) = (Deframer::new(1_500), Vec::new());
            for piece in stream.chunks(cut) {
                deframer.push(piece, |datagram| out.push(datagram.to_vec())).unwrap();
            }
            prop_assert_eq!(out, datagrams);
        }
    }

    #[test]
    fn a_frame_over_the_limit_ends_the_stream() {
        let error = FrameError { announced: 1_501, limit: 1_500 };
        assert_eq!(Deframer::new(1_500).push(&[5, 221, 0], |_| unreachable!("nothing is whole")), Err(error));
        assert!(!frame(&[0; LONGEST + 1], &mut Vec::new()));
    }
}
