//! What flags and the environment lay over the file.

use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// Recogniser: auto, pocketsphinx, whisper or scripted [default: auto]
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
