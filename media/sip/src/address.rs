//! SIP addresses as headers carry them (RFC 3261 §25.1): cut apart, nothing resolved. Pure, never panics.

use antiphon_media_frame::Pii;
use rsipstack::sip::Uri;

use crate::access::Address;

/// A `name-addr` or `addr-spec` with its header parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NameAddr<'a> {
    pub(crate) uri: &'a str,
    params: &'a str,
}

impl<'a> NameAddr<'a> {
    /// `None` if quotes or angle brackets do not close, a name is no name, a parameter is empty, or there is no
    /// address.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let open = outside_quotes(text, |c| c == '<')?;
        let (uri, params) = match open {
            Some(open) => {
                let name = text[..open].trim();
                // More than tokens is let through, as long as nothing else could be meant.
                if !name.starts_with('"') && name.contains([',', ';', ':', '"', '>', '@']) {
                    return None;
                }
                let (uri, rest) = text[open + 1..].split_once('>')?;
                let rest = rest.trim_start();
                let params = match rest.strip_prefix(';') {
                    Some(params) => params,
                    None if rest.is_empty() => "",
                    None => return None,
                };
                (uri, params)
            }
            // Without brackets, parameters belong to the header (RFC 3261 §20).
            None => match text.split_once(';') {
                Some((uri, params)) => (uri.trim(), params),
                None => (text, ""),
            },
        };
        // Without brackets a question mark would be the header's (RFC 3261 §20.10).
        let fine = is_uri(uri) && (open.is_some() || !has_headers(uri));
        let whole = params.trim().is_empty() && !text.ends_with(';')
            || split_outside_quotes(params, ';')?.into_iter().all(|param| !param.trim().is_empty());
        (fine && whole).then_some(Self { uri, params })
    }

    /// The value of a header parameter; empty for one without.
    pub(crate) fn param(&self, name: &str) -> Option<&'a str> {
        split_outside_quotes(self.params, ';')?.into_iter().find_map(|param| {
            let (given, value) = param.split_once('=').unwrap_or((param, ""));
            given.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }
}

/// Whether nothing stands in it that no address may hold.
pub(crate) fn is_uri(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b))
}

/// Whether headers follow the address (RFC 3261 §19.1.1). In a user part a question mark is just a character.
pub(crate) fn has_headers(uri: &str) -> bool {
    uri.rsplit_once('@').map_or(uri, |(_, host)| host).contains('?')
}

/// Whether it is a Via header of one or more hops, each with a protocol, a host and parameters that are not empty.
pub(crate) fn is_via(value: &str) -> bool {
    let hop = |hop: &str| {
        let mut parts = hop.split(';');
        let sent = parts.next().unwrap_or_default();
        let mut protocol = sent.splitn(3, '/').map(str::trim);
        protocol.next().is_some_and(|name| name.eq_ignore_ascii_case("SIP"))
            && protocol.next() == Some("2.0")
            && protocol.next().is_some_and(|rest| rest.split_whitespace().count() >= 2)
            && parts.all(|param| !param.trim().is_empty())
    };
    split_outside_quotes(value, ',').is_some_and(|hops| hops.into_iter().all(hop))
}

/// The elements of a header that may hold a list. `None` if quotes or brackets do not close.
pub(crate) fn list(value: &str) -> Option<Vec<&str>> {
    let parts = split_outside_quotes(value, ',')?;
    Some(parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect())
}

/// User and host of an address.
pub(crate) fn address(uri: &str) -> Address {
    let nothing = || Address { user: Pii::new(String::new()), host: String::new() };
    let Some((scheme, rest)) = uri.split_once(':') else { return nothing() };
    if scheme.eq_ignore_ascii_case("tel") {
        let number = rest.split(';').next().unwrap_or_default();
        return Address { user: Pii::new(unescaped(number)), host: String::new() };
    }
    // A user part may hold every character that ends a host part.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (user.split(':').next().unwrap_or_default(), rest),
        None => ("", rest),
    };
    let end = rest.find([';', '?']).unwrap_or(rest.len());
    let host = &rest[..end];
    let host = match host.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split(':').next().unwrap_or_default(),
    };
    Address { user: Pii::new(unescaped(user)), host: host.to_ascii_lowercase() }
}

