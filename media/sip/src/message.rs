//! Just enough of a SIP message to judge it before the stack sees it (RFC 3261 §7): pure, bounded, never panics.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Most header lines read.
const MAX_HEADERS: usize = 256;

/// A message cut into start line, header fields and body, nothing interpreted.
pub(crate) struct Message<'a> {
    pub(crate) start: &'a str,
    /// Names in lower case and long form; folded lines joined (RFC 3261 §7.3.1).
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// `None` if there is no complete header section, or it is no text, or it is too long.
    pub(crate) fn scan(raw: &'a [u8]) -> Option<Self> {
        let end = find(raw, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&raw[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let start = lines.next().filter(|line| is_line(line))?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if !is_line(line) || headers.len() == MAX_HEADERS {
                return None;
            }
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut()?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((header_name(name), value.trim().to_owned()));
        }
        Some(Self { start, headers, body: &raw[end + 4..] })
    }

    /// The same message written plainly: no folded lines, and no white space around separators. What the senders of
    /// old RFCs may write, the stack cannot read.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let mut text = self.start.to_owned();
        for (name, value) in &self.headers {
            let value = match name.as_str() {
                "via" => tight(value, ",;=/"),
                "from" | "to" | "contact" | "route" | "record-route" => tight(value, ",;=<>"),
                "cseq" => value.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
                _ => value.clone(),
            };
            text.push_str("\r\n");
            text.push_str(name);
            text.push_str(": ");
            text.push_str(&value);
        }
        text.push_str("\r\n\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body);
        bytes
    }

    pub(crate) fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header that may stand only once; `None` if it is missing or repeated.
    pub(crate) fn single(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        values.next().filter(|_| values.next().is_none()).map(|(_, value)| value.as_str())
    }

    /// A response to this request, without state (RFC 3261 §8.2.7). `None` for an ACK, and when it could not be
    /// routed back.
    pub(crate) fn response(&self, status: u16, reason: &str, extra: &[(&str, &str)]) -> Option<Vec<u8>> {
        if self.start.starts_with("ACK ") {
            return None;
        }
        let mut text = format!("SIP/2.0 {status} {reason}\r\n");
        let mut copy = |name: &str, value: &str| {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        };
        self.values("via").next()?;
        self.values("via").for_each(|via| copy("Via", via));
        copy("From", self.values("from").next()?);
        let to = self.values("to").next()?;
        let call_id = self.values("call-id").next()?;
        if to.to_ascii_lowercase().contains(";tag=") {
            copy("To", to);
        } else {
            // The same tag at each retransmission, as a stateless server must.
            let mut hasher = DefaultHasher::new();
            (call_id, self.values("cseq").next()).hash(&mut hasher);
            copy("To", &format!("{to};tag=s{:x}", hasher.finish()));
        }
        copy("Call-ID", call_id);
        copy("CSeq", self.values("cseq").next()?);
        extra.iter().for_each(|(name, value)| copy(name, value));
        text.push_str("Content-Length: 0\r\n\r\n");
        Some(text.into_bytes())
    }
}

/// The next thing in a stream of bytes (RFC 3261 §18.3).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// More bytes are needed.
    Incomplete,
    /// A keep-alive of so many bytes; a double one wants an answer (RFC 5626 §3.5.1).
    KeepAlive { len: usize, answer: bool },
    /// A message of so many bytes.
    Message(usize),
    /// Nothing that follows can be told apart from a body any more.
    Broken,
}

/// Finds the end of the first message in `buffer`.
pub(crate) fn frame(buffer: &[u8], max_message: usize) -> Frame {
    if buffer.starts_with(b"\r\n") {
        return match buffer.get(2..4) {
            Some(b"\r\n") => Frame::KeepAlive { len: 4, answer: true },
            None if buffer.get(2).is_none_or(|b| *b == b'\r') => Frame::Incomplete,
            _ => Frame::KeepAlive { len: 2, answer: false },
        };
    }
    let Some(end) = find(buffer, b"\r\n\r\n") else {
        return if buffer.len() > max_message { Frame::Broken } else { Frame::Incomplete };
    };
    let length = Message::scan(buffer).and_then(|message| content_length(&message)?.ok());
    match length.and_then(|length| length.checked_add(end + 4)) {
        Some(total) if total > max_message => Frame::Broken,
        Some(total) if buffer.len() >= total => Frame::Message(total),
        Some(_) => Frame::Incomplete,
        None => Frame::Broken,
    }
}

