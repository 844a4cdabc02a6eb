//! Broken flows and what is said about them. Each fixture lists what it expects, all of it, in its first lines.

use std::path::{Path, PathBuf};

use antiphon_engine_flow::Flow;

#[test]
fn every_mistake_is_named_with_its_place() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut fixtures = 0;
    let mut wrong = String::new();
    for entry in std::fs::read_dir(&folder).expect("the fixtures are there") {
        let path = entry.expect("readable").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
        let errors = Flow::parse(&text, Path::new("flow.yaml")).expect_err("a broken flow").to_string();
        let found: Vec<&str> = errors.lines().collect();
        let fits = expected.len() == found.len()
            && expected.iter().all(|wanted| found.iter().any(|found| found.contains(wanted)));
        if expected.is_empty() || !fits {
            wrong += &format!(
                "{}:\nexpected\n  {}\nfound\n  {}\n",
                path.display(),
                expected.join("\n  "),
                found.join("\n  ")
            );
        }
        fixtures += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(fixtures >= 6, "only {fixtures} fixtures");
}

#[test]
fn doubtful_flows_are_warned_about() {
    let text = "version: 1
name: doubtful
slots: {unused: date}
intents:
  one: [say hello now]
  two: [say hello now, another one, a third one]
steps:
  main:
    ask: What?
    intents: {one: bye, two: bye}
    then: bye
  island:
    say: Nobody comes here.
  bye:
    hang_up: Bye.
";
    let flow = Flow::parse(text, Path::new("flow.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    let warnings: Vec<String> = flow.warnings().iter().map(ToString::to_string).collect();
    for expected in [
        "flow.yaml:3:9: nothing fills the slot `unused`",
        "flow.yaml:5:3: the intent `one` has only 1 examples; callers vary more",
        "flow.yaml:6:3: the intents `one` and `two` share `say hello now`",
        "flow.yaml:12:3: no way leads to the step `island`",
    ] {
        assert!(warnings.iter().any(|warning| warning == expected), "`{expected}` is not in {warnings:#?}");
    }
    assert_eq!(warnings.len(), 4, "{warnings:#?}");
}

#[test]
fn a_missing_file_is_an_error_without_a_line() {
    let errors = Flow::load(Path::new("/nonexistent/flow.yaml")).expect_err("no such file");
    assert!(errors.to_string().starts_with("/nonexistent/flow.yaml: cannot be read"), "{errors}");
}

#[test]
fn secrets_come_from_the_resolver_and_stay_out_of_debug_output() {
    let text = "version: 1
name: secret
steps:
  call:
    http: {url: \"http://127.0.0.1/x\", headers: {Authorization: \"Bearer ${env:TOKEN}\"}}
    on_error: bye
  bye: {hang_up: Bye.}
";
    let flow = Flow::parse_with(text, Path::new("flow.yaml"), &|name| {
        (name == "TOKEN").then(|| "hunter2".to_owned())
    });
    let flow = std::sync::Arc::new(flow.unwrap_or_else(|errors| panic!("{errors}")));
    assert!(!format!("{flow:?}").contains("hunter2"));
    let mut seen = Vec::new();
    let mut chat = antiphon_engine_flow::Chat::with_http(flow, |request| {
        seen.extend(request.headers.clone());
        antiphon_engine_call::HttpOutcome::TimedOut
    });
    let turn = chat.start(std::collections::BTreeMap::new());
    assert!(!serde_json::to_string(&turn).expect("serialisable").contains("hunter2"));
    drop(chat);
    assert_eq!(seen, [("Authorization".to_owned(), "Bearer hunter2".to_owned())]);
}
