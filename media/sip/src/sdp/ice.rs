//! What a description says about ICE (RFC 8839).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::distr::Alphanumeric;

/// Most candidates read of one stream.
pub const MAX_CANDIDATES: usize = 64;

/// User fragment and password of one side (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// 4 to 256 characters of letters, digits, `+` and `/`.
    pub ufrag: String,
    /// 22 to 256 of the same: secret.
    pub password: String,
}

impl IceCredentials {
    /// Draws new ones: 48 and 143 bits.
    #[must_use]
    pub fn random() -> Self {
        let draw = |count| rand::rng().sample_iter(Alphanumeric).take(count).map(char::from).collect();
        Self { ufrag: draw(8), password: draw(24) }
    }

    /// Whether both are well formed.
    pub(super) fn valid(&self) -> bool {
        let chars = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        (4..=256).contains(&self.ufrag.len())
            && (22..=256).contains(&self.password.len())
            && chars(&self.ufrag)
            && chars(&self.password)
    }
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// What carries a candidate's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CandidateTransport {
    /// Datagrams.
    Udp,
    /// A connection that its owner opens (RFC 6544).
    TcpActive,
    /// A connection that its owner waits for.
    TcpPassive,
    /// A connection opened from both ends at once.
    TcpSimultaneous,
}

/// How a candidate was learnt (RFC 8445 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CandidateKind {
    /// An address of the machine itself.
    Host,
    /// What a STUN server saw.
    ServerReflexive,
    /// What the peer saw.
    PeerReflexive,
    /// On a TURN server.
    Relayed,
}

/// One address that a side may be reached at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Same for candidates of one kind, base and server; 1 to 32 characters.
    pub foundation: String,
    /// 1 for RTP, 2 for RTCP.
    pub component: u8,
    /// What carries it.
    pub transport: CandidateTransport,
    /// 1 to 2^31 - 1, higher is better.
    pub priority: u32,
    /// Where it is.
    pub address: SocketAddr,
    /// How it was learnt.
    pub kind: CandidateKind,
}

impl Candidate {
    /// A host candidate for RTP over UDP with the priority of RFC 8445 §5.1.2.1; `preference` (0 to 65535, higher is
    /// better) ranks a host's own addresses.
    #[must_use]
    pub fn host(address: SocketAddr, preference: u16) -> Self {
        Self {
            foundation: format!("h{preference}"),
            component: 1,
            transport: CandidateTransport::Udp,
            priority: (126 << 24) | (u32::from(preference) << 8) | 255,
            address,
            kind: CandidateKind::Host,
        }
    }

    /// A host candidate that waits for connections (RFC 6544 §4.5), ranked below every one over UDP; `preference` (0 to
    /// 8191, higher is better) ranks a host's own addresses.
    #[must_use]
    pub fn host_tcp(address: SocketAddr, preference: u16) -> Self {
        let preference = preference.min(8_191);
        // Section 4.2: passive candidates have the direction preference 4.
        let local = (4 << 13) | u32::from(preference);
        Self {
            foundation: format!("t{preference}"),
            component: 1,
            transport: CandidateTransport::TcpPassive,
            // 90 where UDP has 126, as browsers have it.
            priority: (90 << 24) | (local << 8) | 255,
            address,
            kind: CandidateKind::Host,
        }
    }

    /// A candidate that a STUN server saw the socket at (RFC 8445 §5.1.2.1).
    #[must_use]
    pub fn reflexive(address: SocketAddr) -> Self {
        let priority = (100 << 24) | (65_535 << 8) | 255;
        let host = Self::host(address, u16::MAX);
        Self { foundation: "s".to_owned(), priority, kind: CandidateKind::ServerReflexive, ..host }
    }

    /// Reads the value of an `a=candidate`. The outer error is a broken line; `None` is one that is valid but of no use: a host name
    /// (mDNS), another transport or kind.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let mut parts = text.split_ascii_whitespace();
        let mut next = || parts.next().ok_or("candidate too short");
        let (foundation, component, transport) = (next()?, next()?, next()?);
        let (priority, address, port) = (next()?, next()?, next()?);
        if next()? != "typ" {
            return Err("candidate without a type");
        }
        let kind = next()?;
        let ice_char = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        // Some stacks write dashes and dots; what matters is that it can be compared and echoed.
        if foundation.len() > 64 || !foundation.bytes().all(|b| ice_char(b) || b"-_.".contains(&b)) {
            return Err("candidate foundation");
        }
        let digits = |text: &str, most: u64| {
            let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
            number.filter(|n| *n <= most)
        };
        let component = digits(component, 256).filter(|n| *n > 0).ok_or("candidate component")?;
        let priority = digits(priority, u64::from(u32::MAX)).ok_or("candidate priority")?;
        let port = digits(port, u64::from(u16::MAX)).ok_or("candidate port")?;
        let (mut tcp, mut rest) = (None, parts);
        while let Some(name) = rest.next() {
            let Some(value) = rest.next() else { break };
            if name == "tcptype" {
                tcp = Some(value);
            }
        }
        let transport = match (transport.to_ascii_lowercase().as_str(), tcp) {
            ("udp", _) => CandidateTransport::Udp,
            ("tcp", Some("active")) => CandidateTransport::TcpActive,
            ("tcp", Some("passive")) => CandidateTransport::TcpPassive,
            ("tcp", Some("so")) => CandidateTransport::TcpSimultaneous,
            _ => return Ok(None),
        };
        let kind = match kind {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::ServerReflexive,
            "prflx" => CandidateKind::PeerReflexive,
            "relay" => CandidateKind::Relayed,
            _ => return Ok(None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            let name = address.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:%_".contains(&b));
            return if name { Ok(None) } else { Err("candidate address") };
        };
        if address.is_unspecified() || address.is_multicast() {
            return Ok(None);
        }
        Ok(Some(Self {
            foundation: foundation.to_owned(),
            component: u8::try_from(component).unwrap_or(u8::MAX),
            transport,
            priority: u32::try_from(priority).unwrap_or(u32::MAX),
            // The discard port of an active TCP candidate is no address to send to, but it is what is written.
            address: SocketAddr::new(address, u16::try_from(port).unwrap_or(0)),
            kind,
        }))
    }

