//! Each dialect as its clients meet it: what they send, and what they are told.

use antiphon_engine_service::deepgram::{self, Listen, Options};
use antiphon_engine_service::funasr::FunAsr;
use antiphon_engine_service::openai::{Shape, Speech, Transcription};
use antiphon_engine_service::realtime::Realtime;
use antiphon_engine_service::vosk::Vosk;
use antiphon_engine_service::{Coding, Demand, Dialect, Heard, Incoming, Outgoing, Query};
use antiphon_media_frame::{MediaTime, SampleRate, Span};
use antiphon_models_speech::{Hypothesis, Language, Utterance, Word};
use antiphon_models_text::{Action, Category};
use serde_json::{Value, json};

fn ms(millis: i64) -> MediaTime {
    MediaTime::from_millis(millis)
}

/// Words of 200 ms each, one after another.
fn said(text: &str, start: i64) -> Utterance {
    let words: Vec<Word> = text
        .split(' ')
        .enumerate()
        .map(|(n, text)| {
            let start = start + n as i64 * 200;
            Word { text: text.into(), start: ms(start), end: ms(start + 200), confidence: 0.5 }
        })
        .collect();
    let end = words.last().map_or(ms(start), |word| word.end);
    Utterance { text: text.into(), words, start: ms(start), end, confidence: 0.5, language: None }
}

fn partial(text: &str, start: i64) -> Heard {
    Heard::Partial(Hypothesis { revision: 1, text: text.into(), start: ms(start) })
}

fn query(text: &str) -> Query {
    let pair = |pair: &str| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    Query::new(text.split('&').filter_map(pair).collect())
}

fn values(out: &[Outgoing]) -> Vec<Value> {
    out.iter()
        .filter_map(|out| match out {
            Outgoing::Text(text) => Some(serde_json::from_str(text).expect("JSON")),
            Outgoing::Close { .. } => None,
        })
        .collect()
}

fn one(out: &[Outgoing]) -> Value {
    let [value] = &values(out)[..] else { panic!("not one message: {out:?}") };
    value.clone()
}

fn listen(text: &str) -> Listen {
    Listen::new(Options::live(&query(text)).expect("served"), "r-1")
}

#[test]
fn deepgram_reads_its_url() {
    let options = Options::live(&query(
        "encoding=mulaw&channels=2&multichannel=true&interim_results=true&endpointing=300&language=en-US&keywords=Antiphon:2&keywords=SIP",
    ))
    .expect("served");
    let settings = options.settings();
    assert_eq!(
        (settings.format.coding, settings.format.rate, settings.format.channels),
        (Coding::Mulaw, SampleRate::HZ_8000, 2)
    );
    assert_eq!(settings.endpoint, Some(Span::from_millis(300)));
    assert_eq!(settings.language, Language::parse("en-US"));
    assert_eq!(settings.hints.phrases, ["Antiphon", "SIP"]);
    for (text, part) in [
        ("encoding=speex", "encoding is `speex`"),
        ("channels=9", "9 channels"),
        ("sample_rate=4000", "4000"),
        ("diarize=true", "multichannel"),
        ("utterance_end_ms=1000", "interim_results"),
        ("interim_results=yes", "true or false"),
        ("language=!", "language"),
    ] {
        let refused = Options::live(&query(text)).map(|_| ()).expect_err(text).to_string();
        assert!(refused.contains(part), "{text}: {refused}");
    }
}

