//! What finds tokens in the frames of a transducer's encoder: a predictor of what was said, a joiner, and a beam.

use std::collections::HashMap;
use std::sync::Arc;

use crate::context::{Contexts, Place};
use crate::ctc::{log_add, log_sum};
use crate::graph::Graph;
use crate::runtime::Session;
use crate::tensor::Tensor;
use crate::tokens::{Heard, Tokens};
use crate::{LoadError, RunError};

/// The token that says nothing.
const BLANK: u32 = 0;

/// Predictor ("decoder") and joiner of a transducer.
pub(crate) struct Transducer {
    predictor: Box<dyn Session>,
    joiner: Box<dyn Session>,
    /// How many tokens the predictor looks back.
    context: usize,
    vocabulary: usize,
    /// Heard, but never said; as good as blank.
    unknown: Option<u32>,
}

/// One way to understand an utterance so far.
#[derive(Clone, Debug)]
struct Path {
    heard: Vec<Heard>,
    /// Log-probability, with what its phrases are worth.
    score: f64,
    place: Place,
    /// The predictor's output after its tokens.
    predicted: Option<Arc<[f32]>>,
}

/// The likeliest ways to understand one utterance so far.
#[derive(Clone, Debug)]
pub(crate) struct Beam {
    paths: Vec<Path>,
}

impl Beam {
    pub(crate) fn new() -> Self {
        Self { paths: vec![Path { heard: Vec::new(), score: 0.0, place: Contexts::START, predicted: None }] }
    }

    /// The tokens of the best path: the likeliest for its length.
    pub(crate) fn best(&self, context: usize) -> &[Heard] {
        let length = |p: &Path| (p.heard.len() + context) as f64;
        let best = self.paths.iter().max_by(|a, b| (a.score / length(a)).total_cmp(&(b.score / length(b))));
        best.map_or(&[], |p| &p.heard)
    }

    /// Leaves phrases that were begun under `old` hints.
    pub(crate) fn leave(&mut self, old: &Contexts) {
        for path in &mut self.paths {
            path.score += f64::from(old.forfeit(path.place));
            path.place = Contexts::START;
        }
    }
}

/// One stream's part of a search.
pub(crate) struct Row<'a> {
    pub(crate) beam: &'a mut Beam,
    /// Paths kept; 1 is greedy search.
    pub(crate) paths: usize,
    pub(crate) hints: Option<&'a Contexts>,
    /// Output frames of the utterance before these.
    pub(crate) before: usize,
}

impl Transducer {
    pub(crate) fn new(
        (predictor_graph, predictor): (Graph, Box<dyn Session>),
        (joiner_graph, joiner): (Graph, Box<dyn Session>),
        tokens: &Tokens,
    ) -> Result<Self, LoadError> {
        let context = predictor_graph.number("context_size")?;
        let vocabulary = predictor_graph.number("vocab_size")?;
        if !(1..=16).contains(&context) || tokens.len() < vocabulary || vocabulary > 1 << 20 {
            let reason = format!("{vocabulary} tokens in the model, {} in tokens.txt", tokens.len());
            return Err(LoadError::Layout { reason });
        }
        if predictor_graph.inputs.len() != 1 || joiner_graph.inputs.len() != 2 {
            return Err(LoadError::Layout { reason: "decoder or joiner of another kind".to_owned() });
        }
        let unknown = tokens.id("<unk>").filter(|id| *id != BLANK);
        Ok(Self { predictor, joiner, context, vocabulary, unknown })
    }

    /// How many tokens the predictor looks back.
    pub(crate) fn context(&self) -> usize {
        self.context
    }

