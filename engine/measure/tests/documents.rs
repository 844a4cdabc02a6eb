//! Conversations and measures as JSON, against the published schemas.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic")]

mod calls;

use std::collections::BTreeSet;

use antiphon_engine_measure::{Conversation, Measures, Role};
use antiphon_media_frame::Span;
use antiphon_models_speech::Language;
use calls::{AGENT, CUSTOMER, Call};
use serde_json::{Value, json};

const CONVERSATION: &str = include_str!("../../../docs/schemas/conversation.json");
const MEASURES: &str = include_str!("../../../docs/schemas/measures.json");

/// A call in which something of everything happens.
fn example() -> Conversation {
    let mut call = Call::of(90_000)
        .turn(AGENT, 500, 2_500, "您好请问有什么可以帮您")
        .turn(CUSTOMER, 3_000, 9_000, "我的信用卡账单被多扣了两百块钱我想查一下")
        .tone(-25.0, 180.0, 6.0)
        .turn(AGENT, 9_500, 14_000, "好的请您提供一下信用卡账单的日期")
        .tone(-24.0, 190.0, 5.0)
        .turn(CUSTOMER, 11_000, 11_400, "嗯")
        .turn(CUSTOMER, 15_000, 20_000, "信用卡账单是上个月的")
        .tone(-25.0, 182.0, 6.0)
        .turn(CUSTOMER, 21_000, 26_000, "信用卡账单是上个月的")
        .tone(-12.0, 250.0, 12.0)
        .turn(AGENT, 25_000, 30_000, "您稍等我查一下")
        .hold(31_000, 60_000, Some(Role::Agent))
        .turn(AGENT, 64_000, 70_000, "已经为您登记三个工作日内退款")
        .0;
    call.language = Language::parse("zh-CN").unwrap();
    call.turns[4].said.language = Language::parse("zh");
    call.metadata.insert("queue".to_owned(), "cards".to_owned());
    call
}

/// Whether the value is as the schema says, in the words of JSON Schema that the schemas use; the path of what is not.
fn check(schema: &Value, value: &Value, whole: &Value, path: &str) -> Result<(), String> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return check(whole.pointer(&reference[1..]).unwrap(), value, whole, path);
    }
    for word in schema.as_object().unwrap().keys() {
        const KNOWN: &[&str] = &[
            "$schema",
            "$defs",
            "title",
            "description",
            "type",
            "required",
            "properties",
            "additionalProperties",
            "items",
            "enum",
            "minimum",
            "maximum",
            "minItems",
            "maxItems",
            "pattern",
        ];
        assert!(KNOWN.contains(&word.as_str()), "this check does not know `{word}`");
    }
    let fail = |what: &str| Err(format!("{path}: {what}: {value}"));
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        many => many.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect(),
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("no type: {other}"),
    };
    if !types.iter().any(is) {
        return fail("type");
    }
    if schema.get("enum").is_some_and(|names| !names.as_array().unwrap().contains(value)) {
        return fail("enum");
    }
    let beyond = |bound: &str, ok: fn(f64, f64) -> bool| {
        let bound = schema.get(bound).and_then(Value::as_f64);
        bound.zip(value.as_f64()).is_some_and(|(bound, value)| !ok(value, bound))
    };
    if beyond("minimum", |value, bound| value >= bound) || beyond("maximum", |value, bound| value <= bound) {
        return fail("bounds");
    }
    if let Some(items) = value.as_array() {
        let bound = |name: &str, default| schema.get(name).and_then(Value::as_u64).unwrap_or(default);
        if !(bound("minItems", 0)..=bound("maxItems", u64::MAX)).contains(&(items.len() as u64)) {
            return fail("length");
        }
        for (n, item) in items.iter().enumerate() {
            check(&schema["items"], item, whole, &format!("{path}[{n}]"))?;
        }
    }
    if let Some(members) = value.as_object() {
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        if required.into_iter().any(|name| !members.contains_key(name.as_str().unwrap())) {
            return fail("required");
        }
        for (name, member) in members {
            let path = format!("{path}.{name}");
            match schema.get("properties").and_then(|known| known.get(name)) {
                Some(schema) => check(schema, member, whole, &path)?,
                None if schema["additionalProperties"].is_object() => {
                    check(&schema["additionalProperties"], member, whole, &path)?;
                }
                // Readers pass over what they do not know; we write nothing that is not described.
                None => return Err(format!("{path}: not described")),
            }
        }
    }
    Ok(())
}

