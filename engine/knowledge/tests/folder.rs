//! The folder as it changes, and as it should not be.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::fs;
use std::path::Path;

use antiphon_engine_knowledge::{Filter, Knowledge, KnowledgeError, Limits, ProblemKind};

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn titles(knowledge: &Knowledge, query: &str) -> Vec<String> {
    titles_by(knowledge, query, &Filter::default())
}

fn titles_by(knowledge: &Knowledge, query: &str, filter: &Filter) -> Vec<String> {
    knowledge.search(query, 5, filter).unwrap().into_iter().map(|answer| answer.title).collect()
}

#[test]
fn a_changed_file_is_read_again_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.csv", "q,a\nHow do I block my card?,Call us.\n");
    write(folder.path(), "b.csv", "q,a\nHow do I raise my limit?,In the app.\n");
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    assert_eq!(knowledge.refresh().unwrap().read, [""; 0]);

    write(folder.path(), "a.csv", "q,a\nHow do I order a chequebook?,By post.\n");
    let refreshed = knowledge.refresh().unwrap();
    assert_eq!((refreshed.read, refreshed.entries), (vec!["a.csv".to_owned()], 2));
    assert!(titles(&knowledge, "block my card").is_empty());
    assert_eq!(titles(&knowledge, "order a chequebook"), ["How do I order a chequebook?"]);

    fs::remove_file(folder.path().join("b.csv")).unwrap();
    let refreshed = knowledge.refresh().unwrap();
    assert_eq!((refreshed.removed, refreshed.entries, knowledge.len()), (vec!["b.csv".to_owned()], 1, 1));
    assert!(titles(&knowledge, "raise my limit").is_empty());
}

#[test]
fn a_file_that_breaks_keeps_its_old_entries_and_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "faq/cards.csv", "q,a\nHow do I block my card?,Call us.\n");
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    write(folder.path(), "faq/cards.csv", "q,a\nHow do I block my card?,Call them.\nWhat now?,\n");
    let problems = knowledge.refresh().unwrap().problems;
    assert_eq!(problems[0].to_string(), "faq/cards.csv:3: the answer is empty");
    assert_eq!(knowledge.search("block my card", 1, &Filter::default()).unwrap()[0].text, "Call us.");
    // It is not read again before it changes, and its problem stays known.
    let refreshed = knowledge.refresh().unwrap();
    assert_eq!((refreshed.read.len(), refreshed.problems.len(), knowledge.problems().len()), (0, 1, 1));
    write(folder.path(), "faq/cards.csv", "q,a\nHow do I block my card?,Call them.\n");
    assert_eq!(knowledge.refresh().unwrap().problems, []);
    assert_eq!(knowledge.search("block my card", 1, &Filter::default()).unwrap()[0].text, "Call them.");
}

#[test]
fn searches_go_on_while_files_change() {
    let folder = tempfile::tempdir().unwrap();
    let rows =
        |tail: &str| (0..200).map(|n| format!("How do I order item {n}?,{tail} {n}\n")).collect::<String>();
    write(folder.path(), "a.csv", format!("q,a\n{}", rows("old")));
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    std::thread::scope(|scope| {
        let searcher = scope.spawn(|| {
            for _ in 0..300 {
                let answers = knowledge.search("order item 7", 3, &Filter::default()).unwrap();
                assert!(!answers.is_empty());
                let kinds: Vec<_> =
                    answers.iter().map(|answer| answer.text.split(' ').next().unwrap()).collect();
                assert!(kinds.iter().all(|kind| *kind == kinds[0]), "{kinds:?}");
            }
        });
        for n in 0..5 {
            write(folder.path(), "a.csv", format!("q,a\n{}", rows(&format!("new{n}"))));
            assert_eq!(knowledge.refresh().unwrap().entries, 200);
        }
        searcher.join().unwrap();
    });
}

#[test]
fn links_out_of_the_folder_are_not_followed_and_links_within_are() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(outside.path(), "secret.md", "# Secret\n\nThe vault opens at noon.\n");
    write(folder.path(), ".data/cards.md", "# Lost card\n\nCall us.\n");
    std::os::unix::fs::symlink(outside.path().join("secret.md"), folder.path().join("secret.md")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("more")).unwrap();
    std::os::unix::fs::symlink(".data/cards.md", folder.path().join("cards.md")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    assert_eq!(knowledge.len(), 1);
    assert!(titles(&knowledge, "when does the vault open").is_empty());
    assert_eq!(titles(&knowledge, "lost card"), ["Lost card"]);
    let problems = knowledge.problems();
    assert_eq!(
        (problems.len(), problems[0].file.as_str(), &problems[0].kind),
        (1, "secret.md", &ProblemKind::LinkOut)
    );
}

