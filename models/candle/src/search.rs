//! Finding the tokens: greedy, with the rules for times; where what comes out repeats itself or is unsure, again with some
//! chance in it. As transformers' `generate` does with Whisper, many rows at once.

use std::collections::BTreeMap;

use flate2::{Compress, Compression, FlushCompress};

use crate::RunError;
use crate::config::{Config, Marks};
use crate::network::{Network, Sound};
use crate::rules::{forbid, log_sum};

/// What compresses better than this repeats itself (transformers' documentation, for tokens).
const REPEATS: f32 = 1.35;
/// What is less likely than this, in mean logarithms, is unsure (Radford et al. 2022, 4.5).
pub(crate) const UNSURE: f32 = -1.0;
/// The probability of no speech above which unsure words are dropped.
pub(crate) const NO_SPEECH: f32 = 0.6;
/// How much chance is added each time.
const WARMER: f32 = 0.2;
/// Bytes that zlib adds at most to what it cannot compress.
const ADDED: usize = 64;

/// One window to be written down.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Features of the window.
    pub(crate) features: Vec<f32>,
    /// Tokens of what is said to have been said before.
    pub(crate) before: Vec<u32>,
    /// The language's token; the likeliest of `among` where it is not known.
    pub(crate) language: Option<u32>,
    /// Tokens that are written at most.
    pub(crate) most: usize,
    /// How often it is tried again.
    pub(crate) retries: usize,
    /// Positions of the sound in the window, where the times of the tokens are wanted.
    pub(crate) positions: Option<usize>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    pub(crate) language: Option<u32>,
    /// Without the mark of the end.
    pub(crate) tokens: Vec<u32>,
    /// The probability of each.
    pub(crate) sureties: Vec<f32>,
    /// Mean logarithm of the tokens' probabilities, that of the end among them.
    pub(crate) average: f32,
    /// How much smaller the tokens become when they are compressed.
    pub(crate) ratio: f32,
    /// The probability of no speech.
    pub(crate) silence: f32,
    /// Where each token begins, in positions; none where nobody wanted it or the model cannot say.
    pub(crate) starts: Option<Vec<usize>>,
}

impl Found {
    fn again(&self) -> bool {
        let unsure = self.average < UNSURE;
        (self.ratio > REPEATS || unsure) && !(unsure && self.silence > NO_SPEECH)
    }

    /// Whether nothing was said.
    pub(crate) fn nothing(&self) -> bool {
        self.average < UNSURE && self.silence > NO_SPEECH
    }
}

/// The tokens of each window. `among`: the languages that may be recognised.
pub(crate) fn search(
    network: &Network,
    config: &Config,
    jobs: &[Job],
    among: &[u32],
) -> Result<Vec<Found>, RunError> {
    let windows: Vec<Vec<f32>> = jobs.iter().map(|job| job.features.clone()).collect();
    if windows.is_empty() {
        return Ok(Vec::new());
    }
    let sound = network.sound(&network.encode(&windows)?)?;
    let languages = languages(network, &config.marks, jobs, &sound, among)?;
    let prompts: Vec<Vec<u32>> =
        jobs.iter().zip(&languages).map(|(job, language)| prompt(config, job, *language)).collect();
    let mut found = vec![Found::default(); jobs.len()];
    let mut open: Vec<usize> = (0..jobs.len()).collect();
    let mut trial = 0;
    while !open.is_empty() {
        let wrote = write(network, config, jobs, &prompts, &sound, &open, WARMER * trial as f32)?;
        for (row, wrote) in open.iter().zip(wrote) {
            found[*row] = Found { language: languages[*row], ..wrote };
        }
        open.retain(|row| found[*row].again() && jobs[*row].retries > trial);
        trial += 1;
    }
    for (row, found) in found.iter_mut().enumerate() {
        let Some(positions) = jobs[row].positions else { continue };
        if config.alignment.is_empty() || found.tokens.is_empty() || found.nothing() {
            continue;
        }
        let tokens: Vec<u32> = prompts[row].iter().chain(&found.tokens).copied().collect();
        let heads = network.attention(&tokens, prompts[row].len(), &sound.select(&[row])?)?;
        found.starts = Some(crate::align::starts(heads, positions, config.median));
    }
    Ok(found)
}

