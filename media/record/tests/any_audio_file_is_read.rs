//! Files of every kind the reader claims, whole, truncated and damaged.

use std::path::{Path, PathBuf};
use std::process::Command;

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_media_record::{AudioReader, Channel, ReadError, StereoRecording, read_all, write_wav_mono};

const RATE: SampleRate = SampleRate::HZ_16000;

/// A second and a half of two tones that no codec loses.
fn tones() -> Vec<i16> {
    (0..24_000)
        .map(|n| {
            let t = n as f32 / 16_000.0 * std::f32::consts::TAU;
            ((t * 440.0).sin() * 6_000.0 + (t * 1_100.0).sin() * 3_000.0) as i16
        })
        .collect()
}

/// Normalised cross-correlation at the lag (within `lags` samples) where it is greatest, and that lag.
fn likeness(a: &[i16], b: &[i16], lags: i64) -> (f64, i64) {
    let at = |lag: i64| {
        let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
        for (n, x) in a.iter().enumerate() {
            let Some(y) = usize::try_from(n as i64 + lag).ok().and_then(|m| b.get(m)) else { continue };
            let (x, y) = (f64::from(*x), f64::from(*y));
            (ab, aa, bb) = (ab + x * y, aa + x * x, bb + y * y);
        }
        (ab / (aa * bb).sqrt().max(1.0), lag)
    };
    (-lags..=lags).map(at).max_by(|a, b| a.0.total_cmp(&b.0)).expect("a lag")
}

fn sox(input: &Path, output: &Path, options: &[&str]) {
    let status = Command::new("sox")
        .arg("-D")
        .arg(input)
        .args(options)
        .arg(output)
        .status()
        .expect("sox is installed (Debian: sox)");
    assert!(status.success(), "sox {options:?} {}", output.display());
}

fn source(dir: &Path) -> PathBuf {
    let path = dir.join("source.wav");
    write_wav_mono(&path, &tones(), RATE).expect("written");
    path
}

#[test]
fn lossless_files_read_back_sample_by_sample() {
    let dir = tempfile::tempdir().expect("a directory");
    let wav = source(dir.path());
    assert_eq!(read_all(&wav).expect("readable").channels, [tones()]);
    for (name, options) in [
        ("a.flac", &[][..]),
        ("b.aiff", &[][..]),
        ("c.wav", &["-b", "24"][..]),
        ("d.wav", &["-b", "32", "-e", "floating-point"][..]),
    ] {
        let path = dir.path().join(name);
        sox(&wav, &path, options);
        let found = read_all(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((found.rate, &found.warning), (RATE, &None), "{name}");
        assert_eq!(found.channels.len(), 1);
        let off = found.channels[0].iter().zip(tones()).map(|(a, b)| a.abs_diff(b)).max();
        assert!(found.channels[0].len() == 24_000 && off <= Some(1), "{name}: {off:?}");
    }
}

#[test]
fn lossy_files_sound_like_their_source() {
    let dir = tempfile::tempdir().expect("a directory");
    let wav = source(dir.path());
    for (name, options) in [
        ("ulaw.wav", &["-e", "u-law"][..]),
        ("alaw.wav", &["-e", "a-law"][..]),
        ("adpcm.wav", &["-e", "ima-adpcm"][..]),
        ("msadpcm.wav", &["-e", "ms-adpcm"][..]),
        ("vorbis.ogg", &[][..]),
    ] {
        let path = dir.path().join(name);
        sox(&wav, &path, options);
        let found = read_all(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.rate, RATE, "{name}");
        let (like, lag) = likeness(&tones(), &found.channels[0], 32);
        assert!(like > 0.98 && lag == 0, "{name}: {like} at lag {lag}");
    }
}

/// An Ogg Opus file of `pcm` (48 kHz, interleaved), as RFC 7845 has it: pre-skip first, padding at the end.
fn ogg_opus(pcm: &[i16], channels: u8) -> Vec<u8> {
    use ogg::writing::{PacketWriteEndInfo, PacketWriter};
    let layout = if channels == 1 { opus::Channels::Mono } else { opus::Channels::Stereo };
    let mut encoder = opus::Encoder::new(48_000, layout, opus::Application::Audio).expect("an encoder");
    let skip = encoder.get_lookahead().expect("a lookahead") as usize;
    let mut file = Vec::new();
    let mut writer = PacketWriter::new(&mut file);

    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels);
    head.extend((skip as u16).to_le_bytes());
    head.extend(48_000u32.to_le_bytes());
    head.extend([0, 0, 0]);
    writer.write_packet(head, 1, PacketWriteEndInfo::EndPage, 0).expect("written");
    let tags = b"OpusTags\x04\0\0\0test\0\0\0\0".to_vec();
    writer.write_packet(tags, 1, PacketWriteEndInfo::EndPage, 0).expect("written");

    let frame = 960 * usize::from(channels);
    let frames = pcm.len() / usize::from(channels);
    let mut padded = pcm.to_vec();
    padded.resize((skip + frames).div_ceil(960) * frame, 0);
    let count = padded.len() / frame;
    for (n, block) in padded.chunks(frame).enumerate() {
        let packet = encoder.encode_vec(block, 4_000).expect("encoded");
        let last = n + 1 == count;
        let end = if last { PacketWriteEndInfo::EndStream } else { PacketWriteEndInfo::NormalPacket };
        let granule = if last { skip + frames } else { (n + 1) * 960 };
        writer.write_packet(packet, 1, end, granule as u64).expect("written");
    }
    drop(writer);
    file
}

