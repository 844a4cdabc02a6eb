//! Which call a new one takes the place of (RFC 3891).

use std::fmt::Write as _;

/// Longest value read.
const LONGEST: usize = 1_024;

/// The dialog a new call replaces, as the side that receives the INVITE knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replaces {
    /// Call-ID of the replaced call.
    pub call_id: String,
    /// Tag of the side that is asked to replace.
    pub to_tag: String,
    /// Tag of the other side.
    pub from_tag: String,
    /// Only to be replaced while it is not answered yet (RFC 3891 §5).
    pub early_only: bool,
}

impl Replaces {
    /// Reads the value of a Replaces header. `None` if a tag is missing or repeated, or it is too long.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > LONGEST || value.contains(|c: char| c.is_control()) {
            return None;
        }
        let mut parts = value.split(';').map(str::trim);
        let call_id = parts.next().filter(|id| is_call_id(id))?.to_owned();
        let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            let tag = match name.trim().to_ascii_lowercase().as_str() {
                "to-tag" => &mut to_tag,
                "from-tag" => &mut from_tag,
                "early-only" => {
                    early_only = true;
                    continue;
                }
                _ => continue,
            };
            if !is_token(value) || tag.replace(value.to_owned()).is_some() {
                return None;
            }
        }
        Some(Self { call_id, to_tag: to_tag?, from_tag: from_tag?, early_only })
    }

    /// The value of a Replaces header. `None` if a part could break out of it.
    #[must_use]
    pub fn value(&self) -> Option<String> {
        let fits = is_call_id(&self.call_id) && is_token(&self.to_tag) && is_token(&self.from_tag);
        let early = if self.early_only { ";early-only" } else { "" };
        fits.then(|| format!("{};to-tag={};from-tag={}{early}", self.call_id, self.to_tag, self.from_tag))
    }

    /// The value as it stands in the header part of a Refer-To address (RFC 3261 §19.1.1).
    pub(crate) fn escaped(&self) -> Option<String> {
        let mut text = String::new();
        for byte in self.value()?.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
                text.push(char::from(byte));
            } else {
                write!(text, "%{byte:02X}").ok()?;
            }
        }
        Some(text)
    }
}

/// An address cut into itself and the Replaces header it asks for: `sip:bob@host?Replaces=…`. Other header parts are
/// dropped: nobody may make this side send them.
pub(crate) fn split_target(target: &str) -> (String, Option<Replaces>) {
    let Some((address, headers)) = target.split_once('?') else {
        return (target.to_owned(), None);
    };
    let replaces = headers.split('&').find_map(|header| {
        let (name, value) = header.split_once('=')?;
        name.eq_ignore_ascii_case("replaces").then(|| unescape(value)).flatten()
    });
    (address.to_owned(), replaces.as_deref().and_then(Replaces::parse))
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok())?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

fn is_call_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b";,".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_written() {
        let value = "425928@bobster.example.org;to-tag=7743;from-tag=6472;early-only";
        let read = Replaces::parse(value).unwrap();
        assert_eq!((read.call_id.as_str(), read.to_tag.as_str()), ("425928@bobster.example.org", "7743"));
        assert_eq!((read.from_tag.as_str(), read.early_only), ("6472", true));
        assert_eq!(read.value().as_deref(), Some(value));
        for bad in [
            "",
            "a",
            "a;to-tag=1",
            "a;to-tag=1;to-tag=2;from-tag=3",
            "a;to-tag=;from-tag=3",
            "a\r\nX: y;to-tag=1;from-tag=2",
        ] {
            assert_eq!(Replaces::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn it_survives_an_address() {
        let replaces = Replaces::parse("12@h;to-tag=7;from-tag=6").unwrap();
        let target = format!("sip:bob@host?X-Evil=1&Replaces={}", replaces.escaped().unwrap());
        assert_eq!(target, "sip:bob@host?X-Evil=1&Replaces=12%40h%3Bto-tag%3D7%3Bfrom-tag%3D6");
        assert_eq!(split_target(&target), ("sip:bob@host".to_owned(), Some(replaces)));
        assert_eq!(split_target("sip:a@b?Replaces=%4"), ("sip:a@b".to_owned(), None));
        assert_eq!(split_target("sip:a@b?Replaces=%zz%e9"), ("sip:a@b".to_owned(), None));
    }

    #[test]
    fn nothing_breaks_out() {
        let evil = Replaces {
            call_id: "a\r\nX: y".into(),
            to_tag: "1".into(),
            from_tag: "2".into(),
            early_only: false,
        };
        assert_eq!(evil.value(), None);
    }
}
