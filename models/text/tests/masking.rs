//! What is hidden, in text, in words, in time, and over two utterances.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::{Hypothesis, Language, Utterance, Word};
use antiphon_models_text::{Action, Category, Finished, Finisher, Policy, PolicyError, Style};

/// A stream whose words last 300 ms each, with 100 ms between them.
struct Stream {
    finisher: Finisher,
    at: i64,
}

impl Stream {
    fn new(tag: &str, policy: Policy) -> Self {
        let style = Style { punctuation: false, capitals: false, policy, ..Style::default() };
        Self { finisher: Finisher::new(&Language::parse(tag).unwrap(), &style).unwrap(), at: 0 }
    }

    fn say(&mut self, text: &str) -> Finished {
        let words: Vec<Word> = text
            .split(' ')
            .map(|text| {
                let start = MediaTime::from_millis(self.at);
                self.at += 400;
                Word { text: text.into(), start, end: MediaTime::from_millis(self.at - 100), confidence: 0.9 }
            })
            .collect();
        self.finisher.last(&Utterance {
            text: text.into(),
            start: words[0].start,
            end: words[words.len() - 1].end,
            words,
            confidence: 0.9,
            language: None,
        })
    }

    fn partial(&self, text: &str) -> String {
        self.finisher
            .partial(&Hypothesis { revision: 1, text: text.into(), start: MediaTime::from_millis(self.at) })
            .text
    }
}

fn categories(finished: &Finished) -> Vec<Category> {
    finished.redactions.iter().map(|redaction| redaction.category).collect()
}

fn english(text: &str) -> Finished {
    Stream::new("en", Policy::strict()).say(text)
}

fn chinese(text: &str) -> Finished {
    Stream::new("zh", Policy::strict()).say(text)
}

#[test]
fn a_card_is_known_by_its_check_digit_and_keeps_its_length_alone() {
    let finished = english("it is four one one one one one one one one one one one one one one one thanks");
    assert_eq!(finished.text, "it is **************** thanks");
    assert_eq!(categories(&finished), [Category::Card]);
    assert!(finished.words[2..18].iter().all(|word| word.text == "***"), "{:?}", finished.words);
    assert_eq!(finished.words[18].text, "thanks");
    assert_eq!((finished.redactions[0].start.millis(), finished.redactions[0].end.millis()), (800, 7_100));
}

#[test]
fn telephone_numbers_are_known_by_their_form() {
    assert_eq!(
        categories(&english("call four one five five five five zero one two three")),
        [Category::Telephone]
    );
    let finished = chinese("我的手机是 幺三八零零幺三八零零零");
    assert_eq!(finished.text, "我的手机是***********");
    assert_eq!(categories(&finished), [Category::Telephone]);
}

#[test]
fn an_identity_number_of_china_is_known_by_its_check_sign() {
    let finished = chinese("号码 一一零一零五一九四九一二三一零零二 X");
    assert_eq!(categories(&finished), [Category::Identity]);
    assert_eq!(finished.text, "号码******************");
}

#[test]
fn addresses_spoken_and_written_are_hidden_but_for_their_joints() {
    assert_eq!(english("write to john at example dot com").text, "write to ****@*******.***");
    assert_eq!(english("write to john.smith@example.com").text, "write to ****.*****@*******.***");
}

#[test]
fn a_number_behind_its_announcement_is_hidden_from_four_digits_on() {
    let finished = english("my account number is four two seven five");
    assert_eq!(finished.text, "my account number is ****");
    assert_eq!(categories(&finished), [Category::Account]);
    assert_eq!(english("i need four two seven five boxes").text, "i need 4275 boxes");
}

#[test]
fn money_dates_and_times_are_no_accounts() {
    for text in [
        "it costs one million two hundred thousand dollars",
        "on march third twenty twenty five at five thirty pm",
    ] {
        assert!(english(text).redactions.is_empty(), "{}", english(text).text);
    }
    assert!(chinese("一共 一百二十三万四千五百六十七元").redactions.is_empty());
}

#[test]
fn names_are_hidden_behind_their_announcement() {
    assert_eq!(
        english("hello my name is john smith and i have a question").text,
        "hello my name is *** *** and i have a question"
    );
    assert_eq!(english("my name is not important").text, "my name is not important");
    assert_eq!(chinese("你好 我叫 张小明 我想查余额").text, "你好我叫***我想查余额");
    assert_eq!(chinese("我姓王").text, "我姓*");
    assert_eq!(chinese("我叫你等一下").text, "我叫你等一下");
}

#[test]
fn profanity_is_a_word_and_never_a_part_of_one() {
    assert_eq!(english("what the fuck is this").text, "what the *** is this");
    assert_eq!(english("i live in scunthorpe with shitake").text, "i live in scunthorpe with shitake");
    assert_eq!(chinese("他妈的 什么服务").text, "***什么服务");
    let policy = Policy { profanity: Action::Mask, words: vec!["Acme Corp".into()], ..Policy::default() };
    assert_eq!(Stream::new("en", policy).say("i hate acme corp so much").text, "i hate *** *** so much");
}

