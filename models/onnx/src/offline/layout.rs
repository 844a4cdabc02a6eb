//! Paraformer's and SenseVoice's inputs and outputs.

use std::collections::HashMap;

use crate::bank::{BankOptions, Taper};
use crate::ctc::{Ctc, likeliest};
use crate::graph::{Graph, Kind};
use crate::runtime::Session;
use crate::tensor::Tensor;
use crate::tokens::{Heard, Tokens};
use crate::{LoadError, RunError};

/// Filters of the bank.
const BINS: usize = 80;
/// Frames that SenseVoice puts before the sound's: language, emotion, event, text normalisation.
const QUERIES: usize = 4;
/// The integrate-and-fire peaks of Paraformer stand three to a frame.
const PEAKS: usize = 3;

enum Head {
    /// All tokens at once, up to the end mark; the peaks say when, where the model gives them.
    Paraformer { end: u32, peaks: Option<usize> },
    /// CTC with queries.
    SenseVoice {
        blank: u32,
        languages: HashMap<&'static str, i64>,
        /// The tokens that tell what is spoken.
        tags: Vec<u32>,
        spoken: i64,
        written: i64,
    },
}

/// One offline model.
pub(super) struct Layout {
    session: Box<dyn Session>,
    head: Head,
    /// Bank frames that become one, and from one such to the next.
    window: usize,
    shift: usize,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    scale: f32,
    vocabulary: usize,
}

impl Layout {
    pub(super) fn new(graph: &Graph, session: Box<dyn Session>, tokens: &Tokens) -> Result<Self, LoadError> {
        let layout = |reason: String| LoadError::Layout { reason };
        let (window, shift) = (graph.number("lfr_window_size")?, graph.number("lfr_window_shift")?);
        let vocabulary = graph.number("vocab_size")?;
        if window > 64 || shift > window {
            return Err(layout(format!("low frame rate of {window} by {shift}")));
        }
        if tokens.len() < vocabulary {
            return Err(layout(format!("{vocabulary} tokens in the model, {} in tokens.txt", tokens.len())));
        }
        let (mean, deviation) = (graph.list("neg_mean")?, graph.list("inv_stddev")?);
        if mean.len() != window * BINS || deviation.len() != window * BINS {
            return Err(layout(format!("mean of {} and deviation of {}", mean.len(), deviation.len())));
        }
        let whole = |port: usize| matches!(graph.inputs[port].kind, Kind::I32 | Kind::I64);
        let (head, scale) = match graph.inputs.len() {
            2 if whole(1) => {
                let end = tokens.id("</s>").ok_or_else(|| layout("no </s> in tokens.txt".to_owned()))?;
                let peaks = graph.outputs.iter().position(|o| o.name.contains("peak"));
                (Head::Paraformer { end, peaks }, 1.0)
            }
            4 if (1..4).all(whole) => {
                let id = |key| graph.list::<i64>(key).map(|ids| ids.first().copied().unwrap_or_default());
                let mut languages = HashMap::new();
                for (tag, key) in [
                    ("auto", "lang_auto"),
                    ("zh", "lang_zh"),
                    ("en", "lang_en"),
                    ("ja", "lang_ja"),
                    ("ko", "lang_ko"),
                    ("yue", "lang_yue"),
                ] {
                    languages.insert(tag, id(key)?);
                }
                let (written, spoken) = (id("with_itn")?, id("without_itn")?);
                let blank = u32::try_from(id("blank_id").unwrap_or(0)).unwrap_or(0);
                let scale = if id("normalize_samples")? == 0 { 1.0 } else { 1.0 / 32_768.0 };
                let tag = |tag: &&str| tokens.id(&format!("<|{tag}|>"));
                let tags = languages.keys().filter(|tag| **tag != "auto").filter_map(tag).collect();
                (Head::SenseVoice { blank, languages, tags, spoken, written }, scale)
            }
            inputs => return Err(layout(format!("{inputs} inputs: neither Paraformer nor SenseVoice"))),
        };
        Ok(Self { session, head, window, shift, mean, deviation, scale, vocabulary })
    }

    /// The filter bank that the model was trained on.
    pub(super) fn bank(&self) -> BankOptions {
        BankOptions { bins: BINS, taper: Taper::Hamming, high_hz: 0.0, snip: true, scale: self.scale }
    }

    /// Numbers an input frame.
    pub(super) fn width(&self) -> usize {
        self.window * BINS
    }

    /// Bank frames of one output frame.
    pub(super) fn stride(&self) -> usize {
        self.shift
    }

    /// The model's number for a language; where it has none, the one with which it finds out by itself.
    pub(super) fn language(&self, primary: &str) -> i64 {
        match &self.head {
            Head::Paraformer { .. } => 0,
            Head::SenseVoice { languages, .. } => {
                languages.get(primary).or_else(|| languages.get("auto")).copied().unwrap_or(0)
            }
        }
    }

    /// Whether it finds out what is spoken, and says so in its first token.
    pub(super) fn identifies(&self) -> bool {
        matches!(self.head, Head::SenseVoice { .. })
    }

