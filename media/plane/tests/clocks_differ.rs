//! A far side whose clock is off is heard for half an hour without a step: nothing dropped, nothing made up.

mod world;

use antiphon_media_frame::{MediaTime, SampleRate, Span};
use antiphon_media_plane::{Clip, ClipId, LegCommand, Sound};
use antiphon_media_record::GapCause;
use world::{Finished, Make, World};

const RATE: SampleRate = SampleRate::HZ_8000;
const HZ: f64 = 700.0;
/// 10 ms: seven whole cycles of the tone.
const BLOCK: usize = 80;

/// Phase of the tone in each block, in radians, and the power of what is no tone, in dB below it.
fn blocks(pcm: &[i16]) -> Vec<(f64, f64)> {
    let turn = std::f64::consts::TAU * HZ / 8_000.0;
    let table: Vec<(f64, f64)> = (0..BLOCK).map(|n| (turn * n as f64).sin_cos()).collect();
    let analyse = |block: &[i16]| {
        let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
        for (sample, (sin, cos)) in block.iter().zip(&table) {
            let sample = f64::from(*sample);
            re += sample * cos;
            im -= sample * sin;
            power += sample * sample;
        }
        let tone = (re * re + im * im) * 2.0 / (BLOCK * BLOCK) as f64;
        let rest = (power / BLOCK as f64 - tone).max(1e-9);
        (im.atan2(re), 10.0 * (rest / tone).log10())
    };
    pcm.chunks_exact(BLOCK).map(analyse).collect()
}

fn is_heard_without_a_step(side: &str, ppm: f64, finished: &Finished) {
    let figures = finished.figures();
    assert_eq!((figures.lost, figures.late, figures.drained), (0, 0, 0), "{side}: {figures:?}");
    assert_eq!(figures.concealed, Span::ZERO, "{side}");
    let (begun, over) = (MediaTime::from_millis(1_000), MediaTime::from_millis(1_799_000));
    let holes = finished.summary.caller.gaps.iter().filter(|gap| gap.to > begun && gap.from < over);
    assert_eq!(holes.clone().count(), 0, "{side}: {:?}", holes.collect::<Vec<_>>());
    assert!(finished.summary.caller.gaps.iter().all(|gap| gap.cause != GapCause::Concealed));
    let heard = &finished.pcm.channels[0];
    let heard = blocks(&heard[8_000..heard.len() - 8_000]);
    assert!(heard.len() > 179_000, "{side}: {} blocks", heard.len());
    let (mut turned, mut worst_step, mut worst_noise) = (0.0, 0.0f64, f64::MIN);
    for pair in heard.windows(2) {
        let step = (pair[1].0 - pair[0].0 + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU)
            - std::f64::consts::PI;
        turned += step;
        worst_step = worst_step.max(step.abs());
        worst_noise = worst_noise.max(pair[1].1);
    }
    // One sample left out or put in would turn the tone by 0.55; the drift turns it by 0.009 a block, quantisation by some
    // hundredths more.
    assert!(worst_step < 0.08, "{side}: {worst_step} rad");
    // A click would be as loud as the tone; µ-law alone is 37 dB below it.
    assert!(worst_noise < -28.0, "{side}: {worst_noise} dB");
    // Over the half hour the tone is lower, or higher, by what the clocks differ.
    let seconds = heard.len() as f64 * 0.01;
    let measured = turned / (std::f64::consts::TAU * HZ * seconds) * 1e6;
    assert!((measured.abs() - ppm).abs() < 12.0, "{side}: {measured} ppm");
}

#[test]
fn half_an_hour_at_200_ppm_has_no_step_in_either_direction() {
    let ppm = 200.0;
    let mut world = World::new([Make { ppm, ..Make::default() }, Make::default()]);
    // A second holds whole cycles, so that it can be repeated without a seam.
    let turn = std::f64::consts::TAU * HZ / 8_000.0;
    let tone: std::sync::Arc<[i16]> =
        (0..8_000).map(|n| ((turn * f64::from(n)).sin() * 12_000.0) as i16).collect();
    for side in &mut world.sides {
        let sound = Sound::Whole(tone.clone(), RATE);
        let clip = Clip { id: ClipId(1), sound, interruptible: false, repeat: true };
        side.leg.command(MediaTime::ZERO, LegCommand::Play(clip));
    }
    world.run(1_800_000);
    let [fast, ours] = world.sides;
    is_heard_without_a_step("as the one that is off hears it", ppm, &fast.finish());
    is_heard_without_a_step("as we hear it", ppm, &ours.finish());
}
