//! The sections that every installation has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use antiphon_models_backends::{
    CandleSettings, ParaformerSettings, PiperSettings, PocketSphinxSettings, RemoteSettings,
    RemoteVoiceSettings, Script, TransducerSettings, WhisperSettings,
};
use antiphon_models_text::Category;
use serde::{Deserialize, Serialize};

use super::{Length, Network, Secret};

/// `[sip]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sip {
    /// Address for UDP and TCP.
    pub(crate) listen: SocketAddr,
    /// What goes into SDP where it is not the listening address (NAT).
    pub(crate) advertise: Option<IpAddr>,
    /// What the headers User-Agent and Server say; empty leaves them out.
    pub(crate) user_agent: String,
    /// Session timer (RFC 4028); 0s is none.
    pub(crate) session_timer: Length,
    /// Servers that are asked for names, each with its port; the system's where there are none.
    pub(crate) name_servers: Vec<SocketAddr>,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Address of the API.
    pub(crate) listen: SocketAddr,
    /// Bearer token clients must send; required for any address but loopback.
    pub(crate) token: Option<Secret>,
    /// Web pages from elsewhere that may use the API: their origins.
    pub(crate) origins: Vec<String>,
    /// Whether the example page that calls from a browser is served.
    pub(crate) examples: bool,
}

/// `[media]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Media {
    /// First and last RTP port.
    pub(crate) rtp_ports: (u16, u16),
    /// Codecs in order of preference.
    pub(crate) codecs: Vec<String>,
    /// Voice needed before a prompt is cut.
    pub(crate) barge_in: Length,
    /// Whether our silence is left unsent where the far side takes comfort noise.
    pub(crate) silence_suppression: bool,
    /// Where connections are taken from those that cannot use UDP (ICE over TCP).
    pub(crate) ice_tcp: Option<SocketAddr>,
    /// What is heard on hold, over and over; ringing where there is nothing.
    pub(crate) hold_music: Option<PathBuf>,
    /// A STUN server, `host:port`, that says where media is reached behind a NAT.
    pub(crate) stun: Option<String>,
}

/// `[call]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CallSection {
    /// Calls at once; the next is refused with 503.
    pub(crate) concurrent: usize,
    /// From the INVITE to our answer.
    pub(crate) ringing_limit: Length,
    /// From the answer to the end.
    pub(crate) longest: Length,
    /// No RTP for this long ends the call.
    pub(crate) rtp_silence: Length,
    /// Whether calls are recorded.
    pub(crate) record: bool,
}

/// `[recognizer]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecognizerSection {
    /// `auto`, `pocketsphinx`, `whisper`, `transducer`, `paraformer`, `candle` or `scripted`.
    pub(crate) engine: String,
    /// Engines that take over where the first one fails, in this order.
    pub(crate) fallback: Vec<String>,
    /// Worker threads.
    pub(crate) workers: usize,
    /// Silence that ends an utterance, where the flow does not say.
    pub(crate) endpoint: Length,
    /// Whether final words are given sentence marks.
    pub(crate) punctuation: bool,
    /// Whether they are given capitals.
    pub(crate) capitals: bool,
    /// Whether numbers are written in figures.
    pub(crate) numbers: bool,
    /// What is hidden in all that leaves.
    pub(crate) mask: Vec<Category>,
    /// Models and limits of pocketsphinx.
    #[serde(skip_serializing)]
    pub(crate) pocketsphinx: PocketSphinxSettings,
    /// Model and limits of whisper.
    #[serde(skip_serializing)]
    pub(crate) whisper: WhisperSettings,
    /// A service elsewhere.
    #[serde(skip_serializing)]
    pub(crate) remote: RemoteSettings,
    /// Model and limits of the streaming transducer.
    #[serde(skip_serializing)]
    pub(crate) transducer: TransducerSettings,
    /// Model and limits of Paraformer or SenseVoice.
    #[serde(skip_serializing)]
    pub(crate) paraformer: ParaformerSettings,
    /// Model and limits of Whisper on candle.
    #[serde(skip_serializing)]
    pub(crate) candle: CandleSettings,
    /// What the scripted recogniser hears.
    #[serde(skip_serializing)]
    pub(crate) scripted: Script,
}

/// `[models]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ModelsSection {
    /// Where pulled models lie; this user's data folder where it is not said.
    pub(crate) dir: Option<PathBuf>,
    /// Addresses and folders that are looked into before the publisher.
    pub(crate) mirror: Vec<String>,
    /// Whether the publisher is never asked.
    pub(crate) mirrors_only: bool,
}