#[test]
fn deepgram_gives_results_with_times_and_says_when_speech_is_final() {
    let mut stream = listen("interim_results=true&vad_events=true&utterance_end_ms=1000&punctuate=true");
    assert_eq!(one(&stream.report(0, Heard::Started(ms(500))))["type"], "SpeechStarted");
    let interim = one(&stream.report(0, partial("check my", 500)));
    assert_eq!(
        (&interim["is_final"], &interim["channel"]["alternatives"][0]["transcript"]),
        (&json!(false), &json!("check my"))
    );
    assert!(
        stream.report(0, Heard::Final(said("Check my balance", 500))).is_empty(),
        "until it is known what ends it"
    );
    let last = one(&stream.report(0, Heard::Ended { at: ms(1_100), decided_at: ms(1_700) }));
    assert_eq!(
        (&last["is_final"], &last["speech_final"], &last["from_finalize"]),
        (&json!(true), &json!(true), &json!(false))
    );
    assert_eq!(
        (&last["start"], &last["duration"], &last["channel_index"]),
        (&json!(0.0), &json!(1.1), &json!([0, 1]))
    );
    let word = &last["channel"]["alternatives"][0]["words"][0];
    assert_eq!(
        *word,
        json!({"word": "check", "start": 0.5, "end": 0.7, "confidence": 0.5, "punctuated_word": "Check"})
    );
    assert!(stream.clock(ms(2_000)).is_empty(), "not yet a second");
    let end = one(&stream.clock(ms(2_100)));
    assert_eq!(end, json!({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 1.1}));
    assert!(stream.clock(ms(9_000)).is_empty(), "once");
    // Cut in mid-speech: final words of speech that goes on.
    stream.report(0, Heard::Started(ms(3_000)));
    stream.report(0, Heard::Final(said("and then", 3_000)));
    let cut = one(&stream.report(0, Heard::Ended { at: ms(3_400), decided_at: ms(3_400) }));
    assert_eq!((&cut["is_final"], &cut["speech_final"]), (&json!(true), &json!(false)));
}

