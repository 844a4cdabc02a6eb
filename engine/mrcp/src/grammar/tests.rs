use antiphon_models_speech::Language;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn xml(text: &str) -> Grammar {
    Grammar::read("application/srgs+xml", text).expect("a grammar")
}

fn wrap(attributes: &str, rules: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<grammar xmlns=\"http://www.w3.org/2001/06/grammar\" version=\"1.0\" {attributes}>\n{rules}\n</grammar>"
    )
}

fn said(grammar: &Grammar, text: &str) -> Option<Value> {
    match grammar.fit_words(text, &Language::english(), Some("2026-11-22")) {
        Fit::Whole { meaning, .. } => Some(meaning.value),
        _ => None,
    }
}

const TRAVEL: &str = r##"
<rule id="travel" scope="public">
  <item repeat="0-1">please</item> fly me
  <item repeat="0-1">from <ruleref uri="#city"/> <tag>out.from=rules.city;</tag></item>
  to <ruleref uri="#city"/> <tag>out.to=rules.city;</tag>
</rule>
<rule id="city">
  <one-of>
    <item weight="10">boston <tag>out='BOS';</tag></item>
    <item>new york <item repeat="0-1">city</item> <tag>out='NYC';</tag></item>
    <item><token>san francisco</token> <tag>out='SFO';</tag></item>
  </one-of>
</rule>"##;

#[test]
fn words_fit_from_the_first_to_the_last() {
    let grammar = xml(&wrap("xml:lang=\"en-US\" root=\"travel\" tag-format=\"semantics/1.0\"", TRAVEL));
    assert_eq!(grammar.language().map(Language::tag), Some("en-US"));
    assert_eq!(said(&grammar, "Fly me to New York City"), Some(json!({ "to": "NYC" })));
    assert_eq!(
        said(&grammar, "please fly me from Boston to San Francisco"),
        Some(json!({ "from": "BOS", "to": "SFO" }))
    );
    for text in ["fly me to boston now", "well fly me to boston", "fly me to chicago", "boston", ""] {
        assert_eq!(said(&grammar, text), None, "{text}");
    }
    let english = Language::english();
    assert_eq!(grammar.fit_words("please fly me from new", &english, None), Fit::Begun);
    assert_eq!(grammar.fit_words("please fly you", &english, None), Fit::No);
}

#[test]
fn phrases_are_written_out_for_the_recogniser() {
    let grammar = xml(&wrap("root=\"travel\" tag-format=\"semantics/1.0\"", TRAVEL));
    let hints = grammar.hints(&Language::english());
    assert!(hints.closed && !hints.digits);
    // Twice with and without please, four cities, and one to come from or none.
    assert_eq!(hints.phrases.len(), 2 * 4 * 5);
    assert!(hints.phrases.iter().any(|phrase| phrase == "please fly me from new york to boston"));
}

#[test]
fn literals_defaults_and_references_give_values() {
    let literal = xml(&wrap(
        "root=\"a\" tag-format=\"semantics/1.0-literals\"",
        "<rule id=\"a\"><one-of><item>savings<tag>SAV</tag></item><item>checking</item></one-of></rule>",
    ));
    assert_eq!(said(&literal, "savings"), Some(json!("SAV")));
    assert_eq!(said(&literal, "Checking"), Some(json!("checking")));
    let through = xml(&wrap(
        "root=\"a\"",
        "<rule id=\"a\">my <ruleref uri=\"#b\"/></rule><rule id=\"b\">card<tag>CARD</tag></rule>",
    ));
    assert_eq!(said(&through, "my card"), Some(json!("CARD")), "the last rule's value where nothing is said");
}

#[test]
fn digits_add_up_in_a_loop() {
    let grammar = xml(&wrap(
        "root=\"pin\" tag-format=\"semantics/1.0\"",
        "<rule id=\"pin\"><tag>out='';</tag><item repeat=\"4\"><ruleref uri=\"#d\"/><tag>out += rules.d;</tag></item></rule>
         <rule id=\"d\"><one-of><item>one<tag>out='1';</tag></item><item>two<tag>out='2';</tag></item>
         <item><one-of><item>zero</item><item>oh</item></one-of><tag>out='0';</tag></item></one-of></rule>",
    ));
    assert_eq!(said(&grammar, "one two oh one"), Some(json!("1201")));
    assert_eq!(said(&grammar, "1201"), Some(json!("1201")), "figures are words");
    assert_eq!(said(&grammar, "one two"), None);
    let hints = grammar.hints(&Language::english());
    assert!(hints.digits && hints.closed && hints.phrases.is_empty());
}

