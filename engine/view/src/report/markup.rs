//! HTML that is escaped by construction: what is not written in this crate enters as text or as an attribute's value.

use std::fmt::Write;

/// A page being written.
#[derive(Debug, Default)]
pub(crate) struct Html(String);

impl Html {
    /// Markup of our own.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text of anybody's. Characters that HTML does not know come out as U+FFFD.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                // Direction marks could make a line read as what it does not say.
                c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                    self.0.push('\u{fffd}');
                }
                c => self.0.push(c),
            }
        }
        self
    }

    /// ` name="value"`.
    pub(crate) fn attr(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.raw(" ").raw(name).raw("=\"").text(value).raw("\"")
    }

    /// ` name="number"`, with three places.
    pub(crate) fn seconds(&mut self, name: &'static str, millis: i64) -> &mut Self {
        self.attr(name, &format!("{:.3}", millis as f64 / 1000.0))
    }

    /// Something of ours in both languages; the page shows one of them.
    pub(crate) fn say(&mut self, both: Say) -> &mut Self {
        self.raw("<span class=\"l\" lang=\"zh\">").raw(both.0).raw("</span><span class=\"l\" lang=\"en\">");
        self.raw(both.1).raw("</span>")
    }

    /// Base64 of octets, which need no escape.
    pub(crate) fn base64(&mut self, octets: &[u8]) -> &mut Self {
        base64::Engine::encode_string(&base64::engine::general_purpose::STANDARD, octets, &mut self.0);
        self
    }

    /// Path data and other numbers of ours: letters, digits, spaces, points, signs; anything else is left out.
    pub(crate) fn numbers(&mut self, numbers: &str) -> &mut Self {
        self.0.extend(
            numbers.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '-' | ',')),
        );
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// Chinese and English of the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Say(pub(crate) &'static str, pub(crate) &'static str);

/// `1:02:03.4`, `2:03.4`.
pub(crate) fn clock(millis: i64) -> String {
    let (sign, tenths) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs() / 100);
    let (hours, minutes, seconds, tenth) =
        (tenths / 36_000, tenths / 600 % 60, tenths / 10 % 60, tenths % 10);
    let mut out = sign.to_owned();
    // Writing to a string does not fail.
    let _ = match hours {
        0 => write!(out, "{minutes}:{seconds:02}.{tenth}"),
        _ => write!(out, "{hours}:{minutes:02}:{seconds:02}.{tenth}"),
    };
    out
}

/// A number without needless places: `-20`, `2.5`.
pub(crate) fn figure(number: f64) -> String {
    let text = format!("{number:.2}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// A link to a file beside the page: each octet that a path may not have is written as `%xx`, and nothing makes it
/// anything but a path.
pub(crate) fn beside(path: &str) -> String {
    let mut out = "./".to_owned();
    for octet in path.trim_start_matches('/').bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(octet));
            }
            _ => _ = write!(out, "%{octet:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_anybodys_becomes_markup() {
        let mut html = Html::default();
        html.text("<script>alert(1)</script>\0\u{202e}").attr("title", "\" onload='x'");
        let made = html.finish();
        assert_eq!(
            made,
            "&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}\u{fffd} title=\"&quot; onload=&#39;x&#39;\""
        );
    }

    #[test]
    fn links_are_paths_whatever_they_are_called() {
        assert_eq!(beside("javascript:alert(1)"), "./javascript%3Aalert%281%29");
        assert_eq!(beside("//host/通话 1.html"), "./host/%E9%80%9A%E8%AF%9D%201.html");
    }

    #[test]
    fn times_and_figures_are_short() {
        assert_eq!(
            (clock(3_723_456), clock(61_050), clock(-1_500)),
            ("1:02:03.4".into(), "1:01.0".into(), "-0:01.5".into())
        );
        assert_eq!(
            (figure(-20.0), figure(2.5), figure(-0.001), figure(100.0)),
            ("-20".into(), "2.5".into(), "0".into(), "100".into())
        );
    }
}
