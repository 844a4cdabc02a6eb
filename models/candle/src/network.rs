//! Whisper's network: an encoder that hears a window of sound, a decoder that writes what was said.

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{Conv1d, Conv1dConfig, LayerNorm};

use crate::LoadError;
use crate::config::{Config, Dimensions, Side};
use crate::layers::{Block, Memory};
use crate::weights::{Matrix, Weights};

/// Added to the scores of what must not be attended to. Finite, so that rows which attend to nothing stay numbers, and
/// within 16-bit floats.
const HIDDEN: f32 = -1e4;

/// The network with its weights.
pub(crate) struct Network {
    dimensions: Dimensions,
    device: Device,
    dtype: DType,
    convolutions: [Conv1d; 2],
    sound_places: Tensor,
    encoder: Vec<Block>,
    encoder_norm: LayerNorm,
    tokens: Tensor,
    places: Tensor,
    decoder: Vec<Block>,
    decoder_norm: LayerNorm,
    head: Matrix,
    alignment: Vec<(usize, usize)>,
}

/// Windows of sound as the decoder attends to them, layer by layer.
#[derive(Clone)]
pub(crate) struct Sound(Vec<Memory>);

impl Sound {
    /// These rows of it, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Result<Self> {
        let Some(first) = self.0.first() else { return Ok(self.clone()) };
        if rows.len() == first.keys.dim(0)? && rows.iter().enumerate().all(|(n, row)| n == *row) {
            return Ok(self.clone());
        }
        let index = rows_of(rows, first.keys.device())?;
        Ok(Self(self.0.iter().map(|m| m.select(&index)).collect::<Result<_>>()?))
    }
}

/// What rows have said so far.
pub(crate) struct Said {
    layers: Vec<Option<Memory>>,
    /// How many of each row's first places are empty.
    empty: Vec<usize>,
    length: usize,
}

impl Said {
    /// These rows of it, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Result<Self> {
        let Some(Some(first)) = self.layers.first() else {
            return Ok(Self { layers: self.layers.clone(), empty: Vec::new(), length: self.length });
        };
        let index = rows_of(rows, first.keys.device())?;
        let layers = self.layers.iter().map(|m| m.as_ref().map(|m| m.select(&index)).transpose());
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            empty: rows.iter().map(|row| self.empty[*row]).collect(),
            length: self.length,
        })
    }
}

fn rows_of(rows: &[usize], device: &Device) -> Result<Tensor> {
    Tensor::new(rows.iter().map(|row| *row as u32).collect::<Vec<_>>(), device)
}

impl Network {
    pub(crate) fn load(weights: &Weights, config: &Config) -> std::result::Result<Self, LoadError> {
        let d = &config.dimensions;
        let convolution =
            |name: &str, input: usize, stride: usize| -> std::result::Result<Conv1d, LoadError> {
                let kernel = weights.tensor(&format!("{name}.weight"), &[d.width, input, 3])?;
                let bias = weights.tensor(&format!("{name}.bias"), &[d.width])?;
                let shape = Conv1dConfig { padding: 1, stride, ..Conv1dConfig::default() };
                Ok(Conv1d::new(kernel, Some(bias), shape))
            };
        let blocks = |name: &str, side: Side, cross| -> std::result::Result<Vec<Block>, LoadError> {
            let layer = |n| Block::load(weights, &format!("model.{name}.layers.{n}"), d.width, side, cross);
            (0..side.layers).map(layer).collect()
        };
        let head = "model.decoder.embed_tokens.weight";
        let sound_places =
            match weights.find("model.encoder.embed_positions.weight", &[d.positions, d.width])? {
                Some(places) => places,
                None => waves(d, weights).map_err(crate::RunError::from)?,
            };
        Ok(Self {
            convolutions: [
                convolution("model.encoder.conv1", d.mels, 1)?,
                convolution("model.encoder.conv2", d.width, 2)?,
            ],
            sound_places,
            encoder: blocks("encoder", d.encoder, false)?,
            encoder_norm: weights.norm("model.encoder.layer_norm", d.width)?,
            tokens: weights.tensor(head, &[d.vocabulary, d.width])?,
            places: weights.tensor("model.decoder.embed_positions.weight", &[d.tokens, d.width])?,
            decoder: blocks("decoder", d.decoder, true)?,
            decoder_norm: weights.norm("model.decoder.layer_norm", d.width)?,
            head: weights.matrix(head, d.width, d.vocabulary)?,
            alignment: config.alignment.clone(),
            dimensions: d.clone(),
            device: weights.device().clone(),
            dtype: weights.dtype(),
        })
    }

    /// What the encoder makes of windows of features (filters times frames each): (rows, positions, width).
    pub(crate) fn encode(&self, windows: &[Vec<f32>]) -> Result<Tensor> {
        // On a processor together is not faster than one after the other and takes as many times the memory.
        let together = if self.device.is_cpu() { 1 } else { windows.len().max(1) };
        let mut out = Vec::with_capacity(windows.len());
        for some in windows.chunks(together) {
            let shape = (some.len(), self.dimensions.mels, self.dimensions.frames());
            let mut x = Tensor::from_vec(some.concat(), shape, &self.device)?.to_dtype(self.dtype)?;
            for convolution in &self.convolutions {
                x = convolution.forward(&x)?.gelu_erf()?;
            }
            x = x.transpose(1, 2)?.contiguous()?.broadcast_add(&self.sound_places)?;
            for block in &self.encoder {
                x = block.think(&block.among(&x, &mut None, None)?)?;
            }
            out.push(self.encoder_norm.forward(&x)?);
        }
        Tensor::cat(&out, 0)
    }

