//! Sequence numbers without wraps, and what RTCP wants to know of them (RFC 3550 appendix A.1 and A.3).

/// Sequence numbers remembered for duplicates and gaps: ten seconds of 10 ms packets.
const MEMORY: i64 = 1_024;
/// A step ahead larger than this is another stream, not loss (`MAX_DROPOUT`).
const MAX_AHEAD: i64 = 3_000;
/// A step back larger than this is another stream, not reordering (`MAX_MISORDER`).
const MAX_BEHIND: i64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The newest so far, on the axis without wraps.
    Fresh(i64),
    /// The newest, and the first of a new axis: another SSRC or a restart.
    Restarted(i64),
    /// Reordered: older than the newest, and missing until now.
    Older(i64),
    Duplicate,
    /// Fits nowhere; a second one in a row after it restarts the axis.
    Stray,
}

#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    stream: Option<Stream>,
    seen: [u64; (MEMORY / 64) as usize],
    /// Expected and received packets of earlier streams of this call.
    earlier: (u64, u64),
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    first: i64,
    /// The sequence number of `first` on the wire.
    first_wire: u16,
    newest: i64,
    received: u64,
    /// What a stray promised as its successor.
    restart: Option<u16>,
    reported: (u64, u64),
}

impl Sequence {
    pub(crate) fn new() -> Self {
        Self { stream: None, seen: [0; (MEMORY / 64) as usize], earlier: (0, 0) }
    }

    pub(crate) fn observe(&mut self, ssrc: u32, wire: u16) -> Arrival {
        let Some(stream) = &mut self.stream else {
            return self.begin(0, ssrc, wire);
        };
        if stream.ssrc != ssrc {
            let next = stream.newest + 1;
            return self.begin(next, ssrc, wire);
        }
        let newest_wire = stream.first_wire.wrapping_add((stream.newest - stream.first) as u16);
        let step = i64::from(wire.wrapping_sub(newest_wire) as i16);
        if !(-MAX_BEHIND..=MAX_AHEAD).contains(&step) {
            if stream.restart == Some(wire) {
                let next = stream.newest + 1;
                return self.begin(next, ssrc, wire);
            }
            stream.restart = Some(wire.wrapping_add(1));
            return Arrival::Stray;
        }
        let number = stream.newest + step;
        if step > 0 {
            stream.restart = None;
            stream.received += 1;
            let newest = stream.newest;
            stream.newest = number;
            for skipped in newest + 1..number {
                self.mark(skipped, false);
            }
            self.mark(number, true);
            return Arrival::Fresh(number);
        }
        if number < stream.first {
            if self.earlier != (0, 0) {
                return Arrival::Stray;
            }
            // The call's very first packets were reordered.
            let skipped = number + 1..stream.first;
            stream.first_wire = stream.first_wire.wrapping_sub((stream.first - number) as u16);
            stream.first = number;
            for missing in skipped {
                self.mark(missing, false);
            }
            self.mark(number, false);
        }
        if self.has(number) {
            return Arrival::Duplicate;
        }
        if let Some(stream) = &mut self.stream {
            stream.received += 1;
        }
        self.mark(number, true);
        Arrival::Older(number)
    }

    /// Packets that have not come between two numbers, both exclusive; what is older than the memory counts as come.
    pub(crate) fn missing_between(&self, after: i64, before: i64) -> i64 {
        let Some(stream) = &self.stream else { return 0 };
        let first = (after + 1).max(stream.newest - MEMORY + 1);
        (first..before.min(stream.newest)).filter(|number| !self.has(*number)).count() as i64
    }

