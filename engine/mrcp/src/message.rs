//! Messages (RFC 6787 section 5): one start line, headers, a body, and the length of all of it in front.

use std::fmt;

/// Longest message read, in octets.
pub const MAX_MESSAGE: usize = 512 * 1024;
/// Longest start line and headers together, in octets.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most headers of a message.
pub const MAX_HEADERS: usize = 64;
/// Octets in which the length must have come.
const MAX_PREFIX: usize = 24;

/// Why octets are no message. None of them leaves the stream readable: the connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// They do not begin as a message of any version does.
    #[error("this is no MRCP message")]
    NotMrcp,
    /// Another version.
    #[error("version {found} is not served; MRCP/2.0 is")]
    Version {
        /// What came.
        found: String,
    },
    /// The length is no number, or smaller than the head.
    #[error("the message length is wrong")]
    Length,
    /// Too long.
    #[error("{what}: more than {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much of it is taken.
        limit: usize,
    },
    /// A line of the head cannot be read.
    #[error("line {line} of the message: {what}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// Nothing follows.
    Complete,
    /// It is being worked on; events follow.
    InProgress,
    /// It waits for the one before it.
    Pending,
}

impl RequestState {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "COMPLETE",
            Self::InProgress => "IN-PROGRESS",
            Self::Pending => "PENDING",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Complete, Self::InProgress, Self::Pending].into_iter().find(|state| state.name() == text)
    }
}

/// The first line of a message, without version and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// What a client asks.
    Request {
        /// The method.
        method: String,
        /// Names it within its channel.
        id: u32,
    },
    /// The answer to it.
    Response {
        /// The request.
        id: u32,
        /// 200 to 599.
        status: u16,
        /// Whether anything follows.
        state: RequestState,
    },
    /// What follows.
    Event {
        /// The event.
        name: String,
        /// The request that it belongs to.
        id: u32,
        /// Whether anything follows.
        state: RequestState,
    },
}

/// Headers in their order, their names in any case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a header.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds one. Line ends in the value become spaces, so that no value makes a header of its own.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into().replace(['\r', '\n', '\0'], " ");
        self.0.push((name.to_owned(), value));
    }
}

impl fmt::Debug for Headers {
    /// Names alone: values carry what was said and who says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub start: Start,
    /// Its headers, without Content-Length.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("start", &self.start)
            .field("headers", &self.headers)
            .field("body", &self.body.len())
            .finish()
    }
}

impl Message {
    /// A message without a body.
    #[must_use]
    pub fn new(start: Start) -> Self {
        Self { start, headers: Headers::default(), body: Vec::new() }
    }

    /// A request.
    #[must_use]
    pub fn request(method: &str, id: u32) -> Self {
        Self::new(Start::Request { method: method.to_owned(), id })
    }

    /// A response.
    #[must_use]
    pub fn response(id: u32, status: u16, state: RequestState) -> Self {
        Self::new(Start::Response { id, status, state })
    }

    /// An event.
    #[must_use]
    pub fn event(name: &str, id: u32, state: RequestState) -> Self {
        Self::new(Start::Event { name: name.to_owned(), id, state })
    }

    /// With a header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// With a body.
    #[must_use]
    pub fn with_body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.push("Content-Type", kind);
        self.body = body.into();
        self
    }

    /// The channel it is for.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        self.headers.value("Channel-Identifier")
    }

    /// As it goes over the wire, its length counted.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let rest = match &self.start {
            Start::Request { method, id } => format!(" {method} {id}\r\n"),
            Start::Response { id, status, state } => format!(" {id} {status} {}\r\n", state.name()),
            Start::Event { name, id, state } => format!(" {name} {id} {}\r\n", state.name()),
        };
        let mut head = rest;
        for (name, value) in self.headers.iter() {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        if !self.body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        // The length counts its own figures.
        let others = "MRCP/2.0 ".len() + head.len() + self.body.len();
        let mut length = others + 1;
        while others + length.to_string().len() != length {
            length = others + length.to_string().len();
        }
        let mut out = format!("MRCP/2.0 {length}").into_bytes();
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&self.body);
        out
    }
}

