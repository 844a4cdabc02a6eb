//! What share of questions, as people say them on the telephone and as recognisers write them, finds its answer.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::path::Path;

use antiphon_engine_knowledge::{Filter, Knowledge, Limits};

fn corpus() -> Knowledge {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quality/corpus");
    let knowledge = Knowledge::open(folder, Limits::default()).unwrap();
    assert_eq!(knowledge.problems(), []);
    assert_eq!(knowledge.len(), 60);
    knowledge
}

/// How many of these questions find their answer first, and among the first three, of how many.
fn recall(questions: &str) -> (usize, usize, usize) {
    let knowledge = corpus();
    let (mut first, mut third, mut all) = (0, 0, 0);
    for line in questions.lines() {
        let (query, expected) = line.split_once('\t').unwrap();
        let answers = knowledge.search(query, 3, &Filter::default()).unwrap();
        let rank = answers.iter().position(|answer| answer.title.contains(expected));
        all += 1;
        first += usize::from(rank == Some(0));
        third += usize::from(rank.is_some());
        if rank != Some(0) {
            let found: Vec<_> =
                answers.iter().map(|answer| format!("{:.2} {}", answer.score, answer.title)).collect();
            println!("{query}\n  wanted {expected}, rank {rank:?}, found {found:?}");
        }
    }
    println!("recall@1 {first} of {all}, recall@3 {third} of {all}");
    (first, third, all)
}

#[test]
fn spoken_questions_find_their_answers() {
    let (first, third, all) = recall(include_str!("quality/queries.tsv"));
    assert!(first >= 81 && third >= 82, "recall@1 {first}, recall@3 {third} of {all}");
}

/// Written last, with other words than the entries have wherever one would use others; nothing was tuned to them.
#[test]
fn questions_in_other_words_find_their_answers_less_often() {
    let (first, third, all) = recall(include_str!("quality/harder.tsv"));
    assert!(first >= 14 && third >= 14, "recall@1 {first}, recall@3 {third} of {all}");
}

#[test]
fn small_talk_finds_next_to_nothing() {
    let knowledge = corpus();
    let mut wrong = Vec::new();
    for line in include_str!("quality/smalltalk.txt").lines() {
        let answers = knowledge.search(line, 3, &Filter::default()).unwrap();
        wrong.extend(answers.first().map(|answer| format!("{line}: {:.2} {}", answer.score, answer.title)));
    }
    // Words decide, not what is meant: "my name is" is near a named driver, "my glasses" near chipped glass.
    assert!(wrong.len() <= 2, "{wrong:#?}");
}

#[test]
#[ignore = "prints the scores that the floor is chosen by"]
fn scores() {
    let knowledge = corpus();
    let filter = Filter { floor: 0.0, ..Filter::default() };
    for line in
        include_str!("quality/smalltalk.txt").lines().chain(include_str!("quality/queries.tsv").lines())
    {
        let (query, _) = line.split_once('\t').unwrap_or((line, ""));
        let answers = knowledge.search(query, 2, &filter).unwrap();
        let scores: Vec<_> =
            answers.iter().map(|answer| format!("{:.2} {}", answer.score, answer.title)).collect();
        println!("{query}: {scores:?}");
    }
}