/// How likely each language is, by its token, for each window.
pub(crate) fn identify(
    network: &Network,
    marks: &Marks,
    sound: &Sound,
    rows: usize,
    among: &[u32],
) -> Result<Vec<BTreeMap<u32, f32>>, RunError> {
    let (state, _) = network.begin(&vec![vec![marks.start]; rows], sound)?;
    let scores = network.scores(&state, 0)?;
    Ok(scores
        .iter()
        .map(|scores| {
            let of: Vec<f32> = among.iter().map(|id| scores[*id as usize]).collect();
            let sum = log_sum(&of);
            among.iter().zip(of).map(|(id, score)| (*id, (score - sum).exp())).collect()
        })
        .collect())
}

fn languages(
    network: &Network,
    marks: &Marks,
    jobs: &[Job],
    sound: &Sound,
    among: &[u32],
) -> Result<Vec<Option<u32>>, RunError> {
    let mut out: Vec<Option<u32>> = jobs.iter().map(|job| job.language).collect();
    let unknown: Vec<usize> = (0..jobs.len()).filter(|row| out[*row].is_none()).collect();
    if among.is_empty() || unknown.is_empty() {
        return Ok(out);
    }
    let likely = identify(network, marks, &sound.select(&unknown)?, unknown.len(), among)?;
    for (row, likely) in unknown.into_iter().zip(likely) {
        out[row] = likely.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(id, _)| id);
    }
    Ok(out)
}

/// What the decoder reads before it writes: the context, at most half of what it sees less one, then what it is to do.
fn prompt(config: &Config, job: &Job, language: Option<u32>) -> Vec<u32> {
    let marks = &config.marks;
    let mut out = Vec::new();
    let room = config.dimensions.tokens / 2 - 1;
    if let Some(before) = marks.before.filter(|_| !job.before.is_empty()) {
        out.push(before);
        out.extend(job.before.iter().take(room));
    }
    out.push(marks.start);
    out.extend(language);
    out.extend(marks.transcribe.filter(|_| language.is_some()));
    out
}

/// A row being written.
struct Row {
    job: usize,
    said: Vec<u32>,
    sureties: Vec<f32>,
    sum: f32,
    silence: f32,
    over: bool,
    chance: Chance,
}

impl Row {
    fn new(job: usize, seed: u64) -> Self {
        Self {
            job,
            said: Vec::new(),
            sureties: Vec::new(),
            sum: 0.0,
            silence: 0.0,
            over: false,
            chance: Chance(seed),
        }
    }

    /// Takes the next token out of its scores.
    fn take(&mut self, marks: &Marks, scores: &mut [f32], warmth: f32) -> u32 {
        forbid(marks, scores, &self.said);
        let sum = log_sum(scores);
        let token = if warmth > 0.0 { self.chance.pick(scores, warmth) } else { highest(scores) };
        let surety = scores[token as usize] - sum;
        // Where everything is forbidden there is nothing to say.
        let surety = if surety.is_finite() { surety } else { 0.0 };
        self.sum += surety;
        if token == marks.end || sum == f32::NEG_INFINITY {
            self.over = true;
        } else {
            self.said.push(token);
            self.sureties.push(surety.exp());
        }
        token
    }

    fn found(self, vocabulary: usize, end: u32) -> Found {
        let ended = usize::from(self.over);
        let average = self.sum / (self.said.len() + ended).max(1) as f32;
        let marked: Vec<u32> = self.said.iter().copied().chain(self.over.then_some(end)).collect();
        Found {
            language: None,
            ratio: ratio(&marked, vocabulary),
            tokens: self.said,
            sureties: self.sureties,
            average,
            silence: self.silence,
            starts: None,
        }
    }
}

