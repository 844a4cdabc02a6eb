//! Any text as a rule file; what is read judges a dialogue, as a recording and as a call in progress.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use antiphon_engine_measure::{Conversation, Measures};
use antiphon_engine_qa::{Case, Inspector, Known, Scorecard};
use libfuzzer_sys::fuzz_target;

static DIALOGUE: LazyLock<(Conversation, Measures)> = LazyLock::new(|| {
    let text = "
language: zh
metadata: {queue: sales}
turns:
  - agent: 您好，这款理财保证您的收益，投资有风险
  - customer: 我要投诉，一二三四，不保证收益吗
  - {agent: 您听我说 please hold on, overlap: 700ms, for: 3s}
  - {silence: 9s}
  - {agent: 您好，这款理财保证您的收益, loudness: -12}
  - {hold: 5s, by: agent}
  - customer: 确认，两万五千元，再见
";
    let case = Case::read(text, Path::new("dialogue.yaml")).expect("a case").remove(0);
    let measures = case.measures();
    (case.conversation, measures)
});

fuzz_target!(|text: &str| {
    match Scorecard::read(text, Path::new("rules.yaml")) {
        Ok(card) => {
            let (call, measures) = &*DIALOGUE;
            let judgement = card.judge(call, measures);
            assert!(judgement.score.is_finite());
            let (explained, story) = card.judge_explained(call, measures);
            assert_eq!(judgement, explained);
            assert!(!story.to_string().is_empty());
            let mut inspector = Inspector::new(Arc::new(card));
            inspector.hear(call, measures, Known::heard(call));
            assert_eq!(inspector.judgement(), Some(&judgement));
        }
        Err(problems) => assert!(!problems.to_string().is_empty(), "a refusal says why"),
    }
    // The same text as dialogues.
    let _ = Case::read(text, Path::new("dialogues.yaml"));
});
