//! Two voices made by flite at known times, heard by the activity gate, measured to 50 ms.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it found and what it skips")]

mod calls;

use std::path::Path;
use std::process::Command;

use antiphon_engine_measure::{Measures, Role, SilenceCause, SpeechEdges, Stretch, ToneMeter};
use antiphon_media_codec::{ComfortNoise, Edge, Gate, GateConfig};
use antiphon_media_frame::{MediaTime, SampleRate, Span};
use calls::{AGENT, CUSTOMER, Call, at};

const RATE: SampleRate = SampleRate::HZ_8000;
const EXACT_MS: i64 = 50;

/// What the voice says, cut where it begins and ends to sound: louder than 40 dB below its loudest.
fn spoken(folder: &Path, voice: &str, text: &str) -> Option<Vec<i16>> {
    let wav = folder.join("said.wav");
    let made = Command::new("flite").args(["-voice", voice, "-t", text, "-o"]).arg(&wav).status();
    if !made.is_ok_and(|status| status.success()) {
        return None;
    }
    let pcm = antiphon_media_record::read_all(&wav).unwrap();
    let sound = antiphon_media_codec::resample(&pcm.channels[0], pcm.rate, RATE);
    let peak = sound.iter().map(|x| i32::from(*x).abs()).max().unwrap();
    let loud = |x: &i16| i32::from(*x).abs() > peak / 100;
    let (from, to) = (sound.iter().position(loud).unwrap(), sound.iter().rposition(loud).unwrap());
    Some(sound[from..=to].to_vec())
}

/// One side of a call: what was said and when, and the line's own noise all the while.
struct Side {
    sound: Vec<i16>,
    said: Vec<Stretch>,
}

impl Side {
    fn new(seconds: usize) -> Self {
        let mut sound = vec![0; seconds * RATE.hz() as usize];
        ComfortNoise::new(1).fill(&mut sound, -65.0);
        Self { sound, said: Vec::new() }
    }

    /// Says it and tells when it ended, in milliseconds.
    fn say(&mut self, start: i64, speech: &[i16]) -> i64 {
        let from = RATE.samples(Span::from_millis(start as u64));
        for (x, y) in self.sound[from..].iter_mut().zip(speech) {
            *x = x.saturating_add(*y);
        }
        let end = start + RATE.span(speech.len()).millis() as i64;
        self.said.push(at(start, end));
        end
    }

    /// Stretches of the gate, and the tone of what was said.
    fn heard(&self) -> (Vec<Stretch>, ToneMeter) {
        let config = GateConfig::default();
        let mut gate = Gate::new(RATE, config);
        let mut meter = ToneMeter::new(RATE, Span::from_secs(600));
        let (mut speech, mut edges) = (Vec::new(), SpeechEdges::new(RATE));
        for (n, frame) in self.sound.chunks(160).enumerate() {
            let now = MediaTime::from_millis(20 * n as i64);
            meter.push(now, frame);
            let heard = now + Span::from_millis(20);
            edges.push(now, frame);
            match gate.push(frame).edge {
                Some(Edge::Start) => _ = edges.begin(heard - config.start),
                Some(Edge::End) => speech.extend(edges.end(heard - config.hangover)),
                None => {}
            }
        }
        assert_eq!(edges.open(), None, "the call ends in silence");
        (speech, meter)
    }
}

fn near(found: Stretch, wanted: Stretch) -> bool {
    let off = |a: MediaTime, b: MediaTime| (a.millis() - b.millis()).abs();
    off(found.start, wanted.start) <= EXACT_MS && off(found.end, wanted.end) <= EXACT_MS
}

#[test]
fn a_call_of_known_timing_is_measured_to_fifty_milliseconds() {
    let folder = tempfile::tempdir().unwrap();
    let Some(greeting) = spoken(folder.path(), "rms", "Good morning") else {
        println!("skipped: flite is not installed");
        return;
    };
    let say = |voice, text| spoken(folder.path(), voice, text).unwrap();
    let (mut agent, mut customer) = (Side::new(60), Side::new(60));
    let greeted = agent.say(2_000, &greeting);
    let order = say("slt", "Where are my new red shoes");
    let asked = customer.say(greeted + 700, &order);
    // Eight seconds and a half of nothing, owed by the agent.
    let long = say("rms", "I am really very sorry but I do not know");
    let answered = agent.say(asked + 8_500, &long);
    // The customer breaks in 900 ms before the end.
    let no = say("slt", "No way I want my money now");
    let broke_in = answered - 900;
    let ended = customer.say(broke_in, &no);

    let (agent_speech, agent_tone) = agent.heard();
    let (customer_speech, customer_tone) = customer.heard();
    println!(
        "agent {:?}\n  of {:?}\ncustomer {:?}\n  of {:?}",
        agent_speech, agent.said, customer_speech, customer.said
    );
    let mut call = Call::of(60_000);
    call.0.tracks[AGENT].speech = agent_speech;
    call.0.tracks[CUSTOMER].speech = customer_speech;
    let measures = Measures::of(&call.0);

    let silences: Vec<_> = measures.silences.iter().filter(|s| s.cause != SilenceCause::Opening).collect();
    let wanted = [
        (at(greeted, greeted + 700), SilenceCause::Owed(Role::Customer)),
        (at(asked, asked + 8_500), SilenceCause::Owed(Role::Agent)),
        (at(ended, 60_000), SilenceCause::Closing),
    ];
    assert_eq!(silences.len(), wanted.len(), "{silences:?}");
    for (found, (stretch, cause)) in silences.iter().zip(wanted) {
        assert!(near(found.at, stretch) && found.cause == cause, "{found:?}, wanted {stretch:?} {cause:?}");
    }
    let [found] = measures.interruptions[..] else {
        panic!("one interruption: {:?}", measures.interruptions)
    };
    assert!(near(found.overlap, at(broke_in, answered)) && found.took_over, "{found:?}");
    assert_eq!((found.by, found.of), (CUSTOMER, AGENT));
    for (side, track) in [(&agent, AGENT), (&customer, CUSTOMER)] {
        let wanted: i64 = side.said.iter().map(|at| at.end.millis() - at.start.millis()).sum();
        let found = measures.speakers[track].talk.millis() as i64;
        assert!(
            (found - wanted).abs() <= EXACT_MS * side.said.len() as i64,
            "{found} ms of {wanted} ms on {track}"
        );
    }
    let responses: Vec<i64> = measures.responses.iter().map(|r| r.after.millis() as i64).collect();
    for (found, wanted) in responses.iter().zip([700, 8_500, 0]) {
        assert!((found - wanted).abs() <= EXACT_MS, "{responses:?}");
    }
    // A man's voice and a woman's.
    let pitch = |meter: &ToneMeter, at| meter.tone(at).unwrap().pitch_hz.unwrap();
    let (low, high) = (pitch(&agent_tone, agent.said[1]), pitch(&customer_tone, customer.said[0]));
    assert!((75.0..130.0).contains(&low) && (150.0..250.0).contains(&high), "{low} Hz and {high} Hz");
}
