//! How long to wait for packets: the delay that nearly all of them meet.

use antiphon_media_frame::Span;

/// Lateness is counted in bins of 5 ms up to 320 ms.
const BINS: usize = 64;
const BIN_NS: i64 = 5_000_000;
/// One packet in a hundred may come too late: below that, delay costs a conversation more than concealment does.
const LATE_SHARE: u32 = 100;
/// Weights halve when the histogram holds this many: half a minute of 20 ms packets.
const MEMORY: u32 = 1_500;
/// Packets before the starting delay may be shortened.
const SETTLING: u32 = 50;
/// A pull may come up to half a tick before the packet's own moment.
const MARGIN_NS: i64 = 10_000_000;
/// The delay shrinks by this a packet, so that the end of one spike does not cut into the next packets.
const FALL_NS: i64 = 1_000_000;

/// Bounds of the adaptive delay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) min: Span,
    pub(crate) start: Span,
    pub(crate) max: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct DelayTarget {
    min: i64,
    max: i64,
    target: i64,
    bins: [u32; BINS],
    total: u32,
    /// RFC 3550 section 6.4.1, in nanoseconds.
    jitter: f64,
    /// The same of those packets only that a delay can help.
    bridgeable: f64,
    previous: Option<i64>,
}

impl DelayTarget {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let max = nanos(bounds.max).max(0);
        let min = nanos(bounds.min).min(max);
        Self {
            min,
            max,
            target: nanos(bounds.start).clamp(min, max),
            bins: [0; BINS],
            total: 0,
            jitter: 0.0,
            bridgeable: 0.0,
            previous: None,
        }
    }

    /// Learns from a packet that came `lateness` nanoseconds after the fastest ones would have, lasting `length`.
    pub(crate) fn observe(&mut self, lateness: i64, length: Span, reanchored: bool) {
        if reanchored {
            self.previous = None;
        }
        if let Some(previous) = self.previous.replace(lateness) {
            let difference = (lateness - previous).unsigned_abs() as f64;
            self.jitter += (difference - self.jitter) / 16.0;
            if lateness.max(previous) <= self.max {
                self.bridgeable += (difference - self.bridgeable) / 16.0;
            }
        }
        // What is later than the largest delay is lost anyway: after a stall it must not hold the delay up.
        if lateness > self.max {
            return;
        }
        self.bins[(lateness.max(0) / BIN_NS).min(BINS as i64 - 1) as usize] += 1;
        self.total += 1;
        if self.total > MEMORY {
            self.total = 0;
            for bin in &mut self.bins {
                *bin /= 2;
                self.total += *bin;
            }
        }
        let needed = (self.late_quantile() + MARGIN_NS).max(2 * self.bridgeable as i64);
        let least = self.min.max(nanos(length) + MARGIN_NS).min(self.max);
        let needed = needed.clamp(least, self.max);
        if needed >= self.target {
            self.target = needed;
        } else if self.total >= SETTLING {
            self.target = needed.max(self.target - FALL_NS);
        }
    }

    pub(crate) fn target_ns(&self) -> i64 {
        self.target
    }

    pub(crate) fn jitter_ns(&self) -> f64 {
        self.jitter
    }

    fn late_quantile(&self) -> i64 {
        let mut late = 0;
        let mut bin = BINS;
        while bin > 0 && late + self.bins[bin - 1] <= self.total / LATE_SHARE {
            bin -= 1;
            late += self.bins[bin];
        }
        bin as i64 * BIN_NS
    }
}

fn nanos(span: Span) -> i64 {
    i64::try_from(span.nanos()).unwrap_or(i64::MAX)
}
