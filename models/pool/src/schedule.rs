//! Which streams are computed next: live ones first, batch work in what they leave.

use std::time::Duration;

use antiphon_media_frame::Span;
use antiphon_models_speech::Pace;

use crate::cost::StepCost;
use crate::policy::{Class, Shares};
use crate::slots::SlotId;

/// What a device has saved up for batch work, at most.
const MOST_CREDIT: Duration = Duration::from_secs(1);
/// What batch work has had beyond its share counts against it up to this.
const MOST_DEBT: Duration = Duration::from_millis(100);

/// A stream that has something to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which stream.
    pub slot: SlotId,
    /// How urgent it is by its tenant's policy.
    pub class: Class,
    /// Whose it is, as an index that the caller chooses.
    pub tenant: u32,
    /// Which engine it runs on, as [`Scheduler::group`] gave it.
    pub group: u32,
    /// By when it should be done: the earliest is served first within its class.
    pub due: Duration,
}

/// Decides, for one device, which rows make up each step. Knows no thread and no clock: times are those of the caller,
/// from whatever beginning.
///
/// Live rows come first and outbound rows second, each earliest deadline first. Batch rows fill what a step has room for
/// without lengthening it by more than [`Shares::lengthening`], and have steps of their own where no other row is ready
/// and none is expected before such a step would be over, by [`Shares::overrun`] at most. Whatever the others do, batch
/// work gets [`Shares::batch`] of the computing time as long as it has something to do: saved up as credit, spent a row at
/// a time. Among batch rows the tenant that has had least for its weight comes first.
#[derive(Debug)]
pub struct Scheduler {
    groups: Vec<Group>,
    shares: Shares,
    /// Computing time that batch work is owed; below zero where it has had more than its share.
    credit: f64,
    tenants: Vec<Had>,
    /// When credit was last earned.
    earned_at: Duration,
    /// What the tenant served last had when it was served: newcomers begin there.
    level: f64,
}

#[derive(Debug)]
struct Group {
    pace: Pace,
    cost: StepCost,
}

#[derive(Clone, Copy, Debug)]
struct Had {
    weight: f64,
    /// Computing time had, by weight.
    time: f64,
    /// Had rows ready at the last look.
    present: bool,
}

/// What [`Scheduler::pick`] chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The first so many of the rows, all of one group.
    Step(usize),
    /// Nothing now; batch rows wait for what is expected then.
    Until(Duration),
    /// Nothing at all.
    Nothing,
}

impl Scheduler {
    /// A device without engines.
    #[must_use]
    pub fn new(shares: Shares) -> Self {
        Self {
            groups: Vec::new(),
            shares,
            credit: 0.0,
            earned_at: Duration::ZERO,
            tenants: Vec::new(),
            level: 0.0,
        }
    }

    /// Makes a group of streams whose steps can be computed together. `first` is taken for a row's step until one was
    /// seen.
    pub fn group(&mut self, pace: Pace, first: Duration) -> u32 {
        self.groups.push(Group { pace, cost: StepCost::new(pace.rows, first) });
        (self.groups.len() - 1) as u32
    }

    /// Changes what batch work gets, by the clock or by load.
    pub fn set_shares(&mut self, shares: Shares) {
        self.shares = shares;
    }

    /// A tenant's weight among those with batch work; 1 where it was never set. Nothing below a thousandth.
    pub fn set_weight(&mut self, tenant: u32, weight: f64) {
        self.tenant(tenant).weight = weight.max(0.001);
    }

    /// The most rows of a group's step.
    #[must_use]
    pub fn rows(&self, group: u32) -> usize {
        self.groups.get(group as usize).map_or(1, |group| group.pace.rows.max(1))
    }

    /// The sound of a row of a group's step.
    #[must_use]
    pub fn chunk(&self, group: u32) -> Span {
        self.groups.get(group as usize).map_or(Pace::default().chunk, |group| group.pace.chunk)
    }

