//! Results as clients read them (RFC 6787 section 6.3.1).

use serde_json::Value;

/// The media type of results.
pub const NLSML: &str = "application/nlsml+xml";

/// One way to understand what was said or pressed.
#[derive(Clone, Debug, PartialEq)]
pub struct Interpretation {
    /// The address of the grammar that it fits.
    pub grammar: String,
    /// 0 to 1.
    pub confidence: f32,
    /// What it means.
    pub value: Value,
    /// What was said or pressed.
    pub input: String,
    /// By keys, not by voice.
    pub keys: bool,
}

/// What is told where nothing fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// Nothing was said.
    Input,
    /// Nothing that fits.
    Match,
}

/// A result of some interpretations, the best first.
pub(crate) fn result(all: &[Interpretation]) -> String {
    let mut text = String::from(HEAD);
    if let Some(best) = all.first() {
        text.push_str(&format!(" grammar=\"{}\"", escape(&best.grammar)));
    }
    text.push_str(">\n");
    for one in all {
        let (grammar, mode) = (escape(&one.grammar), if one.keys { "dtmf" } else { "speech" });
        text.push_str(&format!(
            "  <interpretation grammar=\"{grammar}\" confidence=\"{:.2}\">\n    <instance>",
            one.confidence
        ));
        element(&mut text, &one.value);
        text.push_str(&format!("</instance>\n    <input mode=\"{mode}\">{}</input>\n", escape(&one.input)));
        text.push_str("  </interpretation>\n");
    }
    text.push_str("</result>\n");
    text
}

/// A result without one.
pub(crate) fn nothing(why: Nothing) -> String {
    let what = match why {
        Nothing::Input => "noinput",
        Nothing::Match => "nomatch",
    };
    format!(
        "{HEAD}>\n  <interpretation>\n    <instance/>\n    <input><{what}/></input>\n  </interpretation>\n</result>\n"
    )
}

const HEAD: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<result xmlns=\"urn:ietf:params:xml:ns:mrcpv2\"";

fn element(text: &mut String, value: &Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let name = xml_name(name);
                text.push_str(&format!("<{name}>"));
                element(text, value);
                text.push_str(&format!("</{name}>"));
            }
        }
        Value::Array(all) => {
            for value in all {
                text.push_str("<item>");
                element(text, value);
                text.push_str("</item>");
            }
        }
        Value::Null => {}
        Value::String(said) => text.push_str(&escape(said)),
        other => text.push_str(&escape(&other.to_string())),
    }
}

/// A name that XML takes: others lose what it does not.
fn xml_name(name: &str) -> String {
    let mut out: String = name
        .chars()
        .take(128)
        .map(|c| if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' })
        .collect();
    if !out.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        out.insert(0, '_');
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // What no XML document may hold.
            c if c.is_control() && !matches!(c, '\n' | '\t') => {}
            '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_are_xml_whatever_was_said() {
        let one = Interpretation {
            grammar: "session:a@b\"<".into(),
            confidence: 0.876,
            value: json!({ "to city": "BOS & <co>", "1": [1, true, null] }),
            input: "to boston\u{1}".into(),
            keys: false,
        };
        let text = result(&[one.clone(), Interpretation { keys: true, value: json!("1"), ..one }]);
        let document = roxmltree::Document::parse(&text).expect("XML");
        let all: Vec<_> = document
            .root_element()
            .children()
            .filter(|n| n.has_tag_name(("urn:ietf:params:xml:ns:mrcpv2", "interpretation")))
            .collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].attribute("confidence"), Some("0.88"));
        let instance = all[0].first_element_child().expect("an instance");
        let city = instance.children().find(|n| n.tag_name().name() == "to_city").expect("an element");
        assert_eq!(city.text(), Some("BOS & <co>"));
        let input = all[1].last_element_child().expect("an input");
        assert_eq!((input.attribute("mode"), input.text()), (Some("dtmf"), Some("to boston")));
    }

    #[test]
    fn silence_and_misunderstanding_have_their_signs() {
        for (why, sign) in [(Nothing::Input, "noinput"), (Nothing::Match, "nomatch")] {
            let text = nothing(why);
            let document = roxmltree::Document::parse(&text).expect("XML");
            assert!(document.descendants().any(|node| node.tag_name().name() == sign));
        }
    }
}
