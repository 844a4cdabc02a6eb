//! From RTP timestamps to the call's clock.
//!
//! A packet's transit (arrival minus its own time) is the sender's offset plus a network delay that is never
//! negative, so the lower envelope of transits follows the offset and its drift, however the rest jitters. The
//! envelope is the minimum over the last seconds that carried packets, each carried forward by the measured drift;
//! the drift is the median slope between older minima (Theil and Sen), so one change of route does not bend it.

use antiphon_media_frame::MediaTime;

/// Buckets of the envelope, each one second of arrivals. Sixteen seconds hold hundreds of packets (so some came
/// without queueing), and a longer path is still followed within a breath or two.
const BUCKETS: usize = 16;
const BUCKET_NS: f64 = 1e9;
/// Points of the drift estimate, one each [`POINT_NS`] that carried packets: four minutes.
const POINTS: usize = 24;
const POINT_NS: f64 = 10e9;
/// Points before the drift is believed: half a minute.
const ENOUGH_POINTS: usize = 4;
/// Oscillators of telephones keep 100 ppm; 500 covers software clocks.
const MAX_DRIFT: f64 = 500e-6;
/// A timestamp this far ahead of the clock cannot be delay (delay only makes packets late).
const AHEAD_NS: f64 = 1e9;
/// A timestamp this far behind cannot be delay either.
const BEHIND_NS: f64 = 10e9;
/// Behind by this, with a marker or for [`SETTLED_RUN`] packets that do not catch up: the sender stopped its
/// timestamps while it was silent, or the path grew beyond what the jitter buffer bridges.
const PAUSED_NS: f64 = 250e6;
const SETTLED_RUN: u32 = 5;
/// A burst after a stall catches up by one packet a packet; less than this is no catching up.
const CATCH_UP_NS: f64 = 40e6;
/// Silence on the timeline in which a correction is inaudible and may be made at once.
const GAP_NS: f64 = 200e6;
/// Errors above this are corrected by up to eight ticks a packet instead of one.
const FAR_NS: f64 = 10e6;

#[derive(Clone, Copy, Debug)]
struct Low {
    /// When the packet of least transit came.
    arrived: f64,
    transit: f64,
}

/// What [`TimeMap::observe`] made of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Ticks since the first packet, on an axis without wraps or jumps.
    pub position: i64,
    /// The timestamps jumped (or the SSRC changed) and the axis was joined by arrival time.
    pub reanchored: bool,
    /// How much later than the fastest packets this one came, in nanoseconds; negative where it was faster.
    pub lateness_ns: i64,
}

/// Maps RTP timestamps of one direction of a call onto the call's clock.
///
/// [`TimeMap::observe`] turns each arriving timestamp into a position; [`TimeMap::place`] turns the positions into
/// times, in playing order, smoothly: at most one tick of correction a packet (eight while more than 10 ms off),
/// anything in a gap of 200 ms or more, and never backwards.
#[derive(Clone, Debug)]
pub struct TimeMap {
    tick_ns: f64,
    newest: Option<Newest>,
    lows: [Option<Low>; BUCKETS],
    bucket: usize,
    points: [Low; POINTS],
    point_count: usize,
    /// The low of the point being gathered, and when its first packet came.
    gathering: Option<(Low, f64)>,
    drift: f64,
    /// Packets in a row that came late without catching up, the first one's lateness.
    late_run: u32,
    late_first: f64,
    placed: Option<PlacedEnd>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    ssrc: u32,
    timestamp: u32,
    position: i64,
    end: i64,
    arrived: f64,
}

#[derive(Clone, Copy, Debug)]
struct PlacedEnd {
    end: i64,
    at: f64,
    end_at: f64,
    offset: f64,
}

impl TimeMap {
    /// A map for a clock of `clock_hz` ticks a second; 0 counts as 8000.
    #[must_use]
    pub fn new(clock_hz: u32) -> Self {
        let clock_hz = if clock_hz == 0 { 8_000 } else { clock_hz };
        Self {
            tick_ns: 1e9 / f64::from(clock_hz),
            newest: None,
            lows: [None; BUCKETS],
            bucket: 0,
            points: [Low { arrived: 0.0, transit: 0.0 }; POINTS],
            point_count: 0,
            gathering: None,
            drift: 0.0,
            late_run: 0,
            late_first: 0.0,
            placed: None,
        }
    }

