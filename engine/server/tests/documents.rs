//! The documents say what the program does.
#![allow(clippy::print_stderr, reason = "a test says what it skips")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use antiphon_engine_flow::Flow;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn printed(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANTIPHON_")) {
        command.env_remove(name);
    }
    let output = command.args(args).stdin(Stdio::null()).output().expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "antiphon {}: {errors}", args.join(" "));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The blocks of a document fenced with exactly this mark.
fn fenced(text: &str, mark: &str) -> Vec<String> {
    let opening = format!("```{mark}\n");
    text.split(&opening)
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```"))
        .map(|(block, _)| block.to_owned())
        .collect()
}

/// The table of keys: key and default, as written.
fn documented() -> Vec<(String, String)> {
    let page = document("CONFIGURATION.md");
    let (_, keys) = page.split_once("\n## Keys\n").expect("the section on keys");
    let (keys, _) = keys.split_once("\n## ").expect("a section after it");
    let rows: Vec<(String, String)> = keys
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`').to_owned(), cells[3].trim_matches('`').to_owned())
        })
        .collect();
    assert!(rows.len() > 20, "the table of keys is found");
    rows
}

/// The keys of a configuration; tables that users name themselves count as one key.
fn keys(text: &str) -> BTreeSet<String> {
    fn walk(table: &toml::Table, prefix: &str, keys: &mut BTreeSet<String>) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                toml::Value::Table(inner)
                    if !["voice.engines", "voice.piper", "flow.numbers"].contains(&key.as_str()) =>
                {
                    walk(inner, &key, keys);
                }
                _ => {
                    keys.insert(key);
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&text.parse().expect("TOML"), "", &mut found);
    found
}

fn written(dir: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("antiphon.toml");
    std::fs::write(&path, text).expect("written");
    path
}

fn in_force(text: &str) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let path = written(&dir, text);
    printed(&["serve", "--print-config", "--config", path.to_str().expect("UTF-8")])
}

#[test]
fn the_page_of_errors_is_the_one_the_program_prints() {
    assert_eq!(
        document("ERRORS.md"),
        printed(&["docs", "errors"]),
        "docs/ERRORS.md is old: antiphon docs errors > docs/ERRORS.md"
    );
}

#[test]
fn every_key_that_is_printed_is_documented() {
    let documented: BTreeSet<String> = documented().into_iter().map(|(key, _)| key).collect();
    let missing: Vec<String> = keys(&printed(&["serve", "--print-config"]))
        .into_iter()
        .filter(|key| !documented.contains(key))
        .collect();
    assert!(missing.is_empty(), "docs/CONFIGURATION.md misses {missing:?}");
}

#[test]
fn every_documented_key_exists() {
    let page = document("CONFIGURATION.md");
    let whole = fenced(&page, "toml every-key").pop().expect("the file with every key");
    let documented: BTreeSet<String> = documented().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys(&whole), documented, "the file with every key and the table of keys");
    // Unknown keys are refused, so that each of them is known.
    let printed = in_force(&whole);
    assert!(printed.contains("203.0.113.7") && printed.contains("cards.yaml"), "{printed}");
}

#[test]
fn the_documented_defaults_are_the_real_ones() {
    let lines: Vec<String> = documented()
        .into_iter()
        .filter(|(_, default)| !["–", "one a core"].contains(&default.as_str()))
        .map(|(key, default)| format!("{key} = {default}\n"))
        .collect();
    assert!(lines.len() > 20, "{lines:?}");
    assert_eq!(in_force(&lines.concat()), printed(&["serve", "--print-config"]));
}

#[test]
fn every_flag_and_variable_is_documented() {
    let page = document("CONFIGURATION.md");
    let help = printed(&["serve", "--help"]);
    let named = |start: &str| -> BTreeSet<String> {
        let words = help.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
        words.filter(|word| word.starts_with(start) && word.len() > start.len()).map(str::to_owned).collect()
    };
    let (flags, variables) = (named("--"), named("ANTIPHON_"));
    assert!(flags.len() > 7 && variables.len() > 6, "{flags:?} {variables:?}");
    for name in flags.iter().chain(&variables).filter(|name| *name != "--help") {
        assert!(page.contains(name.as_str()), "docs/CONFIGURATION.md does not mention {name}");
    }
}

#[test]
fn the_example_of_models_is_read() {
    let page = document("CONFIGURATION.md");
    let example = fenced(&page, "toml models").pop().expect("the example");
    assert_eq!(example.matches("rate_hz = 8000").count(), 2);
    in_force(&example);
    // A slip in it would not have been let through.
    let dir = tempfile::tempdir().expect("a folder");
    let path = written(&dir, &example.replace("rate_hz", "rate"));
    let refused = Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["serve", "--print-config", "--config"])
        .arg(path)
        .output()
        .expect("the program runs");
    assert!(!refused.status.success(), "an entry with an unknown key was taken");
}

#[test]
fn the_tables_of_lists_name_every_key_and_their_examples_are_read() {
    let page = document("CONFIGURATION.md");
    for (heading, mark, list) in [
        ("Trunks", "toml trunks", "trunk"),
        ("Routes", "toml routes", "route"),
        ("Users", "toml users", "user"),
        ("Webhooks", "toml webhooks", "webhook"),
        ("Tokens", "toml tokens", "token"),
        ("Assist", "toml assist", "assist"),
        ("ICE servers", "toml ice-servers", "ice_server"),
    ] {
        let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
        let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
        let table: BTreeSet<&str> = section
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .filter_map(|line| line.strip_prefix("| `"))
            .flat_map(|row| row.split(" |").next().unwrap_or_default().split("`, `"))
            .map(|key| key.trim_matches('`'))
            .collect();
        let example = fenced(&page, mark).pop().expect(mark);
        let read: toml::Table = in_force(&example).parse().expect("TOML");
        let shown: BTreeSet<&str> = read[list]
            .as_array()
            .expect("a list")
            .iter()
            .flat_map(|entry| entry.as_table().expect("a table").keys())
            .map(String::as_str)
            .collect();
        assert_eq!(shown, table, "the table and the example of {heading}");
    }
}