#[test]
fn dropping_leaves_nothing_behind() {
    let policy = Policy { profanity: Action::Drop, telephone: Action::Drop, ..Policy::default() };
    let finished =
        Stream::new("en", policy).say("fuck call four one five five five five zero one two three now");
    assert_eq!(finished.text, "call now");
    assert_eq!(categories(&finished), [Category::Profanity, Category::Telephone]);
    assert!(!finished.words.iter().any(|word| word.text == "four"));
}

#[test]
fn nothing_is_hidden_that_the_policy_keeps() {
    let finished =
        Stream::new("en", Policy::default()).say("fuck call four one five five five five zero one two three");
    assert_eq!(finished.text, "fuck call 4155550123");
    assert!(finished.redactions.is_empty());
}

#[test]
fn a_number_said_in_two_utterances_is_hidden_in_both() {
    let policy = Policy { card: Action::Mask, ..Policy::default() };
    let mut stream = Stream::new("en", policy);
    let first = stream.say("four one one one one one one one");
    assert_eq!(first.text, "41111111");
    assert!(first.redactions.is_empty());
    assert_eq!(stream.partial("one one one one one one one one"), "********");
    let second = stream.say("one one one one one one one one thank you");
    assert_eq!(second.text, "******** thank you");
    assert_eq!(categories(&second), [Category::Card, Category::Card]);
    // The first half is silenced where it was said.
    assert_eq!((second.redactions[0].start.millis(), second.redactions[0].end.millis()), (0, 3_100));
    assert_eq!(second.redactions[1].start.millis(), 3_200);
}

#[test]
fn a_number_said_in_four_groups_is_still_one() {
    let policy = Policy { card: Action::Mask, ..Policy::default() };
    let mut stream = Stream::new("en", policy);
    stream.say("it is four one one one");
    stream.say("one one one one");
    stream.say("uh one one one one");
    let last = stream.say("one one one one");
    assert_eq!(last.text, "****");
    assert_eq!(last.redactions[0].start.millis(), 800, "from the very first digit");
}

#[test]
fn what_was_announced_is_hidden_in_the_next_utterance() {
    let mut stream = Stream::new("en", Policy::strict());
    stream.say("my card number is");
    let next = stream.say("four one one one");
    assert_eq!(next.text, "****");
    assert_eq!(categories(&next), [Category::Card]);
    stream.finisher.reset();
    assert_eq!(stream.say("four one one one").text, "4111");
}

#[test]
fn a_number_after_a_long_silence_is_another_one() {
    let policy = Policy { card: Action::Mask, ..Policy::default() };
    let mut stream = Stream::new("en", policy);
    stream.say("four one one one one one one one");
    stream.at += 60_000;
    assert!(stream.say("one one one one one one one one").redactions.is_empty());
}

#[test]
fn partials_are_hidden_like_finals() {
    let stream = Stream::new("en", Policy::strict());
    assert_eq!(stream.partial("call four one five five five five zero one two three"), "call **********");
    assert_eq!(stream.partial("what the fuck"), "what the ***");
}

#[test]
fn policies_out_of_bounds_are_refused() {
    let language = Language::english();
    let style = |policy| Style { policy, ..Style::default() };
    let digits = Policy { account_digits: 1, ..Policy::default() };
    assert_eq!(
        Finisher::new(&language, &style(digits)).unwrap_err(),
        PolicyError::AccountDigits { found: 1 }
    );
    let words = Policy { words: vec![String::new()], profanity: Action::Mask, ..Policy::default() };
    assert!(matches!(
        Finisher::new(&language, &style(words)).unwrap_err(),
        PolicyError::Words { found: 1, .. }
    ));
}

#[test]
fn a_finished_utterance_is_punctuated_and_timed() {
    let style = Style { names: vec!["Antiphon".into()], ..Style::default() };
    let mut finisher = Finisher::new(&Language::english(), &style).unwrap();
    let utterance = Utterance {
        text: "does antiphon cost twenty five dollars".into(),
        words: Vec::new(),
        start: MediaTime::from_millis(500),
        end: MediaTime::from_millis(900),
        confidence: 0.7,
        language: None,
    };
    let finished = finisher.last(&utterance);
    assert_eq!(finished.text, "Does Antiphon cost $25?");
    assert_eq!(finished.tokens.len(), 4);
    assert_eq!(finished.tokens[3].words, 3..6);
    assert_eq!(finished.tokens[3].start.millis(), 500);
    assert_eq!(finished.words[4].text, "five");
}

#[test]
fn an_engine_that_writes_marks_is_left_alone() {
    let mut finisher = Finisher::new(&Language::english(), &Style::default()).unwrap();
    let utterance = Utterance {
        text: "Well, that's it. Bye!".into(),
        words: Vec::new(),
        start: MediaTime::ZERO,
        end: MediaTime::ZERO,
        confidence: 1.0,
        language: None,
    };
    assert_eq!(finisher.last(&utterance).text, "Well, that's it. Bye!");
}
