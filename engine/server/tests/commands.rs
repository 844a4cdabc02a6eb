//! The commands as people run them: the built program, real files, real pipes.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test owns the web service it is asked through, and says what it skips"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
#[cfg(feature = "pocketsphinx")]
use std::time::{Duration, Instant};

use serde_json::Value;

fn antiphon() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANTIPHON_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    antiphon().args(args).output().expect("the program runs")
}

/// Runs with lines typed into it.
fn typed(args: &[&str], input: &str) -> Output {
    let mut child = antiphon()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    child.wait_with_output().expect("ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn flow(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flows").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

fn pcm(path: &Path) -> Vec<i16> {
    let bytes = std::fs::read(path).expect("readable");
    let data = bytes.windows(4).position(|tag| tag == b"data").expect("a WAV file") + 8;
    bytes[data..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// A 16-bit WAV file at 16 kHz.
fn wav(path: &Path, channels: u16, samples: &[i16]) {
    let size = (samples.len() * 2) as u32;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(36 + size).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt ");
    bytes.extend_from_slice(&16_u32.to_le_bytes());
    bytes.extend_from_slice(&1_u16.to_le_bytes());
    bytes.extend_from_slice(&channels.to_le_bytes());
    bytes.extend_from_slice(&16_000_u32.to_le_bytes());
    bytes.extend_from_slice(&(16_000 * u32::from(channels) * 2).to_le_bytes());
    bytes.extend_from_slice(&(channels * 2).to_le_bytes());
    bytes.extend_from_slice(&16_u16.to_le_bytes());
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    std::fs::write(path, bytes).expect("written");
}

/// A stereo call: the caller asks, two and a half seconds later the machine answers. `None` without flite.
fn call(dir: &Path) -> Option<PathBuf> {
    let say = |words: &str, name: &str| -> Option<Vec<i16>> {
        let path = dir.join(name);
        let made =
            Command::new("flite").args(["-voice", "slt", "-t", words, "-o"]).arg(&path).output().ok()?;
        made.status.success().then(|| pcm(&path))
    };
    let (Some(caller), Some(machine)) = (
        say("what is my account balance", "caller.raw"),
        say("please say your account number", "machine.raw"),
    ) else {
        eprintln!("SKIPPED: flite is not installed, so there is no voice to transcribe");
        return None;
    };
    let begin = caller.len() + 40_000;
    let samples: Vec<i16> = (0..begin + machine.len() + 16_000)
        .flat_map(|n| {
            let machine = n.checked_sub(begin).and_then(|n| machine.get(n));
            [caller.get(n).copied().unwrap_or(0), machine.copied().unwrap_or(0)]
        })
        .collect();
    let path = dir.join("call.wav");
    wav(&path, 2, &samples);
    Some(path)
}

#[cfg(feature = "pocketsphinx")]
#[test]
fn a_stereo_call_becomes_words_in_every_format() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(call) = call(dir.path()) else { return };
    let call = call.to_str().expect("UTF-8");
    let as_format = |format: &str| {
        let output = run(&["transcribe", "--format", format, call]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };

    let plain = as_format("text");
    let lines: Vec<&str> = plain.lines().collect();
    assert_eq!(lines.len(), 2, "{plain}");
    assert!(
        lines[0].starts_with("[0:00.") && lines[0].contains("] caller: ") && lines[0].contains("balance"),
        "{plain}"
    );
    assert!(lines[1].contains("] machine: ") && lines[1].contains("number"), "{plain}");

    let file: Value = serde_json::from_str(&as_format("json")).expect("JSON");
    assert_eq!(file["path"], call);
    assert_eq!(file["engine"], "pocketsphinx");
    assert_eq!(file["channels"], serde_json::json!(["caller", "machine"]));
    let length = file["duration"].as_f64().expect("seconds");
    let said = file["utterances"].as_array().expect("a list");
    assert_eq!(said.len(), 2);
    let mut before = 0.0;
    for utterance in said {
        for word in utterance["words"].as_array().expect("a list") {
            let (start, end) = (word["start"].as_f64().expect("time"), word["end"].as_f64().expect("time"));
            assert!(
                start < end && end <= length && start >= before - 0.001,
                "{word} after {before} of {length}"
            );
            before = start;
        }
    }
    assert!(said[1]["start"].as_f64().expect("time") > said[0]["end"].as_f64().expect("time") + 2.0);

    for (format, point, prefix) in [("srt", ',', "caller: "), ("vtt", '.', "<v caller>")] {
        let subtitles = as_format(format);
        let mut blocks: Vec<&str> = subtitles.trim_end().split("\n\n").collect();
        if format == "vtt" {
            assert_eq!(blocks.remove(0), "WEBVTT");
        }
        assert_eq!(blocks.len(), 2, "{subtitles}");
        let mut last = 0;
        for (n, block) in blocks.iter().enumerate() {
            let mut lines = block.lines();
            if format == "srt" {
                assert_eq!(lines.next(), Some((n + 1).to_string().as_str()));
            }
            let (from, to) = lines.next().expect("times").split_once(" --> ").expect("an arrow");
            let (from, to) = (subtitle_time(from, point), subtitle_time(to, point));
            assert!(last <= from && from < to, "{subtitles}");
            last = from;
            let words = lines.next().expect("words");
            assert!(n > 0 || words.starts_with(prefix), "{words}");
            assert_eq!(lines.next(), None, "{subtitles}");
        }
    }
}

/// Milliseconds of `00:00:03,200`.
fn subtitle_time(text: &str, point: char) -> u64 {
    let (clock, millis) = text.split_once(point).expect("a fraction");
    let parts: Vec<u64> = clock.split(':').map(|part| part.parse().expect("a number")).collect();
    assert!(parts.len() == 3 && clock.len() == 8 && millis.len() == 3, "{text}");
    (parts[0] * 3_600 + parts[1] * 60 + parts[2]) * 1_000 + millis.parse::<u64>().expect("a number")
}

#[test]
fn a_broken_file_among_good_ones_is_named_and_the_rest_is_done() {
    let dir = tempfile::tempdir().expect("a folder");
    let (bad, missing) = (dir.path().join("bad.wav"), dir.path().join("missing.wav"));
    std::fs::write(&bad, "this is no sound").expect("written");
    let (quiet, more) = (dir.path().join("quiet.wav"), dir.path().join("more.wav"));
    wav(&quiet, 1, &[0; 32_000]);
    wav(&more, 3, &[0; 48_000]);
    let folder = dir.path().join("out/deep");
    let output = antiphon()
        .args(["transcribe", "--engine", "scripted", "--format", "json", "--output"])
        .args([&folder, &bad, &quiet, &missing, &more])
        .output()
        .expect("the program runs");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 2, "{errors}");
    assert!(errors.contains("bad.wav") && errors.contains("missing.wav"), "{errors}");
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(folder.join(name)).expect("written")).expect("JSON")
    };
    assert_eq!(read("quiet.transcript.json")["duration"], 2.0);
    let channels = serde_json::json!(["channel 1", "channel 2", "channel 3"]);
    assert_eq!(read("more.transcript.json")["channels"], channels);
    assert_eq!(read("more.transcript.json")["utterances"], serde_json::json!([]));
    assert!(!folder.join("bad.transcript.json").exists());
}

