//! The bank line end to end: synthesised speech, the default recogniser, real packets, both recordings compared.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test owns processes, threads and clocks"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::server::{Options, Server};
use support::wav::{Wav, correlate};

const BINARY: &str = env!("CARGO_BIN_EXE_antiphon");

fn examples(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path)
}

/// Calls `server` with the built caller, which records into `out`.
fn call(server: &Server, out: &Path, arguments: &[&str]) -> Output {
    let target = format!("sip:bank@{}", server.sip());
    let output = Command::new(BINARY)
        .args(["call", &target, "--engine", "none", "--record"])
        .arg(out)
        .args(arguments)
        .output()
        .expect("the binary runs");
    assert!(
        output.status.success(),
        "the caller failed: {}\n{}\nserver: {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        server.log().join("\n")
    );
    output
}

fn recording(folder: &Path) -> Wav {
    let days = std::fs::read_dir(folder.join("recordings")).expect("recordings");
    let files = days.flatten().flat_map(|day| std::fs::read_dir(day.path()).expect("a day").flatten());
    let mut wavs: Vec<_> =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "wav")).collect();
    assert_eq!(wavs.len(), 1, "{wavs:?}");
    Wav::read(&wavs.remove(0))
}

/// The bank's own computer: answers every request with a balance, until the test is over.
fn bank_computer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let body = "{\"balance\": 1234.5}";
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + body).as_bytes());
        }
    });
    format!("http://{address}")
}

fn names(events: &[Value], key: &str) -> Vec<String> {
    events.iter().filter_map(|event| event[key].as_str().map(str::to_owned)).collect()
}

/// Where `length` seconds of `from`, taken at the first loud place at or after `after` seconds, lie in `to`: the shift
/// in seconds.
fn shift(from: &[i16], to: &[i16], rate_hz: u32, after: f64, length: f64) -> f64 {
    let rate = f64::from(rate_hz);
    let start = (after * rate) as usize;
    let loud = from[start..].iter().position(|s| s.unsigned_abs() > 3_000).expect("something loud") + start;
    let needle = &from[loud..loud + (length * rate) as usize];
    let (at, likeness) = correlate(needle, to, rate_hz);
    assert!(likeness > 0.9, "what was sent is what was recorded: {likeness:.3} at {:.2} s", at as f64 / rate);
    (at as f64 - loud as f64) / rate
}

/// Seconds at which the last loud stretch of at least a second begins.
fn last_loud(pcm: &[i16], rate_hz: u32) -> f64 {
    let last = pcm.iter().rposition(|s| s.unsigned_abs() > 3_000).expect("something loud");
    last as f64 / f64::from(rate_hz) - 1.5
}

#[test]
fn real_call_the_bank_line_understands_its_caller() {
    let flow = std::fs::read_to_string(examples("flows/bank.yaml")).expect("the example");
    assert!(flow.contains("http://127.0.0.1:8090"));
    let flow = flow.replace("http://127.0.0.1:8090", &bank_computer());
    let server = Server::start(Options { engine: "pocketsphinx", flow: Some(&flow), ..Options::default() });
    let out = tempfile::tempdir().expect("a folder");
    let script = examples("callers/bank.yaml");
    call(&server, out.path(), &["--script", script.to_str().expect("a path")]);
    assert_eq!(server.cause(), "call.hangup.flow");
    let events = server.events();

    let sequence: Vec<_> = events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    assert_eq!(sequence, (1..=events.len() as u64).collect::<Vec<_>>(), "no hole in the stream");

    let intents = names(&server.of_type("intent"), "name");
    for wanted in ["balance", "transfer", "lost_card", "goodbye"] {
        assert!(intents.iter().any(|intent| intent == wanted), "{wanted} among {intents:?}");
    }
    let slots: Vec<_> =
        server.of_type("slot").into_iter().map(|e| (e["name"].clone(), e["value"].clone())).collect();
    for (name, value) in [
        ("account", Value::from("427193")),
        ("target", Value::from("savings")),
        ("amount", Value::from(200)),
        ("agreed", Value::from(true)),
        ("block", Value::from(true)),
    ] {
        assert!(
            slots
                .iter()
                .any(|(n, v)| n == name && (*v == value || v.as_f64() == value.as_f64() && v.is_number())),
            "{name} = {value} among {slots:?}"
        );
    }
    assert_eq!(names(&server.of_type("dtmf"), "key").concat(), "1", "the key once");
    let cut = server.of_type("prompt.stopped").into_iter().filter(|e| e["reason"] == "barge_in").count();
    assert_eq!(cut, 1, "the caller spoke over one prompt");
    let done: Vec<_> = server.of_type("action.finished").into_iter().map(|e| e["outcome"].clone()).collect();
    assert_eq!(done, ["ok", "ok"], "the balance and the transfer");
    assert!(server.of_type("response").len() >= 6, "answers are measured");

    // Word times lie where the sound is: several words take their time.
    for said in server.of_type("speech.final").iter().filter(|e| e["side"] == "caller") {
        let words = said["words"].as_array().expect("words");
        let seconds = |word: &Value, key: &str| word[key].as_f64().expect("a time");
        assert!(words.windows(2).all(|w| seconds(&w[0], "end") <= seconds(&w[1], "start") + 1e-9), "{said}");
        if words.len() > 2 {
            let first = seconds(&words[0], "start");
            let last = seconds(&words[words.len() - 1], "end");
            assert!(
                last - first > 0.25 * words.len() as f64 * 0.5,
                "words are not squeezed together: {said}"
            );
        }
    }

    let (ours, theirs) = (server.recording(), recording(out.path()));
    assert_eq!((ours.rate_hz, ours.channels.len()), (16_000, 2));
    assert_eq!(ours.channels[0].len(), ours.channels[1].len());
    let rate = ours.rate_hz;
    // Left is what the caller sent, right what it heard. Both clocks run from other zeros, so the two shifts have
    // opposite signs of that offset: their sum is the skew between our two tracks plus the way there and back.
    let early = shift(&theirs.channels[1], &ours.channels[0], rate, 0.0, 1.0);
    let back = shift(&ours.channels[1], &theirs.channels[0], rate, 0.0, 1.0);
    assert!((early + back).abs() < 0.020, "tracks within a frame at the start: {early:.4} + {back:.4} s");
    let end = last_loud(&theirs.channels[1], rate);
    let late = shift(&theirs.channels[1], &ours.channels[0], rate, end, 1.0);
    assert!((late - early).abs() < 0.020, "and at the end: {late:.4} against {early:.4} s");
    eprintln!(
        "skew: {:.1} samples at the start, {:.1} more at the end",
        (early + back) * f64::from(rate),
        (late - early) * f64::from(rate)
    );

    let sidecar = server.sidecars().remove(0);
    assert_eq!(
        (&sidecar["codec"], &sidecar["cause"]),
        (&Value::from("G722"), &Value::from("call.hangup.flow"))
    );
    assert_eq!(sidecar["dtmf"].as_array().map(Vec::len), Some(1));
    assert!(sidecar["transcript"].as_array().is_some_and(|t| t.len() > 12), "both sides are transcribed");
    let logged = server.log().join("\n");
    assert!(
        !logged.contains("427193") && !logged.contains("balance"),
        "logs keep personal data out:\n{logged}"
    );
}