#[test]
fn limits_are_kept_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.csv", "q,a\nOne?,1\nTwo?,2\n");
    write(folder.path(), "b/c/d.md", "# T\n\ntext\n");
    let open = |limits| Knowledge::open(folder.path(), limits);
    let default = Limits::default();
    let error = open(Limits { entries: 1, ..default }).unwrap_err();
    assert!(
        matches!(error, KnowledgeError::TooManyEntries { limit: 1, ref file } if file == "a.csv"),
        "{error}"
    );
    let error = open(Limits { total_bytes: 20, ..default }).unwrap_err();
    assert!(matches!(error, KnowledgeError::TooLarge { limit: 20, .. }), "{error}");
    let error = open(Limits { files: 1, ..default }).unwrap_err();
    assert!(matches!(error, KnowledgeError::TooManyFiles { limit: 1 }), "{error}");
    let problems = open(Limits { file_bytes: 12, ..default }).unwrap().problems();
    assert_eq!(problems[0].to_string(), "a.csv: 18 bytes, at most 12 are read: split it");
    let problems = open(Limits { depth: 1, ..default }).unwrap().problems();
    assert_eq!(problems[0].to_string(), "b/c: more than 1 folders deep");
}

#[test]
fn a_refresh_that_fails_leaves_all_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.csv", "q,a\nHow do I block my card?,Call us.\n");
    let knowledge = Knowledge::open(folder.path(), Limits { entries: 2, ..Limits::default() }).unwrap();
    write(folder.path(), "b.csv", "q,a\nOne?,1\nTwo?,2\n");
    assert!(knowledge.refresh().is_err());
    assert_eq!(titles(&knowledge, "block my card"), ["How do I block my card?"]);
    fs::remove_file(folder.path().join("b.csv")).unwrap();
    assert_eq!(knowledge.refresh().unwrap().entries, 1);
}

#[test]
fn a_folder_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.md", "text");
    assert!(matches!(
        Knowledge::open(folder.path().join("a.md"), Limits::default()),
        Err(KnowledgeError::NotAFolder(_))
    ));
    assert!(matches!(
        Knowledge::open(folder.path().join("none"), Limits::default()),
        Err(KnowledgeError::Folder { .. })
    ));
    let empty = tempfile::tempdir().unwrap();
    assert!(Knowledge::open(empty.path(), Limits::default()).unwrap().is_empty());
}

#[test]
fn filters_choose_by_language_and_by_all_tags() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "a.csv",
        "q,a,tags,lang\nATM fees?,Two pounds.,\"Cards,Fees\",en-GB\nATM 手续费?,两元。,cards,zh-CN\nATM fees for firms?,Three pounds.,cards,en\n",
    );
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    let filter = |language: Option<&str>, tags: &[&str]| Filter {
        language: language.map(str::to_owned),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        floor: 0.0,
    };
    assert_eq!(titles_by(&knowledge, "atm", &filter(None, &[])).len(), 3);
    assert_eq!(titles_by(&knowledge, "atm", &filter(Some("zh"), &[])), ["ATM 手续费?"]);
    assert_eq!(titles_by(&knowledge, "atm", &filter(Some("en-US"), &["cards", "FEES"])), ["ATM fees?"]);
    assert!(titles_by(&knowledge, "atm", &filter(None, &["none"])).is_empty());
}

#[test]
fn synonyms_come_and_go_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "a.csv",
        "q,a\nHow do I block a bank card?,Call us.\nHow do I block a cheque?,Call us too.\n",
    );
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    assert!(titles(&knowledge, "my plastic is gone").is_empty());
    write(folder.path(), "synonyms.txt", "plastic, bank card\n");
    knowledge.refresh().unwrap();
    assert_eq!(titles(&knowledge, "my plastic is gone"), ["How do I block a bank card?"]);
    fs::remove_file(folder.path().join("synonyms.txt")).unwrap();
    knowledge.refresh().unwrap();
    assert!(titles(&knowledge, "my plastic is gone").is_empty());
}