/// Cuts a stream of octets into messages.
#[derive(Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes octets that came.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Octets that wait for the rest of their message.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole message; `None` until it has come. To be called until it gives none, so that no more than one
    /// message and one read wait.
    ///
    /// # Errors
    /// [`MessageError`], after which the stream cannot be read on.
    pub fn next_message(&mut self) -> Result<Option<Message>, MessageError> {
        let Some((prefix, length)) = self.prefix()? else { return Ok(None) };
        if self.buffer.len() < length {
            return Ok(None);
        }
        let rest = self.buffer.split_off(length);
        let whole = std::mem::replace(&mut self.buffer, rest);
        parse(&whole[prefix..]).map(Some)
    }

    /// Where the rest of the start line begins, and the length of the whole.
    fn prefix(&self) -> Result<Option<(usize, usize)>, MessageError> {
        let seen = &self.buffer[..self.buffer.len().min(MAX_PREFIX)];
        let begins = b"MRCP/";
        let common = seen.len().min(begins.len());
        if seen[..common] != begins[..common] {
            return Err(MessageError::NotMrcp);
        }
        let mut words = seen.split(|octet| *octet == b' ');
        let (version, length, more) = (words.next(), words.next(), words.next().is_some());
        if length.is_none() || !more {
            return if seen.len() == MAX_PREFIX { Err(MessageError::Length) } else { Ok(None) };
        }
        let (version, length) = (version.unwrap_or_default(), length.unwrap_or_default());
        if version != b"MRCP/2.0" {
            return Err(MessageError::Version { found: String::from_utf8_lossy(version).into_owned() });
        }
        let prefix = version.len() + 1 + length.len() + 1;
        let length = std::str::from_utf8(length).ok().and_then(number).ok_or(MessageError::Length)?;
        if length > MAX_MESSAGE {
            return Err(MessageError::TooLarge { what: "octets of a message", limit: MAX_MESSAGE });
        }
        if length <= prefix {
            return Err(MessageError::Length);
        }
        Ok(Some((prefix, length)))
    }
}

/// A message from behind its length.
fn parse(text: &[u8]) -> Result<Message, MessageError> {
    let blank = |at: usize| text[at..].starts_with(b"\r\n\r\n");
    let end = (0..text.len().min(MAX_HEAD)).find(|at| blank(*at));
    let Some(end) = end else {
        if text.len() > MAX_HEAD {
            return Err(MessageError::TooLarge { what: "octets of a head", limit: MAX_HEAD });
        }
        return Err(MessageError::Malformed { line: 1, what: "the head does not end" });
    };
    let head = std::str::from_utf8(&text[..end])
        .map_err(|_| MessageError::Malformed { line: 1, what: "the head is no UTF-8" })?;
    let body = &text[end + 4..];
    let mut lines = head.split("\r\n");
    let start = start_line(lines.next().unwrap_or_default())
        .ok_or(MessageError::Malformed { line: 1, what: "no request, response or event" })?;
    let mut headers = Headers::default();
    let mut declared = None;
    for (line, text) in (2..).zip(lines) {
        let bad = |what| MessageError::Malformed { line, what };
        if text.contains(['\r', '\n', '\0']) {
            return Err(bad("a control character"));
        }
        if text.starts_with([' ', '\t']) {
            let (_, value) = headers.0.last_mut().ok_or(bad("nothing to go on with"))?;
            value.push(' ');
            value.push_str(text.trim());
            continue;
        }
        let (name, value) = text.split_once(':').ok_or(bad("a header without a colon"))?;
        let (name, value) = (name.trim_end(), value.trim());
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(bad("the name of a header"));
        }
        if name.eq_ignore_ascii_case("Content-Length") {
            let length: usize = number(value).ok_or(bad("the length of the body"))?;
            if declared.replace(length).is_some_and(|before| before != length) {
                return Err(bad("two lengths of the body"));
            }
            continue;
        }
        if headers.0.len() == MAX_HEADERS {
            return Err(MessageError::TooLarge { what: "headers", limit: MAX_HEADERS });
        }
        headers.push(name, value);
    }
    if declared.unwrap_or(0) != body.len() {
        return Err(MessageError::Length);
    }
    Ok(Message { start, headers, body: body.to_vec() })
}

