//! The written form of the spoken cases in the data files beside this one, exactly.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use antiphon_models_speech::Language;
use antiphon_models_text::Normalizer;

fn check(tag: &str, cases: &str) {
    let normalizer = Normalizer::new(&Language::parse(tag).unwrap());
    let mut count = 0;
    let mut wrong = Vec::new();
    for (line, case) in
        cases.lines().enumerate().filter(|(_, case)| !case.is_empty() && !case.starts_with('#'))
    {
        let (spoken, written) = case.split_once('\t').unwrap_or_else(|| panic!("line {}: no tab", line + 1));
        let found = normalizer.text(spoken);
        count += 1;
        if found != written {
            wrong.push(format!("line {}: {spoken}\n  expected {written}\n  found    {found}", line + 1));
        }
        let again = normalizer.text(&found);
        if again != found {
            wrong.push(format!("line {}: {found}\n  once more became {again}", line + 1));
        }
    }
    assert!(count >= 250, "only {count} cases");
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn english_is_written_as_the_corpus_has_it() {
    check("en-US", include_str!("english.tsv"));
}

#[test]
fn chinese_is_written_as_the_corpus_has_it() {
    check("zh-CN", include_str!("chinese.tsv"));
}
