//! A recorder that is killed in mid-call loses at most what came after its last flush.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_media_record::{Channel, RecoverError, StereoRecording, read_all, recover};

const RATE: SampleRate = SampleRate::HZ_8000;
const PATH: &str = "ANTIPHON_TEST_RECORDING";

fn write(recording: &mut StereoRecording, n: i64) {
    let at = MediaTime::from_millis(n * 20);
    let pcm = [n as i16 + 1; 160];
    for channel in Channel::BOTH {
        let frame =
            AudioFrame { pcm: &pcm, rate: RATE, at, kind: FrameKind::Voice, active: false, retracted: false };
        recording.write(channel, frame).expect("written");
    }
    recording.advance(at).expect("advanced");
}

/// The child of the test below: writes 10 s, flushes, writes a little more, says so and waits for its end.
#[test]
fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    let mut recording = StereoRecording::create(Path::new(&path), RATE).expect("created");
    for n in 0..500 {
        write(&mut recording, n);
    }
    recording.flush().expect("flushed");
    for n in 500..540 {
        write(&mut recording, n);
    }
    writeln!(std::io::stderr(), "ready").expect("a listener");
    std::io::stdin().lines().next();
}

#[test]
fn killed_after_a_flush() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("call.wav");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child", "--nocapture"])
        .env(PATH, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line == "ready")), "the child wrote");
    child.kill().expect("killed");
    child.wait().expect("gone");

    // Before any repair, a player sees all that was flushed.
    let found = read_all(&path).expect("readable as it is");
    assert_eq!(found.warning, None);
    assert!(found.duration() >= Span::from_secs(10), "{}", found.duration());
    for (n, frame) in found.channels[0].chunks(160).take(500).enumerate() {
        assert!(frame.iter().all(|s| *s == n as i16 + 1), "frame {n}");
    }
    // Repair finds at least as much, and has nothing to do the second time.
    let first = recover(&path).expect("repaired");
    assert!(first.duration >= found.duration());
    let again = recover(&path).expect("sound");
    assert_eq!((again.repaired, again.duration), (false, first.duration));
    assert_eq!(read_all(&path).expect("readable").duration(), first.duration);
}

#[test]
fn a_header_without_sizes_and_half_a_sample_are_repaired() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("call.wav");
    let mut recording = StereoRecording::create(&path, RATE).expect("created");
    for n in 0..100 {
        write(&mut recording, n);
    }
    recording.finish(MediaTime::from_millis(2_000)).expect("finished");
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[4..8].fill(0);
    bytes[40..44].fill(0);
    bytes.extend([1, 2, 3]);
    std::fs::write(&path, bytes).expect("written");

    let found = recover(&path).expect("repaired");
    assert_eq!((found.repaired, found.duration), (true, Span::from_secs(2)));
    assert_eq!(read_all(&path).expect("readable").duration(), Span::from_secs(2));
}

#[test]
fn foreign_files_are_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("note.txt");
    for text in ["", "a note", &"not a recording ".repeat(40)] {
        std::fs::write(&path, text).expect("written");
        assert!(matches!(recover(&path), Err(RecoverError::Foreign { .. })));
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), text);
    }
    assert!(matches!(recover(&dir.path().join("none")), Err(RecoverError::Io { .. })));
}
