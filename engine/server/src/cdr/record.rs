//! One record a call, one a leg: what `docs/schemas/cdr.json` describes.

use std::fmt;

use antiphon_engine_call::{Cause, Event, EventBody, MediaFigures, MediaSecurity as Security, Side};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Codecs, transfers and redirections of one leg that are kept; a call that changes more often is not worth more lines.
const KEPT: usize = 64;

/// The version of the form; it counts up when a member changes its meaning.
pub(crate) const VERSION: u32 = 1;

/// Which way a call or leg went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// To us.
    Inbound,
    /// From us.
    Outbound,
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
}

/// One leg.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LegRecord {
    /// Unique within the call.
    pub(crate) id: String,
    pub(crate) direction: Direction,
    /// `None` where the far side is no trunk.
    pub(crate) trunk: Option<String>,
    /// `HOST:PORT` or the trunk's host.
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

/// One call.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallRecord {
    pub(crate) version: u32,
    /// 32 hexadecimal digits.
    pub(crate) id: String,
    pub(crate) direction: Direction,
    /// The trunk of the first leg.
    pub(crate) trunk: Option<String>,
    /// Our user, where one called or was called.
    pub(crate) user: Option<String>,
    pub(crate) from: String,
    pub(crate) to: String,
    /// The flow that answered.
    pub(crate) flow: Option<String>,
    #[serde(with = "instant")]
    pub(crate) offered_at: Timestamp,
    #[serde(with = "instant::optional")]
    pub(crate) ringing_at: Option<Timestamp>,
    #[serde(with = "instant::optional")]
    pub(crate) answered_at: Option<Timestamp>,
    #[serde(with = "instant")]
    pub(crate) ended_at: Timestamp,
    /// From answer to end.
    pub(crate) duration_ms: u64,
    /// The same in seconds, begun ones whole.
    pub(crate) billable_s: u64,
    /// Code of docs/ERRORS.md.
    pub(crate) cause: String,
    pub(crate) sip_status: Option<u16>,
    /// ITU-T Q.850.
    pub(crate) q850: Option<u8>,
    pub(crate) hung_up: HungUp,
    /// The call for whose sake this one was placed: the one it was bridged to or handed on from.
    pub(crate) parent: Option<String>,
    /// The name of the token that placed or ended it over the API.
    pub(crate) token: Option<String>,
    /// Where the recording lies on the server.
    pub(crate) recording: Option<String>,
    pub(crate) legs: Vec<LegRecord>,
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
    #[allow(dead_code, reason = "whoever hears it ring tells; no event does yet")]
    pub(crate) fn ring(&mut self, at: Timestamp) {
        self.ringing_at.get_or_insert(at);
    }

    /// It was answered.
    pub(crate) fn answer(&mut self, at: Timestamp) {
        self.answered_at.get_or_insert(at);
        self.sip_status.get_or_insert(200);
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
    #[allow(dead_code, reason = "whoever dials tells; no event does yet")]
    pub(crate) fn redirect(&mut self, target: &str, at: Timestamp) {
        if self.redirections.len() < KEPT {
            self.redirections.push(Redirection { at, target: target.to_owned() });
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
                status.or(Some(cause.sip_status).filter(|status| *status != 0)).or(self.sip_status);
        }
        self.q850 = Some(q850(self.sip_status, self.answered_at.is_some()));
        self.duration_ms = self.answered_at.map_or(0, |answered| millis_between(answered, at));
        self.billable_s = self.duration_ms.div_ceil(1_000);
    }
}

impl CallRecord {
    /// A call of one leg that begins; others are pushed to `legs` as they come.
    pub(crate) fn new(id: impl Into<String>, direction: Direction, offered_at: Timestamp) -> Self {
        Self {
            version: VERSION,
            id: id.into(),
            direction,
            trunk: None,
            user: None,
            from: String::new(),
            to: String::new(),
            flow: None,
            offered_at,
            ringing_at: None,
            answered_at: None,
            ended_at: offered_at,
            duration_ms: 0,
            billable_s: 0,
            cause: String::new(),
            sip_status: None,
            q850: None,
            hung_up: HungUp::System,
            parent: None,
            token: None,
            recording: None,
            legs: vec![LegRecord::new("1", direction, offered_at)],
        }
    }

