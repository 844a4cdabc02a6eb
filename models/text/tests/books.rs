//! How well the rules put marks and capitals into prose that had them: the novels of `shared/text`. They are no calls, and
//! there are no pauses in them; what is measured is what the words alone tell. Skips aloud where the books are not there.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops, and tells its figures"
)]

use std::fs;
use std::path::PathBuf;

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::{Language, Utterance};
use antiphon_models_text::{Finisher, Mark, Style};

fn books() -> Option<Vec<PathBuf>> {
    let folder = std::env::current_dir()
        .unwrap()
        .ancestors()
        .map(|up| up.join("shared/text"))
        .find(|path| path.is_dir())?;
    let mut books: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "txt"))
        .collect();
    books.sort();
    Some(books)
}

#[derive(Default)]
struct Score {
    right: f64,
    found: f64,
    wanted: f64,
}

impl Score {
    fn add(&mut self, found: bool, wanted: bool) {
        self.right += f64::from(u8::from(found && wanted));
        self.found += f64::from(u8::from(found));
        self.wanted += f64::from(u8::from(wanted));
    }

    fn f1(&self) -> f64 {
        2.0 * self.right / (self.found + self.wanted).max(1.0)
    }

    fn line(&self, name: &str) -> String {
        let (precision, recall) = (self.right / self.found.max(1.0), self.right / self.wanted.max(1.0));
        format!(
            "{name}: precision {precision:.3}, recall {recall:.3}, F1 {:.3} ({} wanted)",
            self.f1(),
            self.wanted
        )
    }
}

/// Sentences of a book as (words with their marks), 3 to 30 words without quotation and figures.
fn sentences(text: &str) -> Vec<Vec<&str>> {
    let mut sentences = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut plain = true;
    for word in text.split_whitespace() {
        open.push(word);
        let body = word.trim_end_matches([',', '.', '?']);
        plain &= !body.is_empty() && body.chars().all(|c| c.is_ascii_alphabetic() || c == '\'');
        if word.ends_with(['.', '?', '!', '"', '”']) {
            let abbreviated = matches!(body, "Mr" | "Mrs" | "Dr" | "St" | "M");
            if abbreviated {
                continue;
            }
            let begins = open[0].chars().next().is_some_and(char::is_uppercase);
            if plain && begins && (3..=30).contains(&open.len()) && word.ends_with(['.', '?']) {
                sentences.push(std::mem::take(&mut open));
            }
            open.clear();
            plain = true;
        }
    }
    sentences
}

#[test]
fn the_rules_reach_their_figures_on_prose() {
    let Some(books) = books() else {
        eprintln!(
            "SKIPPED: no folder shared/text with books above {}",
            std::env::current_dir().unwrap().display()
        );
        return;
    };
    let mut finisher =
        Finisher::new(&Language::english(), &Style { numbers: false, ..Style::default() }).unwrap();
    let (mut question, mut comma, mut capital) = (Score::default(), Score::default(), Score::default());
    let mut count = 0;
    for book in books {
        let text = String::from_utf8_lossy(&fs::read(book).unwrap()).into_owned();
        for sentence in sentences(&text) {
            count += 1;
            let bare: Vec<String> =
                sentence.iter().map(|word| word.trim_end_matches([',', '.', '?']).to_lowercase()).collect();
            let utterance = Utterance {
                text: bare.join(" "),
                words: Vec::new(),
                start: MediaTime::ZERO,
                end: MediaTime::ZERO,
                confidence: 1.0,
                language: None,
            };
            let tokens = finisher.last(&utterance).tokens;
            assert_eq!(tokens.len(), sentence.len());
            let last = sentence.len() - 1;
            question.add(tokens[last].mark == Some(Mark::Question), sentence[last].ends_with('?'));
            for (token, word) in tokens.iter().zip(&sentence) {
                comma.add(token.mark == Some(Mark::Comma), word.ends_with(','));
                let upper = |text: &str| text.chars().next().is_some_and(char::is_uppercase);
                capital.add(upper(&token.text), upper(word));
            }
        }
    }
    let lines = [question.line("questions"), comma.line("commas"), capital.line("capitals")];
    eprintln!("{count} sentences\n{}", lines.join("\n"));
    assert!(count > 10_000, "{count} sentences");
    assert!(question.f1() > QUESTIONS, "{}", lines[0]);
    assert!(comma.f1() > COMMAS, "{}", lines[1]);
    assert!(capital.f1() > CAPITALS, "{}", lines[2]);
}

/// Floors a little under what was measured.
const QUESTIONS: f64 = 0.74;
const COMMAS: f64 = 0.09;
const CAPITALS: f64 = 0.82;
