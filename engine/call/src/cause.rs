//! The catalogue of causes: one constant an outcome.
//!
//! A code never changes its meaning and is never reused. `docs/ERRORS.md` is rendered from [`Cause::ALL`].

use serde::{Serialize, Serializer};

/// How much a person should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The call went as calls go.
    Normal,
    /// The call did not get what it came for, by somebody's choice or limit.
    Warning,
    /// Something is broken or wrongly configured.
    Error,
}

/// Why a call ended or was refused.
#[derive(Debug)]
pub struct Cause {
    /// Stable code, dotted: `call.hangup.caller`.
    pub code: &'static str,
    /// The SIP status (RFC 3261 section 21) a refusal carries; 0 where the call had been answered.
    pub sip_status: u16,
    /// How much a person should care.
    pub severity: Severity,
    /// What happened, for people.
    pub text: &'static str,
    /// What to do about it; empty where there is nothing to do.
    pub advice: &'static str,
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl Eq for Cause {}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code)
    }
}

macro_rules! catalogue {
    ($($name:ident = $code:literal, $status:literal, $severity:ident, $text:literal, $advice:literal;)*) => {
        impl Cause {
            $(
                #[doc = $text]
                pub const $name: &'static Self = &Self {
                    code: $code,
                    sip_status: $status,
                    severity: Severity::$severity,
                    text: $text,
                    advice: $advice,
                };
            )*
            /// Every cause there is, in the order of the manual.
            pub const ALL: &'static [&'static Self] = &[$(Self::$name),*];
        }
    };
}

catalogue! {
    CALLER_HUNG_UP = "call.hangup.caller", 0, Normal, "The caller hung up.", "";
    FLOW_HUNG_UP = "call.hangup.flow", 0, Normal, "The flow ended the call.", "";
    OPERATOR_HUNG_UP = "call.hangup.operator", 0, Normal, "The call was ended over the API.", "";
    TRANSFERRED = "call.hangup.transferred", 0, Normal, "The caller was handed on and is no longer our line's.", "";
    PARTNER_HUNG_UP = "call.hangup.partner", 0, Normal, "The other party of the bridge hung up.", "";
    SUPERVISOR_HUNG_UP = "call.hangup.supervisor", 0, Normal, "A supervisor ended the call.", "";
    RULE_HUNG_UP = "call.hangup.rule", 0, Normal, "A rule of inspection ended the call.",
        "The event qa.alert before it names the rule; its action is in the scorecard.";
    REPLACED = "call.hangup.replaced", 0, Normal, "Another call took this one's place (Replaces).", "";
    CALLER_CANCELLED = "call.cancelled", 487, Normal, "The caller gave up before the call was answered.", "";
    ELSEWHERE = "call.elsewhere", 487, Normal, "Another telephone that rang with this one was answered.", "";
    SHUTDOWN = "call.hangup.shutdown", 503, Warning, "Antiphon was shut down during the call.",
        "Drain calls before stopping the server.";
    RTP_SILENCE = "call.media.silent", 0, Warning, "No media came from the caller for the configured time.",
        "Check firewalls and NAT between the caller and our RTP ports, or raise call.rtp_silence.";
    LONGEST_CALL = "call.limit.duration", 0, Warning, "The call reached the longest duration allowed.",
        "Raise call.longest if such calls are wanted.";
    RINGING_TOO_LONG = "call.limit.ringing", 480, Warning, "The call could not be answered within the ringing limit.",
        "Look for a slow engine start in the log, or raise call.ringing_limit.";
    CODEC_MISMATCH = "sdp.codec", 488, Warning, "The offer has no codec we speak.",
        "Offer PCMU, PCMA, G722 or opus in an audio stream.";
    SDP_INVALID = "sdp.invalid", 400, Warning, "The offer is not valid SDP.", "Compare the offer with RFC 8866.";
    SDP_MISSING = "sdp.missing", 488, Warning, "The INVITE carried no SDP offer, and ours was not answered.",
        "Answer the offer of our 200 in the ACK, or send yours in the INVITE.";
    SDP_UNSUPPORTED = "sdp.unsupported", 488, Warning, "The offer asks for a transport or stream we do not serve.",
        "Offer audio over RTP, SRTP (SDES) or DTLS-SRTP; a trunk's srtp setting may demand one of them.";
    BUSY = "limit.calls", 503, Warning, "The server is at its limit of concurrent calls.",
        "Raise call.concurrent or add a server.";
    NO_PORTS = "limit.rtp_ports", 503, Error, "Every RTP port of the configured range is in use.",
        "Widen media.rtp_ports.";
    MEDIA_FAILED = "call.media.failed", 0, Error, "The media of the call broke off on our side.",
        "See the log for the system's own words; often the limit of open files is too low.";
    NO_WAY = "call.media.no_way", 0, Warning, "No secure connection for media came about (ICE or DTLS).",
        "Check that UDP passes between the far side and our RTP ports, and that its certificate is the one it announced.";
    CONSENT_LOST = "call.media.consent", 0, Normal, "The far side no longer agrees to be sent media (RFC 7675).",
        "Usually a page was closed or a network lost.";
    ENGINE_FAILED = "engine.recognizer", 500, Error, "The recogniser could not be opened or failed in mid-call.",
        "See the log for the engine's own words.";
    FLOW_FAILED = "flow.failed", 500, Error, "The flow could not go on.", "Run `antiphon flow check` on the flow.";
    DISK_FAILED = "record.failed", 500, Error, "The recording could not be opened.",
        "Check the free space and the permissions of the data directory.";
    OVERRUN = "call.overrun", 0, Error, "A queue of events that must not be dropped was full.",
        "The machine is overloaded; lower call.concurrent.";
    SESSION_EXPIRED = "sip.session_expired", 0, Warning, "The far side did not refresh the session in time.",
        "Check that re-INVITE and UPDATE pass between the far side and us (RFC 4028).";
    FORBIDDEN = "sip.forbidden", 403, Warning, "The caller may not call that number from here.",
        "Look at routes, trunk.allow and user.may_dial.";
    NO_ROUTE = "sip.no_route", 404, Warning, "No route leads to the called number.", "Add a route for it.";
    SIGNALLING_LOST = "sip.lost", 0, Warning, "The far side stopped answering SIP requests.", "Check the network.";
    REFUSED_BY_PEER = "sip.refused", 0, Normal, "The far side refused our call.", "The SIP status says why.";
    NO_ANSWER = "sip.no_answer", 0, Normal, "The far side did not answer in time.", "";
    UNREACHABLE = "sip.unreachable", 0, Error, "The far side could not be reached.",
        "Check the address and that a SIP server listens there.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_statuses_are_final() {
        for (n, cause) in Cause::ALL.iter().enumerate() {
            assert!(Cause::ALL[..n].iter().all(|other| other.code != cause.code), "{} twice", cause.code);
            assert!(cause.sip_status == 0 || (400..700).contains(&cause.sip_status), "{}", cause.code);
        }
    }
}