#[test]
fn opus_starts_after_its_pre_skip_and_ends_at_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.opus");
    let tone = |n: usize, hz: f32| {
        ((n as f32 / 48_000.0 * hz * std::f32::consts::TAU).sin() * 8_000.0 * (n as f32 / 30_000.0).min(1.0))
            as i16
    };
    let left: Vec<i16> = (0..60_123).map(|n| tone(n, 440.0)).collect();
    let right: Vec<i16> = (0..60_123).map(|n| tone(n, 700.0)).collect();

    std::fs::write(&path, ogg_opus(&left, 1)).expect("written");
    let found = read_all(&path).expect("readable");
    assert_eq!((found.rate, found.channels.len()), (SampleRate::HZ_48000, 1));
    assert_eq!(found.channels[0].len(), 60_123, "{:?}", found.warning);
    let (like, lag) = likeness(&left[20_000..50_000], &found.channels[0][20_000..50_000], 30);
    assert!(like > 0.98 && lag.abs() <= 1, "{like} at lag {lag}");

    let both: Vec<i16> = left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).collect();
    std::fs::write(&path, ogg_opus(&both, 2)).expect("written");
    let found = read_all(&path).expect("readable");
    for (was, is) in [&left, &right].into_iter().zip(&found.channels) {
        let (like, lag) = likeness(&was[20_000..50_000], &is[20_000..50_000], 30);
        assert!(like > 0.98 && lag.abs() <= 1, "{like} at lag {lag}");
    }
}

#[test]
fn blocks_are_bounded_and_add_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("long.wav");
    let pcm: Vec<i16> = (0..800_000).map(|n| n as i16).collect();
    write_wav_mono(&path, &pcm, SampleRate::HZ_8000).expect("written");
    let mut reader = AudioReader::open(&path).expect("readable");
    assert_eq!(reader.duration(), Some(Span::from_secs(100)));
    let (mut block, mut all) = (Vec::new(), Vec::new());
    while reader.next_block(&mut block).expect("readable") {
        assert!(block.len() == 1 && !block[0].is_empty() && block[0].len() <= 8_000, "{}", block[0].len());
        all.extend_from_slice(&block[0]);
        assert_eq!(reader.position(), SampleRate::HZ_8000.span(all.len()));
    }
    assert!(!reader.next_block(&mut block).expect("still at the end"));
    assert_eq!(all, pcm);
}

#[test]
fn a_truncated_file_gives_what_was_there_and_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let wav = source(dir.path());
    let flac = dir.path().join("a.flac");
    sox(&wav, &flac, &[]);
    for path in [&wav, &flac] {
        let bytes = std::fs::read(path).expect("readable");
        std::fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
        let found = read_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let length = found.channels[0].len();
        assert!((8_000..16_000).contains(&length), "{}: {length}", path.display());
        assert!(found.warning.is_some(), "{}", path.display());
        let (like, lag) = likeness(&tones()[..length], &found.channels[0], 2);
        assert!(like > 0.99 && lag == 0);
    }
}

#[test]
fn what_is_no_audio_is_refused_in_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.wav");
    for bytes in [&b""[..], b"RIFF", b"hello, this is no sound at all", &[0xff; 5_000]] {
        std::fs::write(&path, bytes).expect("written");
        let error = read_all(&path).expect_err("no audio");
        assert!(error.to_string().contains("x.wav"), "{error}");
    }
    assert!(matches!(AudioReader::open(&dir.path().join("none")), Err(ReadError::Io { .. })));
}