    /// The leg the call began with.
    pub(crate) fn first(&mut self) -> &mut LegRecord {
        if self.legs.is_empty() {
            self.legs.push(LegRecord::new("1", self.direction, self.offered_at));
        }
        // Just pushed where there was none.
        &mut self.legs[0]
    }

    /// Takes in what an event tells of the call and its first leg. The event `call.ended` closes the record; whoever knows
    /// better (a SIP status, who hung up) ends the first leg before.
    pub(crate) fn note(&mut self, event: &Event) {
        let at = self.offered_at + SignedDuration::from_millis(event.at.millis());
        match &event.body {
            EventBody::CallStarted { from, to, .. } => {
                self.from.clone_from(from.expose());
                self.to.clone_from(to.expose());
                let (from, to) = (self.from.clone(), self.to.clone());
                let leg = self.first();
                leg.from = from;
                leg.to = to;
            }
            EventBody::CallAnswered { codec, security, .. } => {
                let leg = self.first();
                leg.answer(at);
                leg.codec(codec, at);
                leg.security = match security {
                    Security::None => MediaSecurity::Plain,
                    Security::Sdes => MediaSecurity::Sdes,
                    Security::Dtls => MediaSecurity::Dtls,
                };
            }
            EventBody::CodecChanged { codec } => self.first().codec(codec, at),
            EventBody::BridgeStarted { with } => self.first().join(&with.to_string()),
            EventBody::TransferStarted { kind, to, .. } => {
                let kind = serde_json::to_value(kind).ok().and_then(|kind| Some(kind.as_str()?.to_owned()));
                let target = to.expose().clone();
                let kind = kind.unwrap_or_default();
                self.first().transfer(Transfer { at, kind, target, outcome: None });
            }
            EventBody::TransferFinished { outcome, .. } => {
                // One at a time: the last is the one under way.
                if let Some(transfer) = self.first().transfers.last_mut() {
                    transfer.outcome = Some((*outcome).to_owned());
                }
            }
            EventBody::Media { side, figures } => {
                let leg = self.first();
                let quality = match side {
                    Side::Caller => &mut leg.received,
                    Side::Machine => &mut leg.sent,
                };
                quality.take(figures);
            }
            EventBody::Recording { path, .. } => self.recording = Some(path.clone()),
            EventBody::CallEnded { cause, .. } => self.end(at, cause),
            _ => {}
        }
    }

    /// The call is over; legs that are not yet end with it.
    pub(crate) fn end(&mut self, at: Timestamp, cause: &Cause) {
        let by = HungUp::of(cause, self.direction);
        for leg in &mut self.legs {
            leg.end(at, cause, None, by);
        }
        self.ended_at = at;
        cause.code.clone_into(&mut self.cause);
        let leg = self.first();
        let (ringing, answered) = (leg.ringing_at, leg.answered_at);
        let (status, q850, hung_up) = (leg.sip_status, leg.q850, leg.hung_up);
        self.ringing_at = ringing;
        self.answered_at = answered;
        self.sip_status = status;
        self.q850 = q850;
        self.hung_up = hung_up.unwrap_or(by);
        self.duration_ms = answered.map_or(0, |answered| millis_between(answered, at));
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
impl fmt::Debug for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallRecord").field("id", &self.id).field("cause", &self.cause).finish_non_exhaustive()
    }
}

impl fmt::Debug for LegRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegRecord").field("id", &self.id).field("cause", &self.cause).finish_non_exhaustive()
    }
}

fn millis_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}

