//! What `check` says of rules that can never do anything, and of files that cannot be read.

use std::path::Path;

use antiphon_engine_qa::{Case, Scorecard};

const HEAD: &str = "scorecard: {id: s, version: 1}\n";

/// The warnings of a file, or its errors, as they are printed.
fn said(text: &str) -> Vec<String> {
    let text = format!("{HEAD}{text}");
    match Scorecard::read(&text, Path::new("r.yaml")) {
        Ok(card) => card.warnings().iter().map(ToString::to_string).collect(),
        Err(errors) => errors.problems.iter().map(|problem| format!("error: {problem}")).collect(),
    }
}

#[test]
fn what_can_never_happen_is_told_with_its_place() {
    for (text, expected) in [
        (
            "conditions: {a: x, b: y}\nrules: [{id: r, never: a, points: -1}]",
            "r.yaml:2:20: nothing uses the condition `b`",
        ),
        (
            "rules: [{id: r, never: {regex: '[a&&b]'}, points: -1}]",
            "r.yaml:2:24: this can never hold: the pattern matches no text at all",
        ),
        (
            "rules: [{id: r, never: {regex: 'ab[a&&b]c'}, points: -1}]",
            "r.yaml:2:9: the rule `r` can never hit",
        ),
        (
            "rules: [{id: r, never: {regex: 'a', not_regex: 'a'}, points: -1}]",
            "r.yaml:2:24: this can never hold: `not_regex` excludes all that `regex` finds",
        ),
        (
            "rules: [{id: r, never: {rate: {above: 300, below: 200}}, points: -1}]",
            "r.yaml:2:24: this can never hold: nothing is above 300 and below 200",
        ),
        (
            "rules: [{id: r, never: {duration: {longer_than: 9s, shorter_than: 3s}}, points: -1}]",
            "r.yaml:2:24: this can never hold: nothing is longer than 9s and shorter than 3s",
        ),
        (
            "rules: [{id: r, never: {phrase: x, window: {first: 0s}}, points: -1}]",
            "r.yaml:2:24: this can never hold: its window is empty",
        ),
        (
            "conditions: {a: x}\nrules: [{id: r, must: {phrase: y}, when: 'a && !a', points: -1}]",
            "r.yaml:3:9: the rule `r` never applies: its `when` can never hold",
        ),
        (
            "rules: [{id: r, must: {phrase: y}, points: -2, cap: -9}]",
            "r.yaml:2:9: the cap -9 of `r` is never reached: it hits once at most",
        ),
        (
            "rules: [{id: r, never: {phrase: y}, points: -20, cap: -9}]",
            "r.yaml:2:9: the cap -9 of `r` is less than one hit, -20",
        ),
        (
            "rules: [{id: r, never: {phrase: y}, points: -2, cap: 9}]",
            "r.yaml:2:9: the cap 9 of `r` has the other sign than its points, -2",
        ),
        (
            "groups: [{id: g, cap: -50}]\nrules: [{id: r, must: {phrase: y}, points: -2, group: g}]",
            "r.yaml:2:10: the cap -50 of the group `g` is never reached: its rules make -2 at most",
        ),
        (
            "rules: [{id: r, never: {phrase: y}}]",
            "r.yaml:2:9: the rule `r` changes nothing: it has no points, is not fatal and alerts nobody",
        ),
        (
            "rules: [{id: r, never: {interrupt: {by: agent, of: agent}}, points: -1}]",
            "r.yaml:2:24: this can never hold: nobody interrupts themselves",
        ),
        (
            "rules: [{id: r, never: {sequence: [{regex: '[a&&b]'}, {phrase: x}]}, points: -1}]",
            "r.yaml:2:24: this can never hold: `a part` cannot",
        ),
        (
            "conditions: {a: x}\nrules: [{id: r, never: a, except: a, points: -1}]",
            "r.yaml:3:35: the rule `r` always excuses itself",
        ),
        (
            "conditions: {a: x}\nrules: [{id: r, must: a, when: a, points: -1}]",
            "r.yaml:3:9: the rule `r` is always kept: it asks for what its `when` says",
        ),
    ] {
        assert!(said(text).iter().any(|line| line == expected), "{text}\n{:#?}", said(text));
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, expected) in [
        (
            "rules: [{id: r, nevr: a}]",
            "error: r.yaml:2:17: unknown key `nevr` in a rule; did you mean `never`?",
        ),
        (
            "conditions: {risk: x}\nrules: [{id: r, never: rsik}]",
            "error: r.yaml:3:24: there is no condition `rsik`; did you mean `risk`?",
        ),
        (
            "conditions: {a: {expr: b}, b: {expr: a}}\nrules: [{id: r, never: a}]",
            "error: r.yaml:2:38: the condition `a` depends on itself",
        ),
        (
            "conditions: {a: {sequence: [a, x]}}\nrules: [{id: r, never: a}]",
            "error: r.yaml:2:29: the condition `a` depends on itself",
        ),
        ("rules: [{id: r, never: {phrase: '。'}}]", "error: r.yaml:2:33: `。` has no word to look for"),
        (
            "rules: [{id: r, never: {phrase: x, regex: y}}]",
            "error: r.yaml:2:36: a condition is about one thing: `phrase` and `regex` are two; join them by `all` or `any`",
        ),
        (
            "rules: [{id: r, never: {silence: {caused_by: agent}}}]",
            "error: r.yaml:2:34: `silence` wants `longer_than`: how long at least",
        ),
        (
            "rules: [{id: r, must: {phrase: x}, never: {phrase: x}}]",
            "error: r.yaml:2:9: the rule `r` needs exactly one of `must`, `never` and `expr`",
        ),
        (
            "conditions: {a: x}\nrules: [{id: r, expr: 'a &&'}]",
            "error: r.yaml:3:28: a condition is missing here",
        ),
        (
            "rules: [{id: r, never: {phrase: x}, action: shout}]",
            "error: r.yaml:2:45: an action is `listen`, `whisper`, `barge` or `hang_up`",
        ),
        ("rules: []", "error: r.yaml:2:8: the file has no `rules`"),
    ] {
        assert!(said(text).iter().any(|line| line == expected), "{text}\n{:#?}", said(text));
    }
}

