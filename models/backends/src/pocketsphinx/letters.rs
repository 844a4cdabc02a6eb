//! English letters to sounds, for names and brands that no dictionary has. A rule set of the commonest spellings: a
//! recogniser needs a pronunciation near enough to be preferred, not the right one.

/// Spellings and their phones (CMU set), longest first within each length; the first that fits is taken.
const RULES: &[(&str, &str)] = &[
    ("tion", "SH AH N"),
    ("sion", "ZH AH N"),
    ("ough", "AO"),
    ("eigh", "EY"),
    ("augh", "AO"),
    ("tch", "CH"),
    ("sch", "S K"),
    ("igh", "AY"),
    ("dge", "JH"),
    ("que", "K"),
    ("ch", "CH"),
    ("ck", "K"),
    ("gh", "G"),
    ("gn", "N"),
    ("kn", "N"),
    ("ng", "NG"),
    ("ph", "F"),
    ("qu", "K W"),
    ("sh", "SH"),
    ("th", "TH"),
    ("wh", "W"),
    ("wr", "R"),
    ("ai", "EY"),
    ("ar", "AA R"),
    ("au", "AO"),
    ("aw", "AO"),
    ("ay", "EY"),
    ("ea", "IY"),
    ("ee", "IY"),
    ("ei", "IY"),
    ("er", "ER"),
    ("eu", "UW"),
    ("ew", "UW"),
    ("ey", "IY"),
    ("ie", "IY"),
    ("ir", "ER"),
    ("oa", "OW"),
    ("oi", "OY"),
    ("oo", "UW"),
    ("or", "AO R"),
    ("ou", "AW"),
    ("ow", "OW"),
    ("oy", "OY"),
    ("ui", "UW"),
    ("ur", "ER"),
    ("ce", "S EH"),
    ("ci", "S IH"),
    ("cy", "S IY"),
    ("ge", "JH EH"),
    ("gi", "G IH"),
    ("bb", "B"),
    ("cc", "K"),
    ("dd", "D"),
    ("ff", "F"),
    ("gg", "G"),
    ("ll", "L"),
    ("mm", "M"),
    ("nn", "N"),
    ("pp", "P"),
    ("rr", "R"),
    ("ss", "S"),
    ("tt", "T"),
    ("zz", "Z"),
    ("a", "AE"),
    ("b", "B"),
    ("c", "K"),
    ("d", "D"),
    ("e", "EH"),
    ("f", "F"),
    ("g", "G"),
    ("h", "HH"),
    ("i", "IH"),
    ("j", "JH"),
    ("k", "K"),
    ("l", "L"),
    ("m", "M"),
    ("n", "N"),
    ("o", "AA"),
    ("p", "P"),
    ("q", "K"),
    ("r", "R"),
    ("s", "S"),
    ("t", "T"),
    ("u", "AH"),
    ("v", "V"),
    ("w", "W"),
    ("x", "K S"),
    ("y", "IY"),
    ("z", "Z"),
];

/// The names of the letters, for what is spelt out: A first.
const NAMES: [&str; 26] = [
    "EY",
    "B IY",
    "S IY",
    "D IY",
    "IY",
    "EH F",
    "JH IY",
    "EY CH",
    "AY",
    "JH EY",
    "K EY",
    "EH L",
    "EH M",
    "EH N",
    "OW",
    "P IY",
    "K Y UW",
    "AA R",
    "EH S",
    "T IY",
    "Y UW",
    "V IY",
    "D AH B AH L Y UW",
    "EH K S",
    "W AY",
    "Z IY",
];

/// Words beyond this many letters are not words.
const LONGEST: usize = 40;

/// Guesses how a lower-case word is said; `None` where it has no English letters or is absurdly long.
pub(super) fn pronounce(word: &str) -> Option<String> {
    let letters: String = word.chars().filter(char::is_ascii_lowercase).collect();
    if letters.is_empty() || letters.len() > LONGEST {
        return None;
    }
    let vowels = letters.bytes().any(|b| b"aeiouy".contains(&b));
    if letters.len() == 1 || !vowels {
        let names: Vec<_> = letters.bytes().map(|b| NAMES[usize::from(b - b'a')]).collect();
        return Some(names.join(" "));
    }
    let mut rest = letters.as_str();
    let mut phones = Vec::new();
    while !rest.is_empty() {
        let begins = rest.len() == letters.len();
        // A final e after a consonant is silent, and lengthens nothing here: both readings are near enough.
        if rest == "e" && letters.len() > 3 {
            break;
        }
        if begins && rest.starts_with('y') {
            phones.push("Y");
            rest = &rest[1..];
            continue;
        }
        // Every lower-case letter has a rule of its own, so something always fits.
        let (spelling, sound) = RULES.iter().find(|(spelling, _)| rest.starts_with(spelling))?;
        phones.push(sound);
        rest = &rest[spelling.len()..];
    }
    Some(phones.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_abbreviations_get_plausible_sounds() {
        assert_eq!(pronounce("antiphon").as_deref(), Some("AE N T IH F AA N"));
        assert_eq!(pronounce("hsbc").as_deref(), Some("EY CH EH S B IY S IY"));
        assert_eq!(pronounce("yorke").as_deref(), Some("Y AO R K"));
        assert_eq!(pronounce("q").as_deref(), Some("K Y UW"));
    }

    #[test]
    fn every_word_of_letters_is_pronounced_and_nothing_else_is() {
        for first in b'a'..=b'z' {
            for second in b'a'..=b'z' {
                let word = String::from_utf8(vec![first, second, b'a']).expect("ascii");
                assert!(pronounce(&word).is_some_and(|p| !p.is_empty()), "{word}");
            }
        }
        assert_eq!(pronounce("查询"), None);
        assert_eq!(pronounce(""), None);
        assert_eq!(pronounce(&"a".repeat(41)), None);
    }
}