/// `None` without the header, `Err` if it is no number or stands twice.
pub(crate) fn content_length(message: &Message<'_>) -> Option<Result<usize, ()>> {
    message.values("content-length").next()?;
    let value = message.single("content-length").filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    Some(value.and_then(|v| v.parse().ok()).ok_or(()))
}

/// Without white space beside `separators`, and with single spaces elsewhere. Quoted strings stay.
fn tight(value: &str, separators: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let (mut quoted, mut escaped, mut space) = (false, false, false);
    for c in value.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            text.push(c);
            continue;
        }
        if c.is_ascii_whitespace() {
            space = true;
            continue;
        }
        if space && !separators.contains(c) && !text.is_empty() && !text.ends_with(|c| separators.contains(c))
        {
            text.push(' ');
        }
        space = false;
        quoted = c == '"';
        text.push(c);
    }
    text
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn is_line(line: &str) -> bool {
    !line.bytes().any(|b| matches!(b, b'\r' | b'\n'))
}

/// A header's name in lower case; compact forms of RFC 3261 §7.3.3 and of the extensions that matter here made long.
pub(crate) fn header_name(name: &str) -> String {
    let lower = name.trim().to_ascii_lowercase();
    let long = match lower.as_str() {
        "i" => "call-id",
        "m" => "contact",
        "e" => "content-encoding",
        "l" => "content-length",
        "c" => "content-type",
        "f" => "from",
        "s" => "subject",
        "k" => "supported",
        "t" => "to",
        "v" => "via",
        "r" => "refer-to",
        "b" => "referred-by",
        "x" => "session-expires",
        "o" => "event",
        "u" => "allow-events",
        "y" => "identity",
        _ => return lower,
    };
    long.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_and_compact_headers_are_read() {
        let raw = b"OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h\r\n ;branch=z9hG4bKx\r\nTO :\r\n <sip:a@b>\r\n\r\nrest";
        let message = Message::scan(raw).unwrap();
        assert_eq!(message.single("via"), Some("SIP/2.0/UDP h ;branch=z9hG4bKx"));
        assert_eq!(message.single("to"), Some(" <sip:a@b>"));
        assert_eq!(message.body, b"rest");
    }

    #[test]
    fn a_message_is_written_plainly() {
        let raw = b"OPTIONS sip:a@b SIP/2.0\r\nvia  : SIP  /   2.0\r\n / UDP  h  ;\r\n branch = x , SIP/2.0/TCP g\r\n\
                    f: \"J ; \\\" R\"   <sip:c@d> ; tag = 1\r\ncseq: 0009\r\n  OPTIONS\r\nXy:  a  ;  b\r\n\r\nbody";
        let plain = String::from_utf8(Message::scan(raw).unwrap().plain()).unwrap();
        assert_eq!(
            plain,
            "OPTIONS sip:a@b SIP/2.0\r\nvia: SIP/2.0/UDP h;branch=x,SIP/2.0/TCP g\r\n\
             from: \"J ; \\\" R\"<sip:c@d>;tag=1\r\ncseq: 0009 OPTIONS\r\nxy: a  ;  b\r\n\r\nbody"
        );
    }

    #[test]
    fn a_stream_is_cut_by_content_length() {
        let one = b"BYE sip:a SIP/2.0\r\nl: 3\r\n\r\nabc";
        assert_eq!(frame(&one[..one.len() - 1], 100), Frame::Incomplete);
        assert_eq!(frame(&[one, &one[..]].concat(), 100), Frame::Message(one.len()));
        assert_eq!(frame(one, 10), Frame::Broken);
        assert_eq!(frame(b"BYE sip:a SIP/2.0\r\n\r\n", 100), Frame::Broken, "no length");
        let huge = format!("BYE sip:a SIP/2.0\r\nl: {}\r\n\r\n", usize::MAX);
        assert_eq!(frame(huge.as_bytes(), 100), Frame::Broken);
        assert_eq!(frame(b"\r\n\r\n", 100), Frame::KeepAlive { len: 4, answer: true });
        assert_eq!(frame(b"\r\nBYE", 100), Frame::KeepAlive { len: 2, answer: false });
        assert_eq!(frame(b"\r\n\r", 100), Frame::Incomplete);
    }
}
