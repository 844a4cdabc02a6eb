//! A streaming encoder: a chunk of features and the stream's state in, frames and the next state out, many streams in
//! one run. What the states are is read from the graph, so that zipformers of both generations, conformers and what
//! else k2 exports are one to us.

use crate::graph::{Graph, Kind, Port};
use crate::runtime::Session;
use crate::tensor::Tensor;
use crate::{LoadError, RunError};

/// What one stream carries from chunk to chunk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State(Vec<Tensor>);

impl State {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|t| t.as_floats().len() * 4 + t.as_whole().len() * 8).sum()
    }
}

/// One further input of the encoder.
struct Carried {
    /// The axis of the batch.
    axis: usize,
    zero: Tensor,
    /// The output that is the next chunk's input; without one it is told how many feature frames went before.
    output: Option<usize>,
}

pub(crate) struct Encoder {
    session: Box<dyn Session>,
    carried: Vec<Carried>,
    /// Feature frames from one chunk to the next.
    pub(crate) chunk: usize,
    /// Feature frames that one chunk sees: those of the next one's beginning, too.
    pub(crate) sight: usize,
    /// Filter banks a feature frame.
    pub(crate) bins: usize,
    /// Output frames a chunk.
    pub(crate) frames: usize,
    /// Numbers an output frame.
    pub(crate) width: usize,
    /// Whether several streams fit into one run.
    pub(crate) batches: bool,
}

impl Encoder {
    /// Reads the layout and tries it with one silent chunk, so that whatever does not fit shows now.
    pub(crate) fn new(graph: &Graph, session: Box<dyn Session>) -> Result<Self, LoadError> {
        let layout = |reason: String| LoadError::Layout { reason };
        let (chunk, sight) = (graph.number("decode_chunk_len")?, graph.number("T")?);
        if chunk > sight || sight > 10_000 {
            return Err(layout(format!("chunks of {chunk} in {sight} frames")));
        }
        let features = &graph.inputs[0];
        let bins = features.shape.get(2).copied().flatten().unwrap_or(80);
        if features.kind != Kind::F32 || features.shape.len() != 3 || !(1..=512).contains(&bins) {
            return Err(layout(format!("{} is no batch of features", features.name)));
        }
        let outputs = &graph.outputs;
        let named = |port: &Port| {
            let wanted = [format!("new_{}", port.name), format!("next_{}", port.name)];
            outputs.iter().position(|o| wanted.contains(&o.name))
        };
        let by_name = graph.inputs[1..].iter().any(|port| named(port).is_some());
        let mut carried = Vec::new();
        for (n, port) in graph.inputs.iter().enumerate().skip(1) {
            let output = if by_name { named(port) } else { (n < outputs.len()).then_some(n) };
            carried.push(carry(port, output)?);
        }
        let batches = features.free_axis() == Some(0)
            && graph.inputs[1..].iter().all(|port| port.free_axis().is_some());
        let mut out = Self { session, carried, chunk, sight, bins, frames: 0, width: 0, batches };
        let silence = vec![0.0; sight * bins];
        let state = out.state();
        let (first, next) = out.run(silence, &[&state], &[0]).map_err(|e| layout(e.to_string()))?;
        let same = state.0.iter().zip(&next[0].0).all(|(a, b)| a.shape == b.shape);
        match first.shape[..] {
            [1, frames, width] if same && frames > 0 && frames <= chunk && width > 0 => {
                (out.frames, out.width) = (frames, width);
                Ok(out)
            }
            _ => Err(layout(format!("a chunk gives {:?} and another state", first.shape))),
        }
    }

    /// A stream's state before its first chunk.
    pub(crate) fn state(&self) -> State {
        State(self.carried.iter().map(|c| c.zero.clone()).collect())
    }

    /// Computes one chunk of each of several streams: `features` holds [`Encoder::sight`] frames of each, one stream
    /// after the other, `before` how many feature frames of each went before. Gives the output frames, of shape
    /// (streams, frames, width), and the states after them.
    pub(crate) fn run(
        &self,
        features: Vec<f32>,
        states: &[&State],
        before: &[usize],
    ) -> Result<(Tensor, Vec<State>), RunError> {
        let rows = states.len();
        let x = Tensor::floats([rows, self.sight, self.bins], features);
        let counts = Tensor::whole([rows], before.iter().map(|n| *n as i64).collect());
        let mut stacked = Vec::new();
        if rows > 1 {
            for (n, carried) in self.carried.iter().enumerate().filter(|(_, c)| c.output.is_some()) {
                let parts: Vec<&Tensor> = states.iter().map(|s| &s.0[n]).collect();
                stacked.push(Tensor::stack(&parts, carried.axis));
            }
        }
        let mut stacked_parts = stacked.iter();
        let mut inputs = vec![&x];
        for (n, carried) in self.carried.iter().enumerate() {
            inputs.push(match carried.output {
                None => &counts,
                Some(_) if rows == 1 => &states[0].0[n],
                Some(_) => stacked_parts.next().unwrap_or(&x),
            });
        }
        let mut out: Vec<Option<Tensor>> = self.session.run(&inputs)?.into_iter().map(Some).collect();
        let mut next: Vec<Vec<Tensor>> = vec![Vec::with_capacity(self.carried.len()); rows];
        for carried in &self.carried {
            let taken = carried.output.and_then(|n| out[n].take());
            let parts = match taken {
                Some(whole) if whole.shape.get(carried.axis) == Some(&rows) => whole.unstack(carried.axis),
                Some(_) => return Err(odd("a state of another shape came out")),
                None => vec![carried.zero.clone(); rows],
            };
            next.iter_mut().zip(parts).for_each(|(state, part)| state.push(part));
        }
        let frames = out.first_mut().and_then(Option::take).ok_or_else(|| odd("no frames came out"))?;
        if frames.shape.len() != 3 || frames.shape[0] != rows || frames.as_floats().is_empty() {
            return Err(odd("no frames came out"));
        }
        Ok((frames, next.into_iter().map(State).collect()))
    }
}

fn odd(message: &str) -> RunError {
    RunError { runtime: "encoder", message: message.to_owned() }
}

fn carry(port: &Port, output: Option<usize>) -> Result<Carried, LoadError> {
    let layout = |reason: &str| LoadError::Layout { reason: format!("input {}: {reason}", port.name) };
    if port.shape.iter().filter(|size| size.is_none()).count() > 1 {
        return Err(layout("more than the batch is left open"));
    }
    let shape: Vec<usize> = port.shape.iter().map(|size| size.unwrap_or(1)).collect();
    let count = shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size)).filter(|n| *n <= 1 << 26);
    let count = count.ok_or_else(|| layout("larger than any state"))?;
    // Where the batch is fixed, the axis of size 1 that k2's layouts have it on.
    let axis = port.free_axis().or_else(|| shape.iter().position(|size| *size == 1)).unwrap_or(0);
    let zero = match port.kind {
        Kind::F32 => Tensor::floats(shape, vec![0.0; count]),
        Kind::I32 | Kind::I64 => Tensor::whole(shape, vec![0; count]),
        Kind::Other => return Err(layout("neither floats nor whole numbers")),
    };
    if output.is_none() && (port.shape.len() != 1 || port.kind == Kind::F32) {
        return Err(layout("no output carries it on"));
    }
    if port.shape.is_empty() {
        return Err(layout("a single number cannot be a stream's own"));
    }
    Ok(Carried { axis, zero, output })
}
