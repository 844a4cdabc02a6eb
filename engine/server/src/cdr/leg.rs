//! The record of one leg.

use std::fmt;

use antiphon_engine_call::{Cause, MediaFigures, MediaSecurity as Security};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::instant;

/// Legs of a call and codecs, transfers and redirections of a leg that are kept; a call that changes more often is not
/// worth more lines.
pub(super) const KEPT: usize = 64;

/// Which way a call or leg went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// To us.
    Inbound,
    /// From us.
    Outbound,
}

impl Direction {
    /// As records and the store call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HungUp {
    /// Who called.
    Caller,
    /// Who was called.
    Callee,
    /// We: a flow, a limit, a failure.
    System,
    /// Somebody over the API, or a supervisor.
    Api,
}

/// How a leg's media was protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MediaSecurity {
    /// Not at all.
    #[default]
    Plain,
    /// SRTP, keys in the SDP (RFC 4568).
    Sdes,
    /// SRTP, keys by DTLS (RFC 5764).
    Dtls,
}

/// A codec, from when on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodecUse {
    pub(crate) codec: String,
    #[serde(with = "instant")]
    pub(crate) at: Timestamp,
}

/// Media figures of one direction (RFC 3550).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quality {
    pub(crate) packets: u64,
    pub(crate) lost: u64,
    pub(crate) jitter_ms: f64,
    /// `None` where no RTCP report told it.
    pub(crate) round_trip_ms: Option<f64>,
    /// E-model (ITU-T G.107), 1 to 4.5.
    pub(crate) mos: Option<f64>,
}

/// A transfer that a leg asked for or was put through.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    #[serde(with = "instant")]
    pub(crate) at: Timestamp,
    /// `bridge` or `refer`.
    pub(crate) kind: String,
    /// To whom.
    pub(crate) target: String,
    /// `completed`, `busy`, `declined`, `no_answer`, `voicemail`, `forbidden` or `failed`; `None` where the call ended before
    /// that was known.
    pub(crate) outcome: Option<String>,
}

/// A place that the far side sent a call on to (3xx).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Redirection {
    #[serde(with = "instant")]
    pub(crate) at: Timestamp,
    pub(crate) target: String,
    /// `followed`, or why it was not: `off`, `limit`, `again`, `address`, `host`, `insecure`, `number`, `route`, `forbidden` or `unregistered`.
    #[serde(default)]
    pub(crate) result: String,
}

/// One leg.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LegRecord {
    /// Unique within the call.
    pub(crate) id: String,
    pub(crate) direction: Direction,
    /// `None` where the far side is no trunk.
    pub(crate) trunk: Option<String>,
    /// Where its signalling came from or went: `ADDRESS:PORT`, or the trunk's host as configured.
    pub(crate) host: Option<String>,
    /// Our user, where the far side is one.
    pub(crate) user: Option<String>,
    /// `udp`, `tcp`, `tls`, `ws`, `wss` or `webrtc`.
    pub(crate) transport: Option<String>,
    pub(crate) sip_call_id: Option<String>,
    pub(crate) from: String,
    pub(crate) to: String,
    #[serde(with = "instant")]
    pub(crate) offered_at: Timestamp,
    #[serde(with = "instant::optional")]
    pub(crate) ringing_at: Option<Timestamp>,
    #[serde(with = "instant::optional")]
    pub(crate) answered_at: Option<Timestamp>,
    #[serde(with = "instant::optional")]
    pub(crate) ended_at: Option<Timestamp>,
    /// From answer to end.
    pub(crate) duration_ms: u64,
    /// The same in seconds, begun ones whole.
    pub(crate) billable_s: u64,
    /// Code of docs/ERRORS.md.
    pub(crate) cause: String,
    /// The final status of the INVITE.
    pub(crate) sip_status: Option<u16>,
    /// ITU-T Q.850.
    pub(crate) q850: Option<u8>,
    pub(crate) hung_up: Option<HungUp>,
    /// In the order they were used.
    pub(crate) codecs: Vec<CodecUse>,
    pub(crate) security: MediaSecurity,
    /// What came from the far side.
    pub(crate) received: Quality,
    /// What went to it, as it told.
    pub(crate) sent: Quality,
    /// What it was joined with, in their order: legs of this call by their ids, other calls by theirs.
    pub(crate) partners: Vec<String>,
    pub(crate) conference: Option<String>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) redirections: Vec<Redirection>,
}

impl LegRecord {
    /// A leg that begins.
    pub(crate) fn new(id: impl Into<String>, direction: Direction, offered_at: Timestamp) -> Self {
        Self {
            id: id.into(),
            direction,
            trunk: None,
            host: None,
            user: None,
            transport: None,
            sip_call_id: None,
            from: String::new(),
            to: String::new(),
            offered_at,
            ringing_at: None,
            answered_at: None,
            ended_at: None,
            duration_ms: 0,
            billable_s: 0,
            cause: String::new(),
            sip_status: None,
            q850: None,
            hung_up: None,
            codecs: Vec::new(),
            security: MediaSecurity::Plain,
            received: Quality::default(),
            sent: Quality::default(),
            partners: Vec::new(),
            conference: None,
            transfers: Vec::new(),
            redirections: Vec::new(),
        }
    }

