//! Hosts and networks as they are written in configuration.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use antiphon_media_sip::SipTransport;
use serde::{Deserialize, Serialize};

/// A SIP host: `"sip.carrier.example:5060;transport=tls"`. Without a port the name is looked up by SRV.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    /// A name or an address; IPv6 without brackets.
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
    pub(crate) transport: SipTransport,
}

impl Host {
    /// The address, where it is written as one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.name.parse().ok()
    }

    /// `HOST[:PORT]` as it stands in a SIP URI.
    pub(crate) fn authority(&self) -> String {
        let name = if self.name.contains(':') { format!("[{}]", self.name) } else { self.name.clone() };
        match self.port {
            Some(port) => format!("{name}:{port}"),
            None => name,
        }
    }

    /// What follows the authority in a SIP URI; empty for UDP.
    pub(crate) fn parameter(&self) -> String {
        match self.transport {
            SipTransport::Udp => String::new(),
            transport => format!(";transport={}", transport.name()),
        }
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "`{text}` is no SIP host; write \"sip.carrier.example\", \"203.0.113.9:5060\" or \
                 \"sip.carrier.example:5061;transport=tls\""
            )
        };
        let (address, parameters) = text.split_once(';').map_or((text, None), |(a, p)| (a, Some(p)));
        let transport = match parameters {
            None => SipTransport::Udp,
            Some(parameter) => {
                let (name, value) = parameter.split_once('=').ok_or_else(refuse)?;
                if !name.eq_ignore_ascii_case("transport") {
                    return Err(refuse());
                }
                value
                    .parse()
                    .map_err(|_| format!("`{text}`: transport is udp, tcp, tls, ws or wss, not `{value}`"))?
            }
        };
        let (name, port) = if let Some(rest) = address.strip_prefix('[') {
            let (name, rest) = rest.split_once(']').ok_or_else(refuse)?;
            name.parse::<std::net::Ipv6Addr>().map_err(|_| refuse())?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(refuse()),
            };
            (name, port)
        } else {
            address.split_once(':').map_or((address, None), |(name, port)| (name, Some(port)))
        };
        let port = match port {
            None => None,
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(refuse)?),
        };
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.parse::<IpAddr>().is_err() && (name.len() > 253 || !name.split('.').all(label)) {
            return Err(refuse());
        }
        Ok(Self { name: name.to_ascii_lowercase(), port, transport })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.authority(), self.parameter())
    }
}

impl Serialize for Host {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A network: `"203.0.113.0/24"`, `"2001:db8::/32"`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// The network of one address.
    pub(crate) fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// How many bits of the address are the network's.
    pub(crate) fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether `address` lies in it. An IPv4 address within IPv6 counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(ours).checked_shr(shift).unwrap_or(0)
                    == u32::from(theirs).checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(ours).checked_shr(shift).unwrap_or(0)
                    == u128::from(theirs).checked_shr(shift).unwrap_or(0)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("`{text}` is no network; write \"203.0.113.0/24\", \"2001:db8::/32\" or one address");
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let network = Self::of(address.parse().map_err(|_| refuse())?);
        let Some(bits) = bits else { return Ok(network) };
        let bits = bits.parse().ok().filter(|bits| *bits <= network.bits).ok_or_else(refuse)?;
        Ok(Self { bits, ..network })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_written_alike() {
        for (text, written) in [
            ("sip.carrier.example", "sip.carrier.example"),
            ("SIP.Carrier.example:5061;transport=TLS", "sip.carrier.example:5061;transport=tls"),
            ("203.0.113.9:5070", "203.0.113.9:5070"),
            ("[2001:db8::1]:5060;transport=tcp", "[2001:db8::1]:5060;transport=tcp"),
            ("[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(text.parse::<Host>().expect(text).to_string(), written);
        }
        for text in [
            "",
            "a b",
            "host:0",
            "host:99999",
            "host;transport=sctp",
            "host;x=1",
            "[::1",
            "-a.b",
            "a..b",
            "u@h",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let holds = |network: &str, address: &str| {
            network.parse::<Network>().expect(network).contains(address.parse().expect(address))
        };
        assert!(holds("203.0.113.0/24", "203.0.113.255") && !holds("203.0.113.0/24", "203.0.114.0"));
        assert!(holds("203.0.113.7", "203.0.113.7") && !holds("203.0.113.7", "203.0.113.8"));
        assert!(holds("0.0.0.0/0", "198.51.100.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("203.0.113.0/24", "::ffff:203.0.113.9"), "IPv4 within IPv6");
        assert!(holds("::/0", "2001:db8::1"));
        for text in ["", "203.0.113.0/33", "::/129", "203.0.113/24", "host/8", "1.2.3.4/x"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
