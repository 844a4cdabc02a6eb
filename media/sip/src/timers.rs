//! Session timers (RFC 4028): what two sides agree on. Pure; the clock is `dialog::keep`.

use std::time::Duration;

/// A longer interval is cut to this: a day.
const LONGEST: u64 = 86_400;

/// Which side of one request refreshes: its sender or its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresher {
    Uac,
    Uas,
}

/// A Session-Expires value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionExpires {
    pub(crate) interval: Duration,
    pub(crate) refresher: Option<Refresher>,
}

impl SessionExpires {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let interval = seconds(parts.next()?)?;
        let refresher = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("refresher") {
                return None;
            }
            match value.trim().to_ascii_lowercase().as_str() {
                "uac" => Some(Refresher::Uac),
                "uas" => Some(Refresher::Uas),
                _ => None,
            }
        });
        Some(Self { interval, refresher })
    }

    pub(crate) fn value(&self) -> String {
        let refresher = match self.refresher {
            None => "",
            Some(Refresher::Uac) => ";refresher=uac",
            Some(Refresher::Uas) => ";refresher=uas",
        };
        format!("{}{refresher}", self.interval.as_secs())
    }
}

/// The number at the start of a Session-Expires or Min-SE value.
pub(crate) fn seconds(value: &str) -> Option<Duration> {
    let digits = value.split(';').next()?.trim();
    let fits = !digits.is_empty() && digits.len() < 11 && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| digits.parse::<u64>().ok().map(|n| Duration::from_secs(n.min(LONGEST)))).flatten()
}

/// What an INVITE or UPDATE says about timers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) expires: Option<SessionExpires>,
    pub(crate) min: Option<Duration>,
    /// `timer` stands in its Supported header.
    pub(crate) supported: bool,
}

/// What the answering side puts into its 2xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) interval: Duration,
    pub(crate) refresher: Refresher,
    /// `Require: timer` has to stand in the 2xx (RFC 4028 §9).
    pub(crate) require: bool,
}

/// The answering side's part (RFC 4028 §9). `longest` is what this side would have; `None` only follows the other.
///
/// # Errors
/// The least interval this side takes, for a 422.
pub(crate) fn answer(
    wish: Wish,
    longest: Option<Duration>,
    least: Duration,
) -> Result<Option<Agreed>, Duration> {
    let Some(asked) = wish.expires else {
        // A caller that knows nothing of timers can still be refreshed by this side.
        return Ok(longest.map(|interval| Agreed {
            interval: interval.max(least).max(wish.min.unwrap_or_default()),
            refresher: Refresher::Uas,
            require: false,
        }));
    };
    if asked.interval < least {
        return if wish.supported {
            Err(least)
        } else {
            // Put there by a proxy: the caller could not obey a 422 (RFC 4028 §9).
            Ok(Some(Agreed { interval: least, refresher: Refresher::Uas, require: false }))
        };
    }
    let floor = least.max(wish.min.unwrap_or_default());
    let interval = longest.map_or(asked.interval, |longest| asked.interval.min(longest.max(floor)));
    let refresher = match asked.refresher {
        Some(refresher) if wish.supported => refresher,
        _ if wish.supported => Refresher::Uac,
        _ => Refresher::Uas,
    };
    Ok(Some(Agreed { interval, refresher, require: refresher == Refresher::Uac }))
}

/// How long before the end the side that does not refresh gives up (RFC 4028 §10).
pub(crate) fn patience(interval: Duration) -> Duration {
    interval - Duration::from_secs(32).min(interval / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn wish(value: &str, supported: bool) -> Wish {
        Wish { expires: SessionExpires::parse(value), min: None, supported }
    }

    #[test]
    fn a_value_is_read_and_written() {
        let read = SessionExpires::parse("1800 ; Refresher=UAS").unwrap();
        assert_eq!((read.interval, read.refresher), (s(1_800), Some(Refresher::Uas)));
        assert_eq!(read.value(), "1800;refresher=uas");
        assert_eq!(SessionExpires::parse("99999999999"), None);
        assert_eq!(SessionExpires::parse("9999999999").unwrap().interval, s(LONGEST));
        for bad in ["", ";refresher=uac", "-1", "abc"] {
            assert_eq!(SessionExpires::parse(bad), None);
        }
    }

    #[test]
    fn the_shorter_interval_holds_and_never_falls_below_the_least() {
        let agree = |value, longest| answer(wish(value, true), longest, s(90)).unwrap().unwrap();
        assert_eq!(agree("3600", Some(s(1_800))).interval, s(1_800));
        assert_eq!(agree("600", Some(s(1_800))).interval, s(600));
        assert_eq!(agree("600", Some(s(30))).interval, s(90));
        assert_eq!(agree("600", None).interval, s(600));
        assert_eq!(answer(wish("60", true), None, s(90)), Err(s(90)));
        assert_eq!(answer(wish("100", true), None, s(120)), Err(s(120)));
        let min = Wish { min: Some(s(1_000)), ..wish("3600", true) };
        assert_eq!(answer(min, Some(s(200)), s(90)).unwrap().unwrap().interval, s(1_000));
    }

    #[test]
    fn who_refreshes_follows_the_table_of_the_rfc() {
        let refresher = |value, supported| {
            let agreed = answer(wish(value, supported), Some(s(1_800)), s(90)).unwrap().unwrap();
            (agreed.refresher, agreed.require)
        };
        assert_eq!(refresher("1800", true), (Refresher::Uac, true));
        assert_eq!(refresher("1800;refresher=uas", true), (Refresher::Uas, false));
        assert_eq!(refresher("1800;refresher=uac", true), (Refresher::Uac, true));
        assert_eq!(refresher("1800", false), (Refresher::Uas, false));
        assert_eq!(answer(Wish::default(), None, s(90)), Ok(None));
        let ours = answer(Wish::default(), Some(s(1_800)), s(90)).unwrap().unwrap();
        assert_eq!((ours.refresher, ours.require), (Refresher::Uas, false));
        assert_eq!(patience(s(90)), s(60));
        assert_eq!(patience(s(1_800)), s(1_768));
    }
}
