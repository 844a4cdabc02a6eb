//! `docs/QA.md` and `docs/schemas/judgement.json` say what the program does.

mod dialogue;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use antiphon_engine_measure::Measures;
use antiphon_engine_qa::{Case, Scorecard};
use serde_json::Value;

fn docs(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn fenced(text: &str, mark: &str) -> Vec<String> {
    let opening = format!("```{mark}\n");
    let rest = text.split(&opening).skip(1);
    rest.map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_examples_of_the_page_are_read_and_come_out_as_it_says() {
    let page = docs("QA.md");
    let rules = fenced(&page, "yaml rules");
    let card = Scorecard::read(&rules[0], Path::new("QA.md")).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(card.warnings().is_empty(), "{:?}", card.warnings());
    let dialogues = fenced(&page, "yaml dialogues");
    for case in Case::read(&dialogues[0], Path::new("QA.md")).unwrap_or_else(|errors| panic!("{errors}")) {
        let report = case.run(&card);
        assert!(report.passed, "{report}");
    }
}

/// What of a value the schema does not know, or wants and does not find.
fn violations(schema: &Value, root: &Value, value: &Value, place: &str, out: &mut Vec<String>) {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return violations(&root["$defs"][name.trim_start_matches("#/$defs/")], root, value, place, out);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => panic!("{place}: the schema has no type"),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !(kinds.contains(&kind) || kind == "integer" && kinds.contains(&"number")) {
        out.push(format!("{place} is a {kind}, not one of {kinds:?}"));
    }
    if let Some(known) = schema.get("enum").and_then(Value::as_array)
        && !known.contains(value)
    {
        out.push(format!("{place} is {value}"));
    }
    match value {
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                violations(&schema["items"], root, item, &format!("{place}[{n}]"), out);
            }
        }
        Value::Object(fields) => {
            let known = schema["properties"].as_object().cloned().unwrap_or_default();
            for (key, value) in fields {
                match known.get(key) {
                    Some(schema) => violations(schema, root, value, &format!("{place}.{key}"), out),
                    None => out.push(format!("{place}.{key} is not in the schema")),
                }
            }
            for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(key) {
                    out.push(format!("{place}.{key} is missing"));
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_judgement_of_the_corpus_is_as_the_schema_says() {
    let schema: Value = serde_json::from_str(&docs("schemas/judgement.json")).expect("JSON");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut keys = BTreeSet::new();
    for name in ["fund", "voice", "score", "mixed"] {
        let read = |name: String| std::fs::read_to_string(folder.join(name)).expect("a file of the corpus");
        let card = Scorecard::read(&read(format!("{name}.rules.yaml")), Path::new("r")).expect("rules");
        for case in Case::read(&read(format!("{name}.yaml")), Path::new("d")).expect("cases") {
            let judgement = card.judge(&case.conversation, &Measures::of(&case.conversation));
            let value = serde_json::to_value(&judgement).expect("JSON");
            let mut wrong = Vec::new();
            violations(&schema, &schema, &value, "$", &mut wrong);
            assert!(wrong.is_empty(), "{wrong:#?}");
            for hit in judgement.rules.iter().flat_map(|rule| &rule.hits) {
                let hit = serde_json::to_value(hit).expect("JSON");
                keys.extend(hit.as_object().expect("an object").keys().cloned());
            }
        }
    }
    // Of a call in progress, and of rules that the corpus has none of.
    let rest = ["ongoing", "action"].map(str::to_owned);
    let known: BTreeSet<String> =
        schema["$defs"]["hit"]["properties"].as_object().expect("keys").keys().cloned().collect();
    assert_eq!(keys.union(&rest.into()).cloned().collect::<BTreeSet<_>>(), known, "and nothing else");
}