#[test]
fn chinese_is_matched_character_by_character() {
    let grammar = xml(&wrap(
        "xml:lang=\"zh-CN\" root=\"要\" tag-format=\"semantics/1.0\"",
        "<rule id=\"要\"><item repeat=\"0-1\">我要</item><one-of><item>查询余额<tag>out='balance'</tag></item>
         <item>转 账<tag>out='transfer'</tag></item></one-of></rule>",
    ));
    assert_eq!(said(&grammar, "我要转账。"), Some(json!("transfer")));
    assert_eq!(said(&grammar, "查询 余额"), Some(json!("balance")));
    assert_eq!(said(&grammar, "我要挂失"), None);
    assert!(grammar.hints(&Language::english()).phrases.contains(&"我要查询余额".to_owned()));
}

#[test]
fn special_rules_do_what_they_are_called() {
    let grammar = xml(&wrap(
        "root=\"a\"",
        "<rule id=\"a\"><ruleref special=\"GARBAGE\"/> agent <ruleref special=\"NULL\"/>
         <item repeat=\"0-1\"><ruleref special=\"VOID\"/></item></rule>",
    ));
    assert!(said(&grammar, "i want to speak to an agent").is_some());
    assert!(said(&grammar, "agent").is_some());
    assert!(said(&grammar, "agent please").is_none());
}

#[test]
fn weights_settle_what_is_ambiguous() {
    let rules = |one: &str, two: &str| {
        let rule = format!(
            "<rule id=\"a\"><one-of><item weight=\"{one}\">bill<tag>PERSON</tag></item>
             <item weight=\"{two}\">bill<tag>INVOICE</tag></item></one-of></rule>"
        );
        said(&xml(&wrap("root=\"a\"", &rule)), "bill")
    };
    assert_eq!(rules("1", "3"), Some(json!("INVOICE")));
    assert_eq!(rules("3", "1"), Some(json!("PERSON")));
    assert_eq!(rules("1", "1"), Some(json!("PERSON")), "of equal ones the first");
}

#[test]
fn keys_fit_as_words_do() {
    let grammar = xml(&wrap(
        "mode=\"dtmf\" root=\"a\"",
        "<rule id=\"a\"><one-of><item>1 <tag>yes</tag></item><item>2 2</item><item>* star</item></one-of></rule>",
    ));
    assert_eq!(grammar.mode(), Mode::Dtmf);
    let value = |keys| match grammar.fit_keys(keys) {
        Fit::Whole { meaning, more } => Some((meaning.value, more)),
        _ => None,
    };
    assert_eq!(value("1"), Some((json!("yes"), false)));
    assert_eq!(value("22"), Some((json!("2 2"), false)));
    assert_eq!(grammar.fit_keys("2"), Fit::Begun);
    assert!(value("**").is_some());
    assert_eq!(grammar.fit_keys("3"), Fit::No);
    assert_eq!(grammar.fit_words("one", &Language::english(), None), Fit::No);
}