#[test]
fn damaged_files_give_an_error_or_what_is_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let wav = source(dir.path());
    let mut samples = vec![std::fs::read(&wav).expect("readable"), ogg_opus(&tones()[..9_600], 1)];
    for (name, options) in
        [("a.flac", &[][..]), ("b.ogg", &[][..]), ("c.wav", &["-e", "ima-adpcm"][..]), ("d.aiff", &[][..])]
    {
        let path = dir.path().join(name);
        sox(&wav, &path, options);
        samples.push(std::fs::read(path).expect("readable"));
    }
    // A fixed sequence, so that a failure can be repeated.
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut next = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let path = dir.path().join("damaged");
    for round in 0..360 {
        let mut bytes = samples[round % samples.len()].clone();
        for _ in 0..=next(12) {
            // Headers are where the damage counts.
            let within = if next(2) == 0 { bytes.len().min(96) } else { bytes.len() };
            let at = next(within);
            bytes[at] = next(256) as u8;
        }
        if next(4) == 0 {
            bytes.truncate(next(bytes.len()) + 1);
        }
        std::fs::write(&path, &bytes).expect("written");
        if let Ok(found) = read_all(&path) {
            assert!(found.channels.len() <= AudioReader::MOST_CHANNELS);
            assert!(found.channels.iter().all(|c| c.len() == found.channels[0].len()));
        }
    }
}

#[test]
fn players_accept_a_recording() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("call.wav");
    let mut recording = StereoRecording::create(&path, RATE).expect("created");
    for (n, pcm) in tones().chunks(320).enumerate() {
        let at = MediaTime::from_millis(n as i64 * 20);
        let frame =
            AudioFrame { pcm, rate: RATE, at, kind: FrameKind::Voice, active: false, retracted: false };
        recording.write(Channel::Machine, frame).expect("written");
    }
    recording.flush().expect("flushed");
    accepted(&path);
    recording.finish(MediaTime::from_millis(1_500)).expect("finished");
    accepted(&path);
}

fn accepted(path: &Path) {
    let out = Command::new("soxi").arg(path).output().expect("soxi is installed (Debian: sox)");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    for fact in ["Channels       : 2", "Sample Rate    : 16000", "16-bit", "24000 samples"] {
        assert!(said.contains(fact), "{fact}\n{said}");
    }
}

#[test]
fn gsm_files_are_decoded_bit_by_bit_as_libgsm_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let wav = source(dir.path());
    for (name, options) in
        [("pbx.wav", &["-r", "8000", "-e", "gsm-full-rate"][..]), ("pbx.gsm", &["-r", "8000"][..])]
    {
        let (path, decoded) = (dir.path().join(name), dir.path().join(format!("{name}.decoded.wav")));
        sox(&wav, &path, options);
        sox(&path, &decoded, &["-b", "16", "-e", "signed-integer"]);
        let found = read_all(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let theirs = read_all(&decoded).expect("readable");
        assert_eq!((found.rate.hz(), &found.warning), (8_000, &None), "{name}");
        let length = theirs.channels[0].len();
        assert!(length > 10_000 && found.channels[0].len() >= length, "{name}: {length}");
        // sox cuts the last frame to the length that the header tells.
        assert!(found.channels[0][..length] == theirs.channels[0][..], "{name} differs");

        let mut cut = std::fs::read(&path).expect("readable");
        cut.truncate(cut.len() / 2 - 7);
        std::fs::write(&path, cut).expect("written");
        let found = read_all(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            found.warning.is_some() && found.channels[0].len() > length / 3,
            "{name}: {:?}",
            found.warning
        );
    }
}

/// How strong a frequency is among all there is: 1 for a pure tone of it.
fn share(pcm: &[i16], rate: SampleRate, hz: f64) -> f64 {
    let step = hz * std::f64::consts::TAU / f64::from(rate.hz());
    let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let x = f64::from(*sample);
        (re, im, all) = (re + x * (step * n as f64).cos(), im + x * (step * n as f64).sin(), all + x * x);
    }
    2.0 * (re * re + im * im) / (all * pcm.len() as f64).max(1.0)
}

/// Made by `ffmpeg -f lavfi -i "aevalsrc='0.4*sin(2*PI*440*t)|0.4*sin(2*PI*1000*t)':s=48000:d=1.5" -b:a 64k FILE`.
#[test]
fn mp3_and_aac_are_read_channel_by_channel() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in ["tone.mp3", "tone.m4a", "tone.aac"] {
        let found = read_all(&folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((found.channels.len(), &found.warning), (2, &None), "{name}");
        let seconds = found.channels[0].len() as f64 / f64::from(found.rate.hz());
        assert!((1.45..1.65).contains(&seconds), "{name}: {seconds} s");
        for (channel, own, other) in [(0, 440.0, 1_000.0), (1, 1_000.0, 440.0)] {
            let pcm = &found.channels[channel];
            let (own, other) = (share(pcm, found.rate, own), share(pcm, found.rate, other));
            assert!(own > 0.8 && other < 0.01, "{name}, channel {channel}: {own} {other}");
        }
    }
}
