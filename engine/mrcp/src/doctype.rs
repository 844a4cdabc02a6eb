//! Document type declarations, which grammars and SSML often begin with and which nobody needs.

/// The text with its document type blanked out, lines and columns where they were.
///
/// # Errors
/// The line of a declaration that declares things itself (entities above all).
pub(crate) fn without(text: &str) -> Result<String, u32> {
    let Some(start) = text.find("<!DOCTYPE") else { return Ok(text.to_owned()) };
    let line = text[..start].matches('\n').count() as u32 + 1;
    let Some(length) = text[start..].find(['>', '[']) else { return Err(line) };
    let end = start + length;
    if text.as_bytes()[end] == b'[' {
        return Err(line);
    }
    let blank: String = text[start..=end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
    Ok(format!("{}{blank}{}", &text[..start], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn declarations_vanish_and_entities_are_refused() {
        let text = "<?xml version='1.0'?>\n<!DOCTYPE grammar PUBLIC \"a\"\n \"b\">\n<grammar/>";
        let without = super::without(text).expect("plain");
        assert!(!without.contains("DOCTYPE"));
        assert_eq!(without.lines().position(|line| line == "<grammar/>"), Some(3));
        assert_eq!(super::without("\n<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"), Err(2));
        assert_eq!(super::without("<!DOCTYPE a"), Err(1));
        assert_eq!(super::without("<a/>").as_deref(), Ok("<a/>"));
    }
}
