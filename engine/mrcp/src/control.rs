//! The control channels of a session as its description offers them (RFC 6787 section 4.2).

/// Most channels of one session.
pub const MAX_CHANNELS: usize = 8;

/// What a channel leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Recognises speech and keys.
    SpeechRecog,
    /// Recognises keys.
    DtmfRecog,
    /// Speaks.
    SpeechSynth,
}

impl Resource {
    /// Its name in descriptions and channel identifiers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SpeechRecog => "speechrecog",
            Self::DtmfRecog => "dtmfrecog",
            Self::SpeechSynth => "speechsynth",
        }
    }

    /// The resource of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::SpeechRecog, Self::DtmfRecog, Self::SpeechSynth];
        all.into_iter().find(|resource| resource.name().eq_ignore_ascii_case(name))
    }
}

/// One `m=application` line that offers a control channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlOffer {
    /// Which of the `m=` lines it is, from 0.
    pub index: usize,
    /// What is wanted; `None` for a resource that is not served.
    pub resource: Option<Resource>,
    /// The client connects to us, on a new connection or one that stands.
    pub active: bool,
    /// A connection that stands may be used.
    pub existing: bool,
    /// The stream that it belongs to.
    pub cmid: Option<String>,
    /// Port 0: the channel is switched off.
    pub off: bool,
}

/// A control channel as it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlAnswer {
    /// Which of the `m=` lines it is, from 0.
    pub index: usize,
    /// The port of our listener.
    pub port: u16,
    /// Whether the client may go on with a connection that stands.
    pub existing: bool,
    /// The channel's identifier, `<session>@<resource>`.
    pub channel: String,
    /// The stream that it belongs to.
    pub cmid: Option<String>,
}

/// The channels of an offer that has been found to be a valid description; empty where it is no MRCPv2 session.
#[must_use]
pub fn offers(description: &str) -> Vec<ControlOffer> {
    sections(description)
        .enumerate()
        .filter_map(|(index, section)| {
            let mut words = section.lines().next()?.strip_prefix("m=")?.split_ascii_whitespace();
            let (kind, port, profile) = (words.next()?, words.next()?, words.next()?);
            if kind != "application" || profile != "TCP/MRCPv2" {
                return None;
            }
            let attribute = |name: &str| {
                section
                    .lines()
                    .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
            };
            Some(ControlOffer {
                index,
                resource: attribute("resource").and_then(|name| Resource::parse(name.trim())),
                // The default of RFC 4145 section 4 is that the offerer connects.
                active: attribute("setup").is_none_or(|setup| matches!(setup.trim(), "active" | "actpass")),
                existing: attribute("connection").is_some_and(|connection| connection.trim() == "existing"),
                cmid: attribute("cmid").map(|cmid| cmid.trim().chars().take(64).collect()),
                off: port == "0",
            })
        })
        .take(MAX_CHANNELS)
        .collect()
}

/// Whether a description offers a control channel of any kind.
#[must_use]
pub fn is_session(description: &str) -> bool {
    !offers(description).is_empty()
}

/// Puts the answered channels into an answer that has switched them all off.
#[must_use]
pub fn answer(description: &str, channels: &[ControlAnswer]) -> String {
    let head = description.find("\r\nm=").map_or(description.len(), |at| at + 2);
    let mut text = description[..head].to_owned();
    for (index, section) in sections(description).enumerate() {
        let Some(channel) = channels.iter().find(|channel| channel.index == index) else {
            text.push_str(section);
            continue;
        };
        let connection = if channel.existing { "existing" } else { "new" };
        text.push_str(&format!(
            "m=application {} TCP/MRCPv2 1\r\na=setup:passive\r\na=connection:{connection}\r\na=channel:{}\r\n",
            channel.port, channel.channel
        ));
        if let Some(cmid) = &channel.cmid {
            text.push_str(&format!("a=cmid:{cmid}\r\n"));
        }
    }
    text
}

/// The parts of a description from one `m=` line to the next.
fn sections(description: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> =
        description.match_indices("\nm=").map(|(at, _)| at + 1).chain([description.len()]).collect();
    let ranges: Vec<(usize, usize)> = starts.windows(2).map(|pair| (pair[0], pair[1])).collect();
    ranges.into_iter().map(|(from, to)| &description[from..to])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
        m=application 9 TCP/MRCPv2 1\r\na=setup:active\r\na=connection:existing\r\na=resource:speechsynth\r\na=cmid:1\r\n\
        m=audio 49170 RTP/AVP 0 96\r\na=rtpmap:0 pcmu/8000\r\na=mid:1\r\n\
        m=application 9 TCP/MRCPv2 1\r\na=setup:active\r\na=connection:new\r\na=resource:speakverify\r\na=cmid:1\r\n";

    #[test]
    fn channels_are_found_and_answered_in_their_places() {
        let found = offers(OFFER);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].index, found[0].resource), (0, Some(Resource::SpeechSynth)));
        assert!(found[0].active && found[0].existing && !found[0].off);
        assert_eq!((found[1].index, found[1].resource, found[1].existing), (2, None, false));

        let draft = "v=0\r\nt=0 0\r\nm=application 0 TCP/MRCPv2 1\r\nm=audio 4000 RTP/AVP 0\r\na=mid:1\r\n\
                     m=application 0 TCP/MRCPv2 1\r\n";
        let channel = ControlAnswer {
            index: 0,
            port: 1544,
            existing: true,
            channel: "a1@speechsynth".into(),
            cmid: Some("1".into()),
        };
        assert_eq!(
            answer(draft, &[channel]),
            "v=0\r\nt=0 0\r\nm=application 1544 TCP/MRCPv2 1\r\na=setup:passive\r\na=connection:existing\r\n\
             a=channel:a1@speechsynth\r\na=cmid:1\r\nm=audio 4000 RTP/AVP 0\r\na=mid:1\r\nm=application 0 TCP/MRCPv2 1\r\n"
        );
    }

    #[test]
    fn telephones_offer_no_channels() {
        assert!(!is_session("v=0\r\ns=-\r\nm=audio 4000 RTP/AVP 0\r\nm=application 5 UDP/BFCP *\r\n"));
        assert!(!is_session(""));
    }
}