    /// The value of an `a=candidate`. Related addresses are written as 0.0.0.0 (RFC 8839 §5.1): ours stay private.
    pub(super) fn write(&self) -> String {
        let (transport, tcp) = match self.transport {
            CandidateTransport::Udp => ("udp", ""),
            CandidateTransport::TcpActive => ("tcp", " tcptype active"),
            CandidateTransport::TcpPassive => ("tcp", " tcptype passive"),
            CandidateTransport::TcpSimultaneous => ("tcp", " tcptype so"),
        };
        let (kind, related) = match self.kind {
            CandidateKind::Host => ("host", ""),
            CandidateKind::ServerReflexive => ("srflx", " raddr 0.0.0.0 rport 0"),
            CandidateKind::PeerReflexive => ("prflx", " raddr 0.0.0.0 rport 0"),
            CandidateKind::Relayed => ("relay", " raddr 0.0.0.0 rport 0"),
        };
        let Self { foundation, component, priority, address, .. } = self;
        let (ip, port) = (address.ip(), address.port());
        format!("{foundation} {component} {transport} {priority} {ip} {port} typ {kind}{related}{tcp}")
    }
}

/// Our end of ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalIce {
    /// Ours; to be drawn anew for an ICE restart.
    pub credentials: IceCredentials,
    /// Whether this side only answers checks (RFC 8445 §2.5): right for a server with a public address.
    pub lite: bool,
    /// Where this side may be reached, for component 1.
    pub candidates: Vec<Candidate>,
}

/// The far side's end of ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteIce {
    /// Theirs.
    pub credentials: IceCredentials,
    /// Whether they only answer checks: this side is then in control.
    pub lite: bool,
    /// Where they may be reached, component 1 only. Host names (mDNS) are left out: their checks show the address.
    pub candidates: Vec<Candidate>,
    /// Whether more candidates may follow by another way (RFC 8838).
    pub trickle: bool,
    /// Whether no more will follow (`a=end-of-candidates`).
    pub complete: bool,
}

impl RemoteIce {
    /// Reads candidate lines that came later (RFC 8840): the body of `application/trickle-ice-sdpfrag`, or the
    /// string a browser gives, one `candidate:` line at a time. Whatever else is in it is passed over.
    ///
    /// # Errors
    /// What is wrong with a candidate line.
    pub fn trickled(text: &str) -> Result<Vec<Candidate>, &'static str> {
        let mut found = Vec::new();
        for line in text.lines().take(super::MAX_LINES) {
            let line = line.trim().strip_prefix("a=").unwrap_or(line.trim());
            let Some(value) = line.strip_prefix("candidate:") else { continue };
            if let Some(candidate) = Candidate::parse(value)?
                && candidate.component == 1
                && found.len() < MAX_CANDIDATES
            {
                found.push(candidate);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_reads_back() {
        let host = Candidate::host("192.0.2.1:4000".parse().unwrap(), 65_535);
        assert_eq!(host.priority, 2_130_706_431);
        for candidate in [
            Candidate::host_tcp("192.0.2.1:8443".parse().unwrap(), 8_191),
            Candidate::reflexive("198.51.100.1:4000".parse().unwrap()),
            Candidate { kind: CandidateKind::Relayed, ..host.clone() },
            Candidate {
                transport: CandidateTransport::TcpPassive,
                address: "[2001:db8::1]:9".parse().unwrap(),
                ..host.clone()
            },
            host,
        ] {
            assert_eq!(Candidate::parse(&candidate.write()), Ok(Some(candidate)));
        }
    }

    #[test]
    fn udp_is_tried_before_connections() {
        let at = "192.0.2.1:4000".parse().unwrap();
        let [udp, seen, tcp] =
            [Candidate::host(at, 0), Candidate::reflexive(at), Candidate::host_tcp(at, u16::MAX)];
        assert!(udp.priority > seen.priority && seen.priority > tcp.priority);
        assert!(tcp.write().ends_with("192.0.2.1 4000 typ host tcptype passive"), "{}", tcp.write());
    }

    #[test]
    fn candidates_of_browsers_are_read_or_passed_over() {
        let chromium = "2 1 tcp 1518283007 192.0.2.7 9 typ host tcptype active generation 0 network-id 1";
        assert_eq!(Candidate::parse(chromium).unwrap().unwrap().transport, CandidateTransport::TcpActive);
        let hidden = "1 1 udp 2122262783 0f2c-aa.local 51000 typ host generation 0";
        assert_eq!(Candidate::parse(hidden), Ok(None));
        for broken in [
            "",
            "1 1 udp 5 192.0.2.1 x typ host",
            "1 0 udp 5 192.0.2.1 5 typ host",
            "1 1 udp 5 192.0.2.1 5 type host",
            "1 1 udp 99999999999 192.0.2.1 5 typ host",
            "\u{e9} 1 udp 9 192.0.2.1 5 typ host",
            "1 1 udp 9 a!b 5 typ host",
        ] {
            assert!(Candidate::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn drawn_credentials_are_well_formed_and_not_logged() {
        let drawn = IceCredentials::random();
        assert!(drawn.valid());
        assert!(!format!("{drawn:?}").contains(&drawn.password));
    }
}