#[test]
fn real_call_an_8_khz_model_serves_g711() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/pocketsphinx");
    if !models.join("en-8k-ptm256").exists() {
        eprintln!("skipped: this test needs the 8 kHz model in {}", models.display());
        return;
    }
    let recognizer = format!(
        "\n[[recognizer.pocketsphinx.models]]\nlanguage = \"en\"\nrate_hz = 8000\nacoustic = \"{0}/en-8k-ptm256\"\n\
         dictionary = \"{0}/cmudict-en-us.dict\"\n",
        models.canonicalize().expect("present").display()
    );
    let server =
        Server::start(Options { engine: "pocketsphinx", recognizer: &recognizer, ..Options::default() });
    let out = tempfile::tempdir().expect("a folder");
    let steps =
        ["--voice", "rms", "--codecs", "PCMU", "--say", "i lost my card", "--say", "yes", "--say", "goodbye"];
    call(&server, out.path(), &steps);
    server.cause();
    let intents = names(&server.of_type("intent"), "name");
    assert!(intents.iter().any(|intent| intent == "lost_card"), "{intents:?}");
    assert_eq!(server.sidecars()[0]["sample_rate_hz"], 8_000);
    assert_eq!(server.recording().rate_hz, 8_000);
}

#[test]
fn real_call_the_chinese_line_understands_its_caller() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/pocketsphinx");
    if !models.join("zh-8k-ptm").exists() {
        eprintln!("skipped: this test needs the Mandarin model in {}", models.display());
        return;
    }
    let recognizer = format!(
        "\n[[recognizer.pocketsphinx.models]]\nlanguage = \"zh\"\nrate_hz = 8000\nacoustic = \"{0}/zh-8k-ptm\"\n\
         dictionary = \"{0}/mandarin_notone.dic\"\nlanguage_model = \"{0}/gigatdt.lm.gz\"\n",
        models.canonicalize().expect("present").display()
    );
    let flow = std::fs::read_to_string(examples("flows/bank_zh.yaml")).expect("the example");
    let options =
        Options { engine: "pocketsphinx", recognizer: &recognizer, flow: Some(&flow), ..Options::default() };
    let server = Server::start(options);
    let out = tempfile::tempdir().expect("a folder");
    let steps =
        ["--language", "zh", "--codecs", "PCMU", "--say", "我要挂失", "--say", "是的", "--say", "不用了"];
    call(&server, out.path(), &steps);
    assert_eq!(server.cause(), "call.hangup.flow");
    assert_eq!(names(&server.of_type("intent"), "name"), ["lost_card"]);
    let slots: Vec<_> = server.of_type("slot").into_iter().map(|e| e["value"].clone()).collect();
    assert_eq!(slots, [Value::from(true), Value::from(false)], "block the card; nothing more");
}