    /// Chooses the next step among `rows`, all that are ready, and brings its rows to the front. `expected` is when the next
    /// chunk of a live or outbound stream will be complete, as far as one is known to come.
    pub fn pick(&mut self, now: Duration, rows: &mut [Row], expected: Option<Duration>) -> Pick {
        self.meet(rows);
        let tenants = &self.tenants;
        let had = |tenant: u32| tenants.get(tenant as usize).map_or(0.0, |had| had.time);
        rows.sort_unstable_by(|a, b| {
            let tenants = || match (a.class, b.class) {
                (Class::Batch, Class::Batch) => had(a.tenant).total_cmp(&had(b.tenant)),
                _ => std::cmp::Ordering::Equal,
            };
            a.class
                .cmp(&b.class)
                .then_with(tenants)
                .then(a.due.cmp(&b.due))
                .then(a.slot.index.cmp(&b.slot.index))
        });
        let urgent = rows.iter().take_while(|row| row.class != Class::Batch).count();
        let waiting = rows.len() - urgent;
        if rows.is_empty() {
            return Pick::Nothing;
        }
        // Credit is earned by waiting, whether the device computes for others or is kept from computing.
        let passed = now.saturating_sub(self.earned_at).min(MOST_CREDIT).as_secs_f64();
        self.earned_at = now;
        if waiting > 0 {
            self.credit = (self.credit + passed * self.shares.batch).min(MOST_CREDIT.as_secs_f64());
        }
        let owed = waiting > 0 && self.credit > 0.0 && self.shares.batch > 0.0;
        if urgent == 0 {
            return self.pick_batch(now, rows, expected, owed);
        }
        let lead = rows[0].group;
        let (pace, cost) = self.known(lead);
        let limit = pace.rows.max(1);
        let most = cost.within(self.shares.longest, limit).max(1);
        let taken = gather(&mut rows[..urgent], 0, 0, lead, most);
        // What room is left, batch rows of the same engine may fill.
        let base = cost.of(taken).as_secs_f64();
        let room = Duration::from_secs_f64(base * (1.0 + self.shares.lengthening));
        let spare = if self.shares.paused { taken } else { cost.within(room, limit).max(taken) };
        let mut width = gather(rows, taken, taken, lead, spare - taken) + taken;
        if owed && rows[..width].iter().all(|row| row.class != Class::Batch) {
            // One more row or, in a full step, the place of the least urgent, whose turn comes a step later.
            let place = if width < limit { width } else { limit - 1 };
            if limit > 1 && gather(rows, place, urgent.max(place), lead, 1) == 1 {
                width = place + 1;
            } else if self.credit >= cost.of(1).as_secs_f64() {
                // It has saved up for a step of its own.
                rows.swap(0, urgent);
                return Pick::Step(1);
            }
        }
        Pick::Step(width)
    }

    /// A step of a group took so long.
    pub fn learn(&mut self, group: u32, rows: usize, took: Duration) {
        if let Some(group) = self.groups.get_mut(group as usize) {
            group.cost.learn(rows, took);
        }
    }

    /// What was picked has been computed: the time counts for those who had it.
    pub fn done(&mut self, rows: &[Row], took: Duration) {
        if rows.is_empty() {
            return;
        }
        let each = took.as_secs_f64() / rows.len() as f64;
        let mut batch = 0.0;
        for row in rows.iter().filter(|row| row.class == Class::Batch) {
            batch += each;
            let had = self.tenant(row.tenant);
            had.time += each / had.weight;
            self.level = self.level.max(self.tenants[row.tenant as usize].time - each);
        }
        // Time that nobody else wanted counts as well, but is not held against anybody for long.
        self.credit = (self.credit - batch).max(-MOST_DEBT.as_secs_f64());
    }

    /// No batch work is waiting: what was saved up for it is gone.
    pub fn forget_credit(&mut self) {
        self.credit = self.credit.min(0.0);
    }

    fn pick_batch(&self, now: Duration, rows: &mut [Row], expected: Option<Duration>, owed: bool) -> Pick {
        let lead = rows[0].group;
        let (pace, cost) = self.known(lead);
        let limit = pace.rows.max(1);
        let longest = cost.within(self.shares.longest, limit).max(1);
        let most = match expected {
            _ if self.shares.paused => usize::from(owed),
            None => longest,
            Some(at) => {
                let free = at.saturating_sub(now) + self.shares.overrun;
                cost.within(free, longest).max(usize::from(owed && self.credit >= cost.of(1).as_secs_f64()))
            }
        };
        if most == 0 {
            // Until what is expected has come, or enough has been saved up for a row.
            let lacking = (cost.of(1).as_secs_f64() - self.credit).max(0.001);
            let saved = (self.shares.batch > 0.0).then(|| lacking / self.shares.batch);
            let saved = saved.map(|wait| now + Duration::from_secs_f64(wait.min(3_600.0)));
            let until = [expected, saved].into_iter().flatten().min();
            return until.map_or(Pick::Nothing, |at| Pick::Until(at.max(now)));
        }
        Pick::Step(gather(rows, 0, 0, lead, most))
    }

    fn known(&self, group: u32) -> (Pace, &StepCost) {
        let group = &self.groups[group as usize];
        (group.pace, &group.cost)
    }

    fn tenant(&mut self, tenant: u32) -> &mut Had {
        let index = tenant as usize;
        if index >= self.tenants.len() {
            self.tenants.resize(index + 1, Had { weight: 1.0, time: self.level, present: false });
        }
        &mut self.tenants[index]
    }

    /// Who was away has not saved up for the time of his absence.
    fn meet(&mut self, rows: &[Row]) {
        let mut present = vec![false; self.tenants.len()];
        for row in rows.iter().filter(|row| row.class == Class::Batch) {
            let index = row.tenant as usize;
            self.tenant(row.tenant);
            present.resize(self.tenants.len(), false);
            present[index] = true;
        }
        for (had, present) in self.tenants.iter_mut().zip(present) {
            if present && !had.present {
                had.time = had.time.max(self.level);
            }
            had.present = present;
        }
    }
}

/// Brings up to `most` rows of `group` among those from `from` on to the place `to`, in their order; returns how many.
fn gather(rows: &mut [Row], to: usize, from: usize, group: u32, most: usize) -> usize {
    let mut taken = 0;
    for index in from..rows.len() {
        if taken == most {
            break;
        }
        if rows[index].group == group {
            rows[to + taken..=index].rotate_right(1);
            taken += 1;
        }
    }
    taken
}