    /// Packets expected and received, over all streams of the call.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let (expected, received) = self.stream.as_ref().map_or((0, 0), Stream::counts);
        (self.earlier.0 + expected, self.earlier.1 + received)
    }

    /// SSRC, fraction lost since the last report (of 256), packets lost (24 bits, signed), extended highest number.
    pub(crate) fn report(&mut self) -> Option<(u32, u8, i32, u32)> {
        let stream = self.stream.as_mut()?;
        let (expected, received) = stream.counts();
        let (expected_before, received_before) =
            std::mem::replace(&mut stream.reported, (expected, received));
        let interval = expected - expected_before;
        let lost = interval.saturating_sub(received - received_before);
        let fraction = (lost * 256).checked_div(interval).unwrap_or(0).min(255) as u8;
        let cumulative = (expected as i64 - received as i64).clamp(-0x80_0000, 0x7f_ffff) as i32;
        let highest = (i64::from(stream.first_wire) + stream.newest - stream.first) as u32;
        Some((stream.ssrc, fraction, cumulative, highest))
    }

    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.stream.as_ref().map(|stream| stream.ssrc)
    }

    fn begin(&mut self, first: i64, ssrc: u32, wire: u16) -> Arrival {
        self.earlier = self.totals();
        self.stream = Some(Stream {
            ssrc,
            first,
            first_wire: wire,
            newest: first,
            received: 1,
            restart: None,
            reported: (0, 0),
        });
        self.mark(first, true);
        Arrival::Restarted(first)
    }

    fn mark(&mut self, number: i64, seen: bool) {
        let bit = number.rem_euclid(MEMORY) as usize;
        let word = &mut self.seen[bit / 64];
        *word = if seen { *word | 1 << (bit % 64) } else { *word & !(1 << (bit % 64)) };
    }

    fn has(&self, number: i64) -> bool {
        let bit = number.rem_euclid(MEMORY) as usize;
        self.seen[bit / 64] >> (bit % 64) & 1 == 1
    }
}

impl Stream {
    fn counts(&self) -> (u64, u64) {
        ((self.newest - self.first + 1) as u64, self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_on_over_the_wrap() {
        let mut sequence = Sequence::new();
        for n in 0..200_000i64 {
            let got = sequence.observe(1, (n + 65_000) as u16);
            assert_eq!(got, if n == 0 { Arrival::Restarted(0) } else { Arrival::Fresh(n) });
        }
        assert_eq!(sequence.totals(), (200_000, 200_000));
        assert_eq!(sequence.report(), Some((1, 0, 0, 199_999 + 65_000)));
    }

    #[test]
    fn gaps_reordering_and_duplicates_are_told_apart() {
        let mut sequence = Sequence::new();
        let got: Vec<_> = [10, 11, 14, 13, 13, 14].iter().map(|n| sequence.observe(1, *n)).collect();
        use Arrival::{Duplicate, Fresh, Older, Restarted};
        assert_eq!(got, [Restarted(0), Fresh(1), Fresh(4), Older(3), Duplicate, Duplicate]);
        assert_eq!(sequence.missing_between(1, 4), 1);
        assert_eq!(sequence.missing_between(2, 4), 0);
        assert_eq!(sequence.report(), Some((1, 51, 1, 14)));
        assert_eq!(sequence.report(), Some((1, 0, 1, 14)));
        assert_eq!(sequence.observe(1, 8), Older(-2));
        assert_eq!(sequence.observe(1, 8), Duplicate);
        assert_eq!(sequence.observe(1, 9), Older(-1));
        assert_eq!(sequence.totals(), (7, 6));
    }

    #[test]
    fn a_restart_needs_two_packets_and_a_new_ssrc_only_one() {
        let mut sequence = Sequence::new();
        sequence.observe(1, 100);
        assert_eq!(sequence.observe(1, 30_000), Arrival::Stray);
        assert_eq!(sequence.observe(1, 101), Arrival::Fresh(1));
        assert_eq!(sequence.observe(1, 30_000), Arrival::Stray);
        assert_eq!(sequence.observe(1, 30_001), Arrival::Restarted(2));
        assert_eq!(sequence.observe(2, 7), Arrival::Restarted(3));
        assert_eq!(sequence.totals(), (4, 4));
    }
}