#[test]
fn large_and_deep_files_are_refused() {
    let chain: String = (0..200).map(|n| format!("  c{n}: {{expr: c{}}}\n", n + 1)).collect();
    let deep = format!("conditions:\n{chain}  c200: x\nrules: [{{id: r, never: c0}}]");
    assert!(said(&deep).iter().any(|line| line.contains("more than 48 deep")), "{:?}", said(&deep));
    let wide: String = (0..6_000).map(|n| format!("  c{n}: x\n")).collect();
    let wide = format!("conditions:\n{wide}rules: [{{id: r, never: c0}}]");
    assert!(said(&wide).iter().any(|line| line.contains("more than 5000 conditions")));
    let bomb = "rules: [{id: r, never: {regex: '((\\pL{50}){50}){50}'}}]";
    assert!(said(bomb).iter().any(|line| line.contains("not a regular expression")), "{:?}", said(bomb));
    let nested = format!("rules: [{{id: r, never: {}x{}}}]", "{any: [".repeat(60), "]}".repeat(60));
    assert!(said(&nested).iter().any(|line| line.starts_with("error")));
}

#[test]
fn dialogues_are_refused_with_their_place() {
    for (text, expected) in [
        (
            "turns: [{agnt: hello}]",
            "d.yaml:1:9: a turn is one of `agent: words`, `customer: words`, `other: words`, `silence: 8s` and `hold: 30s`; did you mean `agent`?",
        ),
        ("turns: [{agent: hello, for: 3}]", "d.yaml:1:29: `for` wants a time such as `700ms` or `5s`"),
        (
            "turns: [{agent: a, for: 3s}, {agent: b, at: 1s}]",
            "d.yaml:1:30: this one speaks already at this time; give it `at`, `gap` or a shorter `for`",
        ),
        ("cases: []", "d.yaml: there is no case in this file"),
    ] {
        let errors = Case::read(text, Path::new("d.yaml")).expect_err(text).to_string();
        assert_eq!(errors, expected, "{text}");
    }
}
