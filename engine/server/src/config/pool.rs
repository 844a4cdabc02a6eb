//! `[pool]`, `[[pool.period]]` and `[[tenant]]`: who is recognised first, and who gets how much.

use std::time::Duration;

use antiphon_media_frame::Span;
use antiphon_models_pool::{Class, Period, PoolConfig, Shares, Tenant as PoolTenant};
use antiphon_models_speech::Language;
use antiphon_models_text::Category;
use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{Length, check_name};

/// `[pool]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PoolSection {
    /// Recordings recognised at once.
    pub(crate) batch_streams: usize,
    /// The part of the computing time that admission promises to calls.
    pub(crate) utilisation: f64,
    /// The part that recordings get whatever the calls need.
    pub(crate) batch_share: f64,
    /// By what part recordings may lengthen a step of calls.
    pub(crate) lengthening: f64,
    /// By how much a step of recordings may keep a call waiting that was expected.
    pub(crate) overrun: Length,
    /// The longest step.
    pub(crate) longest_step: Length,
    /// Audio of a turn where the engine has no chunk of its own.
    pub(crate) turn: Length,
    /// When a step is believed never to end.
    pub(crate) stall: Length,
    /// Whether the engine is timed at the start.
    pub(crate) calibrate: bool,
    /// The time zone of the periods; the machine's where there is none.
    pub(crate) time_zone: Option<String>,
    /// What holds at other times of the day; the first that fits.
    #[serde(rename = "period")]
    pub(crate) periods: Vec<PeriodSection>,
}

impl Default for PoolSection {
    fn default() -> Self {
        let (pool, shares) = (PoolConfig::default(), Shares::default());
        Self {
            batch_streams: pool.batch_streams,
            utilisation: pool.utilisation,
            batch_share: shares.batch,
            lengthening: shares.lengthening,
            overrun: Length(shares.overrun),
            longest_step: Length(shares.longest),
            turn: Length(pool.turn.into()),
            stall: Length(pool.stall),
            calibrate: true,
            time_zone: None,
            periods: Vec::new(),
        }
    }
}

/// `[[pool.period]]`: keys that are left out stay as in `[pool]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeriodSection {
    /// From when, "20:00".
    pub(crate) from: TimeOfDay,
    /// To when; before `from` where it goes past midnight.
    pub(crate) to: TimeOfDay,
    #[serde(default)]
    pub(crate) batch_share: Option<f64>,
    #[serde(default)]
    pub(crate) lengthening: Option<f64>,
    #[serde(default)]
    pub(crate) overrun: Option<Length>,
    #[serde(default)]
    pub(crate) longest_step: Option<Length>,
}

/// `[[tenant]]`: whose streams they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantSection {
    /// What trunks and tokens call it.
    pub(crate) name: String,
    /// Its weight among those with recordings to be heard.
    #[serde(default = "one")]
    pub(crate) weight: f64,
    /// Live streams at once.
    #[serde(default)]
    pub(crate) live: Option<usize>,
    /// Streams of calls placed, at once.
    #[serde(default)]
    pub(crate) outbound: Option<usize>,
    /// Recordings at once.
    #[serde(default)]
    pub(crate) batch: Option<usize>,
    /// New streams a minute.
    #[serde(default)]
    pub(crate) streams_per_minute: Option<u32>,
    /// Its recogniser, where that is not the server's.
    #[serde(default)]
    pub(crate) engine: Option<String>,
    /// What its people speak where nothing else says so.
    #[serde(default)]
    pub(crate) language: Option<String>,
    /// As in `[recognizer]`, which holds where this is left out; so the three below.
    #[serde(default)]
    pub(crate) punctuation: Option<bool>,
    #[serde(default)]
    pub(crate) capitals: Option<bool>,
    #[serde(default)]
    pub(crate) numbers: Option<bool>,
    #[serde(default)]
    pub(crate) mask: Option<Vec<Category>>,
}

fn one() -> f64 {
    1.0
}

/// A time of the day: `"20:00"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeOfDay(u16);

impl Serialize for TimeOfDay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:02}:{:02}", self.0 / 60, self.0 % 60))
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number =
            |text: &str, below: u16| text.parse::<u16>().ok().filter(|n| text.len() == 2 && *n < below);
        let minutes = text
            .split_once(':')
            .and_then(|(hours, minutes)| Some(number(hours, 24)? * 60 + number(minutes, 60)?));
        minutes.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no time of the day; write \"07:30\" or \"20:00\""))
        })
    }
}

