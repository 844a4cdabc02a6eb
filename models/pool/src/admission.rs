//! Who is let in, decided when a call is set up: never by letting in and doing worse.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::Span;

use crate::policy::{Class, Tenant};

/// Outbound calls are refused when this part of the capacity is left: it is for those who call us.
const FOR_LIVE: f64 = 0.1;
/// How long whoever is refused for want of places should wait: a call's length is not known, a retry costs little.
const RETRY: Span = Span::from_secs(5);
/// The weight of a second of new figures in what streams are believed to need.
const WEIGHT: f64 = 0.1;
/// What a second of live sound is believed to need of a second of speech, before anything was measured.
const SPOKEN: f64 = 0.5;

/// Somebody wants a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How urgent, as the tenant's policy has it.
    pub class: Class,
    /// Whose; an empty name is the tenant of everybody who has none.
    pub tenant: Arc<str>,
}

impl Ask {
    /// A live stream of nobody in particular.
    #[must_use]
    pub fn live() -> Self {
        Self { class: Class::Live, tenant: "".into() }
    }
}

/// Why a stream was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {class} recognition: {reason}; try again in {retry_after}")]
pub struct Refusal {
    /// The class asked for.
    pub class: Class,
    /// What stands in the way.
    pub reason: Reason,
    /// When it may be worth another try.
    pub retry_after: Span,
}

/// What stands in the way of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// All places are taken.
    #[error("all {limit} streams are in use")]
    Full {
        /// Places there are.
        limit: usize,
    },
    /// The computing time there is, is spoken for.
    #[error("the devices carry {carried} of about {capacity} streams that they can carry")]
    Loaded {
        /// Live and outbound streams that are in.
        carried: usize,
        /// How many of this class may be in altogether.
        capacity: usize,
    },
    /// The tenant has as many as it may have at once.
    #[error("this tenant has all its {limit} streams in use")]
    Quota {
        /// How many it may have.
        limit: usize,
    },
    /// The tenant opens streams faster than it may.
    #[error("this tenant may open {per_minute} streams a minute")]
    Rate {
        /// How many.
        per_minute: u32,
    },
}

/// Counts who is in and decides who comes in. Knows no clock: `now` is the caller's.
#[derive(Debug)]
pub struct Admission {
    limit: usize,
    batch_limit: usize,
    devices: usize,
    /// The part of the computing time that may be promised.
    utilisation: f64,
    /// Seconds of computing that a second of speech takes, by calibration or experience; `None` until known.
    speech_cost: Option<f64>,
    /// Seconds of computing that a second of a live stream takes, its silence included.
    stream_cost: Option<f64>,
    taken: [usize; 3],
    tenants: HashMap<Arc<str>, Account>,
    refused: [u64; 3],
}

#[derive(Debug, Default)]
struct Account {
    rules: Tenant,
    index: u32,
    taken: [usize; 3],
    /// Streams it may open at once, in streams.
    tokens: f64,
    filled_at: Duration,
}

impl Admission {
    /// `limit` places for live and outbound streams and `batch_limit` for others, on `devices`, of whose time the part
    /// `utilisation` may be promised.
    #[must_use]
    pub fn new(
        limit: usize,
        batch_limit: usize,
        devices: usize,
        utilisation: f64,
        tenants: &[Tenant],
    ) -> Self {
        let mut admission = Self {
            limit,
            batch_limit,
            devices: devices.max(1),
            utilisation: utilisation.clamp(0.1, 1.0),
            speech_cost: None,
            stream_cost: None,
            taken: [0; 3],
            tenants: HashMap::new(),
            refused: [0; 3],
        };
        for tenant in tenants {
            let account = admission.account(&tenant.name);
            account.tokens = f64::from(tenant.streams_per_minute.unwrap_or(0));
            account.rules = tenant.clone();
        }
        admission
    }

