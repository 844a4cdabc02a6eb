//! Cuts a text into what is said in one run: sentences, and clauses of long ones.

/// A stretch of text up to a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) text: String,
    /// The mark after it; none at a line's end.
    pub(super) mark: Option<char>,
}

/// Clauses that are said in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) clauses: Vec<Clause>,
    /// Whether a sentence ends with it.
    pub(super) ends: bool,
}

/// The first piece is no longer than this where a mark allows it: the sooner it is said.
const FIRST: usize = 30;
/// Sentences longer than this are cut at their marks: time and memory of a run grow faster than its length.
const LONG: usize = 240;
/// Before these a full stop ends nothing.
const SHORT: [&str; 20] = [
    "dr", "mr", "mrs", "ms", "prof", "st", "sr", "jr", "no", "nr", "vs", "etc", "e.g", "i.e", "a.m", "p.m",
    "inc", "ltd", "co", "bzw",
];

/// The pieces of a text, in order; those without a letter or digit are left out.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut piece = Piece::default();
    let mut weight = 0;
    for (clause, ends) in clauses(text) {
        for part in cut(clause) {
            let more = weigh(&part.text);
            let most = if pieces.is_empty() { FIRST } else { LONG };
            if weight > 0 && weight + more > most {
                pieces.push(std::mem::take(&mut piece));
                weight = 0;
            }
            weight += more;
            piece.clauses.push(part);
        }
        if ends && !piece.clauses.is_empty() {
            piece.ends = true;
            pieces.push(std::mem::take(&mut piece));
            weight = 0;
        }
    }
    if !piece.clauses.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// How long a text is to be said, in letters; an ideograph is a syllable.
fn weigh(text: &str) -> usize {
    text.chars().map(|c| if c > '\u{2e80}' { 3 } else { 1 }).sum()
}

/// A clause that is too long for one run in parts, at spaces where there are some.
fn cut(clause: Clause) -> Vec<Clause> {
    if weigh(&clause.text) <= LONG {
        return vec![clause];
    }
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut weight = 0;
    for c in clause.text.chars() {
        weight += if c > '\u{2e80}' { 3 } else { 1 };
        part.push(c);
        if weight >= LONG || c.is_whitespace() && weight >= LONG * 3 / 4 {
            parts.push(Clause { text: std::mem::take(&mut part), mark: None });
            weight = 0;
        }
    }
    if part.is_empty() {
        if let Some(last) = parts.last_mut() {
            last.mark = clause.mark;
        }
    } else {
        parts.push(Clause { text: part, mark: clause.mark });
    }
    parts
}

/// The clauses of a text, and whether a sentence ends with each.
fn clauses(text: &str) -> Vec<(Clause, bool)> {
    let text: Vec<char> = text.chars().collect();
    let mut out: Vec<(Clause, bool)> = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while at < text.len() {
        let Some(found) = mark(&text, begin, at) else {
            at += 1;
            continue;
        };
        let words: String = text[begin..at].iter().collect();
        at += found.length;
        begin = at;
        let words = words.trim();
        if words.chars().any(char::is_alphanumeric) {
            out.push((Clause { text: words.to_owned(), mark: found.mark }, found.ends));
        } else if let (true, Some((_, ends))) = (found.ends, out.last_mut()) {
            *ends = true;
        }
    }
    let rest: String = text[begin..].iter().collect();
    if rest.chars().any(char::is_alphanumeric) {
        out.push((Clause { text: rest.trim().to_owned(), mark: None }, true));
    }
    out
}

struct Mark {
    mark: Option<char>,
    ends: bool,
    /// Characters that belong to it.
    length: usize,
}