#[test]
fn abnf_reads_as_xml_does() {
    let text = "#ABNF 1.0 UTF-8;\nlanguage en-US;\nmode voice;\nroot $travel;\ntag-format <semantics/1.0>;\n\
        // A comment.\n/* and\n another */\n\
        public $travel = [please] fly me [from $city {out.from=rules.city;}] to $city {!{out.to=rules.city;}!};\n\
        $city = /10/ boston {out='BOS'} | new york [city] {out='NYC'} | \"san francisco\" {out='SFO'};\n";
    let grammar = Grammar::read("application/srgs", text).expect("a grammar");
    assert_eq!(
        said(&grammar, "please fly me from boston to new york"),
        Some(json!({ "from": "BOS", "to": "NYC" }))
    );
    let digits = Grammar::read(
        "application/srgs",
        "#ABNF 1.0;\nmode dtmf;\nroot $p;\n$p = $d <4> \"#\";\n$d = 0|1|2;",
    )
    .expect("a grammar");
    assert!(matches!(digits.fit_keys("0120#"), Fit::Whole { more: false, .. }));
    assert_eq!(digits.fit_keys("0120"), Fit::Begun);
    for (text, line) in [
        ("#ABNF 1.0;\nroot $a;\n$a = (b;", 3),
        ("#ABNF 1.0;\nroot $a;\n\n$b = c;", 2),
        ("#ABNF 1.0;\n$a = $b;", 2),
        ("grammar", 1),
        ("#ABNF 1.0;\n/* open", 2),
    ] {
        match Grammar::read("application/srgs", text) {
            Err(GrammarError::Invalid { line: found, .. }) => assert_eq!(found, line, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_is_not_served_is_refused_by_its_line() {
    let rule = |body: &str| {
        wrap("root=\"a\" tag-format=\"semantics/1.0\"", &format!("<rule id=\"a\">\n{body}</rule>"))
    };
    let line = |text: &str| match Grammar::read("application/srgs+xml", text) {
        Err(GrammarError::Invalid { line, .. }) => (line, false),
        Err(GrammarError::Unserved { line, .. }) => (line, true),
        other => panic!("{other:?}"),
    };
    for (body, expected) in [
        ("<tag>if (x) out=1</tag>", (4, true)),
        ("\n<ruleref uri=\"other.grxml#b\"/>", (5, true)),
        ("<ruleref uri=\"#b\"/>", (4, false)),
        ("<item repeat=\"3-1\">a</item>", (4, false)),
        ("<one-of/>", (4, false)),
        ("<ruleref special=\"SOME\"/>", (4, false)),
        ("<speak/>", (4, false)),
    ] {
        assert_eq!(line(&rule(body)), expected, "{body}");
    }
    assert_eq!(line("<vxml/>"), (1, false));
    assert_eq!(line("<grammar><rule id=\"a\">b</rule><rule id=\"a\">c</rule></grammar>"), (1, false));
    assert_eq!(line(&wrap("root=\"b\"", "<rule id=\"a\">c</rule>")), (2, false));
    assert_eq!(line("<!DOCTYPE g [<!ENTITY a \"b\">]>\n<grammar>&a;</grammar>"), (1, true));
    assert!(matches!(Grammar::read("text/x-jsgf", ""), Err(GrammarError::Kind { .. })));
}

#[test]
fn hostile_grammars_cost_little() {
    // Each level twice the one before: 2^40 phrases, and as many ways.
    let mut doubling = String::from("<rule id=\"r0\">a</rule>");
    for n in 1..40 {
        let before = n - 1;
        doubling += &format!(
            "<rule id=\"r{n}\"><ruleref uri=\"#r{before}\"/><item repeat=\"0-1\"><ruleref uri=\"#r{before}\"/></item></rule>"
        );
    }
    let grammar = xml(&wrap("root=\"r39\"", &doubling));
    let hints = grammar.hints(&Language::english());
    assert!(!hints.closed && hints.phrases.len() <= 1_000);
    assert!(said(&grammar, &"a ".repeat(10)).is_some());
    // Too much work is given up.
    let _ = said(&grammar, &"a ".repeat(200));
    // Left recursion, and loops of nothing.
    let circular = xml(&wrap(
        "root=\"a\"",
        "<rule id=\"a\"><one-of><item>x</item><item><ruleref uri=\"#a\"/> y</item></one-of>
         <item repeat=\"0-\"><item repeat=\"0-\"/></item></rule>",
    ));
    assert!(said(&circular, "x").is_some());
    let deep =
        format!("<grammar><rule id=\"a\">{}b{}</rule></grammar>", "<item>".repeat(70), "</item>".repeat(70));
    assert!(matches!(Grammar::read("application/srgs+xml", &deep), Err(GrammarError::Unserved { .. })));
    let wide = format!("<grammar><rule id=\"a\">{}</rule></grammar>", "<item>a</item>".repeat(18_000));
    assert!(Grammar::read("application/srgs+xml", &wide).is_err());
}

fn builtin(uri: &str) -> Grammar {
    Grammar::builtin(uri).expect("a grammar")
}

#[test]
fn built_in_grammars_read_what_people_say() {
    for (uri, tag, text, expected) in [
        ("builtin:grammar/digits", "en", "four two double seven", Some("4277")),
        ("builtin:grammar/digits?length=4", "en", "four two seven", None),
        ("builtin:grammar/digits?minlength=3;maxlength=5", "zh", "三四五", Some("345")),
        ("builtin:speech/boolean", "en", "yes please", Some("true")),
        ("builtin:grammar/boolean", "zh", "不是", Some("false")),
        ("builtin:grammar/boolean", "en", "maybe", None),
        ("builtin:grammar/number", "en", "twenty one", Some("21")),
        ("builtin:grammar/number", "en", "twenty one elephants", None),
        ("builtin:grammar/number", "zh", "两百五十", Some("250")),
        ("builtin:grammar/phone", "en", "five five five one two one two", Some("5551212")),
        ("builtin:grammar/date", "en", "the fifth of march twenty twenty seven", Some("20270305")),
        ("builtin:grammar/date", "en", "tomorrow", Some("20261123")),
        ("builtin:grammar/date", "zh", "明天", Some("20261123")),
        ("builtin:grammar/currency", "en", "two hundred and fifty dollars", Some("USD250.00")),
        ("builtin:grammar/currency", "zh", "五百块钱", Some("CNY500.00")),
        ("builtin:grammar/time", "en", "three thirty pm", Some("0330p")),
        ("builtin:grammar/time", "zh", "下午三点半", Some("0330p")),
    ] {
        let language = Language::parse(tag).expect("a tag");
        let found = match builtin(uri).fit_words(text, &language, Some("2026-11-22")) {
            Fit::Whole { meaning, .. } => Some(meaning.value),
            _ => None,
        };
        assert_eq!(found, expected.map(Value::from), "{uri} {text}");
    }
    let few = builtin("builtin:grammar/digits?length=4").fit_words("four two", &Language::english(), None);
    assert_eq!(few, Fit::Begun);
}

#[test]
fn built_in_grammars_take_keys() {
    for (uri, keys, expected) in [
        ("builtin:dtmf/digits?length=4", "1234", Some(("1234", false))),
        ("builtin:dtmf/digits", "12", Some(("12", true))),
        ("builtin:dtmf/boolean?y=7;n=9", "7", Some(("true", false))),
        ("builtin:dtmf/boolean", "2", Some(("false", false))),
        ("builtin:dtmf/boolean", "3", None),
        ("builtin:dtmf/currency", "12*5", Some(("12.50", true))),
        ("builtin:dtmf/phone", "5551212*34", Some(("5551212x34", true))),
        ("builtin:dtmf/date", "20260230", None),
        ("builtin:dtmf/date", "20260228", Some(("20260228", false))),
        ("builtin:dtmf/time", "1545", Some(("1545h", false))),
        ("builtin:dtmf/number", "1#", None),
    ] {
        let found = match builtin(uri).fit_keys(keys) {
            Fit::Whole { meaning, more } => Some((meaning.value, more)),
            _ => None,
        };
        assert_eq!(found, expected.map(|(value, more)| (Value::from(value), more)), "{uri} {keys}");
    }
    assert_eq!(builtin("builtin:dtmf/digits?length=4").fit_keys("12"), Fit::Begun);
    for uri in [
        "builtin:grammar/colour",
        "builtin:digits",
        "http://a/b",
        "builtin:grammar/digits?length=x",
        "builtin:dtmf/boolean?y=1;n=1",
    ] {
        assert!(matches!(Grammar::builtin(uri), Err(GrammarError::NoBuiltin { .. })), "{uri}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n]{0,200}", words in "[a-z0-9 ]{0,60}") {
        let body = format!("<grammar root=\"a\"><rule id=\"a\">{text}</rule></grammar>");
        for (kind, text) in [
            ("application/srgs+xml", body),
            ("application/srgs", format!("#ABNF 1.0;\n$a = {text};")),
            ("application/srgs", text.clone()),
        ] {
            if let Ok(grammar) = Grammar::read(kind, &text) {
                let _ = grammar.fit_words(&words, &Language::english(), None);
                let _ = grammar.fit_keys(&words);
                let _ = grammar.hints(&Language::english());
            }
        }
    }
}