#[test]
fn transcripts_do_not_replace_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let (one, two) = (dir.path().join("a/x.wav"), dir.path().join("b/x.wav"));
    for path in [&one, &two] {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        wav(path, 1, &[0; 1_600]);
    }
    let folder = dir.path().join("out");
    let output = antiphon()
        .args(["transcribe", "--engine", "scripted", "--output"])
        .args([&folder, &one, &two])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("b/x.wav") && errors.contains("replace"), "{errors}");
    // Beside their files they do not meet.
    let output =
        antiphon().args(["transcribe", "--engine", "scripted"]).args([&one, &two]).output().expect("runs");
    assert!(
        output.status.success() && one.with_extension("txt").exists() && two.with_extension("txt").exists()
    );
}

#[test]
fn good_flows_pass_the_check_and_broken_ones_are_told_by_line() {
    let good = run(&["flow", "check", &flow("bank.yaml"), &flow("bank_zh.yaml")]);
    let told = text(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{told}");
    assert!(
        told.contains("bank revision 1 (en-US): ") && told.contains("bank_zh revision 1 (zh-CN): "),
        "{told}"
    );
    assert!(told.contains(" steps, ") && told.contains(" intents, ") && told.contains(" slots; "), "{told}");

    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("broken.yaml");
    let source = "version: 1\nname: broken\nsteps:\n  a:\n    say: Hello {nmae}.\n    next: bye_\n  bye:\n    hang_up: Bye.\n";
    std::fs::write(&path, source).expect("written");
    let path = path.to_str().expect("UTF-8");
    let broken = run(&["flow", "check", path, &flow("bank.yaml")]);
    let told = text(&broken.stdout);
    assert_eq!(broken.status.code(), Some(1), "{told}");
    assert!(
        told.contains("broken.yaml:5:16: error: ") && told.contains("broken.yaml:6:11: error: "),
        "{told}"
    );
    assert!(
        told.contains("did you mean `bye`?") && told.contains("    6 |     next: bye_\n      |           ^"),
        "{told}"
    );
    assert!(told.contains("2 errors") && told.contains("bank revision 1"), "the rest is checked too: {told}");

    let report: Value =
        serde_json::from_slice(&run(&["flow", "check", "--format", "json", path, &flow("bank.yaml")]).stdout)
            .expect("JSON");
    assert_eq!(report[0]["ok"], false);
    assert_eq!(report[0]["errors"][1]["line"], 6);
    assert_eq!(report[0]["errors"][1]["suggestion"], "bye");
    assert_eq!((&report[1]["ok"], &report[1]["name"]), (&Value::from(true), &Value::from("bank")));
    assert_eq!(run(&["flow", "check", "no-such.yaml"]).status.code(), Some(1));
}

#[test]
fn the_bank_line_is_talked_through_in_english() {
    let output = typed(&["flow", "chat", "--no-http"], "what is my balance\n/key 123456\nno thanks\n");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        said.contains("machine: Northwind Bank.") && said.contains("caller: what is my balance\n"),
        "{said}"
    );
    assert!(said.contains("[intent balance ") && said.contains("[account = \"123456\"]"), "{said}");
    assert!(said.contains("balances are not available") && said.contains("call.hangup.flow"), "{said}");
    assert!(!said.contains('\u{1b}'), "no colours in a pipe: {said}");
}

