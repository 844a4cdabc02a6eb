//! How Chinese sounds: syllables without tones, homophones, and what accents take for each other.

use pinyin::{ToPinyin, ToPinyinMulti};

/// The most readings of one character that are compared.
const MOST: usize = 6;

/// The syllables that a token may be read as; a word in letters is read as itself.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    syllables: Vec<&'static str>,
    /// The syllables as [`folded`]: compared far more often than made.
    thin: Vec<String>,
    letters: Option<String>,
}

impl Readings {
    pub(crate) fn of(token: &str) -> Self {
        let mut chars = token.chars();
        if let (Some(c), None) = (chars.next(), chars.next()) {
            let mut syllables: Vec<&'static str> = Vec::new();
            if let Some(all) = c.to_pinyin_multi() {
                for reading in all {
                    let plain = reading.plain();
                    if !syllables.contains(&plain) && syllables.len() < MOST {
                        syllables.push(plain);
                    }
                }
            } else if let Some(one) = c.to_pinyin() {
                syllables.push(one.plain());
            }
            if !syllables.is_empty() {
                let thin = syllables.iter().map(|syllable| folded(syllable)).collect();
                return Self { syllables, thin, letters: None };
            }
        }
        Self { syllables: Vec::new(), thin: Vec::new(), letters: Some(token.to_owned()) }
    }

    /// Whether both may be read alike; `accent` forgives what accents do.
    pub(crate) fn alike(&self, other: &Self, accent: bool) -> bool {
        if accent {
            return self.thin.iter().any(|syllable| other.thin.contains(syllable));
        }
        self.syllables.iter().any(|syllable| other.syllables.contains(syllable))
    }
}

/// A syllable as people say it who tell neither `zh` from `z`, `n` from `l`, nor `ng` from `n`; and `ü` as `v`.
pub(crate) fn folded(syllable: &str) -> String {
    let mut out = syllable.replace('ü', "v");
    for (thick, thin) in [("zh", "z"), ("ch", "c"), ("sh", "s")] {
        if let Some(rest) = out.strip_prefix(thick) {
            out = format!("{thin}{rest}");
        }
    }
    if let Some(rest) = out.strip_prefix('n') {
        out = format!("l{rest}");
    }
    if ["ang", "eng", "ing"].iter().any(|end| out.ends_with(end)) {
        out.pop();
    }
    out
}

/// Written pinyin or characters to be recognised by their sound.
#[derive(Clone, Debug)]
pub(crate) enum Sound {
    /// Pinyin, letters only: where syllables divide is found while matching.
    Letters(String),
    /// One entry a character.
    Characters(Vec<Readings>),
}

impl Sound {
    /// Reads `bao ben`, `bǎo běn`, `bao3 ben3`, `baoben` or 保本; `None` where nothing is to be said.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let han: Vec<Readings> =
            text.chars().filter(|c| !c.is_whitespace()).map(|c| Readings::of(&c.to_string())).collect();
        if !han.is_empty() && han.iter().all(|readings| readings.letters.is_none()) {
            return Some(Self::Characters(han));
        }
        let mut letters = String::new();
        for c in text.chars().flat_map(char::to_lowercase) {
            match c {
                'a'..='z' => letters.push(c),
                'ü' | 'ǖ' | 'ǘ' | 'ǚ' | 'ǜ' => letters.push('v'),
                'ā' | 'á' | 'ǎ' | 'à' => letters.push('a'),
                'ē' | 'é' | 'ě' | 'è' => letters.push('e'),
                'ī' | 'í' | 'ǐ' | 'ì' => letters.push('i'),
                'ō' | 'ó' | 'ǒ' | 'ò' => letters.push('o'),
                'ū' | 'ú' | 'ǔ' | 'ù' => letters.push('u'),
                '0'..='5' | '\'' | '-' => {}
                c if c.is_whitespace() => {}
                _ => return None,
            }
        }
        (!letters.is_empty()).then_some(Self::Letters(letters))
    }

    /// The end of a match that begins at `at`.
    pub(crate) fn matches(&self, tokens: &[Readings], at: usize, accent: bool) -> Option<usize> {
        match self {
            Self::Characters(characters) => {
                let end = at + characters.len();
                let window = tokens.get(at..end)?;
                window.iter().zip(characters).all(|(a, b)| a.alike(b, accent)).then_some(end)
            }
            Self::Letters(letters) if !accent => spelt(tokens, at, letters),
            Self::Letters(letters) => spelt_folded(tokens, at, letters),
        }
    }
}

fn spelt(tokens: &[Readings], at: usize, letters: &str) -> Option<usize> {
    if letters.is_empty() {
        return Some(at);
    }
    let token = tokens.get(at)?;
    token.syllables.iter().find_map(|syllable| {
        let rest = match letters.strip_prefix(syllable) {
            Some(rest) => rest,
            None => letters.strip_prefix(syllable.replace('ü', "v").as_str())?,
        };
        spelt(tokens, at + 1, rest)
    })
}

/// As [`spelt`], where each syllable written may be any that folds to the one heard.
fn spelt_folded(tokens: &[Readings], at: usize, letters: &str) -> Option<usize> {
    if letters.is_empty() {
        return Some(at);
    }
    let token = tokens.get(at)?;
    (1..=letters.len().min(6)).rev().find_map(|length| {
        let (first, rest) = letters.split_at(length);
        let first = folded(first);
        token
            .syllables
            .iter()
            .any(|syllable| folded(syllable) == first)
            .then(|| spelt_folded(tokens, at + 1, rest))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<Readings> {
        text.chars().map(|c| Readings::of(&c.to_string())).collect()
    }

    #[test]
    fn pinyin_is_recognised_however_it_is_written() {
        for written in ["bubaoben", "bu bao ben", "bù bǎo běn", "bu4 bao3 ben3", "不保本", "布宝苯"]
        {
            let sound = Sound::parse(written).expect(written);
            assert_eq!(sound.matches(&readings("我不保本"), 1, false), Some(4), "{written}");
            assert_eq!(sound.matches(&readings("我不保本"), 0, false), None, "{written}");
        }
        assert!(Sound::parse("!").is_none());
        assert!(Sound::parse("").is_none());
    }

    #[test]
    fn every_reading_of_a_character_counts() {
        let sound = Sound::parse("yinhang").expect("pinyin");
        assert_eq!(sound.matches(&readings("银行"), 0, false), Some(2));
        assert_eq!(Sound::parse("chongfu").expect("pinyin").matches(&readings("重复"), 0, false), Some(2));
        assert_eq!(Sound::parse("lvse").expect("pinyin").matches(&readings("绿色"), 0, false), Some(2));
    }

    #[test]
    fn accents_are_forgiven_where_that_is_wanted() {
        let sound = Sound::parse("shouyi").expect("pinyin");
        assert_eq!(sound.matches(&readings("搜一"), 0, false), None);
        assert_eq!(sound.matches(&readings("搜一"), 0, true), Some(2));
        let sound = Sound::parse("保证").expect("characters");
        assert_eq!(sound.matches(&readings("保真"), 0, true), Some(2));
        assert_eq!(sound.matches(&readings("保真"), 0, false), None);
        assert_eq!(sound.matches(&readings("报名"), 0, true), None);
    }
}
