//! Numbers as they are compared and dialled: one spelling each, so that nothing slips past a pattern in another.

/// Longest number or user name taken.
const LONGEST: usize = 64;

/// Why something is no number that could be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberError {
    /// Nothing is left of it.
    #[error("the number is empty")]
    Empty,
    /// Longer than any number is.
    #[error("the number is longer than {LONGEST} characters")]
    TooLong,
    /// A character that stands in no number and no user name.
    #[error("the number holds a character that cannot be dialled")]
    Character,
}

/// The one spelling of a number or user name: without parameters, escapes and the separators people write (RFC 3966,
/// section 5.1.1).
pub(crate) fn normal(user: &str) -> Result<String, NumberError> {
    if user.len() > 8 * LONGEST {
        return Err(NumberError::TooLong);
    }
    let bare = unescape(user.split(';').next().unwrap_or_default())?;
    // After unescaping, since `%3B` begins parameters no less for whoever is called.
    let bare = bare.split(';').next().unwrap_or_default();
    let numeric = bare.bytes().any(|b| b.is_ascii_digit())
        && bare.bytes().all(|b| b.is_ascii_digit() || b"+*#-.() ".contains(&b));
    let number: String =
        if numeric { bare.chars().filter(|c| !"-.() ".contains(*c)).collect() } else { bare.to_owned() };
    if number.is_empty() {
        return Err(NumberError::Empty);
    }
    if number.len() > LONGEST {
        return Err(NumberError::TooLong);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+*#-_.!~'&=$".contains(&b);
    // A plus begins an international number and stands nowhere else.
    if !number.bytes().all(plain) || (numeric && number[1..].contains('+')) {
        return Err(NumberError::Character);
    }
    Ok(number)
}

/// A number as it stands in a SIP URI (RFC 3261, section 25.1).
pub(crate) fn escape(number: &str) -> String {
    let mut escaped = String::with_capacity(number.len());
    for byte in number.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'&=+$".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn unescape(text: &str) -> Result<String, NumberError> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let mut digit =
            || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(NumberError::Character);
        let (high, low) = (digit()?, digit()?);
        // Two hexadecimal digits fit a byte.
        plain.push(u8::try_from(high * 16 + low).map_err(|_| NumberError::Character)?);
    }
    String::from_utf8(plain).map_err(|_| NumberError::Character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_number_becomes_one() {
        for text in [
            "+442071838750",
            "+44-20-7183-8750",
            "+44(20)7183.8750",
            "%2B442071838750",
            "+44%2D20%2D71838750",
            "+442071838750;phone-context=+1",
            "+442071838750%3Bcic=1",
            "+44 20 7183 8750",
        ] {
            assert_eq!(normal(text).expect(text), "+442071838750", "{text}");
        }
        assert_eq!(normal("alice.smith").expect("a name"), "alice.smith", "names keep their dots");
        assert_eq!(normal("*86#").expect("keys"), "*86#");
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for (text, error) in [
            ("", NumberError::Empty),
            (";x=1", NumberError::Empty),
            ("%3B1", NumberError::Empty),
            ("12+34", NumberError::Character),
            ("++44", NumberError::Character),
            ("a@b", NumberError::Character),
            ("1%0D%0A", NumberError::Character),
            ("1%0", NumberError::Character),
            ("%FF", NumberError::Character),
            ("１２３", NumberError::Character),
            ("a,b", NumberError::Character),
            ("a>b", NumberError::Character),
        ] {
            assert_eq!(normal(text), Err(error), "{text}");
        }
        assert_eq!(normal(&"1".repeat(65)), Err(NumberError::TooLong));
        assert_eq!(normal(&"-".repeat(100_000)), Err(NumberError::TooLong));
    }

    #[test]
    fn an_escaped_number_is_read_back() {
        for number in ["+4420", "*86#", "alice.smith", "a'b"] {
            assert_eq!(normal(&escape(number)).expect(number), number);
        }
        assert_eq!(escape("*86#"), "*86%23");
    }
}