    /// It rings.
    pub(crate) fn ring(&mut self, at: Timestamp) {
        self.ringing_at.get_or_insert(at);
    }

    /// It was answered.
    pub(crate) fn answer(&mut self, at: Timestamp) {
        self.answered_at.get_or_insert(at);
        self.sip_status.get_or_insert(200);
    }

    /// How its media is protected.
    pub(crate) fn secure(&mut self, security: Security) {
        self.security = match security {
            Security::None => MediaSecurity::Plain,
            Security::Sdes => MediaSecurity::Sdes,
            Security::Dtls => MediaSecurity::Dtls,
        };
    }

    /// It speaks this codec from now on.
    pub(crate) fn codec(&mut self, codec: &str, at: Timestamp) {
        let same = self.codecs.last().is_some_and(|last| last.codec == codec);
        if !same && self.codecs.len() < KEPT {
            self.codecs.push(CodecUse { codec: codec.to_owned(), at });
        }
    }

    /// It was joined with another leg.
    pub(crate) fn join(&mut self, partner: &str) {
        let same = self.partners.last().is_some_and(|last| last == partner);
        if !same && self.partners.len() < KEPT {
            self.partners.push(partner.to_owned());
        }
    }

    /// It was transferred, or not.
    pub(crate) fn transfer(&mut self, transfer: Transfer) {
        if self.transfers.len() < KEPT {
            self.transfers.push(transfer);
        }
    }

    /// The far side sent us elsewhere.
    pub(crate) fn redirect(&mut self, target: &str, result: &str, at: Timestamp) {
        if self.redirections.len() < KEPT {
            self.redirections.push(Redirection { at, target: target.to_owned(), result: result.to_owned() });
        }
    }

    /// It is over. Later ends change nothing.
    pub(crate) fn end(&mut self, at: Timestamp, cause: &Cause, status: Option<u16>, by: HungUp) {
        if self.ended_at.is_some() {
            return;
        }
        self.ended_at = Some(at);
        cause.code.clone_into(&mut self.cause);
        self.hung_up = Some(by);
        if self.answered_at.is_none() {
            self.sip_status =
                status.or(self.sip_status).or(Some(cause.sip_status).filter(|status| *status != 0));
        }
        self.q850 = Some(q850(self.sip_status, cause, self.answered_at.is_some()));
        self.duration_ms = self.answered_at.map_or(0, |answered| millis_between(answered, at));
        self.billable_s = self.duration_ms.div_ceil(1_000);
    }
}

impl HungUp {
    /// Who is behind a cause of the catalogue.
    pub(crate) fn of(cause: &Cause, direction: Direction) -> Self {
        let far_side = match direction {
            Direction::Inbound => Self::Caller,
            Direction::Outbound => Self::Callee,
        };
        match cause.code {
            // The catalogue calls the far side so whichever way the call went.
            "call.hangup.caller" => far_side,
            "call.cancelled" => Self::Caller,
            "sip.refused" => Self::Callee,
            "call.hangup.operator" | "call.hangup.supervisor" => Self::Api,
            // The far side of the other call.
            "call.hangup.partner" => match direction {
                Direction::Inbound => Self::Callee,
                Direction::Outbound => Self::Caller,
            },
            _ => Self::System,
        }
    }
}

impl Quality {
    /// Takes in the figures of one direction.
    pub(crate) fn take(&mut self, figures: &MediaFigures) {
        self.packets = figures.packets;
        self.lost = figures.lost;
        self.jitter_ms = figures.jitter_ms;
        self.round_trip_ms = figures.round_trip_ms.or(self.round_trip_ms);
        self.mos = figures.mos.or(self.mos);
    }
}

/// Records are personal data: logs show which one it is and no more.
impl fmt::Debug for LegRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegRecord").field("id", &self.id).field("cause", &self.cause).finish_non_exhaustive()
    }
}

pub(super) fn millis_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}

/// The cause of ITU-T Q.850 for a final status (RFC 3398, section 8.2.6.1); 16 for a call that was answered, 19 for one
/// that rang in vain.
fn q850(status: Option<u16>, cause: &Cause, answered: bool) -> u8 {
    if answered {
        return 16;
    }
    let Some(status) = status else { return if cause == Cause::NO_ANSWER { 19 } else { 41 } };
    match status {
        401 | 402 | 403 | 407 | 603 => 21,
        404 | 604 => 1,
        408 | 504 => 102,
        410 => 22,
        406 | 413 | 414 | 420 | 421 | 423 | 505 => 127,
        415 | 488 | 606 => 79,
        480 => 18,
        481 | 500 | 503 => 41,
        482 | 483 => 25,
        484 => 28,
        486 | 600 => 17,
        487 => 16,
        502 => 38,
        501 => 79,
        _ => 31,
    }
}