#[test]
fn the_bank_line_is_talked_through_in_chinese() {
    let file = flow("bank_zh.yaml");
    let input = "明天转两百块到储蓄账户\n一二三四五六\n对\n不用了\n";
    let output = typed(&["flow", "chat", "--no-http", "--var", "today=2026-11-22", &file], input);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in
        ["[intent transfer ", "[day = \"2026-11-23\"]", "[amount = 200]", "11月23日", "已经登记", "再见"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_chat_in_json_is_one_object_a_turn() {
    let input = "my balance\n/key 123456\n/vars\n/help\n/hangup\n";
    let output = typed(&["flow", "chat", "--json", "--no-http", &flow("bank.yaml")], input);
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 5, "start, two turns, the variables, the end; help is no turn");
    assert_eq!(lines[0]["input"], Value::Null);
    assert_eq!(lines[1]["events"][0]["name"], "balance");
    assert_eq!(lines[2]["slots"]["account"], "123456");
    assert_eq!(lines[2]["actions"][0]["outcome"], "failed");
    assert_eq!(lines[3]["variables"]["account"], "123456");
    assert_eq!(lines[4]["ended"], "call.hangup.caller");
}

#[test]
fn a_chat_asks_web_services_unless_told_not_to() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let service = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let mut request = [0; 4_096];
        let length = std::io::Read::read(&mut stream, &mut request).expect("readable");
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 18\r\nconnection: close\r\n\r\n{\"balance\": 412.5}";
        stream.write_all(answer.as_bytes()).expect("written");
        String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned()
    });
    let bank = format!("bank_url=http://{address}");
    let output = typed(&["flow", "chat", "--var", &bank], "my balance\n/key 123456\n");
    let said = text(&output.stdout);
    assert!(said.contains("Your balance is 412.5 dollars."), "{said}");
    assert_eq!(service.join().expect("served"), "GET /accounts/123456/balance HTTP/1.1");
}

