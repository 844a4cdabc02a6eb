//! Records against what events tell, and against the published schema.

use std::collections::BTreeSet;

use antiphon_engine_call::{MediaFigures, MediaSecurity as Security};
use antiphon_media_frame::{CallId, Pii};
use serde_json::Value;

use super::*;
use crate::cdr::leg::MediaSecurity;

const SCHEMA: &str = include_str!("../../../../../docs/schemas/cdr.json");

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
    let leg = record.leg();
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
    second.redirect("1002", "followed", after(9_200));
    second.answer(after(12_000));
    second.security = MediaSecurity::Dtls;
    second.join("1");
    record.legs.push(second);
    let figures =
        MediaFigures { packets: 1_250, lost: 3, jitter_ms: 2.5, mos: Some(4.2), ..MediaFigures::default() };
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
    assert_eq!((record.legs[0].received.mos, record.legs[0].received.round_trip_ms), (Some(4.2), Some(23.5)));
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
    record.leg().end(Timestamp::UNIX_EPOCH, Cause::REFUSED_BY_PEER, Some(486), HungUp::Callee);
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
        leg.redirect("x", "off", Timestamp::UNIX_EPOCH);
    }
    assert_eq!((leg.codecs.len(), leg.partners.len(), leg.redirections.len()), (KEPT, KEPT, KEPT));
}

#[test]
fn logs_have_no_numbers() {
    let text =
        format!("{:?} {:?}", example("a", "2026-11-22T01:02:03Z"), example("a", "2026-11-22T01:02:03Z").legs);
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
