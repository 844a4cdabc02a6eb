//! What a single English word can be in a number, a date or a spelled code.

/// The part a word can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// None.
    Word,
    /// `zero` to `nine`.
    Digit(u8),
    /// `oh`, and `o` among digits.
    Oh,
    /// `ten` to `nineteen`.
    Teen(u8),
    /// `twenty` to `ninety`.
    Tens(u8),
    /// `hundred`.
    Hundred,
    /// `thousand` and up.
    Scale(u64),
    /// `first` to `nineteenth`, `twentieth` to `ninetieth`, `hundredth`, `thousandth`, `millionth`.
    Ordinal(u64),
    /// One letter by itself.
    Letter(u8),
    /// `double`, `triple`.
    Times(u8),
}

impl Class {
    /// Whether the word is said in numbers and nearly nowhere else.
    pub(super) const fn numeric(self) -> bool {
        matches!(
            self,
            Self::Digit(_) | Self::Oh | Self::Teen(_) | Self::Tens(_) | Self::Hundred | Self::Scale(_)
        )
    }
}

/// The class of `word`, which is in lower case.
pub(super) fn class(word: &str) -> Class {
    use Class::{Digit, Hundred, Letter, Oh, Ordinal, Scale, Teen, Tens, Times, Word};
    match word {
        "zero" | "nought" => Digit(0),
        "one" => Digit(1),
        "two" => Digit(2),
        "three" => Digit(3),
        "four" => Digit(4),
        "five" => Digit(5),
        "six" => Digit(6),
        "seven" => Digit(7),
        "eight" => Digit(8),
        "nine" | "niner" => Digit(9),
        "oh" => Oh,
        "ten" => Teen(10),
        "eleven" => Teen(11),
        "twelve" => Teen(12),
        "thirteen" => Teen(13),
        "fourteen" => Teen(14),
        "fifteen" => Teen(15),
        "sixteen" => Teen(16),
        "seventeen" => Teen(17),
        "eighteen" => Teen(18),
        "nineteen" => Teen(19),
        "twenty" => Tens(20),
        "thirty" => Tens(30),
        "forty" | "fourty" => Tens(40),
        "fifty" => Tens(50),
        "sixty" => Tens(60),
        "seventy" => Tens(70),
        "eighty" => Tens(80),
        "ninety" => Tens(90),
        "hundred" => Hundred,
        "thousand" => Scale(1_000),
        "million" => Scale(1_000_000),
        "billion" => Scale(1_000_000_000),
        "trillion" => Scale(1_000_000_000_000),
        "first" => Ordinal(1),
        "second" => Ordinal(2),
        "third" => Ordinal(3),
        "fourth" => Ordinal(4),
        "fifth" => Ordinal(5),
        "sixth" => Ordinal(6),
        "seventh" => Ordinal(7),
        "eighth" => Ordinal(8),
        "ninth" => Ordinal(9),
        "tenth" => Ordinal(10),
        "eleventh" => Ordinal(11),
        "twelfth" => Ordinal(12),
        "thirteenth" => Ordinal(13),
        "fourteenth" => Ordinal(14),
        "fifteenth" => Ordinal(15),
        "sixteenth" => Ordinal(16),
        "seventeenth" => Ordinal(17),
        "eighteenth" => Ordinal(18),
        "nineteenth" => Ordinal(19),
        "twentieth" => Ordinal(20),
        "thirtieth" => Ordinal(30),
        "fortieth" => Ordinal(40),
        "fiftieth" => Ordinal(50),
        "sixtieth" => Ordinal(60),
        "seventieth" => Ordinal(70),
        "eightieth" => Ordinal(80),
        "ninetieth" => Ordinal(90),
        "hundredth" => Ordinal(100),
        "thousandth" => Ordinal(1_000),
        "millionth" => Ordinal(1_000_000),
        "double" => Times(2),
        "triple" | "treble" => Times(3),
        _ => match word.as_bytes() {
            [letter @ b'a'..=b'z'] => Letter(letter.to_ascii_uppercase()),
            _ => Word,
        },
    }
}