/// The cause of ITU-T Q.850 for a final status (RFC 3398, section 8.2.6.1); 16 for a call that was answered.
fn q850(status: Option<u16>, answered: bool) -> u8 {
    if answered {
        return 16;
    }
    match status.unwrap_or(500) {
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

/// RFC 3339 in UTC, to the millisecond, always of the same length: the text sorts as the time does.
mod instant {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }

    pub(super) mod optional {
        use super::{Deserialize, Deserializer, Serializer, Timestamp};

        #[expect(clippy::ref_option, reason = "serde passes what the field is")]
        pub(in super::super) fn serialize<S: Serializer>(
            at: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Option::<String>::deserialize(deserializer)?
                .map(|text| text.parse().map_err(serde::de::Error::custom))
                .transpose()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use antiphon_media_frame::{CallId, MediaTime, Pii};
    use serde_json::Value;

    use super::*;

    const SCHEMA: &str = include_str!("../../../../docs/schemas/cdr.json");

    /// A call of a trunk that was answered and sent on to a user.
    pub(crate) fn example(id: &str, offered_at: &str) -> CallRecord {
        let offered: Timestamp = offered_at.parse().expect("a time");
        let after = |millis: i64| offered + SignedDuration::from_millis(millis);
        let mut record = CallRecord::new(id, Direction::Inbound, offered);
        record.trunk = Some("carrier".into());
        record.user = Some("1001".into());
        record.flow = Some("bank".into());
        for (at, body) in [
            (0, started()),
            (
                1_500,
                EventBody::CallAnswered {
                    codec: "G722".into(),
                    sample_rate_hz: 16_000,
                    security: Security::Sdes,
                },
            ),
        ] {
            record.note(&event(at, body));
        }
        let leg = record.first();
        leg.trunk = Some("carrier".into());
        leg.host = Some("203.0.113.9:5060".into());
        leg.transport = Some("udp".into());
        leg.sip_call_id = Some("a84b4c76e66710".into());
        leg.ring(after(100));
        leg.codec("PCMA", after(20_000));
        leg.join("2");
        leg.received.round_trip_ms = Some(23.5);
        leg.transfer(Transfer {
            at: after(9_000),
            kind: "refer".into(),
            target: "1001".into(),
            outcome: Some("completed".into()),
        });
        let mut second = LegRecord::new("2", Direction::Outbound, after(9_100));
        second.user = Some("1001".into());
        second.from = "+442071838750".into();
        second.to = "1001".into();
        second.redirect("1002", after(9_200));
        second.answer(after(12_000));
        second.security = MediaSecurity::Dtls;
        second.join("1");
        record.legs.push(second);
        let figures = MediaFigures {
            packets: 1_250,
            lost: 3,
            jitter_ms: 2.5,
            mos: Some(4.2),
            ..MediaFigures::default()
        };
        record.note(&event(61_000, EventBody::Media { side: Side::Caller, figures }));
        record.note(&event(61_200, EventBody::CallEnded { cause: Cause::CALLER_HUNG_UP, duration_ms: 0 }));
        record
    }

    fn started() -> EventBody {
        let text = |text: &str| Pii::new(text.to_owned());
        EventBody::CallStarted { from: text("+442071838750"), to: text("5550100"), direction: "inbound" }
    }

    fn event(at: i64, body: EventBody) -> Event {
        Event { call: CallId(1), seq: 1, at: MediaTime::from_millis(at), body }
    }

    #[test]
    fn a_record_holds_what_the_events_told() {
        let record = example("a", "2026-11-22T01:02:03.004Z");
        assert_eq!((record.from.as_str(), record.to.as_str()), ("+442071838750", "5550100"));
        assert_eq!((record.duration_ms, record.billable_s), (59_700, 60), "begun seconds are whole");
        assert_eq!((record.cause.as_str(), record.hung_up), ("call.hangup.caller", HungUp::Caller));
        assert_eq!((record.sip_status, record.q850), (Some(200), Some(16)));
        let codecs: Vec<&str> = record.legs[0].codecs.iter().map(|used| used.codec.as_str()).collect();
        assert_eq!(codecs, ["G722", "PCMA"]);
        assert_eq!((record.legs[0].received.packets, record.legs[0].received.lost), (1_250, 3));
        assert_eq!(
            (record.legs[0].received.mos, record.legs[0].received.round_trip_ms),
            (Some(4.2), Some(23.5))
        );
        assert_eq!(record.legs[0].security, MediaSecurity::Sdes);
        assert_eq!(record.legs[1].duration_ms, 49_200);
        let json = serde_json::to_value(&record).expect("JSON");
        assert_eq!(json["offered_at"], "2026-11-22T01:02:03.004Z");
        assert_eq!(json["answered_at"], "2026-11-22T01:02:04.504Z");
        assert_eq!(serde_json::from_value::<CallRecord>(json).expect("read back"), record);
    }

    #[test]
    fn a_call_that_was_refused_is_billed_nothing_and_says_why() {
        let mut record = CallRecord::new("b", Direction::Inbound, Timestamp::UNIX_EPOCH);
        record.note(&event(0, started()));
        record.note(&event(10, EventBody::CallEnded { cause: Cause::BUSY, duration_ms: 0 }));
        assert_eq!((record.duration_ms, record.billable_s, record.answered_at), (0, 0, None));
        assert_eq!((record.sip_status, record.q850, record.hung_up), (Some(503), Some(41), HungUp::System));
        let mut record = CallRecord::new("c", Direction::Outbound, Timestamp::UNIX_EPOCH);
        record.first().end(Timestamp::UNIX_EPOCH, Cause::REFUSED_BY_PEER, Some(486), HungUp::Callee);
        record.note(&event(10, EventBody::CallEnded { cause: Cause::REFUSED_BY_PEER, duration_ms: 0 }));
        assert_eq!((record.sip_status, record.q850, record.hung_up), (Some(486), Some(17), HungUp::Callee));
    }

    #[test]
    fn the_far_side_of_a_call_we_placed_is_the_callee() {
        assert_eq!(HungUp::of(Cause::CALLER_HUNG_UP, Direction::Outbound), HungUp::Callee);
        assert_eq!(HungUp::of(Cause::CALLER_HUNG_UP, Direction::Inbound), HungUp::Caller);
        assert_eq!(HungUp::of(Cause::OPERATOR_HUNG_UP, Direction::Inbound), HungUp::Api);
        assert_eq!(HungUp::of(Cause::RTP_SILENCE, Direction::Inbound), HungUp::System);
    }

    #[test]
    fn a_leg_keeps_a_bounded_number_of_changes() {
        let mut leg = LegRecord::new("1", Direction::Inbound, Timestamp::UNIX_EPOCH);
        for n in 0..1_000 {
            leg.codec(if n % 2 == 0 { "PCMU" } else { "PCMA" }, Timestamp::UNIX_EPOCH);
            leg.join(&n.to_string());
            leg.redirect("x", Timestamp::UNIX_EPOCH);
        }
        assert_eq!((leg.codecs.len(), leg.partners.len(), leg.redirections.len()), (KEPT, KEPT, KEPT));
    }

    #[test]
    fn logs_have_no_numbers() {
        let text = format!(
            "{:?} {:?}",
            example("a", "2026-11-22T01:02:03Z"),
            example("a", "2026-11-22T01:02:03Z").legs
        );
        assert!(!text.contains("4420") && !text.contains("1001") && text.contains("call.hangup"), "{text}");
    }

    /// The schema and a record, member by member: names, and that every type is one that the schema allows.
    fn compare(schema: &Value, value: &Value, whole: &Value, path: &str) {
        let schema = match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => whole.pointer(&reference[1..]).expect("the reference leads somewhere"),
            None => schema,
        };
        if let Some(names) = schema.get("enum") {
            assert!(names.as_array().expect("names").contains(value), "{path}: {value}");
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_u64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let allowed: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kinds => kinds.as_str().into_iter().collect(),
        };
        let fits = allowed.contains(&kind) || (kind == "integer" && allowed.contains(&"number"));
        assert!(fits, "{path}: {kind} is none of {allowed:?}");
        match value {
            Value::Object(members) => {
                let described = schema["properties"].as_object().expect("properties");
                let names =
                    |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<BTreeSet<_>>();
                assert_eq!(names(members), names(described), "{path}");
                let required: BTreeSet<String> = schema["required"]
                    .as_array()
                    .expect("required")
                    .iter()
                    .map(|name| name.as_str().expect("a name").to_owned())
                    .collect();
                assert_eq!(required, names(members), "{path}: every member is always there");
                for (name, member) in members {
                    compare(&described[name], member, whole, &format!("{path}.{name}"));
                }
            }
            Value::Array(items) => {
                assert!(!items.is_empty() || path.contains("legs["), "{path} has an example");
                for (n, item) in items.iter().enumerate() {
                    compare(&schema["items"], item, whole, &format!("{path}[{n}]"));
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_published_schema_describes_a_record() {
        let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
        let record = example("6f1d0000000000000000000000000a11", "2026-11-22T01:02:03.004Z");
        compare(&schema, &serde_json::to_value(record).expect("JSON"), &schema, "record");
        let refused =
            CallRecord::new("6f1d0000000000000000000000000a11", Direction::Outbound, Timestamp::UNIX_EPOCH);
        compare(&schema, &serde_json::to_value(refused).expect("JSON"), &schema, "record");
    }
}