/// The mark at `at`, if what stands there is one; the clause before it begins at `begin`.
fn mark(text: &[char], begin: usize, at: usize) -> Option<Mark> {
    let here = text[at];
    match here {
        '。' | '！' | '？' | '｡' => return Some(Mark { mark: Some(here), ends: true, length: 1 }),
        '，' | '、' | '；' | '：' => return Some(Mark { mark: Some(here), ends: false, length: 1 }),
        '…' => return Some(Mark { mark: Some(','), ends: false, length: 1 }),
        '—' => return Some(Mark { mark: Some(';'), ends: false, length: 1 }),
        '–' if spaced(text, at) => return Some(Mark { mark: Some(';'), ends: false, length: 1 }),
        '\n' => {
            let space = text[at..].iter().take_while(|c| c.is_whitespace());
            let length = space.clone().count();
            let lines = space.filter(|c| **c == '\n').count();
            return (lines > 1).then_some(Mark { mark: None, ends: true, length });
        }
        '.' | '?' | '!' | ',' | ';' | ':' => {}
        _ => return None,
    }
    let run = text[at..].iter().take_while(|c| ".?!,;:".contains(**c)).count();
    let closing = text[at + run..].iter().take_while(|c| "\"')]}»”’".contains(**c)).count();
    let length = run + closing;
    if text.get(at + length).is_some_and(|c| !c.is_whitespace() && *c < '\u{2e80}') {
        return None;
    }
    let marks = &text[at..at + run];
    let following = text[at + length..].iter().find(|c| !c.is_whitespace() && !"\"'([{«“‘".contains(**c));
    let (mark, ends) = if marks.contains(&'?') {
        ('?', true)
    } else if marks.contains(&'!') {
        ('!', true)
    } else if marks.len() > 1 && marks.iter().all(|c| *c == '.') {
        (',', following.is_none())
    } else if here == '.' {
        if following.is_some_and(|c| c.is_lowercase()) || following.is_some() && short(&text[begin..at]) {
            return None;
        }
        ('.', true)
    } else {
        (here, following.is_none())
    };
    Some(Mark { mark: Some(mark), ends, length })
}

fn spaced(text: &[char], at: usize) -> bool {
    let space = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|c| c.is_whitespace());
    space(at.checked_sub(1)) && space(at.checked_add(1))
}

/// Whether the last word is one that is written with a full stop: `Dr`, an initial.
fn short(before: &[char]) -> bool {
    let word: String = before.iter().rev().take_while(|c| c.is_alphabetic() || **c == '.').collect();
    let word: String = word.chars().rev().collect();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase) && word != "I";
    initial || SHORT.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clauses divided by `|`, sentences by `||`.
    fn shown(text: &str) -> String {
        clauses(text).into_iter().fold(String::new(), |mut out, (clause, ends)| {
            out.push_str(&clause.text);
            out.extend(clause.mark);
            out.push_str(if ends { "||" } else { "|" });
            out
        })
    }

    #[test]
    fn clauses_end_at_marks_that_something_follows() {
        assert_eq!(shown("Hello, world. It is 10:30; isn't it?"), "Hello,|world.||It is 10:30;|isn't it?||");
        assert_eq!(
            shown("It costs $3.50, e.g. at 10 a.m. (or later)."),
            "It costs $3.50,|e.g. at 10 a.m. (or later).||"
        );
        assert_eq!(shown("\"Quoted,\" he said. Really?! Yes..."), "\"Quoted,|he said.||Really?||Yes,||");
        assert_eq!(shown("Dr. Smith and J. Doe. So am I. Yes"), "Dr. Smith and J. Doe.||So am I.||Yes||");
        assert_eq!(shown("No – never — well 3–4"), "No;|never;|well 3–4||");
        assert_eq!(shown("A line\nand more\n\nA paragraph"), "A line\nand more||A paragraph||");
    }

    #[test]
    fn chinese_marks_need_no_space() {
        assert_eq!(shown("您好，请问：好的。再见！"), "您好，|请问：|好的。||再见！||");
        assert_eq!(shown("您的余额是3.5元吗？是."), "您的余额是3.5元吗？||是.||");
    }

    #[test]
    fn what_has_no_words_is_no_clause() {
        assert_eq!(shown(" ... , !\n\n"), "");
        assert!(pieces("…—").is_empty());
        assert_eq!(shown("Yes. ..."), "Yes.||");
    }

    #[test]
    fn the_first_piece_is_short_and_no_piece_is_very_long() {
        let text =
            "Thank you for calling, we are glad that you are here, and will be with you shortly. Goodbye.";
        let cut = pieces(text);
        assert_eq!(cut.len(), 3, "{cut:?}");
        assert_eq!((cut[0].clauses[0].text.as_str(), cut[0].ends), ("Thank you for calling", false));
        assert_eq!((cut[1].clauses.len(), cut[1].ends), (2, true));
        for text in ["word ".repeat(500), "字".repeat(900), "x".repeat(3_000)] {
            let cut = pieces(&text);
            assert!(cut.len() >= 10, "{}", cut.len());
            let said: String = cut.iter().flat_map(|p| &p.clauses).map(|c| c.text.as_str()).collect();
            assert_eq!(said.trim(), text.trim());
            assert!(cut.iter().flat_map(|p| &p.clauses).all(|c| weigh(&c.text) <= LONG + 3));
        }
    }
}