    /// Lets a stream in or says why not. What it returns identifies its tenant to the scheduler.
    ///
    /// # Errors
    /// [`Refusal`], with the time after which another try makes sense.
    pub fn admit(&mut self, now: Duration, ask: &Ask) -> Result<u32, Refusal> {
        let outcome = self.judge(now, ask);
        let class = ask.class;
        match outcome {
            Ok(()) => {
                self.taken[class as usize] += 1;
                let account = self.account(&ask.tenant);
                account.taken[class as usize] += 1;
                account.tokens -= 1.0;
                Ok(account.index)
            }
            Err((reason, retry_after)) => {
                self.refused[class as usize] += 1;
                Err(Refusal { class, reason, retry_after })
            }
        }
    }

    /// A stream that was let in is gone.
    pub fn release(&mut self, ask: &Ask) {
        let class = ask.class as usize;
        self.taken[class] = self.taken[class].saturating_sub(1);
        let account = self.account(&ask.tenant);
        account.taken[class] = account.taken[class].saturating_sub(1);
    }

    /// A second of speech takes `cost` seconds of one device, measured before there was any load.
    pub fn calibrate(&mut self, cost: f64) {
        self.speech_cost = (cost > 0.0).then_some(cost);
    }

    /// What live and outbound streams really took in the last while: `computed` for `sound`, silence included.
    pub fn experience(&mut self, sound: Span, computed: Duration) {
        let sound = sound.secs_f64();
        if sound < 1.0 {
            return;
        }
        let took = computed.as_secs_f64() / sound;
        let weight = (WEIGHT * sound).min(0.5);
        let believed = self.believed().unwrap_or(took);
        self.stream_cost = Some(believed + weight * (took - believed));
    }

