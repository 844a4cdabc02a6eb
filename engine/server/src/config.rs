//! Configuration: flags over environment over file over defaults. It runs with none of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_media_frame::Span;
use antiphon_models_backends::{PocketSphinxSettings, Script, WhisperSettings};
use serde::{Deserialize, Serialize};

/// A length of time in configuration: `"20ms"`, `"5s"`, `"2m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length(pub(crate) Duration);

impl Length {
    const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub(crate) fn span(self) -> Span {
        self.0.into()
    }
}

impl Serialize for Length {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        match (millis % 60_000, millis % 1_000) {
            (0, _) if millis > 0 => serializer.collect_str(&format_args!("{}m", millis / 60_000)),
            (_, 0) => serializer.collect_str(&format_args!("{}s", millis / 1_000)),
            _ => serializer.collect_str(&format_args!("{millis}ms")),
        }
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_length(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no length of time; write \"20ms\", \"5s\", \"2m\" or \"1h\""
            ))
        })
    }
}

fn parse_length(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let unit = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let millis = number.checked_mul(unit)?;
    // A year; longer is a slip of the pen and would overflow clocks.
    (millis <= 365 * 86_400_000).then(|| Duration::from_millis(millis))
}

/// A secret of the configuration: never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[secret]")
    }
}

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where recordings, sidecars, events and the prompt cache go.
    pub(crate) data: PathBuf,
    pub(crate) sip: Sip,
    pub(crate) http: Http,
    pub(crate) media: Media,
    pub(crate) call: CallSection,
    pub(crate) recognizer: RecognizerSection,
    pub(crate) voice: VoiceSection,
    pub(crate) flow: FlowSection,
    pub(crate) log: LogSection,
}

/// `[sip]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sip {
    /// Address for UDP and TCP.
    pub(crate) listen: SocketAddr,
    /// What goes into SDP where it is not the listening address (NAT).
    pub(crate) advertise: Option<IpAddr>,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Address of the API.
    pub(crate) listen: SocketAddr,
    /// Bearer token clients must send; required for any address but loopback.
    pub(crate) token: Option<Secret>,
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
    /// `pocketsphinx`, `whisper` or `scripted`.
    pub(crate) engine: String,
    /// Worker threads.
    pub(crate) workers: usize,
    /// Silence that ends an utterance, where the flow does not say.
    pub(crate) endpoint: Length,
    /// Models and limits of pocketsphinx.
    #[serde(skip_serializing)]
    pub(crate) pocketsphinx: PocketSphinxSettings,
    /// Model and limits of whisper.
    #[serde(skip_serializing)]
    pub(crate) whisper: WhisperSettings,
    /// What the scripted recogniser hears.
    #[serde(skip_serializing)]
    pub(crate) scripted: Script,
}

/// `[voice]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VoiceSection {
    /// Synthesiser by primary language subtag; `*` for the rest.
    pub(crate) engines: BTreeMap<String, String>,
    /// Limit of the prompt cache on disk, in MiB.
    pub(crate) cache_mib: u64,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "antiphon-data".into(),
            sip: Sip::default(),
            http: Http::default(),
            media: Media::default(),
            call: CallSection::default(),
            recognizer: RecognizerSection::default(),
            voice: VoiceSection::default(),
            flow: FlowSection::default(),
            log: LogSection::default(),
        }
    }
}

impl Default for Sip {
    fn default() -> Self {
        Self { listen: SocketAddr::new(LOCALHOST, 5060), advertise: None }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::new(LOCALHOST, 8080), token: None }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            // Below the range that Linux gives to outgoing connections (32768 and up).
            rtp_ports: (20_000, 29_999),
            codecs: ["G722", "PCMU", "PCMA"].map(Into::into).to_vec(),
            barge_in: Length::millis(160),
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
            engine: "pocketsphinx".into(),
            workers: std::thread::available_parallelism().map_or(1, Into::into),
            endpoint: Length::millis(600),
            pocketsphinx: PocketSphinxSettings::default(),
            whisper: WhisperSettings::default(),
            scripted: Script::default(),
        }
    }
}

impl Default for VoiceSection {
    fn default() -> Self {
        let engines = [("en", "flite"), ("*", "espeak")];
        Self { engines: engines.map(|(k, v)| (k.into(), v.into())).into(), cache_mib: 512 }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".into() }
    }
}

/// What the command line may set; `None` leaves the layer below.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Overrides {
    /// Configuration file (TOML)
    #[arg(long, env = "ANTIPHON_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address for SIP over UDP and TCP [default: 127.0.0.1:5060]
    #[arg(long, env = "ANTIPHON_SIP", value_name = "ADDR:PORT")]
    pub(crate) sip: Option<SocketAddr>,
    /// Address of the HTTP API [default: 127.0.0.1:8080]
    #[arg(long, env = "ANTIPHON_HTTP", value_name = "ADDR:PORT")]
    pub(crate) http: Option<SocketAddr>,
    /// Folder for recordings, events and the prompt cache [default: antiphon-data]
    #[arg(long, env = "ANTIPHON_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Flow that answers calls [default: the built-in bank line]
    #[arg(long, env = "ANTIPHON_FLOW", value_name = "FILE")]
    pub(crate) flow: Option<PathBuf>,
    /// Recogniser: pocketsphinx, whisper or scripted [default: pocketsphinx]
    #[arg(long, env = "ANTIPHON_ENGINE", value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// RTP ports, FIRST-LAST [default: 20000-29999]
    #[arg(long, env = "ANTIPHON_RTP_PORTS", value_name = "FIRST-LAST", value_parser = parse_ports)]
    pub(crate) rtp_ports: Option<(u16, u16)>,
    /// Log level or filter [default: info]
    #[arg(long, env = "ANTIPHON_LOG", value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}