/// An address of the stack with the escapes of its user part undone. The stack keeps them when it reads an address,
/// and escapes them once more when it writes it.
pub(crate) fn unescape(mut uri: Uri) -> Uri {
    if let Some(auth) = &mut uri.auth {
        auth.user = unescaped(&auth.user);
        auth.password = auth.password.as_deref().map(unescaped);
    }
    uri
}

/// `%41` becomes `A`; what is no escape stays.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a character outside quotes is first found; `None` if a quote does not close before.
fn outside_quotes(text: &str, wanted: impl Fn(char) -> bool) -> Option<Option<usize>> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && wanted(c) => return Some(Some(at)),
            _ => {}
        }
    }
    (!quoted).then_some(None)
}

fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut bracket) = (false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => bracket = true,
            '>' if !quoted => bracket = false,
            _ if c == separator && !quoted && !bracket => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted && !bracket).then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(uri: &str) -> (String, String) {
        let address = address(uri);
        (address.user.expose().clone(), address.host)
    }

    #[test]
    fn addresses_are_cut_apart() {
        let cases = [
            ("sip:bob@Example.com:5060;transport=tcp?x=y", "bob", "example.com"),
            ("sips:+49123;ext=1@host", "+49123;ext=1", "host"),
            ("sip:bob:password@host", "bob", "host"),
            ("sip:[2001:DB8::1]:5060", "", "2001:db8::1"),
            ("sip:a%40b%2@host", "a@b%2", "host"),
            ("tel:+1-201-555-0123;phone-context=x", "+1-201-555-0123", ""),
            ("nothing", "", ""),
        ];
        for (uri, user, host) in cases {
            assert_eq!(parts(uri), (user.to_owned(), host.to_owned()), "{uri}");
        }
    }

    #[test]
    fn escapes_are_written_as_they_were_read() {
        for text in ["sip:a%40b%23@h", "sip:%2B49*1@h;transport=tcp", "sip:h:5070", "sip:bob@h"] {
            let uri = Uri::try_from(text).unwrap();
            assert_eq!(unescape(uri).to_string(), text.replace("%2B", "+").replace("=tcp", "=TCP"));
        }
    }

    #[test]
    fn names_in_quotes_hide_what_stands_in_them() {
        let contact =
            NameAddr::parse(r#""a <sip:evil@x>;q=1 \" " <sip:b@h;lr>;expires=7 ; +sip.instance="<urn:x>""#)
                .unwrap();
        assert_eq!(contact.uri, "sip:b@h;lr");
        assert_eq!(contact.param("Expires"), Some("7"));
        assert_eq!(contact.param("+sip.instance"), Some("<urn:x>"));
        assert_eq!(contact.param("q"), None);
        assert_eq!(NameAddr::parse("sip:b@h;expires=9").unwrap().param("expires"), Some("9"));
        let wrongs =
            ["", "\"b <sip:b@h>", "<sip:b@h", "<>", "<sip:b@h> junk", "<sip:b @h>", "a, b <sip:b@h>"];
        for wrong in wrongs.into_iter().chain(["<sip:b@h>;;", "<sip:b@h>;", "sip:b@h;", "sip:b@h?x=y"]) {
            assert_eq!(NameAddr::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hops_are_told_from_rubbish() {
        for right in ["SIP/2.0/UDP h;branch=x", "SIP / 2.0 / TCP  h ; branch = x , SIP/2.0/UDP g"] {
            assert!(is_via(right), "{right}");
        }
        for wrong in
            ["", "SIP/2.0/UDP h;;,;,,", "SIP/2.0/UDP", "HTTP/1.1/TCP h", "SIP/2.0/UDP h,", "SIP/2.0/UDP h;"]
        {
            assert!(!is_via(wrong), "{wrong}");
        }
        assert!(has_headers("sip:a@h?x=y") && !has_headers("sip:a?b@h"));
    }

    #[test]
    fn lists_are_split_at_commas_that_separate() {
        assert_eq!(
            list(r#"<sip:a,b@h>, "x, y" <sip:c@h>,"#).unwrap(),
            ["<sip:a,b@h>", r#""x, y" <sip:c@h>"#]
        );
        assert_eq!(list("<sip:a, <sip:b>, \""), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\u{e9}]{0,80}") {
            if let Some(parsed) = NameAddr::parse(&text) {
                parsed.param("q");
            }
            list(&text);
            is_via(&text);
            address(&text);
        }
    }
}