#[test]
fn deepgram_finalizes_and_closes() {
    let mut stream = listen("channels=2&multichannel=true");
    assert_eq!(stream.receive(Incoming::Text(r#"{"type":"Finalize"}"#)), Ok(vec![Demand::Flush]));
    stream.report(1, Heard::Final(said("yes", 100)));
    let ended = one(&stream.report(1, Heard::Ended { at: ms(300), decided_at: ms(350) }));
    assert_eq!((&ended["from_finalize"], &ended["channel_index"]), (&json!(true), &json!([1, 2])));
    assert!(stream.report(1, Heard::Flushed).is_empty());
    let none = one(&stream.report(0, Heard::Flushed));
    assert_eq!(
        (&none["from_finalize"], &none["channel"]["alternatives"][0]["transcript"]),
        (&json!(true), &json!(""))
    );
    assert!(stream.receive(Incoming::Text(r#"{"type":"KeepAlive"}"#)).expect("fine").is_empty());
    assert_eq!(stream.receive(Incoming::Text(r#"{"type":"CloseStream"}"#)), Ok(vec![Demand::Finish]));
    let out = stream.close(Span::from_secs(2));
    assert_eq!(one(&out)["type"], "Metadata");
    assert_eq!(out.last(), Some(&Outgoing::Close { code: 1000, reason: String::new() }));
    for bad in ["{", r#"{"type":"Sing"}"#, "[]", "7"] {
        let refused = stream.receive(Incoming::Text(bad)).expect_err(bad);
        assert!(
            matches!(&stream.refuse(&refused)[..], [Outgoing::Close { code: 1008, reason }] if reason.len() <= 123)
        );
    }
}

#[test]
fn deepgram_answers_a_recording_by_channel_and_by_time() {
    let options = Options::recorded(&query("utterances=true&model=nova-3")).expect("served");
    let channels = [vec![said("hello there", 0), said("bye", 5_000)], vec![said("good morning", 1_000)]];
    let answer = deepgram::recorded(&options, "r", Span::from_secs(6), &channels);
    assert_eq!(answer["results"]["channels"][0]["alternatives"][0]["transcript"], "hello there bye");
    let order: Vec<_> = answer["results"]["utterances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|u| u["transcript"].clone())
        .collect();
    assert_eq!(order, ["hello there", "good morning", "bye"]);
    assert_eq!(answer["metadata"]["channels"], 2);
}

#[test]
fn vosk_gives_one_answer_to_each_message_of_sound() {
    let mut stream = Vosk::default();
    let config = r#"{"config":{"sample_rate":16000.0,"phrase_list":"[\"yes\", \"no\", \"[unk]\"]"}}"#;
    let demands = stream.receive(Incoming::Text(config)).expect("served");
    let [Demand::Set(settings)] = &demands[..] else { panic!("{demands:?}") };
    assert_eq!(
        (settings.format.rate, &settings.hints.phrases[..], settings.hints.closed),
        (SampleRate::HZ_16000, &["yes".to_owned(), "no".to_owned()][..], false)
    );
    let answer = |stream: &mut Vosk| {
        let demands = stream.receive(Incoming::Binary(&[0; 320])).expect("sound");
        let [Demand::Audio(audio), Demand::Say(said)] = &demands[..] else { panic!("{demands:?}") };
        assert_eq!(audio.len(), 320);
        one(std::slice::from_ref(said))
    };
    assert_eq!(answer(&mut stream), json!({"partial": ""}));
    stream.report(0, partial("ye", 0));
    assert_eq!(answer(&mut stream), json!({"partial": "ye"}));
    stream.report(0, Heard::Final(said("yes", 0)));
    let result = answer(&mut stream);
    assert_eq!(
        result,
        json!({"text": "yes", "result": [{"conf": 0.5, "start": 0.0, "end": 0.2, "word": "yes"}]})
    );
    stream.report(0, Heard::Final(said("no", 400)));
    stream.report(0, Heard::Final(said("yes", 900)));
    assert_eq!(stream.receive(Incoming::Text(r#"{"eof" : 1}"#)), Ok(vec![Demand::Finish]));
    assert_eq!(one(&stream.close(Span::from_secs(1)))["text"], "no yes", "what no answer had yet");
    let refused = stream.receive(Incoming::Text(r#"{"config":{"sample_rate":8000}}"#)).expect_err("too late");
    assert!(refused.to_string().contains("cannot change"));
}

#[test]
fn funasr_sends_pieces_first_and_sentences_after() {
    let mut stream = FunAsr::default();
    let start = r#"{"mode":"2pass","chunk_size":[5,10,5],"wav_name":"a","is_speaking":true,"audio_fs":8000,"hotwords":"{\"招商银行\":20}","itn":false}"#;
    let demands = stream.receive(Incoming::Text(start)).expect("served");
    let [Demand::Set(settings)] = &demands[..] else { panic!("{demands:?}") };
    assert_eq!((&settings.hints.phrases[..], settings.style.numbers), (&["招商银行".to_owned()][..], false));
    let first = one(&stream.report(0, partial("我要", 0)));
    assert_eq!((&first["mode"], &first["text"]), (&json!("2pass-online"), &json!("我要")));
    assert_eq!(one(&stream.report(0, partial("我要挂失", 0)))["text"], "挂失", "only what is new");
    assert!(stream.report(0, partial("我药挂失", 0)).is_empty(), "a piece cannot be taken back");
    let sentence = one(&stream.report(0, Heard::Final(said("我要挂失", 0))));
    assert_eq!(
        (&sentence["mode"], &sentence["text"], &sentence["timestamp"]),
        (&json!("2pass-offline"), &json!("我要挂失"), &json!("[[0,200]]"))
    );
    assert_eq!(stream.receive(Incoming::Text(r#"{"is_speaking":false}"#)), Ok(vec![Demand::Finish]));
    assert_eq!(one(&stream.close(Span::ZERO))["is_final"], true);
    let refused = FunAsr::default().receive(Incoming::Text(r#"{"mode":"3pass"}"#)).expect_err("no such mode");
    assert!(refused.to_string().contains("2pass"));
}

#[test]
fn realtime_sessions_tell_their_items_in_order() {
    let mut session = Realtime::new("x");
    assert_eq!(one(&session.greet())["type"], "session.created");
    let update = r#"{"type":"session.update","session":{"type":"transcription","audio":{"input":{"format":{"type":"audio/pcmu"},"transcription":{"language":"en"},"turn_detection":{"type":"server_vad","silence_duration_ms":400}}}}}"#;
    let demands = session.receive(Incoming::Text(update)).expect("served");
    let [Demand::Set(settings), Demand::Say(said_back)] = &demands[..] else { panic!("{demands:?}") };
    assert_eq!((settings.format.coding, settings.endpoint), (Coding::Mulaw, Some(Span::from_millis(400))));
    assert_eq!(
        one(std::slice::from_ref(said_back))["session"]["audio"]["input"]["format"]["type"],
        "audio/pcmu"
    );
    let append = r#"{"type":"input_audio_buffer.append","audio":"//8="}"#;
    assert_eq!(session.receive(Incoming::Text(append)), Ok(vec![Demand::Audio(vec![255, 255])]));
    let mut types = Vec::new();
    let mut tell = |session: &mut Realtime, heard| {
        for value in values(&session.report(0, heard)) {
            types.push((value["type"].as_str().unwrap_or_default().to_owned(), value.clone()));
        }
    };
    tell(&mut session, Heard::Started(ms(100)));
    assert!(!session.partials() && session.report(0, partial("check my", 100)).is_empty());
    tell(&mut session, Heard::Final(said("Check my", 100)));
    tell(&mut session, Heard::Final(said("balance.", 500)));
    tell(&mut session, Heard::Ended { at: ms(700), decided_at: ms(1_100) });
    let names: Vec<&str> = types.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "conversation.item.created",
            "input_audio_buffer.speech_started",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.delta",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.input_audio_transcription.completed",
        ]
    );
    let deltas: String = types.iter().filter_map(|(_, value)| value["delta"].as_str()).collect();
    assert_eq!(
        (deltas.as_str(), types[6].1["transcript"].as_str()),
        ("Check my balance.", Some("Check my balance."))
    );
    let refused =
        session.receive(Incoming::Text(r#"{"type":"response.create"}"#)).expect_err("no model here");
    assert_eq!(one(&session.refuse(&refused))["error"]["type"], "invalid_request_error");
}

#[test]
fn a_client_that_commits_gets_its_words_when_they_are_there() {
    let mut session = Realtime::new("x");
    let off = r#"{"type":"transcription_session.update","session":{"turn_detection":null,"input_audio_format":"pcm16"}}"#;
    session.receive(Incoming::Text(off)).expect("served");
    session.report(0, Heard::Started(ms(0)));
    session.report(0, Heard::Final(said("one two", 0)));
    session.report(0, Heard::Ended { at: ms(400), decided_at: ms(900) });
    let demands = session.receive(Incoming::Text(r#"{"type":"input_audio_buffer.commit"}"#)).expect("served");
    assert_eq!(demands.last(), Some(&Demand::Flush));
    let done = one(&session.report(0, Heard::Flushed));
    assert_eq!(
        (&done["type"], &done["transcript"]),
        (&json!("conversation.item.input_audio_transcription.completed"), &json!("one two"))
    );
}

#[test]
fn transcriptions_are_answered_in_every_shape() {
    let heard = [said("hello there", 0), said("bye", 1_000)];
    for (form, part) in [
        ("model=whisper-1", r#"{"text":"hello there bye"}"#),
        ("response_format=text", "hello there bye\n"),
        ("response_format=srt", "2\n00:00:01,000 --> 00:00:01,200\nbye\n"),
        ("response_format=vtt", "WEBVTT\n"),
        (
            "response_format=verbose_json&timestamp_granularities[]=word",
            r#""words":[{"end":0.2,"start":0.0,"word":"hello"}"#,
        ),
    ] {
        let request = Transcription::read(&query(form)).expect(form);
        let (answer, _) = request.answer("english", Span::from_secs(2), &heard);
        assert!(answer.contains(part), "{form}: {answer}");
    }
    let request = Transcription::read(&query("prompt=Antiphon, SIP trunk&language=en")).expect("served");
    assert_eq!(
        (request.hints.phrases, request.shape),
        (vec!["Antiphon".to_owned(), "SIP trunk".to_owned()], Shape::Json)
    );
    for bad in [
        "response_format=pdf",
        "timestamp_granularities[]=word",
        "stream=true&response_format=srt",
        "language=?",
    ] {
        Transcription::read(&query(bad)).expect_err(bad);
    }
}

#[test]
fn speech_is_asked_for_as_of_openai() {
    let speech = Speech::read(br#"{"model":"tts-1","input":"Guten Tag","voice":"alloy"}"#).expect("served");
    let german = Language::parse("de").expect("a tag");
    assert_eq!((speech.request(&german).language, speech.request(&german).voice), (german.clone(), None));
    let speech = Speech::read("{\"input\":\"您好\",\"voice\":\"slt\"}".as_bytes()).expect("served");
    assert_eq!(speech.request(&german).language.tag(), "zh");
    assert_eq!(speech.request(&german).voice.as_deref(), Some("slt"));
    for bad in [
        "{}",
        r#"{"input":" "}"#,
        r#"{"input":"a","speed":2}"#,
        r#"{"input":"a","response_format":"ra"}"#,
        "[",
    ] {
        Speech::read(bad.as_bytes()).expect_err(bad);
    }
}

/// Random JSON of the members that dialects look at: nothing panics, whatever its types.
#[test]
fn no_message_can_hurt() {
    let kinds = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!("x"),
        json!([]),
        json!({}),
        json!("8000"),
        json!(16000),
    ];
    let members = [
        "type",
        "config",
        "eof",
        "mode",
        "audio_fs",
        "hotwords",
        "is_speaking",
        "session",
        "audio",
        "wav_format",
        "itn",
    ];
    for member in members {
        for kind in &kinds {
            for inner in ["sample_rate", "phrase_list", "turn_detection", "input_audio_format", "audio"] {
                for value in [kind.clone(), json!({ inner: kind })] {
                    let mut message = json!({ "type": "session.update" });
                    message[member] = value;
                    let text = message.to_string();
                    let dialects: [Box<dyn Dialect>; 4] = [
                        Box::new(listen("")),
                        Box::new(Vosk::default()),
                        Box::new(FunAsr::default()),
                        Box::new(Realtime::new("x")),
                    ];
                    for mut dialect in dialects {
                        if let Err(refusal) = dialect.receive(Incoming::Text(&text)) {
                            assert!(!dialect.refuse(&refusal).is_empty());
                        }
                        dialect.report(7, Heard::Flushed);
                        dialect.close(Span::ZERO);
                    }
                }
            }
        }
    }
}

#[test]
fn realtime_sessions_put_no_blanks_into_chinese() {
    let mut session = Realtime::new("x");
    session.report(0, Heard::Started(ms(0)));
    session.report(0, Heard::Final(said("我要转账。", 0)));
    session.report(0, Heard::Final(said("三百块。", 400)));
    let out = session.report(0, Heard::Ended { at: ms(900), decided_at: ms(1_300) });
    let done = values(&out).pop().expect("completed");
    assert_eq!(done["transcript"], "我要转账。三百块。");
}

/// Numbers, marks, capitals, in this order.
fn stages(text: &str) -> (bool, bool, bool) {
    let style = Options::live(&query(text)).expect(text).settings().style.clone();
    (style.numbers, style.punctuation, style.capitals)
}

#[test]
fn deepgram_says_how_words_are_to_be_written() {
    assert_eq!(stages(""), (false, false, false));
    assert_eq!(stages("smart_format=true"), (true, true, true));
    assert_eq!(stages("punctuate=true"), (false, true, true));
    assert_eq!(stages("numerals=true&punctuate=false"), (true, false, false));
}

#[test]
fn deepgram_says_what_is_to_be_hidden() {
    let policy = |text: &str| Options::live(&query(text)).expect(text).settings().style.policy.clone();
    assert_eq!(policy("redact=false&profanity_filter=false").action(Category::Card), Action::Keep);
    assert_eq!(policy("profanity_filter=true").action(Category::Profanity), Action::Mask);
    let cards = policy("redact=pci&redact=email_address");
    assert_eq!((cards.action(Category::Card), cards.action(Category::Email)), (Action::Mask, Action::Mask));
    assert_eq!(
        (cards.action(Category::Telephone), cards.account_digits),
        (Action::Keep, 3),
        "a card's back has three"
    );
    let listed = policy("redact=ssn,phone_number");
    assert_eq!(
        (listed.action(Category::Identity), listed.action(Category::Telephone)),
        (Action::Mask, Action::Mask)
    );
    assert!(policy("redact=numbers").halves);
}

#[test]
fn what_deepgram_offers_and_we_do_not_is_refused_by_name() {
    for (text, named) in [
        ("redact=pii", "redact is `pii`"),
        ("paragraphs=true", "paragraphs is not available"),
        ("replace=a:b", "replace is not available"),
        ("search=word", "search is not available"),
        ("dictation=true", "dictation is not available"),
        ("measurements=true", "measurements is not available"),
        ("filler_words=false", "filler_words"),
        ("alternatives=3", "alternatives is not available"),
        ("diarize=true", "multichannel=true"),
        ("puntcuate=true", "puntcuate is not available"),
        ("detect_language=true", "for recordings"),
        ("utterances=true", "for recordings"),
    ] {
        let refused = Options::live(&query(text)).expect_err(text).to_string();
        assert!(refused.contains(named), "{text}: {refused}");
    }
    let refused = Options::recorded(&query("encoding=linear16")).expect_err("its file says").to_string();
    assert!(refused.contains("for live streams"), "{refused}");
    for text in
        ["diarize=false&paragraphs=false", "model=nova-3&no_delay=true&mip_opt_out=true&filler_words=true"]
    {
        Options::live(&query(text)).expect(text);
    }
}

#[test]
fn deepgram_is_told_the_words_with_and_without_their_marks_and_the_language() {
    let written =
        |text: &str, language: &str| Utterance { language: Language::parse(language), ..said(text, 0) };
    let channels = [vec![written("Pay $25.50, please.", "en"), written("Good.", "zh")]];
    let answer = |text: &str| {
        deepgram::recorded(&Options::recorded(&query(text)).expect(text), "x", Span::from_secs(2), &channels)
    };
    let smart = answer("smart_format=true&detect_language=true");
    let channel = &smart["results"]["channels"][0];
    let words = &channel["alternatives"][0]["words"];
    assert_eq!((&words[1]["word"], &words[1]["punctuated_word"]), (&json!("$25.50"), &json!("$25.50,")));
    assert_eq!((&words[2]["word"], &words[2]["punctuated_word"]), (&json!("please"), &json!("please.")));
    assert_eq!(channel["detected_language"], "en", "most was said in it");
    let plain = answer("language=multi");
    let channel = &plain["results"]["channels"][0];
    assert!(channel["alternatives"][0]["words"][0].get("punctuated_word").is_none());
    assert_eq!(channel["alternatives"][0]["languages"], json!(["en", "zh"]));
    assert!(channel.get("detected_language").is_none());
}

#[test]
fn funasr_begins_anew_after_words_that_were_taken_back() {
    let mut stream = FunAsr::default();
    stream.receive(Incoming::Text(r#"{"mode":"2pass"}"#)).expect("served");
    assert_eq!(one(&stream.report(0, partial("嗯", 0)))["text"], "嗯");
    let back = one(&stream.report(0, partial("", 0)));
    assert_eq!((&back["mode"], &back["text"]), (&json!("2pass-offline"), &json!("")));
    assert_eq!(one(&stream.report(0, partial("我要", 0)))["text"], "我要");
}

#[test]
fn funasr_puts_marks_always_and_figures_where_they_are_wanted() {
    let stages = |text: &str| {
        let mut stream = FunAsr::default();
        stream.receive(Incoming::Text(text)).expect(text);
        let style = stream.settings().style;
        (style.numbers, style.punctuation, style.capitals)
    };
    assert_eq!(stages(r#"{"mode":"2pass","itn":true}"#), (true, true, false));
    assert_eq!(stages(r#"{"mode":"offline","itn":false}"#), (false, true, false));
    assert_eq!(stages(r#"{"mode":"online","itn":true}"#), (false, false, false));
    let mut stream = FunAsr::default();
    stream.receive(Incoming::Text(r#"{"mode":"2pass"}"#)).expect("served");
    stream.receive(Incoming::Binary(&[0, 0])).expect("heard");
    let refused = stream.receive(Incoming::Text(r#"{"itn":false}"#)).expect_err("too late");
    assert!(refused.to_string().contains("itn cannot change"), "{refused}");
}

#[test]
fn transcriptions_refuse_by_name_what_they_cannot_do() {
    for (text, named) in [
        ("include[]=logprobs", "include[] is not available"),
        ("temperature=0.7", "temperature is `0.7`"),
        ("known_speaker_names[]=a", "known_speaker_names[] is not available"),
    ] {
        let refused = Transcription::read(&query(text)).expect_err(text).to_string();
        assert!(refused.contains(named), "{text}: {refused}");
    }
    Transcription::read(&query("model=whisper-1&temperature=0&chunking_strategy=auto")).expect("served");
}