fn parse_ports(text: &str) -> Result<(u16, u16), String> {
    text.split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)))
        .filter(|(first, last): &(u16, u16)| first < last)
        .ok_or_else(|| "write two ports with a hyphen, such as 20000-29999".to_owned())
}

impl Config {
    /// Reads the file, if any, and lays the flags (and the environment, which clap reads) over it.
    pub(crate) fn load(overrides: &Overrides) -> anyhow::Result<Self> {
        let mut config = match &overrides.config {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        let over = overrides.clone();
        config.sip.listen = over.sip.unwrap_or(config.sip.listen);
        config.http.listen = over.http.unwrap_or(config.http.listen);
        config.data = over.data.unwrap_or(config.data);
        config.flow.file = over.flow.or(config.flow.file);
        config.recognizer.engine = over.engine.unwrap_or(config.recognizer.engine);
        config.media.rtp_ports = over.rtp_ports.unwrap_or(config.media.rtp_ports);
        config.log.level = over.log.unwrap_or(config.log.level);
        if let Ok(token) = std::env::var("ANTIPHON_TOKEN")
            && !token.is_empty()
        {
            config.http.token = Some(Secret::new(token));
        }
        config.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| anyhow::anyhow!("cannot read the configuration {}: {e}", path.display()))?;
        toml::from_str(&text).map_err(|e| {
            let line =
                e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            anyhow::anyhow!("{}:{line}: {}", path.display(), e.message().trim())
        })
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let refuse = |what: &str| Err(anyhow::anyhow!("configuration: {what}"));
        if !self.http.listen.ip().is_loopback() && self.http.token.is_none() {
            return refuse(
                "http.listen is reachable from other machines, so http.token (or ANTIPHON_TOKEN) must be set",
            );
        }
        if self.call.concurrent == 0 || self.call.concurrent > 10_000 {
            return refuse("call.concurrent is 1 to 10000");
        }
        if self.recognizer.workers == 0 || self.recognizer.workers > 256 {
            return refuse("recognizer.workers is 1 to 256");
        }
        if !(200..=5_000).contains(&self.recognizer.endpoint.0.as_millis()) {
            return refuse("recognizer.endpoint is 200ms to 5s");
        }
        if !(40..=2_000).contains(&self.media.barge_in.0.as_millis()) {
            return refuse("media.barge_in is 40ms to 2s");
        }
        if self.call.rtp_silence.0 < Duration::from_secs(1) {
            return refuse("call.rtp_silence is at least 1s");
        }
        for codec in &self.media.codecs {
            if !["PCMU", "PCMA", "G722"].iter().any(|known| known.eq_ignore_ascii_case(codec)) {
                return refuse(&format!("media.codecs: `{codec}` is none of PCMU, PCMA, G722"));
            }
        }
        if self.media.codecs.is_empty() {
            return refuse("media.codecs names no codec");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("antiphon.toml");
        std::fs::write(&path, text).expect("written");
        Config::load(&Overrides { config: Some(path), ..Overrides::default() })
    }

    #[test]
    fn nothing_need_be_configured() {
        assert_eq!(Config::load(&Overrides::default()).expect("defaults"), Config::default());
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("antiphon.toml");
        std::fs::write(&path, "data = \"/from/file\"\n[sip]\nlisten = \"127.0.0.1:5070\"\n")
            .expect("written");
        let overrides =
            Overrides { config: Some(path), sip: "127.0.0.1:5080".parse().ok(), ..Overrides::default() };
        let config = Config::load(&overrides).expect("valid");
        assert_eq!(config.sip.listen.port(), 5080);
        assert_eq!(config.data, Path::new("/from/file"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = read("[call]\nconcurrent = 5\nlongst = \"1h\"\n").expect_err("a slip").to_string();
        assert!(
            error.contains("antiphon.toml:3:") && error.contains("longst") && error.contains("longest"),
            "{error}"
        );
    }

    #[test]
    fn impossible_values_are_refused_with_their_range() {
        for (text, part) in [
            ("[call]\nconcurrent = 0", "1 to 10000"),
            ("[recognizer]\nendpoint = \"20\"", "no length of time"),
            ("[http]\nlisten = \"0.0.0.0:8080\"", "http.token"),
            ("[media]\ncodecs = [\"G729\"]", "G729"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let config = read("[http]\ntoken = \"hunter2\"").expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!toml::to_string(&config).expect("printable").contains("hunter2"));
    }

    #[test]
    fn the_defaults_survive_a_round_trip() {
        let text = toml::to_string_pretty(&Config::default()).expect("printable");
        assert_eq!(read(&text).expect("readable"), Config::default());
    }
}