#[cfg(feature = "pocketsphinx")]
#[test]
fn the_example_of_models_opens_real_models() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/pocketsphinx");
    if !models.is_dir() {
        eprintln!("SKIPPED: there are no 8 kHz models at {}", models.display());
        return;
    }
    let page = document("CONFIGURATION.md");
    let example = fenced(&page, "toml models").pop().expect("the example");
    let here = example.replace("/opt/models/pocketsphinx", models.to_str().expect("UTF-8"));
    let dir = tempfile::tempdir().expect("a folder");
    let transcribe = |config: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_antiphon"))
            .args(["transcribe", "--language", "zh", "--config"])
            .arg(written(&dir, config))
            .arg("no-such-call.wav")
            .output()
            .expect("the program runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // Models are looked for before the files are.
    assert!(transcribe(&here).contains("no-such-call.wav"), "{}", transcribe(&here));
    let gone = here.replace("zh-8k-ptm", "zh-8k-gone");
    assert!(transcribe(&gone).contains("acoustic model not found"), "{}", transcribe(&gone));
}

#[test]
fn every_configuration_of_the_integration_page_is_taken() {
    let blocks = fenced(&document("INTEGRATION.md"), "toml config");
    assert!(blocks.len() > 8, "{} configurations found", blocks.len());
    for block in blocks {
        // What is printed was checked like any other configuration; one that is refused fails here and says why.
        let read: toml::Table = in_force(&block).parse().expect("TOML");
        assert!(!read.is_empty());
    }
}

#[test]
fn the_flows_on_the_page_are_flows() {
    let blocks = fenced(&document("FLOWS.md"), "yaml flow");
    assert!(blocks.len() >= 3, "{} flows found", blocks.len());
    for block in blocks {
        match Flow::parse(&block, Path::new("FLOWS.md")) {
            Ok(flow) => assert!(flow.warnings().is_empty(), "{:?}", flow.warnings()),
            Err(errors) => panic!("{errors}\n{block}"),
        }
    }
}

#[test]
fn the_parts_of_flows_on_the_page_are_yaml() {
    let blocks = fenced(&document("FLOWS.md"), "yaml");
    assert!(blocks.len() >= 10, "{} blocks found", blocks.len());
    for block in blocks {
        // Steps stand alone on the page, indented as in a flow; so do the sections before them.
        let text = if block.starts_with("  ") { format!("steps:\n{block}\n") } else { block };
        let value: serde_json::Value =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert!(value.is_object(), "{text}");
    }
}

#[test]
fn the_command_line_is_described() {
    let page = printed(&["docs", "cli"]);
    for part in ["## antiphon transcribe", "- `--format <FORMAT>`", "## antiphon flow check"] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(printed(&["docs", "configuration"]), document("CONFIGURATION.md"));
}