    /// How many live streams the devices can carry, as far as is known.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match self.believed() {
            Some(cost) if cost > 0.0 => {
                ((self.devices as f64 * self.utilisation / cost) as usize).clamp(1, self.limit)
            }
            _ => self.limit,
        }
    }

    /// Places for live and outbound streams.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Streams that are in, by class.
    #[must_use]
    pub fn taken(&self) -> [usize; 3] {
        self.taken
    }

    /// Streams that were refused, by class.
    #[must_use]
    pub fn refused(&self) -> [u64; 3] {
        self.refused
    }

    /// Names, numbers and weights of the tenants known so far.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, u32, f64)> {
        self.tenants.iter().map(|(name, account)| (&**name, account.index, account.rules.weight))
    }

    fn believed(&self) -> Option<f64> {
        // A quiet hour proves little about a busy one: a floor of a third of what speech without pauses would take.
        let floor = self.speech_cost.map(|cost| cost / 3.0);
        match (self.stream_cost, floor) {
            (Some(cost), Some(floor)) => Some(cost.max(floor)),
            (Some(cost), None) => Some(cost),
            (None, _) => self.speech_cost.map(|cost| cost * SPOKEN),
        }
    }

    fn judge(&mut self, now: Duration, ask: &Ask) -> Result<(), (Reason, Span)> {
        let carried = self.taken[Class::Live as usize] + self.taken[Class::Outbound as usize];
        let (taken, limit) = match ask.class {
            Class::Batch => (self.taken[Class::Batch as usize], self.batch_limit),
            Class::Live | Class::Outbound => (carried, self.limit),
        };
        if taken >= limit {
            return Err((Reason::Full { limit }, RETRY));
        }
        let capacity = match ask.class {
            Class::Live => self.capacity(),
            Class::Outbound => ((self.capacity() as f64 * (1.0 - FOR_LIVE)) as usize).max(1),
            // Batch work takes what is left, however little that is.
            Class::Batch => usize::MAX,
        };
        if carried >= capacity {
            return Err((Reason::Loaded { carried, capacity }, RETRY));
        }
        let account = self.account(&ask.tenant);
        let (rules, class) = (&account.rules, ask.class as usize);
        if let Some(limit) = rules.streams[class]
            && account.taken[class] >= limit
        {
            return Err((Reason::Quota { limit }, RETRY));
        }
        if let Some(per_minute) = rules.streams_per_minute {
            let rate = f64::from(per_minute) / 60.0;
            let passed = now.saturating_sub(account.filled_at).as_secs_f64();
            account.tokens = (account.tokens + passed * rate).min(f64::from(per_minute.max(1)));
            account.filled_at = now;
            if account.tokens < 1.0 {
                let wait = Duration::from_secs_f64(((1.0 - account.tokens) / rate.max(1e-6)).min(3_600.0));
                return Err((Reason::Rate { per_minute }, Span::from(wait)));
            }
        }
        Ok(())
    }

    /// A tenant that no configuration names has an account without limits.
    fn account(&mut self, name: &Arc<str>) -> &mut Account {
        let next = self.tenants.len() as u32;
        self.tenants.entry(Arc::clone(name)).or_insert_with(|| Account { index: next, ..Account::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(class: Class, tenant: &str) -> Ask {
        Ask { class, tenant: tenant.into() }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn outbound_is_refused_before_live_and_batch_never_for_load() {
        // A device can promise 0.8 s a second; a live stream is believed to take 0.5 x 0.1 s: sixteen of them.
        let mut admission = Admission::new(100, 80, 1, 0.8, &[]);
        admission.calibrate(0.1);
        assert_eq!(admission.capacity(), 16);
        for _ in 0..14 {
            admission.admit(secs(0), &ask(Class::Outbound, "a")).expect("room");
        }
        let refused = admission.admit(secs(0), &ask(Class::Outbound, "a")).expect_err("a tenth is for live");
        assert_eq!(refused.reason, Reason::Loaded { carried: 14, capacity: 14 });
        assert!(refused.retry_after > Span::ZERO);
        admission.admit(secs(0), &ask(Class::Live, "a")).expect("room");
        admission.admit(secs(0), &ask(Class::Live, "a")).expect("room");
        admission.admit(secs(0), &ask(Class::Live, "a")).expect_err("full");
        for _ in 0..80 {
            admission.admit(secs(0), &ask(Class::Batch, "a")).expect("batch takes what is left");
        }
        let refused = admission.admit(secs(0), &ask(Class::Batch, "a")).expect_err("but has its own places");
        assert_eq!(refused.reason, Reason::Full { limit: 80 });
        admission.release(&ask(Class::Live, "a"));
        admission.admit(secs(0), &ask(Class::Live, "a")).expect("room again");
        assert_eq!((admission.taken(), admission.refused()), ([2, 14, 80], [1, 1, 1]));
    }

    #[test]
    fn experience_moves_the_capacity_but_a_quiet_hour_not_far() {
        let mut admission = Admission::new(1_000, 80, 2, 0.8, &[]);
        assert_eq!(admission.capacity(), 1_000, "nothing known");
        admission.calibrate(0.12);
        assert_eq!(admission.capacity(), 26);
        for _ in 0..100 {
            admission.experience(Span::from_secs(10), Duration::from_millis(900));
        }
        assert_eq!(admission.capacity(), 17, "streams took 0.09 each");
        for _ in 0..100 {
            admission.experience(Span::from_secs(10), Duration::from_millis(1));
        }
        assert_eq!(admission.capacity(), 40, "the floor: a third of 0.12");
    }

    #[test]
    fn quotas_and_rates_are_a_tenants_own() {
        let tenant = Tenant {
            streams: [Some(2), None, Some(0)],
            streams_per_minute: Some(3),
            ..Tenant::named("small")
        };
        let mut admission = Admission::new(100, 80, 1, 0.8, &[tenant]);
        let live = ask(Class::Live, "small");
        admission.admit(secs(0), &live).expect("one");
        admission.admit(secs(0), &live).expect("two");
        let refused = admission.admit(secs(0), &live).expect_err("quota");
        assert_eq!(refused.reason, Reason::Quota { limit: 2 });
        assert_eq!(
            admission.admit(secs(0), &ask(Class::Batch, "small")).expect_err("none at all").reason,
            Reason::Quota { limit: 0 }
        );
        admission.release(&live);
        admission.admit(secs(0), &live).expect("the third of this minute");
        admission.release(&live);
        let refused = admission.admit(secs(0), &live).expect_err("rate");
        assert_eq!(refused.reason, Reason::Rate { per_minute: 3 });
        assert_eq!(refused.retry_after, Span::from_secs(20));
        admission.admit(secs(21), &live).expect("a token has come");
        admission.admit(secs(21), &ask(Class::Live, "other")).expect("others are not touched");
        assert!(refused.to_string().contains("may open 3 streams a minute; try again in"), "{refused}");
    }
}