    /// Takes note of a packet that came at `now`. `fresh` says that its sequence number is the newest so far: only
    /// such packets may move the anchor. `None` for an older packet whose timestamp fits nowhere.
    pub fn observe(
        &mut self,
        now: MediaTime,
        ssrc: u32,
        timestamp: u32,
        ticks: u32,
        marker: bool,
        fresh: bool,
    ) -> Option<Placed> {
        let arrived = now.nanos() as f64;
        let Some(newest) = self.newest else {
            self.newest = Some(Newest { ssrc, timestamp, position: 0, end: i64::from(ticks), arrived });
            self.learn(Low { arrived, transit: arrived });
            return Some(Placed { position: 0, reanchored: true, lateness_ns: 0 });
        };
        let position = newest.position + i64::from(timestamp.wrapping_sub(newest.timestamp) as i32);
        let transit = arrived - self.nominal(position);
        let lateness = transit - self.offset(arrived);
        let jumped = if ssrc == newest.ssrc {
            self.has_jumped(lateness, arrived - newest.arrived, marker, fresh)
        } else {
            true
        };
        if !fresh {
            if jumped {
                return None;
            }
            self.learn(Low { arrived, transit });
            return Some(Placed { position, reanchored: false, lateness_ns: lateness as i64 });
        }
        if !jumped {
            self.newest = Some(Newest {
                ssrc,
                timestamp,
                position,
                end: newest.end.max(position + i64::from(ticks)),
                arrived,
            });
            self.learn(Low { arrived, transit });
            return Some(Placed { position, reanchored: false, lateness_ns: lateness as i64 });
        }
        // Joined where the clock stands, but never over what came before.
        let expected = ((arrived - self.offset(arrived)) / self.tick_ns).round() as i64;
        let position = expected.max(newest.end);
        self.newest = Some(Newest { ssrc, timestamp, position, end: position + i64::from(ticks), arrived });
        self.forget();
        self.learn(Low { arrived, transit: arrived - self.nominal(position) });
        Some(Placed { position, reanchored: true, lateness_ns: 0 })
    }

    /// When a position belongs on the call's clock by the newest estimate; changes nothing.
    #[must_use]
    pub fn peek(&self, position: i64) -> MediaTime {
        let arrived = self.newest.map_or(0.0, |newest| newest.arrived);
        time(self.nominal(position) + self.offset(arrived))
    }

    /// Places the stretch from `position` on the clock. Call it once for each stretch, in playing order: times never
    /// run backwards nor into the stretch before.
    pub fn place(&mut self, position: i64, ticks: u32) -> MediaTime {
        let arrived = self.newest.map_or(0.0, |newest| newest.arrived);
        let goal = self.offset(arrived);
        let nominal = self.nominal(position);
        let length = f64::from(ticks) * self.tick_ns;
        let at = match self.placed {
            None => nominal + goal,
            Some(last) => {
                let gap = (position - last.end) as f64 * self.tick_ns;
                let error = goal - last.offset;
                let step = if gap >= GAP_NS {
                    error
                } else {
                    let ticks = if error.abs() > FAR_NS { 8.0 } else { 1.0 };
                    (error / 8.0).clamp(-ticks * self.tick_ns, ticks * self.tick_ns)
                };
                // A correction towards the past may overlap the stretch before by its own step, never by more.
                (nominal + last.offset + step).max(last.end_at - 8.0 * self.tick_ns).max(last.at)
            }
        };
        self.placed = Some(PlacedEnd {
            end: position + i64::from(ticks),
            at,
            end_at: at + length,
            offset: at - nominal,
        });
        time(at)
    }

    /// When a raw timestamp near the newest one belongs on the call's clock; `None` before the first packet.
    #[must_use]
    pub fn time_of(&self, timestamp: u32) -> Option<MediaTime> {
        let newest = self.newest?;
        let ahead = timestamp.wrapping_sub(newest.timestamp) as i32;
        Some(self.peek(newest.position + i64::from(ahead)))
    }