/// The month and its written name. `may` and `march` are words besides: the caller wants more proof.
pub(super) fn month(word: &str) -> Option<&'static str> {
    Some(match word {
        "january" => "January",
        "february" => "February",
        "march" => "March",
        "april" => "April",
        "may" => "May",
        "june" => "June",
        "july" => "July",
        "august" => "August",
        "september" => "September",
        "october" => "October",
        "november" => "November",
        "december" => "December",
        _ => return None,
    })
}

/// The letter of a word of the radiotelephony alphabet.
pub(super) fn radio(word: &str) -> Option<u8> {
    const ALPHABET: [&str; 26] = [
        "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo",
        "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform",
        "victor", "whiskey", "xray", "yankee", "zulu",
    ];
    let letter = match word {
        "alfa" => b'A',
        "juliett" => b'J',
        "whisky" => b'W',
        "x-ray" => b'X',
        _ => b'A' + u8::try_from(ALPHABET.iter().position(|&name| name == word)?).ok()?,
    };
    Some(letter)
}

/// How a unit is written behind its number, and how many words it takes. `None` where the words are no unit that is
/// shortened; [`counted`] knows those that keep their name.
pub(super) fn unit(words: &[&str]) -> Option<(&'static str, usize)> {
    let one = |sign| Some((sign, 1));
    match words {
        ["miles", "per", "hour", ..] | ["mile", "per", "hour", ..] => Some((" mph", 3)),
        ["kilometers" | "kilometres", "per" | "an", "hour", ..] => Some((" km/h", 3)),
        ["meters" | "metres", "per", "second", ..] => Some((" m/s", 3)),
        ["megabits", "per", "second", ..] => Some((" Mbps", 3)),
        ["kilobits", "per", "second", ..] => Some((" kbps", 3)),
        ["gigabits", "per", "second", ..] => Some((" Gbps", 3)),
        ["beats", "per", "minute", ..] => Some((" bpm", 3)),
        ["degree" | "degrees", "celsius" | "centigrade", ..] => Some((" °C", 2)),
        ["degree" | "degrees", "fahrenheit", ..] => Some((" °F", 2)),
        ["kilowatt", "hour" | "hours", ..] => Some((" kWh", 2)),
        ["square", "meter" | "meters" | "metre" | "metres", ..] => Some((" m²", 2)),
        ["square", "kilometer" | "kilometers" | "kilometre" | "kilometres", ..] => Some((" km²", 2)),
        ["square", "foot" | "feet", ..] => Some((" sq ft", 2)),
        ["cubic", "meter" | "meters" | "metre" | "metres", ..] => Some((" m³", 2)),
        [word, ..] => match *word {
            "kilometer" | "kilometers" | "kilometre" | "kilometres" => one(" km"),
            "centimeter" | "centimeters" | "centimetre" | "centimetres" => one(" cm"),
            "millimeter" | "millimeters" | "millimetre" | "millimetres" => one(" mm"),
            "kilogram" | "kilograms" | "kilo" | "kilos" => one(" kg"),
            "milligram" | "milligrams" => one(" mg"),
            "milliliter" | "milliliters" | "millilitre" | "millilitres" => one(" ml"),
            "millisecond" | "milliseconds" => one(" ms"),
            "kilobyte" | "kilobytes" => one(" KB"),
            "megabyte" | "megabytes" => one(" MB"),
            "gigabyte" | "gigabytes" | "gig" | "gigs" => one(" GB"),
            "terabyte" | "terabytes" => one(" TB"),
            "hertz" => one(" Hz"),
            "kilohertz" => one(" kHz"),
            "megahertz" => one(" MHz"),
            "gigahertz" => one(" GHz"),
            "kilowatt" | "kilowatts" => one(" kW"),
            "megawatt" | "megawatts" => one(" MW"),
            "milliamp" | "milliamps" => one(" mA"),
            "decibel" | "decibels" => one(" dB"),
            _ => None,
        },
        [] => None,
    }
}

