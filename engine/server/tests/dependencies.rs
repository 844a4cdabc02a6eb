//! Who may import whom: `docs/ARCHITECTURE.md` has the table, `cargo metadata` has the truth, and they agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PREFIX: &str = "antiphon-";
/// The crate that is nothing but measurements, and so may use what only tests may.
const MEASURES: &str = "benches";
const TABLE_HEADING: &str = "## Who may import whom";

/// What the table grants one crate.
#[derive(Debug, PartialEq, Eq)]
enum Grant {
    /// These and no others.
    Only(BTreeSet<String>),
    /// Every crate but the ones for tests.
    All,
}

/// One dependency of a workspace package, as `cargo metadata` has it.
struct Dependency {
    name: String,
    /// The name it has in code.
    ident: String,
    dev: bool,
}

struct Package {
    name: String,
    folder: PathBuf,
    dependencies: Vec<Dependency>,
}

#[test]
fn crates_import_only_what_the_table_in_the_architecture_page_grants() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("the architecture page");
    let table = parse_table(&page);
    let packages = workspace();
    let wrongs = violations(&packages, &table);
    assert!(wrongs.is_empty(), "\n{}\n", wrongs.join("\n"));
    for row in table.keys() {
        assert!(
            packages.iter().any(|p| short(&p.name) == *row),
            "the table has a row for {row}, which is no crate"
        );
    }
}

#[test]
fn package_names_follow_their_paths() {
    for package in workspace() {
        let path =
            package.folder.strip_prefix(root()).expect("inside the workspace").to_string_lossy().into_owned();
        assert_eq!(package.name, format!("{PREFIX}{}", path.replace('/', "-")));
    }
}

#[test]
fn no_dependency_is_declared_and_never_used() {
    let mut unused = Vec::new();
    for package in workspace() {
        let mut sources = Vec::new();
        read_sources(&package.folder, &mut sources);
        for dependency in &package.dependencies {
            if !sources.iter().any(|source| mentions(source, &dependency.ident)) {
                unused.push(format!(
                    "{} declares {} and never uses it",
                    short(&package.name),
                    dependency.name
                ));
            }
        }
    }
    assert!(unused.is_empty(), "\n{}\n", unused.join("\n"));
}

#[test]
fn a_forbidden_import_is_named_in_a_plain_sentence() {
    let table = parse_table(
        "# Page\n## Who may import whom\n\n| crate | may import |\n|---|---|\n| media/frame | nothing |\n\
         | media/plane, media/sip | media/frame |\n| engine/server | all |\n\n## After\n| media/sip | all |\n",
    );
    let package = |name: &str, dependencies: &[(&str, bool)]| Package {
        name: format!("antiphon-{name}"),
        folder: PathBuf::new(),
        dependencies: dependencies
            .iter()
            .map(|(name, dev)| Dependency {
                name: format!("antiphon-{name}"),
                ident: String::new(),
                dev: *dev,
            })
            .collect(),
    };
    let allowed = [
        package("media-frame", &[("media-testkit", true)]),
        package("media-sip", &[("media-frame", false), ("media-plane", true)]),
        package("engine-server", &[("media-sip", false), ("media-frame", false)]),
    ];
    assert_eq!(violations(&allowed, &table), Vec::<String>::new());
    let forbidden = [
        package("media-plane", &[("engine-server", false)]),
        package("engine-server", &[("media-testkit", false)]),
        package("engine-new", &[]),
    ];
    assert_eq!(
        violations(&forbidden, &table),
        [
            "media/plane imports engine/server, which the table in docs/ARCHITECTURE.md does not allow",
            "engine/server imports media/testkit outside its tests; only tests may use media/testkit",
            "engine/new has no row in the table in docs/ARCHITECTURE.md",
        ]
    );
}

/// Sentences that name what breaks the table.
fn violations(packages: &[Package], table: &BTreeMap<String, Grant>) -> Vec<String> {
    let mut wrongs = Vec::new();
    for package in packages {
        let importer = short(&package.name);
        let Some(grant) = table.get(&importer) else {
            wrongs.push(format!("{importer} has no row in the table in docs/ARCHITECTURE.md"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| !d.dev && d.name.starts_with(PREFIX)) {
            let imported = short(&dependency.name);
            if imported == "media/testkit" && importer != MEASURES {
                wrongs.push(format!(
                    "{importer} imports {imported} outside its tests; only tests may use {imported}"
                ));
            } else if !matches!(grant, Grant::All)
                && !matches!(grant, Grant::Only(granted) if granted.contains(&imported))
            {
                wrongs.push(format!(
                    "{importer} imports {imported}, which the table in docs/ARCHITECTURE.md does not allow"
                ));
            }
        }
    }
    wrongs
}

/// Reads the table under [`TABLE_HEADING`]: crates left, what they may import right, both separated by commas.
fn parse_table(page: &str) -> BTreeMap<String, Grant> {
    let section = page.split_once(TABLE_HEADING).expect("the page has the heading").1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let mut table = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [importers, imported] = cells[..] else { panic!("a row has two cells: {line}") };
        for importer in importers.split(", ") {
            let grant = match imported {
                "all" => Grant::All,
                "nothing" => Grant::Only(BTreeSet::new()),
                list => Grant::Only(list.split(", ").map(str::to_owned).collect()),
            };
            assert!(table.insert(importer.to_owned(), grant).is_none(), "{importer} has two rows");
        }
    }
    table
}

fn workspace() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 10, "the whole workspace is seen");
    let dependency = |value: &Value| Dependency {
        name: text(&value["name"]),
        ident: value["rename"].as_str().map_or_else(|| text(&value["name"]), str::to_owned).replace('-', "_"),
        dev: value["kind"] == "dev",
    };
    packages
        .iter()
        .map(|package| Package {
            name: text(&package["name"]),
            folder: Path::new(&text(&package["manifest_path"])).parent().expect("a folder").to_owned(),
            dependencies: package["dependencies"]
                .as_array()
                .expect("a list")
                .iter()
                .map(dependency)
                .collect(),
        })
        .collect()
}

/// `antiphon-media-rtp` is called `media/rtp` among ourselves.
fn short(package: &str) -> String {
    package.trim_start_matches(PREFIX).replacen('-', "/", 1)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace's root")
}

fn read_sources(folder: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(fs::read_to_string(&path).expect("readable source"));
        }
    }
}

/// Whether `ident` stands in `source` as a word of its own.
fn mentions(source: &str, ident: &str) -> bool {
    let within_word = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(ident).any(|(at, _)| {
        !source[..at].ends_with(within_word) && !source[at + ident.len()..].starts_with(within_word)
    })
}
