//! Keys that travel in INFO requests instead of the media.

use std::time::Duration;

/// How long a key lasts where the request does not say.
const USUAL: Duration = Duration::from_millis(250);
/// Longer is no key press; a longer claim is cut to this.
const LONGEST: Duration = Duration::from_secs(5);

/// What kind of body [`to_info`] writes.
pub const RELAY: &str = "application/dtmf-relay";

/// The body of an INFO request for a key that is held for so long: `0`–`9`, `*`, `#`, `A`–`D`; `None` for anything else.
#[must_use]
pub fn to_info(pressed: char, held: Duration) -> Option<String> {
    let mut text = [0; 4];
    let pressed = key(pressed.encode_utf8(&mut text))?;
    Some(format!("Signal={pressed}\r\nDuration={}\r\n", held.min(LONGEST).as_millis()))
}

/// Reads the key of an INFO request: `0`–`9`, `*`, `#`, `A`–`D`, and how long it was held (250 ms where the request
/// does not say, 5 s at most).
///
/// Understands `application/dtmf-relay` (`Signal=` and `Duration=` lines, milliseconds) and `application/dtmf` (the
/// key alone, or its event number 10 and 11 for `*` and `#`). Anything else is `None`.
#[must_use]
pub fn from_info(content_type: &str, body: &[u8]) -> Option<(char, Duration)> {
    let kind = content_type.split(';').next()?.trim();
    let text = std::str::from_utf8(body).ok()?;
    if kind.eq_ignore_ascii_case("application/dtmf-relay") {
        let (mut signal, mut held) = (None, None);
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value.trim();
            if name.trim().eq_ignore_ascii_case("signal") {
                signal = key(value);
            } else if name.trim().eq_ignore_ascii_case("duration") {
                held = value.parse().ok().map(Duration::from_millis);
            }
        }
        return Some((signal?, held.filter(|held| !held.is_zero()).unwrap_or(USUAL).min(LONGEST)));
    }
    if kind.eq_ignore_ascii_case("application/dtmf") {
        return Some((key(text.trim())?, USUAL));
    }
    None
}

fn key(text: &str) -> Option<char> {
    match text {
        "10" => return Some('*'),
        "11" => return Some('#'),
        "12" => return Some('A'),
        "13" => return Some('B'),
        "14" => return Some('C'),
        "15" => return Some('D'),
        _ => {}
    }
    let mut chars = text.chars();
    let key = chars.next()?.to_ascii_uppercase();
    (chars.next().is_none() && matches!(key, '0'..='9' | '*' | '#' | 'A'..='D')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_relayed_key_has_its_duration() {
        let read = |body: &str| from_info("application/dtmf-relay", body.as_bytes());
        assert_eq!(read("Signal=5\r\nDuration=160\r\n"), Some(('5', ms(160))));
        assert_eq!(read("Signal= *\nDuration= 100"), Some(('*', ms(100))));
        assert_eq!(read("signal=11\r\n"), Some(('#', ms(250))));
        assert_eq!(read("Signal=d\r\nDuration=99999999"), Some(('D', ms(5_000))));
        assert_eq!(read("Signal=7\r\nDuration=-3"), Some(('7', ms(250))));
        assert_eq!(read("Duration=160\r\n"), None);
        assert_eq!(read("Signal=55\r\n"), None);
        assert_eq!(read("Signal=\r\n"), None);
    }

    #[test]
    fn what_is_written_is_read_alike() {
        for pressed in "0123456789*#ABCD".chars() {
            let body = to_info(pressed, ms(160)).expect("a key");
            assert_eq!(from_info(RELAY, body.as_bytes()), Some((pressed, ms(160))));
        }
        assert_eq!(to_info('x', ms(160)), None);
        assert_eq!(to_info('é', ms(160)), None);
    }

    #[test]
    fn a_bare_key_lasts_as_long_as_usual() {
        assert_eq!(from_info("Application/DTMF;x=y", b" 8 \r\n"), Some(('8', ms(250))));
        assert_eq!(from_info("application/dtmf", b"16"), None);
        assert_eq!(from_info("application/dtmf", &[0xff]), None);
        assert_eq!(from_info("text/plain", b"8"), None);
        assert_eq!(from_info("", b""), None);
    }
}