    /// What the decoder attends to of what the encoder made.
    pub(crate) fn sound(&self, encoded: &Tensor) -> Result<Sound> {
        let cross = self.decoder.iter().filter_map(|block| block.cross.as_ref());
        Ok(Sound(cross.map(|(attention, _)| attention.remember(encoded)).collect::<Result<_>>()?))
    }

    /// Begins to write: reads each row's prompt and gives the decoder's state after each of its tokens (rows, longest
    /// prompt, width); shorter prompts stand at the end.
    pub(crate) fn begin(&self, prompts: &[Vec<u32>], sound: &Sound) -> Result<(Tensor, Said)> {
        let longest = prompts.iter().map(Vec::len).max().unwrap_or_default();
        let empty: Vec<usize> = prompts.iter().map(|p| longest - p.len()).collect();
        let mut tokens = Vec::with_capacity(longest * prompts.len());
        for (prompt, empty) in prompts.iter().zip(&empty) {
            tokens.extend(std::iter::repeat_n(0, *empty).chain(prompt.iter().copied()));
        }
        let mut said = Said { layers: vec![None; self.decoder.len()], empty, length: 0 };
        let state = self.advance(&tokens, longest, sound, &mut said, None)?;
        Ok((state, said))
    }

    /// Writes one more token of each row; gives the decoder's state after it (rows, 1, width).
    pub(crate) fn next(&self, tokens: &[u32], sound: &Sound, said: &mut Said) -> Result<Tensor> {
        self.advance(tokens, 1, sound, said, None)
    }

    /// The scores of all tokens at a place of a state: rows times vocabulary.
    pub(crate) fn scores(&self, state: &Tensor, place: usize) -> Result<Vec<Vec<f32>>> {
        let state = state.narrow(1, place, 1)?.squeeze(1)?.contiguous()?;
        self.head.forward(&state)?.to_dtype(DType::F32)?.to_vec2()
    }

    /// How one row's tokens attend to the sound: for each head of alignment, tokens times positions, from `first` on.
    pub(crate) fn attention(
        &self,
        tokens: &[u32],
        first: usize,
        sound: &Sound,
    ) -> Result<Vec<Vec<Vec<f32>>>> {
        let mut said = Said { layers: vec![None; self.decoder.len()], empty: vec![0], length: 0 };
        let mut layers = Vec::with_capacity(self.decoder.len());
        self.advance(tokens, tokens.len(), sound, &mut said, Some(&mut layers))?;
        let head = |(layer, head): &(usize, usize)| {
            let weights: &Tensor = &layers[*layer];
            weights
                .get(0)?
                .get(*head)?
                .narrow(0, first, tokens.len() - first)?
                .to_dtype(DType::F32)?
                .to_vec2()
        };
        self.alignment.iter().map(head).collect()
    }

    /// Runs the decoder over `count` more tokens of each row.
    fn advance(
        &self,
        tokens: &[u32],
        count: usize,
        sound: &Sound,
        said: &mut Said,
        mut watched: Option<&mut Vec<Tensor>>,
    ) -> Result<Tensor> {
        let rows = said.empty.len();
        let before = said.length;
        let ids = Tensor::new(tokens, &self.device)?;
        let place = |n: usize| {
            let (row, n) = (n / count, n % count);
            (before + n).saturating_sub(said.empty[row]).min(self.dimensions.tokens - 1) as u32
        };
        let places = Tensor::new((0..rows * count).map(place).collect::<Vec<_>>(), &self.device)?;
        let mut x = (self.tokens.index_select(&ids, 0)? + self.places.index_select(&places, 0)?)?
            .reshape((rows, count, self.dimensions.width))?;
        let mask = self.mask(&said.empty, before, count)?;
        for ((block, past), heard) in self.decoder.iter().zip(&mut said.layers).zip(&sound.0) {
            x = block.among(&x, past, mask.as_ref())?;
            let (listened, weights) = block.listen(&x, heard)?;
            if let (Some(watched), Some(weights)) = (watched.as_deref_mut(), weights) {
                watched.push(weights);
            }
            x = block.think(&listened)?;
        }
        said.length += count;
        self.decoder_norm.forward(&x)
    }

    /// Hides what comes later and empty places; none where there is nothing to hide.
    fn mask(&self, empty: &[usize], before: usize, count: usize) -> Result<Option<Tensor>> {
        if count == 1 && empty.iter().all(|e| *e == 0) {
            return Ok(None);
        }
        let all = before + count;
        let mut mask = Vec::with_capacity(empty.len() * count * all);
        for empty in empty {
            for own in before..all {
                mask.extend((0..all).map(|other| if other < *empty || other > own { HIDDEN } else { 0.0 }));
            }
        }
        let mask = Tensor::from_vec(mask, (empty.len(), 1, count, all), &self.device)?;
        mask.to_dtype(self.dtype).map(Some)
    }
}

/// The encoder's places where a file leaves them out: sines and cosines.
fn waves(d: &Dimensions, weights: &Weights) -> Result<Tensor> {
    let half = d.width / 2;
    let step = 10_000f32.ln() / (half.max(2) - 1) as f32;
    let mut out = Vec::with_capacity(d.positions * d.width);
    for position in 0..d.positions {
        let angle = |n: usize| position as f32 * (-step * n as f32).exp();
        out.extend((0..half).map(|n| angle(n).sin()));
        out.extend((0..d.width - half).map(|n| angle(n).cos()));
    }
    Tensor::from_vec(out, (d.positions, d.width), weights.device())?.to_dtype(weights.dtype())
}