impl PoolSection {
    /// What holds where no period does.
    pub(crate) fn shares(&self) -> Shares {
        Shares {
            batch: self.batch_share,
            lengthening: self.lengthening,
            overrun: self.overrun.0,
            longest: self.longest_step.0,
            paused: false,
        }
    }

    /// The periods with everything filled in.
    pub(crate) fn periods(&self) -> Vec<Period> {
        let base = self.shares();
        let fill = |period: &PeriodSection| Period {
            from: period.from.0,
            to: period.to.0,
            shares: Shares {
                batch: period.batch_share.unwrap_or(base.batch),
                lengthening: period.lengthening.unwrap_or(base.lengthening),
                overrun: period.overrun.map_or(base.overrun, |length| length.0),
                longest: period.longest_step.map_or(base.longest, |length| length.0),
                paused: false,
            },
        };
        self.periods.iter().map(fill).collect()
    }

    /// The pool of this section, for so many devices, streams and these tenants.
    pub(crate) fn open(&self, workers: usize, streams: usize, tenants: &[TenantSection]) -> PoolConfig {
        let tenant = |section: &TenantSection| {
            let mut streams = [None; 3];
            streams[Class::Live as usize] = section.live;
            streams[Class::Outbound as usize] = section.outbound;
            streams[Class::Batch as usize] = section.batch;
            PoolTenant {
                weight: section.weight,
                streams,
                streams_per_minute: section.streams_per_minute,
                ..PoolTenant::named(&section.name)
            }
        };
        PoolConfig {
            workers,
            streams,
            batch_streams: self.batch_streams,
            turn: Span::from(self.turn.0),
            stall: self.stall.0,
            utilisation: self.utilisation,
            shares: self.shares(),
            tenants: tenants.iter().map(tenant).collect(),
            ..PoolConfig::default()
        }
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=10_000).contains(&self.batch_streams),
            "configuration: pool.batch_streams is 1 to 10000"
        );
        ensure!((0.1..=1.0).contains(&self.utilisation), "configuration: pool.utilisation is 0.1 to 1");
        check_shares("pool", &self.shares())?;
        ensure!((20..=10_000).contains(&self.turn.0.as_millis()), "configuration: pool.turn is 20ms to 10s");
        ensure!(
            (100..=600_000).contains(&self.stall.0.as_millis()),
            "configuration: pool.stall is 100ms to 10m"
        );
        if let Some(zone) = &self.time_zone {
            jiff::tz::TimeZone::get(zone).map_err(|_| {
                anyhow::anyhow!(
                    "configuration: pool.time_zone: `{}` is no time zone of this machine; write \"Europe/Berlin\" or \"Asia/Shanghai\"",
                    zone.escape_debug()
                )
            })?;
        }
        for (n, period) in self.periods().iter().enumerate() {
            let key = format!("pool.period {}", n + 1);
            ensure!(period.from != period.to, "configuration: {key} begins when it ends");
            check_shares(&key, &period.shares)?;
        }
        Ok(())
    }
}

fn check_shares(key: &str, shares: &Shares) -> anyhow::Result<()> {
    ensure!((0.0..=0.9).contains(&shares.batch), "configuration: {key}.batch_share is 0 to 0.9");
    ensure!((0.0..=1.0).contains(&shares.lengthening), "configuration: {key}.lengthening is 0 to 1");
    ensure!(shares.overrun <= Duration::from_secs(1), "configuration: {key}.overrun is at most 1s");
    let longest = (1..=10_000).contains(&shares.longest.as_millis());
    ensure!(longest, "configuration: {key}.longest_step is 1ms to 10s");
    Ok(())
}

impl TenantSection {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        check_name("tenant.name", &self.name)?;
        let weight = (0.001..=1_000.0).contains(&self.weight);
        ensure!(weight, "configuration: tenant.{}.weight is 0.001 to 1000", self.name);
        let rate = self.streams_per_minute.is_none_or(|rate| (1..=1_000_000).contains(&rate));
        ensure!(
            rate,
            "configuration: tenant.{}.streams_per_minute is 1 to 1000000; leave it out for no limit",
            self.name
        );
        ensure!(
            self.engine.as_deref() != Some("none"),
            "configuration: tenant.{}.engine is a recogniser's name; leave it out for the server's",
            self.name
        );
        let tag = self.language.as_ref().filter(|tag| Language::parse(tag).is_none());
        if let Some(tag) = tag {
            let name = &self.name;
            anyhow::bail!(
                "configuration: tenant.{name}.language `{}` is no tag such as en, en-US or zh",
                tag.escape_debug()
            );
        }
        Ok(())
    }
}