fn start_line(text: &str) -> Option<Start> {
    let words: Vec<&str> = text.split(' ').collect();
    Some(match words[..] {
        [id, status, state] if id.starts_with(|c: char| c.is_ascii_digit()) => Start::Response {
            id: number(id)?,
            status: number(status).filter(|status| (100..=699).contains(status))?,
            state: RequestState::parse(state)?,
        },
        [name, id, state] => {
            Start::Event { name: method(name)?, id: number(id)?, state: RequestState::parse(state)? }
        }
        [name, id] => Start::Request { method: method(name)?, id: number(id)? },
        _ => return None,
    })
}

fn method(name: &str) -> Option<String> {
    let fits = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    fits.then(|| name.to_owned())
}

/// Digits alone: `parse` would take a plus sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(octets: &[u8]) -> Result<Option<Message>, MessageError> {
        let mut decoder = Decoder::default();
        decoder.push(octets);
        decoder.next_message()
    }

    /// A message whose length is put in.
    fn measured(rest: &str) -> Vec<u8> {
        let length = (0..2_000).find(|n| "MRCP/2.0 ".len() + n.to_string().len() + rest.len() == *n);
        format!("MRCP/2.0 {}{rest}", length.expect("some length fits")).into_bytes()
    }

    #[test]
    fn requests_responses_and_events_are_read_and_written_alike() {
        let speak = measured(
            " SPEAK 543257\r\nChannel-Identifier: 32AECB23433802@speechsynth\r\nVoice-gender: neutral\r\n\
             Content-Type: text/plain\r\nContent-Length: 14\r\n\r\nYou have mail.",
        );
        let message = decode(&speak).expect("well-formed").expect("whole");
        assert_eq!(message.start, Start::Request { method: "SPEAK".into(), id: 543_257 });
        assert_eq!(message.channel(), Some("32AECB23433802@speechsynth"));
        assert_eq!(message.headers.value("voice-GENDER"), Some("neutral"));
        assert_eq!(message.body, b"You have mail.");
        assert_eq!(decode(&message.encode()), Ok(Some(message)));

        let response =
            measured(" 543257 200 IN-PROGRESS\r\nChannel-Identifier:32AECB23433802@speechsynth\r\n\r\n");
        let message = decode(&response).expect("well-formed").expect("whole");
        assert_eq!(
            message.start,
            Start::Response { id: 543_257, status: 200, state: RequestState::InProgress }
        );
        let event = measured(
            " SPEAK-COMPLETE 543257 COMPLETE\r\nChannel-Identifier:32AECB23433802@speechsynth\r\n\r\n",
        );
        let message = decode(&event).expect("well-formed").expect("whole");
        let name = "SPEAK-COMPLETE".to_owned();
        assert_eq!(message.start, Start::Event { name, id: 543_257, state: RequestState::Complete });
    }

    #[test]
    fn the_length_counts_its_own_figures() {
        for size in [0, 1, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 900, 938, 939, 940, 9_950] {
            let message = Message::request("SPEAK", 1).with_body("text/plain", vec![b'a'; size]);
            let octets = message.encode();
            let text = String::from_utf8(octets.clone()).expect("text");
            let stated: usize = text.split(' ').nth(1).expect("a length").parse().expect("a number");
            assert_eq!(stated, octets.len(), "{size}");
            assert_eq!(decode(&octets), Ok(Some(message)), "{size}");
        }
    }

    #[test]
    fn messages_are_cut_out_of_a_stream_wherever_it_breaks() {
        let (one, two) = (
            Message::request("STOP", 7).with("Channel-Identifier", "a@speechrecog"),
            Message::request("SPEAK", 8).with_body("text/plain", "mind the MRCP/2.0 gap\r\n\r\n"),
        );
        let stream = [one.encode(), two.encode()].concat();
        for cut in 0..stream.len() {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                decoder.push(part);
                while let Some(message) = decoder.next_message().expect("well-formed") {
                    found.push(message);
                }
            }
            assert_eq!(found, [one.clone(), two.clone()]);
            assert_eq!(decoder.waiting(), 0);
        }
    }

    #[test]
    fn a_folded_header_goes_on() {
        let text = measured(" STOP 1\r\nActive-Request-Id-List: 1,\r\n  2\r\n\r\n");
        let message = decode(&text).expect("well-formed").expect("whole");
        assert_eq!(message.headers.value("Active-Request-Id-List"), Some("1, 2"));
    }

    #[test]
    fn hostile_octets_are_refused_at_once() {
        for (octets, error) in [
            (&b"GET / HTTP/1.1\r\n"[..], MessageError::NotMrcp),
            (b"MRCP/1.0 80 SPEAK 1\r\n", MessageError::Version { found: "MRCP/1.0".into() }),
            (b"MRCP/2.0 abc SPEAK 1\r\n", MessageError::Length),
            (b"MRCP/2.0 +80 SPEAK 1\r\n", MessageError::Length),
            (b"MRCP/2.0 3 SPEAK 1\r\n", MessageError::Length),
            (b"MRCP/2.0 00000000000000000000000000000080", MessageError::Length),
            (
                b"MRCP/2.0 4294967295 SPEAK 1\r\n",
                MessageError::TooLarge { what: "octets of a message", limit: MAX_MESSAGE },
            ),
        ] {
            assert_eq!(decode(octets), Err(error), "{}", String::from_utf8_lossy(octets));
        }
        for (rest, error) in [
            (
                " SPEAK 1 2 3 4\r\n\r\n",
                MessageError::Malformed { line: 1, what: "no request, response or event" },
            ),
            (
                " SPEAK 99999999999\r\n\r\n",
                MessageError::Malformed { line: 1, what: "no request, response or event" },
            ),
            (
                " STOP 1\r\nno colon\r\n\r\n",
                MessageError::Malformed { line: 2, what: "a header without a colon" },
            ),
            (
                " STOP 1\r\n folded\r\n\r\n",
                MessageError::Malformed { line: 2, what: "nothing to go on with" },
            ),
            (" STOP 1\r\n", MessageError::Malformed { line: 1, what: "the head does not end" }),
            (" STOP 1\r\nContent-Length: 3\r\n\r\nab", MessageError::Length),
            (" STOP 1\r\n\r\nab", MessageError::Length),
        ] {
            assert_eq!(decode(&measured(rest)), Err(error), "{rest}");
        }
        let many = format!(" STOP 1\r\n{}\r\n", "A: b\r\n".repeat(65));
        assert_eq!(
            decode(&measured(&many)),
            Err(MessageError::TooLarge { what: "headers", limit: MAX_HEADERS })
        );
    }

    #[test]
    fn no_value_becomes_a_header() {
        let message = Message::request("STOP", 1).with("Completion-Reason", "a\r\nEvil: 1");
        let again = decode(&message.encode()).expect("well-formed").expect("whole");
        assert_eq!(again.headers.value("Evil"), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_refused_or_read_again(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            for stream in [octets.clone(), [&b"MRCP/2.0 60 "[..], &octets[..]].concat()] {
                if let Ok(Some(message)) = decode(&stream) {
                    prop_assert_eq!(decode(&message.encode()), Ok(Some(message)));
                }
            }
        }
    }
}
