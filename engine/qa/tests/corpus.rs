//! Every case of `tests/corpus`: `NAME.rules.yaml` has the rules, `NAME.yaml` dialogues with exact expectations. Each is
//! judged as a recording, and heard as a call in progress, which has to tell the same.
#![allow(clippy::print_stderr, reason = "a test says how much it did")]

mod dialogue;

use std::path::PathBuf;
use std::sync::Arc;

use antiphon_engine_qa::{Case, Scorecard};
use dialogue::told_live;

/// Fewer cases would be no corpus.
const LEAST: usize = 200;

#[test]
fn every_case_comes_out_as_expected_in_batch_and_live() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files.iter().filter(|file| file.to_string_lossy().ends_with(".rules.yaml")) {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
        };
        let card = Scorecard::read(&read(file), file).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(card.warnings().is_empty(), "{:#?}", card.warnings());
        let card = Arc::new(card);
        let dialogues = PathBuf::from(file.to_string_lossy().replace(".rules.yaml", ".yaml"));
        let cases = Case::read(&read(&dialogues), &dialogues).unwrap_or_else(|errors| panic!("{errors}"));
        for case in cases {
            count += 1;
            let report = case.run(&card);
            if !report.passed {
                wrong.push(report.to_string());
            }
            let end = case.conversation.heard.millis() as i64;
            for (step, late) in [(250, 0), (430, 700)] {
                let instants = (1..).map(|n| n * step).take_while(|until| *until < end);
                let told = told_live(
                    card.clone(),
                    &case.conversation,
                    |heard| case.measures_of(heard),
                    instants,
                    late,
                );
                if let Err(error) = told {
                    wrong.push(format!("LIVE {} ({}): {error}\n", case.name, report.place));
                }
            }
        }
    }
    eprintln!("{count} cases");
    assert!(wrong.is_empty(), "\n{}", wrong.join(""));
    assert!(count >= LEAST, "only {count} cases");
}