    /// Input frames of bank frames: several in one, centred, the first and the last repeated beyond the ends; normalised.
    pub(super) fn prepare(&self, features: &[f32]) -> Vec<f32> {
        let frames = features.len() / BINS;
        let mut out = Vec::with_capacity(frames.div_ceil(self.shift) * self.width());
        for centre in (0..frames).step_by(self.shift) {
            for n in 0..self.window {
                let frame = (centre + n).saturating_sub((self.window - 1) / 2).min(frames - 1);
                let scale = n * BINS..(n + 1) * BINS;
                let scale = self.mean[scale.clone()].iter().zip(&self.deviation[scale]);
                let bins = features[frame * BINS..][..BINS].iter().zip(scale);
                out.extend(bins.map(|(x, (mean, deviation))| (x + mean) * deviation));
            }
        }
        out
    }

    /// Computes utterances together; each row holds whole input frames, at least one.
    pub(super) fn run(
        &self,
        rows: &[&[f32]],
        languages: &[i64],
        written: bool,
    ) -> Result<Vec<Vec<Heard>>, RunError> {
        let width = self.width();
        let lengths: Vec<usize> = rows.iter().map(|r| r.len() / width).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut x = Vec::with_capacity(rows.len() * longest * width);
        for row in rows {
            x.extend_from_slice(row);
            x.resize(x.len() + longest * width - row.len(), 0.0);
        }
        let x = Tensor::floats([rows.len(), longest, width], x);
        let whole = |values: Vec<i64>| Tensor::whole([values.len()], values);
        let counts = whole(lengths.iter().map(|n| *n as i64).collect());
        match &self.head {
            Head::Paraformer { end, peaks } => {
                let out = self.session.run(&[&x, &counts])?;
                let said = out.get(1).map(Tensor::as_whole).unwrap_or_default();
                let peaks = peaks.and_then(|n| out.get(n));
                let logits = self.checked(out.first(), rows.len())?;
                let rows = lengths.iter().enumerate();
                Ok(rows.map(|(row, length)| self.at_once(logits, row, said, *length, peaks, *end)).collect())
            }
            Head::SenseVoice { blank, tags, spoken, written: figures, .. } => {
                let language = whole(languages.to_vec());
                let norm = whole(vec![if written { *figures } else { *spoken }; rows.len()]);
                let out = self.session.run(&[&x, &counts, &language, &norm])?;
                let logits = self.checked(out.first(), rows.len())?;
                let mut found = Vec::with_capacity(rows.len());
                for (row, length) in lengths.iter().enumerate() {
                    let mut ctc = Ctc::new(*blank);
                    ctc.search(logits, row, length + QUERIES, 0, *blank);
                    // The first tokens answer the queries; of these only the language is told.
                    let told = (0..)
                        .zip(ctc.heard)
                        .filter(|(n, h)| *n >= QUERIES || *n == 0 && tags.contains(&h.token));
                    found.push(
                        told.map(|(_, h)| Heard { frame: h.frame.saturating_sub(QUERIES), ..h }).collect(),
                    );
                }
                Ok(found)
            }
        }
    }

    fn checked<'a>(&self, logits: Option<&'a Tensor>, rows: usize) -> Result<&'a Tensor, RunError> {
        let fits = |t: &&Tensor| {
            t.shape.len() == 3
                && t.shape[0] == rows
                && t.shape[2] == self.vocabulary
                && t.as_floats().len() == t.shape.iter().product::<usize>()
        };
        logits.filter(fits).ok_or_else(|| RunError {
            runtime: "paraformer",
            message: "the model's output is no batch of tokens".to_owned(),
        })
    }

    /// The tokens of one row of Paraformer's output.
    fn at_once(
        &self,
        logits: &Tensor,
        row: usize,
        said: &[i64],
        length: usize,
        peaks: Option<&Tensor>,
        end: u32,
    ) -> Vec<Heard> {
        let slots = logits.shape[1];
        let size = slots * self.vocabulary;
        let count = said.get(row).and_then(|n| usize::try_from(*n).ok()).unwrap_or(slots).min(slots);
        let mut out = Vec::with_capacity(count);
        for scores in logits.as_floats()[row * size..][..size].chunks_exact(self.vocabulary).take(count) {
            let (token, score) = likeliest(scores);
            if token == end {
                break;
            }
            let sum: f32 = scores.iter().map(|s| (s - score).exp()).sum();
            out.push(Heard { token, frame: 0, surety: 1.0 / sum });
        }
        let fired = peaks.map(|p| fired(p, row)).unwrap_or_default();
        let tokens = out.len();
        for (n, heard) in out.iter_mut().enumerate() {
            // Without peaks, or with fewer than tokens, each token has an equal share of the sound.
            heard.frame =
                fired.get(n).copied().filter(|_| fired.len() >= tokens).unwrap_or(n * length / tokens);
        }
        out
    }
}

/// The frames at which a row's integrate-and-fire fired.
fn fired(peaks: &Tensor, row: usize) -> Vec<usize> {
    let Some(width) = peaks.shape.last().copied().filter(|w| *w > 0) else { return Vec::new() };
    let row = peaks.as_floats().chunks_exact(width).nth(row).unwrap_or_default();
    row.iter().enumerate().filter(|(_, p)| **p > 1.0 - 1e-4).map(|(n, _)| n / PEAKS).collect()
}