/// Units that keep their name behind a number in digits, however small.
pub(super) fn counted(word: &str) -> bool {
    matches!(
        word,
        "meters"
            | "metres"
            | "meter"
            | "metre"
            | "feet"
            | "inches"
            | "inch"
            | "miles"
            | "mile"
            | "yards"
            | "grams"
            | "gram"
            | "ounces"
            | "ounce"
            | "liters"
            | "litres"
            | "liter"
            | "litre"
            | "gallons"
            | "gallon"
            | "degrees"
            | "volts"
            | "amps"
            | "watts"
            | "watt"
            | "volt"
            | "tons"
            | "tonnes"
            | "acres"
            | "bytes"
            | "bits"
            | "pixels"
            | "cents"
            | "pence"
            | "yuan"
            | "yen"
            | "rupees"
            | "francs"
            | "bucks"
            | "quid"
            | "pounds"
            | "calories"
            | "mils"
    )
}

/// Words behind which even a small number is written in digits.
pub(super) fn cue(word: &str) -> bool {
    matches!(
        word,
        "press"
            | "pressed"
            | "dial"
            | "option"
            | "extension"
            | "room"
            | "gate"
            | "flight"
            | "chapter"
            | "page"
            | "terminal"
            | "platform"
            | "version"
            | "apartment"
            | "suite"
            | "route"
            | "channel"
            | "code"
            | "pin"
            | "zip"
            | "zipcode"
            | "postcode"
            | "ticket"
            | "reference"
            | "account"
            | "model"
            | "seat"
            | "aisle"
            | "floor"
            | "lane"
            | "track"
            | "section"
            | "paragraph"
            | "article"
            | "exit"
            | "window"
            | "desk"
            | "counter"
            | "serial"
            | "digits"
            | "ending"
            | "level"
            | "unit"
            | "phase"
    )
}

/// Words before a year.
pub(super) fn year_cue(word: &str) -> bool {
    month(word).is_some()
        || matches!(
            word,
            "in" | "since"
                | "year"
                | "until"
                | "till"
                | "before"
                | "after"
                | "by"
                | "from"
                | "during"
                | "of"
                | "circa"
                | "early"
                | "late"
                | "mid"
                | "spring"
                | "summer"
                | "autumn"
                | "fall"
                | "winter"
        )
}

/// Words before a time of day.
pub(super) fn time_cue(word: &str) -> bool {
    matches!(word, "at" | "by" | "until" | "till" | "before" | "after" | "from" | "past")
}

/// Words that cannot be what a bare amount counts, so that "ten dollars fifty" in front of them is one price.
pub(super) fn closes_price(word: &str) -> bool {
    matches!(
        word,
        "a" | "an"
            | "per"
            | "each"
            | "every"
            | "for"
            | "and"
            | "or"
            | "but"
            | "to"
            | "is"
            | "was"
            | "in"
            | "on"
            | "please"
            | "more"
            | "less"
            | "off"
            | "plus"
            | "with"
            | "from"
            | "if"
            | "so"
            | "then"
            | "it"
            | "that"
            | "total"
            | "altogether"
            | "back"
            | "today"
            | "now"
            | "only"
            | "i"
            | "we"
            | "you"
            | "by"
            | "which"
            | "as"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_one_class() {
        assert_eq!(class("nine"), Class::Digit(9));
        assert_eq!(class("q"), Class::Letter(b'Q'));
        assert_eq!(class("question"), Class::Word);
        assert!(!class("second").numeric());
    }

    #[test]
    fn the_radio_alphabet_is_in_order() {
        assert_eq!(radio("alpha"), Some(b'A'));
        assert_eq!(radio("mike"), Some(b'M'));
        assert_eq!(radio("zulu"), Some(b'Z'));
        assert_eq!(radio("zebra"), None);
    }
}
