//! What a gate hears that judges every second window of a voice, against one that judges them all.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::resample;

/// Voices that flite makes.
const VOICES: [&str; 4] = ["slt", "rms", "awb", "kal"];
const TEXT: &str = "Hello, I am calling about my last bill. It says forty two pounds and sixteen pence, and that, as far as I \
                    remember, is not what we agreed on. Could you have a look? My number is seven, three, one, nine.";

/// What two gates made of the same sound.
#[derive(Debug, Default)]
struct Compared {
    frames: usize,
    /// Frames judged otherwise by the sparing gate, and those of them that it let through.
    otherwise: usize,
    opened: usize,
    /// Edges of both: the sparing one shuts less often for a moment.
    edges: [usize; 2],
    /// Frames in which the sparing gate was open.
    active: usize,
}

impl Compared {
    fn hear(&mut self, pcm: &[i16], rate: SampleRate) {
        let mut whole = Gate::new(rate, GateConfig::default());
        whole.sure = 2.0;
        let mut sparing = Gate::new(rate, GateConfig::default());
        for frame in pcm.chunks_exact(rate.samples(Span::from_millis(20))) {
            let made = [whole.push(frame), sparing.push(frame)];
            self.frames += 1;
            self.active += usize::from(made[1].active);
            self.otherwise += usize::from(made[0].active != made[1].active);
            self.opened += usize::from(made[1].active && !made[0].active);
            for (edges, made) in self.edges.iter_mut().zip(made) {
                *edges += usize::from(made.edge.is_some());
            }
        }
    }

    /// Holds the two against each other: one frame in 300 at most is judged otherwise, one in 3,000 withheld, one edge in 8
    /// left out, none added.
    fn check(&self) {
        assert!(self.otherwise * 300 <= self.frames, "{self:?}");
        assert!((self.otherwise - self.opened) * 3_000 <= self.frames, "{self:?}");
        let [whole, sparing] = self.edges;
        assert!(sparing <= whole && (whole - sparing) * 8 <= whole, "{self:?}");
    }
}

fn say(why: &str) {
    let _ = writeln!(std::io::stderr(), "{why}");
}

fn flite(voice: &str) -> Option<(Vec<i16>, SampleRate)> {
    let path = std::env::temp_dir().join(format!("antiphon-spared-{}-{voice}.wav", std::process::id()));
    let made = Command::new("flite").args(["-voice", voice, "-t", TEXT, "-o"]).arg(&path).status();
    made.ok().filter(std::process::ExitStatus::success)?;
    let bytes = std::fs::read(&path).ok()?;
    std::fs::remove_file(&path).ok()?;
    let hz = u32::from_le_bytes(*bytes.get(24..)?.first_chunk()?);
    let pcm = bytes.get(44..)?.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
    Some((pcm, SampleRate::new(hz)?))
}

#[test]
fn windows_that_are_spared_withhold_nothing_of_a_made_voice() {
    let mut compared = Compared::default();
    for voice in VOICES {
        let Some((pcm, from)) = flite(voice) else {
            say("SKIPPED: flite is not installed");
            return;
        };
        for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000] {
            let quiet = vec![0; rate.samples(Span::from_millis(600))];
            compared.hear(&[&quiet, &resample(&pcm, from, rate)[..], &quiet].concat(), rate);
        }
    }
    say(&format!("made voices: {compared:?}"));
    assert!(compared.active > 1_000, "{compared:?}");
    compared.check();
}

#[test]
fn windows_that_are_spared_withhold_next_to_nothing_of_people() {
    let folder = ["../../../shared", "../../../../shared"]
        .map(|up| Path::new(env!("CARGO_MANIFEST_DIR")).join(up).join("audio/librispeech/dev"))
        .into_iter()
        .find(|folder| folder.is_dir());
    let Some(folder) = folder else { return say("SKIPPED: no recorded speech lies beside the checkout") };
    let mut clips: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").filter_map(|entry| Some(entry.ok()?.path())).collect();
    clips.retain(|path| path.extension().is_some_and(|extension| extension == "opus"));
    clips.sort();
    let every =
        if std::env::var_os("ANTIPHON_ALL_SPEECH").is_some() { 1 } else { clips.len().div_ceil(8).max(1) };
    let mut compared = Compared::default();
    for clip in clips.iter().step_by(every) {
        let rate = SampleRate::HZ_8000;
        compared.hear(&opus(clip, rate), rate);
    }
    say(&format!("people: {compared:?}"));
    compared.check();
}

fn opus(path: &Path, rate: SampleRate) -> Vec<i16> {
    let file = std::fs::File::open(path).expect("a clip");
    let mut packets = ogg::PacketReader::new(std::io::BufReader::new(file));
    let mut decoder = opus::Decoder::new(rate.hz(), opus::Channels::Mono).expect("a rate of Opus");
    let (mut frame, mut pcm) = (vec![0; rate.hz() as usize / 8], Vec::new());
    while let Some(packet) = packets.read_packet().expect("a whole file") {
        if packet.data.starts_with(b"OpusHead") || packet.data.starts_with(b"OpusTags") {
            continue;
        }
        let samples = decoder.decode(&packet.data, &mut frame, false).expect("a valid packet");
        pcm.extend_from_slice(&frame[..samples]);
    }
    pcm
}