    /// The position of a raw timestamp near the newest one; `None` before the first packet.
    pub(crate) fn position_of(&self, timestamp: u32) -> Option<i64> {
        let newest = self.newest?;
        Some(newest.position + i64::from(timestamp.wrapping_sub(newest.timestamp) as i32))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// The end of everything placed so far.
    #[must_use]
    pub fn placed_end(&self) -> Option<MediaTime> {
        self.placed.map(|last| time(last.end_at))
    }

    /// Takes everything before `at` as placed: silence was written there. Returns the position there.
    pub(crate) fn pin(&mut self, at: MediaTime) -> Option<i64> {
        let newest = self.newest?;
        let offset = self.offset(newest.arrived);
        let at = at.nanos() as f64;
        let position = ((at - offset) / self.tick_ns).round() as i64;
        if self.placed.is_none_or(|last| last.end_at < at) {
            self.placed = Some(PlacedEnd { end: position, at, end_at: at, offset });
        }
        Some(position)
    }

    /// The sender's clock against ours, in parts per million: positive where the sender is slow.
    #[must_use]
    pub fn drift_ppm(&self) -> f64 {
        self.drift * 1e6
    }

    fn nominal(&self, position: i64) -> f64 {
        position as f64 * self.tick_ns
    }

    /// The lower envelope of transits, carried to `arrived`.
    fn offset(&self, arrived: f64) -> f64 {
        let low = self
            .lows
            .iter()
            .flatten()
            .map(|low| low.transit + self.drift * (arrived - low.arrived))
            .fold(f64::INFINITY, f64::min);
        if low.is_finite() { low } else { arrived }
    }

    fn has_jumped(&mut self, lateness: f64, since: f64, marker: bool, fresh: bool) -> bool {
        if !(-AHEAD_NS..=BEHIND_NS).contains(&lateness) {
            return true;
        }
        if !fresh {
            return false;
        }
        if lateness < PAUSED_NS {
            self.late_run = 0;
            return false;
        }
        if marker && since > PAUSED_NS {
            return true;
        }
        if self.late_run == 0 || lateness < self.late_first - CATCH_UP_NS {
            self.late_run = 1;
            self.late_first = lateness;
            return false;
        }
        self.late_run += 1;
        self.late_run >= SETTLED_RUN
    }

    fn learn(&mut self, low: Low) {
        let slot = &mut self.lows[self.bucket];
        match slot {
            Some(first) if low.arrived - first.arrived >= BUCKET_NS => {
                self.bucket = (self.bucket + 1) % BUCKETS;
                self.lows[self.bucket] = Some(low);
            }
            Some(kept) if low.transit < kept.transit => kept.transit = low.transit,
            Some(_) => {}
            None => *slot = Some(low),
        }
        match &mut self.gathering {
            Some((kept, since)) if low.arrived - *since < POINT_NS => {
                if low.transit - kept.transit < self.drift * (low.arrived - kept.arrived) {
                    *kept = low;
                }
            }
            Some((kept, _)) => {
                let point = *kept;
                self.gathering = Some((low, low.arrived));
                self.push_point(point);
            }
            None => self.gathering = Some((low, low.arrived)),
        }
    }

    fn push_point(&mut self, point: Low) {
        if self.point_count == POINTS {
            self.points.rotate_left(1);
            self.point_count -= 1;
        }
        self.points[self.point_count] = point;
        self.point_count += 1;
        if self.point_count < ENOUGH_POINTS {
            return;
        }
        let mut slopes = [0.0; POINTS * (POINTS - 1) / 2];
        let mut count = 0;
        let points = &self.points[..self.point_count];
        for (i, a) in points.iter().enumerate() {
            for b in &points[i + 1..] {
                slopes[count] = (b.transit - a.transit) / (b.arrived - a.arrived).max(1.0);
                count += 1;
            }
        }
        let slopes = &mut slopes[..count];
        let (_, median, _) = slopes.select_nth_unstable_by(count / 2, f64::total_cmp);
        self.drift = median.clamp(-MAX_DRIFT, MAX_DRIFT);
    }

    /// Starts the envelope anew; the drift stays, for the clock is mostly still the same.
    fn forget(&mut self) {
        self.lows = [None; BUCKETS];
        self.bucket = 0;
        self.point_count = 0;
        self.gathering = None;
        self.late_run = 0;
    }
}

fn time(nanos: f64) -> MediaTime {
    MediaTime::from_nanos(nanos.round() as i64)
}