    /// Goes through the frames, of shape (rows, frames, width), all rows at once. On an error the beams are in no
    /// useful state.
    pub(crate) fn search(&self, frames: &Tensor, rows: &mut [Row<'_>]) -> Result<(), RunError> {
        let (count, width) = (frames.shape[1], frames.shape[2]);
        for t in 0..count {
            self.predict(rows)?;
            let paths: usize = rows.iter().map(|r| r.beam.paths.len()).sum();
            let (mut heard, mut said) =
                (Vec::with_capacity(paths * width), Vec::with_capacity(paths * width));
            for (n, row) in rows.iter().enumerate() {
                let at = (n * count + t) * width;
                for path in &row.beam.paths {
                    heard.extend_from_slice(&frames.as_floats()[at..at + width]);
                    said.extend_from_slice(path.predicted.as_deref().unwrap_or_default());
                }
            }
            if said.len() != paths * (said.len() / paths) || said.is_empty() {
                return Err(odd("the predictor's width changes"));
            }
            let said_width = said.len() / paths;
            let logits = self
                .joiner
                .run(&[&Tensor::floats([paths, width], heard), &Tensor::floats([paths, said_width], said)])?;
            let logits = logits.first().map(Tensor::as_floats).unwrap_or_default();
            if logits.len() != paths * self.vocabulary {
                return Err(odd("the joiner gives another vocabulary"));
            }
            let mut rest = logits;
            for row in &mut *rows {
                let (here, after) = rest.split_at(row.beam.paths.len() * self.vocabulary);
                rest = after;
                self.extend(row, here, row.before + t);
            }
        }
        Ok(())
    }

    /// Computes the predictor's output of every path that has none, each context once.
    fn predict(&self, rows: &mut [Row<'_>]) -> Result<(), RunError> {
        let mut wanted: Vec<Vec<i64>> = Vec::new();
        let mut at: HashMap<Vec<i64>, usize> = HashMap::new();
        for path in rows.iter().flat_map(|r| &r.beam.paths).filter(|p| p.predicted.is_none()) {
            let context = self.context_of(path);
            at.entry(context).or_insert_with_key(|context| {
                wanted.push(context.clone());
                wanted.len() - 1
            });
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let input = Tensor::whole([wanted.len(), self.context], wanted.concat());
        let out = self.predictor.run(&[&input])?;
        let out = out.first().map(Tensor::as_floats).unwrap_or_default();
        let width = out.len() / wanted.len();
        if width == 0 || width * wanted.len() != out.len() {
            return Err(odd("the predictor gives nothing"));
        }
        let known: Vec<Arc<[f32]>> = out.chunks_exact(width).map(Arc::from).collect();
        for path in rows.iter_mut().flat_map(|r| &mut r.beam.paths).filter(|p| p.predicted.is_none()) {
            path.predicted = at.get(&self.context_of(path)).map(|n| Arc::clone(&known[*n]));
        }
        Ok(())
    }

    /// The last tokens; before the first one stands blank, and before that nothing (-1).
    fn context_of(&self, path: &Path) -> Vec<i64> {
        let said = path.heard.iter().rev().map(|h| i64::from(h.token));
        let mut out: Vec<i64> = said.chain([i64::from(BLANK)]).take(self.context).collect();
        out.resize(self.context, -1);
        out.reverse();
        out
    }

    fn extend(&self, row: &mut Row<'_>, logits: &[f32], frame: usize) {
        let mut rows = Vec::with_capacity(row.beam.paths.len());
        for (path, logits) in row.beam.paths.iter().zip(logits.chunks_exact(self.vocabulary)) {
            rows.push((logits, log_sum(logits), path.score));
        }
        let mut next: Vec<Path> = Vec::with_capacity(row.paths);
        for (n, token) in top(&rows, row.paths) {
            let (logits, sum, score) = rows[n];
            let surety = logits[token as usize] - sum;
            let before = &row.beam.paths[n];
            let silent = token == BLANK || Some(token) == self.unknown;
            let mut path = Path { score: score + f64::from(surety), ..before.clone() };
            if !silent {
                path.heard.push(Heard { token, frame, surety: surety.exp() });
                path.predicted = None;
                if let Some(hints) = row.hints {
                    let (worth, place) = hints.step(path.place, token);
                    path.score += f64::from(worth);
                    path.place = place;
                }
            }
            let same = |p: &&mut Path| {
                p.heard.len() == path.heard.len()
                    && p.heard.iter().zip(&path.heard).rev().all(|(a, b)| a.token == b.token)
            };
            match next.iter_mut().find(same) {
                Some(twin) => twin.score = log_add(twin.score, path.score),
                None => next.push(path),
            }
        }
        row.beam.paths = next;
    }
}

fn odd(message: &str) -> RunError {
    RunError { runtime: "transducer", message: message.to_owned() }
}

/// The best continuations over all paths: path and token, best first.
fn top(rows: &[(&[f32], f32, f64)], count: usize) -> Vec<(usize, u32)> {
    let mut best: Vec<(f64, usize, u32)> = Vec::with_capacity(count + 1);
    for (n, (logits, sum, score)) in rows.iter().enumerate() {
        let base = score - f64::from(*sum);
        for (token, logit) in (0u32..).zip(*logits) {
            let whole = base + f64::from(*logit);
            if best.len() == count && best[count - 1].0 >= whole {
                continue;
            }
            let at = best.partition_point(|(s, ..)| *s >= whole);
            best.insert(at, (whole, n, token));
            best.truncate(count);
        }
    }
    best.into_iter().map(|(_, n, token)| (n, token)).collect()
}
