//! Times that cannot be, rates that do not fit, ends that never were.

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_media_record::{Channel, RecordError, StereoRecording, read_all};

const RATE: SampleRate = SampleRate::HZ_8000;

fn frame(pcm: &[i16], at: MediaTime) -> AudioFrame<'_> {
    AudioFrame { pcm, rate: RATE, at, kind: FrameKind::Voice, active: false, retracted: false }
}

#[test]
fn jumps_of_hours_are_refused_and_the_recording_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("call.wav");
    let mut recording = StereoRecording::create(&path, RATE).expect("created");
    let hours = MediaTime::ZERO + Span::from_secs(5 * 3_600);
    for at in [hours, MediaTime::from_nanos(i64::MAX)] {
        let far = recording.write(Channel::Caller, frame(&[1; 160], at));
        assert!(matches!(far, Err(RecordError::Jump { .. })), "{far:?}");
        assert!(matches!(recording.advance(at), Err(RecordError::Jump { .. })));
    }
    recording.write(Channel::Caller, frame(&[1; 160], MediaTime::ZERO)).expect("written");
    let wide = AudioFrame { rate: SampleRate::HZ_16000, ..frame(&[1; 160], MediaTime::ZERO) };
    assert!(matches!(recording.write(Channel::Caller, wide), Err(RecordError::Rate { .. })));
    let summary = recording.finish(MediaTime::from_nanos(i64::MAX)).expect("finished");
    assert_eq!(summary.duration, Span::from_millis(20), "an impossible end is no end");
    assert_eq!(read_all(&path).expect("readable").channels[0], [1; 160]);
}

#[test]
fn a_long_hold_is_padded_in_pieces() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("call.wav");
    let mut recording = StereoRecording::create(&path, RATE).expect("created");
    recording.write(Channel::Caller, frame(&[1; 160], MediaTime::ZERO)).expect("written");
    let back = MediaTime::from_millis(300_000);
    recording.advance(back).expect("five minutes are believed");
    recording.write(Channel::Machine, frame(&[2; 160], back)).expect("written");
    let summary = recording.finish(back).expect("finished");
    let found = read_all(&path).expect("readable");
    assert_eq!(found.channels[1][2_400_000..], [2; 160]);
    assert_eq!(found.duration(), summary.duration);
    assert_eq!(summary.caller.gaps.len(), 1);
}

#[test]
fn one_channel_may_run_ahead_and_the_other_still_finds_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("call.wav");
    let mut recording = StereoRecording::create(&path, RATE).expect("created");
    for (channel, value) in [(Channel::Machine, 2), (Channel::Caller, 1)] {
        for n in 0..1_000 {
            let at = MediaTime::from_millis(n * 20);
            recording.write(channel, frame(&[value; 160], at)).expect("written");
        }
    }
    let summary = recording.finish(MediaTime::ZERO).expect("finished");
    let found = read_all(&path).expect("readable");
    assert_eq!(found.channels, [vec![1; 160_000], vec![2; 160_000]]);
    assert_eq!((summary.caller.trimmed, summary.caller.gaps), (Span::ZERO, vec![]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let full = StereoRecording::create(std::path::Path::new("/dev/full"), RATE);
    let error = full.expect_err("nothing can be written there");
    assert!(matches!(&error, RecordError::Io { source, .. } if source.raw_os_error() == Some(28)), "{error}");
    assert!(error.to_string().contains("/dev/full"));
}