fn schema(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_published_schema_describes_a_conversation() {
    let schema = schema(CONVERSATION);
    let json = serde_json::to_value(example()).unwrap();
    check(&schema, &json, &schema, "conversation").unwrap();
    for (pointer, wrong) in [
        ("/tracks", json!([])),
        ("/turns/0/said/start", json!("0:01")),
        ("/tracks/0/role", json!("boss")),
        ("/heard", json!(-1.0)),
        ("/metadata/queue", json!(7)),
    ] {
        let mut broken = json.clone();
        *broken.pointer_mut(pointer).unwrap() = wrong;
        assert!(check(&schema, &broken, &schema, "conversation").is_err(), "{pointer}");
        assert!(serde_json::from_value::<Conversation>(broken).is_err(), "{pointer}");
    }
}

#[test]
fn the_published_schema_describes_measures() {
    let schema = schema(MEASURES);
    let measures = Measures::of(&example());
    let json = serde_json::to_value(&measures).unwrap();
    check(&schema, &json, &schema, "measures").unwrap();
    // Every member has been seen, or the example shows too little.
    for member in [
        "speakers",
        "silences",
        "interruptions",
        "backchannels",
        "responses",
        "rates",
        "agitation",
        "repeats",
        "topics",
        "summary",
    ] {
        assert!(!json[member].as_array().unwrap().is_empty(), "{member}");
    }
    assert!(json["reason"].is_object());
    let causes: BTreeSet<&str> =
        json["silences"].as_array().unwrap().iter().map(|s| s["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, BTreeSet::from(["closing", "hold", "opening", "owed", "within"]));
    check(&schema, &serde_json::to_value(Measures::of(&Call::of(0).0)).unwrap(), &schema, "measures")
        .unwrap();
}

#[test]
fn times_are_seconds_to_the_millisecond() {
    let mut call = example();
    call.heard = Span::from_nanos(90_000_999_999);
    let json = serde_json::to_value(&call).unwrap();
    assert_eq!((&json["heard"], &json["turns"][1]["said"]["start"]), (&json!(90.0), &json!(3.0)));
    assert_eq!(json["holds"][0], json!({"start": 31.0, "end": 60.0, "by": "agent"}));
    let measures = serde_json::to_value(Measures::of(&call)).unwrap();
    assert_eq!(measures["silences"][0], json!({"start": 0.0, "end": 0.5, "cause": "opening", "owed": null}));
    assert_eq!(measures["silences"][1]["cause"], "owed");
    assert_eq!(measures["silences"][1]["by"], "customer");
}

#[test]
fn a_conversation_read_back_is_the_same() {
    let call = example();
    let json = serde_json::to_string(&call).unwrap();
    let read: Conversation = serde_json::from_str(&json).unwrap();
    assert_eq!(read, call);
    assert_eq!(Measures::of(&read), Measures::of(&call));
}

#[test]
fn what_does_not_hold_together_is_refused_with_its_place() {
    let whole = serde_json::to_value(example()).unwrap();
    for (pointer, wrong, words) in [
        ("/turns/2/track", json!(2), "turns[2] is on track 2, but there are 2 tracks, counted from 0"),
        ("/turns/2/said/end", json!(1.0), "turns[2].said ends before it begins"),
        ("/tracks/1/speech/0/end", json!(0.1), "tracks[1].speech[0] ends before it begins"),
        ("/holds/0/start", json!(61), "holds[0] ends before it begins"),
        ("/tracks", json!([]), "a conversation has 1 to 8 tracks, not 0"),
        ("/heard", json!(1e30), "no time of a call"),
        ("/language", json!("Chinese!"), "no language tag"),
    ] {
        let mut broken = whole.clone();
        *broken.pointer_mut(pointer).unwrap() = wrong;
        let error = serde_json::from_value::<Conversation>(broken).unwrap_err().to_string();
        assert!(error.contains(words), "{pointer}: {error}");
    }
}