/// Writes all of `open` once.
fn write(
    network: &Network,
    config: &Config,
    jobs: &[Job],
    prompts: &[Vec<u32>],
    sound: &Sound,
    open: &[usize],
    warmth: f32,
) -> Result<Vec<Found>, RunError> {
    let marks = &config.marks;
    let asked: Vec<Vec<u32>> = open.iter().map(|row| prompts[*row].clone()).collect();
    let longest = asked.iter().map(Vec::len).max().unwrap_or_default();
    let mut sound = sound.select(open)?;
    let (mut state, mut said) = network.begin(&asked, &sound)?;
    // Chance is not what makes two runs differ.
    let seed = |job: usize| (prompts[job].len() as u64 + 1) << 8 | (warmth * 10.0) as u64;
    let mut rows: Vec<Row> = open.iter().map(|job| Row::new(*job, seed(*job))).collect();
    for (n, (row, prompt)) in rows.iter_mut().zip(&asked).enumerate() {
        let start = prompt.iter().rposition(|id| *id == marks.start).unwrap_or_default();
        let place = longest - prompt.len() + start;
        let scores = network.scores(&state.narrow(0, n, 1)?, place)?.remove(0);
        row.silence = (scores[marks.no_speech as usize] - log_sum(&scores)).exp();
    }
    let mut done: Vec<Row> = Vec::with_capacity(rows.len());
    let mut place = longest - 1;
    loop {
        let scores = network.scores(&state, place)?;
        let mut next = Vec::with_capacity(rows.len());
        for (row, mut scores) in rows.iter_mut().zip(scores) {
            let token = row.take(marks, &mut scores, warmth);
            let room = config.dimensions.tokens - prompts[row.job].len();
            let full = row.said.len() >= jobs[row.job].most.min(room);
            next.push((token, row.over || full));
        }
        let going: Vec<usize> = (0..rows.len()).filter(|n| !next[*n].1).collect();
        if going.len() < rows.len() {
            let (on, over): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(n, _)| !next[*n].1);
            rows = on.into_iter().map(|(_, row)| row).collect();
            done.extend(over.into_iter().map(|(_, row)| row));
            if rows.is_empty() {
                break;
            }
            sound = sound.select(&going)?;
            said = said.select(&going)?;
        }
        let tokens: Vec<u32> = going.iter().map(|n| next[*n].0).collect();
        state = network.next(&tokens, &sound, &mut said)?;
        place = 0;
    }
    done.sort_by_key(|row| open.iter().position(|job| *job == row.job));
    Ok(done.into_iter().map(|row| row.found(config.dimensions.vocabulary, marks.end)).collect())
}

fn highest(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (n, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = n;
        }
    }
    best as u32
}

/// How many times smaller zlib makes tokens, each written in as many bytes as the vocabulary takes.
fn ratio(tokens: &[u32], vocabulary: usize) -> f32 {
    if tokens.is_empty() {
        return 0.0;
    }
    let length = ((vocabulary.max(1) as f64).log2() / 8.0) as usize + 1;
    let bytes: Vec<u8> = tokens.iter().flat_map(|id| id.to_le_bytes().into_iter().take(length)).collect();
    let mut packed = vec![0; bytes.len() + ADDED];
    let mut zlib = Compress::new(Compression::best(), true);
    match zlib.compress(&bytes, &mut packed, FlushCompress::Finish) {
        Ok(_) => bytes.len() as f32 / zlib.total_out().max(1) as f32,
        // Zlib refuses nothing; without its word the tokens are as long as they are.
        Err(_) => 1.0,
    }
}

/// Numbers that look like chance and are the same each time (xorshift64*).
struct Chance(u64);

impl Chance {
    fn pick(&mut self, scores: &[f32], warmth: f32) -> u32 {
        let warm: Vec<f32> = scores.iter().map(|s| s / warmth).collect();
        let sum = log_sum(&warm);
        let mut rest = self.next();
        for (n, score) in warm.iter().enumerate() {
            rest -= f64::from((score - sum).exp());
            if rest < 0.0 {
                return n as u32;
            }
        }
        highest(scores)
    }

    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_picks_tokens_as_often_as_they_are_likely() {
        let scores = [1f32.ln(), 2f32.ln(), f32::NEG_INFINITY, 5f32.ln()];
        for (warmth, wanted) in
            [(1.0, [0.125, 0.25, 0.0, 0.625]), (0.5, [1.0 / 30.0, 4.0 / 30.0, 0.0, 25.0 / 30.0])]
        {
            let mut chance = Chance(7);
            let mut counts = [0.0f64; 4];
            for _ in 0..20_000 {
                counts[chance.pick(&scores, warmth) as usize] += 1.0 / 20_000.0;
            }
            for (have, want) in counts.iter().zip(wanted) {
                assert!((have - want).abs() < 0.015, "{counts:?} {wanted:?}");
            }
        }
    }

    #[test]
    fn repetition_is_what_compresses() {
        let varied: Vec<u32> = (0..60).map(|n| n * 7_919 % 50_000).collect();
        let circle: Vec<u32> = (0..60).map(|n| n % 3 * 411).collect();
        assert!(ratio(&varied, 51_865) < REPEATS && ratio(&circle, 51_865) > 4.0);
        assert_eq!(ratio(&[], 51_865), 0.0);
    }

    #[test]
    fn what_is_unsure_is_tried_again_and_silence_is_not() {
        let found = |average, ratio, silence| Found { average, ratio, silence, ..Found::default() };
        assert!(!found(-0.5, 1.2, 0.9).again());
        assert!(found(-1.5, 1.2, 0.1).again());
        assert!(found(-0.5, 1.5, 0.9).again());
        assert!(!found(-1.5, 1.5, 0.9).again() && found(-1.5, 1.5, 0.9).nothing());
    }
}