#[test]
fn a_broken_flow_cannot_be_talked_to() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("broken.yaml");
    std::fs::write(&path, "version: 1\nname: x\nsteps:\n  a:\n    sya: hello\n").expect("written");
    let output = typed(&["flow", "chat", path.to_str().expect("UTF-8")], "hello\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("broken.yaml:5:5: error: "), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = antiphon()
        .args(["flow", "chat", "--json", "--no-http"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    // The program may be gone before the line is written.
    let _ = child.stdin.take().expect("piped").write_all(b"hello\n/silence\n");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(text(&output.stderr), "");
}

/// Minutes of speech with pauses, of a voice that both runs can be fed again.
#[cfg(feature = "pocketsphinx")]
fn long_recording(dir: &Path) -> Option<PathBuf> {
    let call = call(dir)?;
    let path = dir.join("long.wav");
    wav(&path, 2, &pcm(&call).repeat(12));
    Some(path)
}

#[cfg(feature = "pocketsphinx")]
#[test]
fn a_transcription_killed_at_any_moment_goes_on_and_comes_out_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(call) = long_recording(dir.path()) else { return };
    let run = |folder: &Path| {
        let mut command = antiphon();
        command.args(["transcribe", "--format", "json", "--resume", "--output"]).arg(folder).arg(&call);
        command
    };
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    assert!(run(&whole).status().expect("runs").success());
    let transcript = |folder: &Path| std::fs::read_to_string(folder.join("long.transcript.json"));
    let journal = broken.join("long.transcript.json.progress");
    let mut kills = 0;
    for lines in [2, 5, 9] {
        let mut child = run(&broken).spawn().expect("runs");
        let began = Instant::now();
        while child.try_wait().expect("a child").is_none() && began.elapsed() < Duration::from_secs(120) {
            let kept = std::fs::read_to_string(&journal).unwrap_or_default().lines().count();
            if kept > lines {
                child.kill().expect("killed");
                kills += 1;
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait().expect("ended");
    }
    assert!(kills > 0 && transcript(&broken).is_err(), "it was stopped before its end");
    assert!(run(&broken).status().expect("runs").success());
    assert!(!journal.exists() && !whole.join("long.transcript.json.progress").exists());
    let utterances = |folder: &Path| -> Vec<(String, String, f64)> {
        let read: Value = serde_json::from_str(&transcript(folder).expect("written")).expect("JSON");
        let one = |u: &Value| {
            let text = |key: &str| u[key].as_str().expect("a text").to_owned();
            (text("channel"), text("text"), u["start"].as_f64().expect("seconds"))
        };
        read["utterances"].as_array().expect("a list").iter().map(one).collect()
    };
    let (expected, found) = (utterances(&whole), utterances(&broken));
    assert_eq!(expected.len(), 24);
    // The engine tunes itself to a line as it hears it, so that times may differ by a frame or two of its own.
    let same = |(a, b): (&(String, String, f64), &(String, String, f64))| {
        a.0 == b.0 && a.1 == b.1 && (a.2 - b.2).abs() < 0.05
    };
    let equal = expected.len() == found.len() && expected.iter().zip(&found).all(same);
    assert!(equal, "{expected:?}\n{found:?}");
    // What is done is left alone.
    let again = run(&broken).output().expect("runs");
    assert!(
        again.status.success() && text(&again.stderr).contains("1 of 1 files"),
        "{}",
        text(&again.stderr)
    );
}