#[test]
fn an_answer_says_where_it_stands_and_what_of_it_fits() {
    let folder = tempfile::tempdir().unwrap();
    let filler = "This sentence talks about the weather in the hills and says little. ".repeat(4);
    write(
        folder.path(),
        "guide.md",
        format!("# Claims\n\n## Motor\n\n{filler}\nReport an accident within 48 hours. {filler}\n"),
    );
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    let answers = knowledge.search("how do I report a motor accident", 1, &Filter::default()).unwrap();
    let answer = &answers[0];
    assert_eq!(answer.title, "Claims: Motor");
    assert_eq!(answer.source.file, "guide.md");
    assert_eq!(
        (answer.source.headings.as_slice(), answer.source.line),
        (["Claims".to_owned(), "Motor".to_owned()].as_slice(), 5)
    );
    assert!(answer.snippet.starts_with("Report an accident within 48 hours."), "{}", answer.snippet);
    assert!(answer.snippet.chars().count() <= 160 && (0.0..=1.0).contains(&answer.score));
}

#[test]
fn no_question_breaks_a_search() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.csv", "q,a\nHow do I block my card?,Call us.\n怎么挂失,请拨打热线\n");
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    let long = "挂失卡card ".repeat(10_000);
    for query in [
        "",
        " ",
        "\0",
        "AND OR NOT (\"",
        "card:*~^",
        "\u{10ffff}\u{301}",
        "é́",
        "'''",
        long.as_str(),
        "卡",
        "㐀龘",
    ] {
        for limit in [0, 1, usize::MAX] {
            knowledge.search(query, limit, &Filter::default()).unwrap();
        }
    }
}

#[test]
fn an_answer_that_is_a_document_is_refused_and_a_crowd_of_variants_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.csv", format!("q,a\nLong?,{}\n", "好".repeat(20_001)));
    let variants: Vec<String> = (0..10_000).map(|n| format!("way{n}")).collect();
    write(
        folder.path(),
        "b.jsonl",
        serde_json::json!({"q": "Short?", "a": "Yes.", "similar": variants}).to_string(),
    );
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    let problems = knowledge.problems();
    assert_eq!((problems.len(), problems[0].line), (1, Some(2)));
    assert!(problems[0].to_string().contains("20001 characters, at most 20000"), "{}", problems[0]);
    assert_eq!(titles(&knowledge, "way7"), ["Short?"]);
    assert!(titles(&knowledge, "way9999").is_empty());
}

/// Pieces of all formats, put together at random: whatever comes out is read or refused, in bounded time.
#[test]
fn no_file_breaks_the_reader() {
    let pieces = [
        "# ",
        "## ",
        "\n",
        "\n\n",
        "|",
        "---",
        "| q | a |\n|---|---|\n",
        "<dl><dt>",
        "<dd>",
        "</",
        "<script>",
        "<table><tr><td>",
        "&amp;",
        "&#x110000;",
        "<!--",
        "q,a\n",
        "\"",
        ",",
        "\t",
        "{\"q\":",
        "\"x\"",
        "}",
        "[",
        "]",
        "\\u",
        "挂失",
        "\u{feff}",
        "\u{0}",
        "* ",
        "1. ",
        "> ",
        "```",
        "<h1>",
        "<details><summary>",
        "text",
        "tags: a, b\n",
        "\r",
        "é",
    ];
    let mut dice = 11_u64;
    let mut below = |limit: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % limit
    };
    let folder = tempfile::tempdir().unwrap();
    for n in 0..600 {
        let mut bytes = (0..below(80)).map(|_| pieces[below(pieces.len())]).collect::<String>().into_bytes();
        if n % 5 == 0 && !bytes.is_empty() {
            let at = below(bytes.len());
            bytes[at] = below(256) as u8;
        }
        write(folder.path(), &format!("{n}.{}", ["md", "html", "csv", "jsonl", "tsv"][n % 5]), bytes);
    }
    let knowledge = Knowledge::open(folder.path(), Limits::default()).unwrap();
    assert!(!knowledge.is_empty());
    assert!(knowledge.problems().iter().all(|problem| !problem.to_string().is_empty()));
}