/// `[voice]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VoiceSection {
    /// Synthesiser by primary language subtag, `*` for the rest: `auto`, `flite`, `espeak`, `piper` or `remote`.
    pub(crate) engines: BTreeMap<String, String>,
    /// Limit of the prompt cache on disk, in MiB.
    pub(crate) cache_mib: u64,
    /// Voices of Piper by primary language subtag; `*` for the rest.
    #[serde(skip_serializing)]
    pub(crate) piper: BTreeMap<String, PiperSettings>,
    /// A service elsewhere.
    #[serde(skip_serializing)]
    pub(crate) remote: RemoteVoiceSettings,
}

/// `[supervision]`: what a user with `supervise = true` dials before another user's name to supervise that user's call.
/// An empty code switches it off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Supervision {
    /// To listen.
    pub(crate) listen: String,
    /// To speak to the user alone.
    pub(crate) whisper: String,
    /// To speak to both.
    pub(crate) barge: String,
    /// To take the user's place.
    pub(crate) take_over: String,
    /// To end the call.
    pub(crate) hang_up: String,
}

impl Default for Supervision {
    fn default() -> Self {
        let [listen, whisper, barge, take_over, hang_up] =
            ["*81*", "*82*", "*83*", "*84*", "*85*"].map(Into::into);
        Self { listen, whisper, barge, take_over, hang_up }
    }
}

/// `[flow]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FlowSection {
    /// The flow that answers; the built-in bank line where there is none.
    pub(crate) file: Option<PathBuf>,
    /// Flows by called number, before `file`.
    pub(crate) numbers: BTreeMap<String, PathBuf>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSection {
    /// `error`, `warn`, `info`, `debug`, `trace` or a filter such as `info,antiphon=debug`.
    pub(crate) level: String,
}
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
impl Default for Sip {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(LOCALHOST, 5060),
            advertise: None,
            user_agent: "Antiphon".into(),
            session_timer: Length::millis(1_800_000),
            name_servers: Vec::new(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::new(LOCALHOST, 8080), token: None, origins: Vec::new(), examples: false }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            // Below the range that Linux gives to outgoing connections (32768 and up).
            rtp_ports: (20_000, 29_999),
            codecs: ["G722", "opus", "PCMU", "PCMA"].map(Into::into).to_vec(),
            barge_in: Length::millis(160),
            silence_suppression: false,
            ice_tcp: None,
            hold_music: None,
            stun: None,
        }
    }
}

impl Default for CallSection {
    fn default() -> Self {
        Self {
            concurrent: 200,
            ringing_limit: Length::millis(30_000),
            longest: Length::millis(4 * 3_600_000),
            rtp_silence: Length::millis(30_000),
            record: true,
        }
    }
}

impl Default for RecognizerSection {
    fn default() -> Self {
        Self {
            engine: crate::models::AUTO.into(),
            fallback: Vec::new(),
            workers: std::thread::available_parallelism().map_or(1, Into::into),
            endpoint: Length::millis(600),
            punctuation: false,
            capitals: false,
            numbers: false,
            mask: Vec::new(),
            pocketsphinx: PocketSphinxSettings::default(),
            whisper: WhisperSettings::default(),
            remote: RemoteSettings::default(),
            transducer: TransducerSettings::default(),
            paraformer: ParaformerSettings::default(),
            candle: CandleSettings::default(),
            scripted: Script::default(),
        }
    }
}

impl Default for VoiceSection {
    fn default() -> Self {
        let engines = ["en", "*"].map(|language| (language.into(), crate::models::AUTO.into()));
        Self {
            engines: engines.into(),
            cache_mib: 512,
            piper: BTreeMap::new(),
            remote: RemoteVoiceSettings::default(),
        }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".into() }
    }
}

/// `[mrcp]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MrcpSection {
    /// Where control channels are taken; MRCPv2 is not served where there is nothing.
    pub(crate) listen: Option<SocketAddr>,
    /// Who may open sessions and control channels.
    pub(crate) allow: Vec<Network>,
    /// Whose streams of the recogniser pool sessions take.
    pub(crate) tenant: Option<String>,
    /// Sessions at once.
    pub(crate) sessions: usize,
    /// Connections of control channels at once.
    pub(crate) connections: usize,
}

impl Default for MrcpSection {
    fn default() -> Self {
        Self { listen: None, allow: Vec::new(), tenant: None, sessions: 50, connections: 50 }
    }
}

impl MrcpSection {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.listen.is_some() && self.allow.is_empty() {
            anyhow::bail!("configuration: mrcp.allow names nobody, so nobody could use mrcp.listen");
        }
        for (key, count) in [("mrcp.sessions", self.sessions), ("mrcp.connections", self.connections)] {
            anyhow::ensure!((1..=10_000).contains(&count), "configuration: {key} is 1 to 10000");
        }
        Ok(())
    }

    /// Whether somebody there is served.
    pub(crate) fn serves(&self, source: IpAddr) -> bool {
        self.listen.is_some() && self.allow.iter().any(|network| network.contains(source))
    }
}
