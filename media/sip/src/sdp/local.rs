//! What this side brings to a negotiation.

use std::net::IpAddr;

use super::{AgreedSecurity, Codec, LocalIce, MediaDirection, Negotiated, OpusParameters, Security};

/// Whose order of codecs decides when several are common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The order of [`LocalMedia::codecs`]: wideband is used wherever it is offered.
    #[default]
    Ours,
    /// The order of the offer's format list (RFC 3264 §6.1).
    Offerer,
}

/// Where the far side may ask for media to be sent. It does not bind ICE, whose checks ask the address itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemotePolicy {
    /// Whether loopback addresses are taken: a stranger could aim media at services of this machine.
    pub loopback: bool,
    /// Whether ports below 1024 are.
    pub privileged_ports: bool,
}

/// What this side offers or answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// Where the far side sends RTP to.
    pub address: IpAddr,
    /// RTP port; RTCP is on the next one unless multiplexed.
    pub port: u16,
    /// Acceptable codecs, best first.
    pub codecs: Vec<Codec>,
    /// Payload types that earlier descriptions of the call gave to codecs: offers keep to them (RFC 3264 §8.3.2).
    pub payload_types: Vec<(Codec, u8)>,
    /// Whose codec order wins in [`answer`](super::answer).
    pub preference: Preference,
    /// Session id of the `o=` line; the same for the whole call.
    pub session_id: u64,
    /// Version of the `o=` line; to be raised at each change of the description.
    pub session_version: u64,
    /// Packet time this side prefers, in milliseconds, written as `a=ptime`.
    pub ptime_ms: u16,
    /// Whether RTCP may share the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// Whether keys are taken as telephone-events (RFC 4733).
    pub telephone_event: bool,
    /// Whether comfort noise is taken (RFC 3389).
    pub comfort_noise: bool,
    /// What this side wishes to receive of Opus.
    pub opus: OpusParameters,
    /// What this side wants to do; what is agreed is never more.
    pub direction: MediaDirection,
    /// Which protections of media are agreed to.
    pub security: Security,
    /// Our end of ICE; `None`: not done.
    pub ice: Option<LocalIce>,
    /// Whether offers say that feedback may come early (`AVPF`, RFC 4585); answers repeat what was offered.
    pub feedback: bool,
    /// Where the far side may ask for media to be sent.
    pub remote: RemotePolicy,
    /// The host that the far side's signalling comes from, where it is known. No description says so: behind address
    /// translation its media comes from there, whatever its description says.
    pub signaller: Option<IpAddr>,
    /// Our SSRC and canonical name, written as `a=ssrc` (RFC 5576) where given; browsers like to know.
    pub source: Option<(u32, String)>,
    /// Name of our stream for offers with several protections or a bundle (`a=mid`).
    pub mid: Option<String>,
}

impl LocalMedia {
    /// Wideband first, 20 ms, events, both ways, our preference, separate RTCP port, plain RTP, no ICE; loopback is
    /// taken from loopback only.
    #[must_use]
    pub fn new(address: IpAddr, port: u16, session_id: u64) -> Self {
        Self {
            address,
            port,
            codecs: vec![Codec::G722, Codec::Pcmu, Codec::Pcma],
            payload_types: Vec::new(),
            preference: Preference::Ours,
            session_id,
            session_version: 1,
            ptime_ms: 20,
            rtcp_mux: false,
            telephone_event: true,
            comfort_noise: false,
            opus: OpusParameters::SPEECH,
            direction: MediaDirection::SendRecv,
            security: Security::plain(),
            ice: None,
            feedback: false,
            remote: RemotePolicy { loopback: address.is_loopback(), privileged_ports: false },
            signaller: None,
            source: None,
            mid: None,
        }
    }

    /// Keeps to what was agreed: later offers of this call name the same protection, payload types and DTLS role.
    /// Codecs stay as they are, so that the far side may change among them.
    pub fn settle(&mut self, agreed: &Negotiated) {
        self.payload_types.retain(|(codec, pt)| *codec != agreed.codec && *pt != agreed.payload_type);
        self.payload_types.push((agreed.codec, agreed.payload_type));
        self.rtcp_mux = agreed.rtcp_mux;
        self.feedback = agreed.profile.ends_with('F');
        self.mid.clone_from(&agreed.mid);
        match &agreed.security {
            AgreedSecurity::Plain => self.security = Security::plain(),
            AgreedSecurity::Sdes { ours, .. } => {
                self.security.plain = !agreed.profile.contains("SAVP");
                self.security.sdes.retain(|key| key == ours);
                self.security.dtls = None;
            }
            AgreedSecurity::Dtls { role, .. } => {
                self.security.plain = false;
                self.security.sdes.clear();
                if let Some(dtls) = &mut self.security.dtls {
                    (dtls.role, dtls.settled) = (*role, true);
                }
            }
        }
        if agreed.ice.is_none() {
            self.ice = None;
        }
    }
}
