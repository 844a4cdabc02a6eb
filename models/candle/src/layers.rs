//! What encoder and decoder are made of.

use candle_core::{Module, Result, Tensor};
use candle_nn::LayerNorm;
use candle_nn::ops::softmax_last_dim;

use crate::LoadError;
use crate::config::Side;
use crate::weights::{Linear, Weights};

/// Attention with several heads.
pub(crate) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: usize,
    scale: f64,
}

/// Keys, transposed (rows, heads, size, positions), and values (rows, heads, positions, size) of what is attended to.
#[derive(Clone)]
pub(crate) struct Memory {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
}

impl Memory {
    /// These rows of it.
    pub(crate) fn select(&self, rows: &Tensor) -> Result<Self> {
        Ok(Self { keys: self.keys.index_select(rows, 0)?, values: self.values.index_select(rows, 0)? })
    }

    /// This and what comes after it.
    pub(crate) fn join(&self, later: &Self) -> Result<Self> {
        Ok(Self {
            keys: Tensor::cat(&[&self.keys, &later.keys], 3)?,
            values: Tensor::cat(&[&self.values, &later.values], 2)?,
        })
    }
}

impl Attention {
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        width: usize,
        heads: usize,
    ) -> std::result::Result<Self, LoadError> {
        let linear = |part: &str, bias| weights.linear(&format!("{name}.{part}"), width, width, bias);
        Ok(Self {
            query: linear("q_proj", true)?,
            key: linear("k_proj", false)?,
            value: linear("v_proj", true)?,
            out: linear("out_proj", true)?,
            heads,
            scale: ((width / heads) as f64).powf(-0.5),
        })
    }

    /// What `x` (rows, positions, width) is remembered as.
    pub(crate) fn remember(&self, x: &Tensor) -> Result<Memory> {
        Ok(Memory {
            keys: self.split(&self.key.forward(x)?)?.transpose(2, 3)?.contiguous()?,
            values: self.split(&self.value.forward(x)?)?,
        })
    }

    /// Attends from `x` (rows, positions, width) to `memory`; `mask` is added to the scores (rows, heads, positions,
    /// remembered). Gives the result and the weights of attention.
    pub(crate) fn attend(
        &self,
        x: &Tensor,
        memory: &Memory,
        mask: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let query = self.split(&(self.query.forward(x)? * self.scale)?)?;
        let mut scores = query.matmul(&memory.keys)?;
        if let Some(mask) = mask {
            scores = scores.broadcast_add(mask)?;
        }
        let weights = softmax_last_dim(&scores)?;
        let heard = weights.matmul(&memory.values)?.transpose(1, 2)?.contiguous()?.flatten_from(2)?;
        Ok((self.out.forward(&heard)?, weights))
    }

    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, positions, width) = x.dims3()?;
        x.reshape((rows, positions, self.heads, width / self.heads))?.transpose(1, 2)?.contiguous()
    }
}

/// Attention to what was said before, in the decoder to the sound, and a network of two layers; each after a norm and
/// added to what came in.
pub(crate) struct Block {
    pub(crate) own: Attention,
    own_norm: LayerNorm,
    pub(crate) cross: Option<(Attention, LayerNorm)>,
    first: Linear,
    second: Linear,
    norm: LayerNorm,
}

impl Block {
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        width: usize,
        side: Side,
        cross: bool,
    ) -> std::result::Result<Self, LoadError> {
        let attention = |part: &str| Attention::load(weights, &format!("{name}.{part}"), width, side.heads);
        let norm = |part: &str| weights.norm(&format!("{name}.{part}"), width);
        let cross = match cross {
            true => Some((attention("encoder_attn")?, norm("encoder_attn_layer_norm")?)),
            false => None,
        };
        Ok(Self {
            own: attention("self_attn")?,
            own_norm: norm("self_attn_layer_norm")?,
            cross,
            first: weights.linear(&format!("{name}.fc1"), width, side.inner, true)?,
            second: weights.linear(&format!("{name}.fc2"), side.inner, width, true)?,
            norm: norm("final_layer_norm")?,
        })
    }

    /// Attention among the positions of `x` and those before it, which `past` then holds too.
    pub(crate) fn among(
        &self,
        x: &Tensor,
        past: &mut Option<Memory>,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let normed = self.own_norm.forward(x)?;
        let new = self.own.remember(&normed)?;
        let memory = match past.as_ref() {
            Some(past) => past.join(&new)?,
            None => new,
        };
        let (heard, _) = self.own.attend(&normed, &memory, mask)?;
        *past = Some(memory);
        x + heard
    }

    /// Attention to the sound; gives the weights too.
    pub(crate) fn listen(&self, x: &Tensor, sound: &Memory) -> Result<(Tensor, Option<Tensor>)> {
        let Some((cross, norm)) = &self.cross else { return Ok((x.clone(), None)) };
        let (heard, weights) = cross.attend(&norm.forward(x)?, sound, None)?;
        Ok(((x + heard)?, Some(weights)))
    }

    /// The two layers at the end.
    pub(crate) fn think(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.first.forward(&self.norm.forward(x)?)?.gelu_erf()?;
        x + self.second.forward(&inner)?
    }
}
