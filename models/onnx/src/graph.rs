//! What an ONNX file says of itself: its inputs and outputs, and the publisher's metadata.

use std::collections::BTreeMap;

use crate::LoadError;
use crate::wire::{Fields, Malformed, Value};

/// What an input or output is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    I32,
    I64,
    /// Anything that no recogniser of ours feeds or reads.
    Other,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The sizes; `None` where the size is left to the caller, as a batch's is.
    pub(crate) shape: Vec<Option<usize>>,
}

impl Port {
    /// The first axis whose size is the caller's.
    pub(crate) fn free_axis(&self) -> Option<usize> {
        self.shape.iter().position(Option::is_none)
    }
}

/// A model's outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    meta: BTreeMap<String, String>,
}

impl Graph {
    /// Reads the bytes of an ONNX file.
    pub(crate) fn read(model: &[u8]) -> Result<Self, Malformed> {
        let mut out = Self::default();
        let mut fields = Fields::new(model);
        while let Some(field) = fields.next()? {
            match field {
                (7, Value::Bytes(graph)) => out.read_graph(graph)?,
                (14, Value::Bytes(entry)) => {
                    let (key, value) = entry_of(entry)?;
                    out.meta.insert(key, value);
                }
                _ => {}
            }
        }
        if out.inputs.is_empty() || out.outputs.is_empty() {
            return Err(Malformed);
        }
        Ok(out)
    }

    fn read_graph(&mut self, graph: &[u8]) -> Result<(), Malformed> {
        let mut constants = Vec::new();
        let mut fields = Fields::new(graph);
        while let Some(field) = fields.next()? {
            match field {
                (5, Value::Bytes(tensor)) => constants.extend(text_of(tensor, 8)?),
                (11, Value::Bytes(port)) => self.inputs.push(port_of(port)?),
                (12, Value::Bytes(port)) => self.outputs.push(port_of(port)?),
                _ => {}
            }
        }
        // Old exporters list the weights among the inputs, too.
        self.inputs.retain(|port| !constants.contains(&port.name));
        Ok(())
    }

    /// What the publisher wrote under `key`.
    pub(crate) fn meta(&self, key: &str) -> Option<&str> {
        self.meta.get(key).map(String::as_str)
    }

    /// A positive whole number of the metadata.
    pub(crate) fn number(&self, key: &'static str) -> Result<usize, LoadError> {
        self.list::<usize>(key)?
            .first()
            .copied()
            .filter(|n| *n > 0)
            .ok_or_else(|| LoadError::Meta { key, found: self.meta(key).unwrap_or_default().to_owned() })
    }

    /// The numbers between commas of the metadata.
    pub(crate) fn list<T: std::str::FromStr>(&self, key: &'static str) -> Result<Vec<T>, LoadError> {
        let text = self.meta(key).ok_or_else(|| LoadError::Meta { key, found: String::new() })?;
        let wrong = |_| LoadError::Meta { key, found: text.chars().take(80).collect() };
        text.split(',').map(|part| part.trim().parse().map_err(wrong)).collect()
    }
}

fn text_of(message: &[u8], number: u64) -> Result<Option<String>, Malformed> {
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        if let (n, Value::Bytes(text)) = field
            && n == number
        {
            return Ok(Some(String::from_utf8_lossy(text).into_owned()));
        }
    }
    Ok(None)
}

fn entry_of(entry: &[u8]) -> Result<(String, String), Malformed> {
    Ok((text_of(entry, 1)?.unwrap_or_default(), text_of(entry, 2)?.unwrap_or_default()))
}

fn port_of(message: &[u8]) -> Result<Port, Malformed> {
    let mut port = Port { name: String::new(), kind: Kind::Other, shape: Vec::new() };
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(name)) => port.name = String::from_utf8_lossy(name).into_owned(),
            (2, Value::Bytes(of_type)) => {
                let mut types = Fields::new(of_type);
                while let Some(field) = types.next()? {
                    if let (1, Value::Bytes(tensor)) = field {
                        tensor_of(tensor, &mut port)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(port)
}

fn tensor_of(message: &[u8], port: &mut Port) -> Result<(), Malformed> {
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(kind)) => {
                port.kind = match kind {
                    1 => Kind::F32,
                    6 => Kind::I32,
                    7 => Kind::I64,
                    _ => Kind::Other,
                };
            }
            (2, Value::Bytes(shape)) => {
                let mut dims = Fields::new(shape);
                while let Some(field) = dims.next()? {
                    if let (1, Value::Bytes(dim)) = field {
                        port.shape.push(size_of(dim)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn size_of(dim: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut size = None;
    let mut fields = Fields::new(dim);
    while let Some(field) = fields.next()? {
        if let (1, Value::Number(n)) = field {
            size = usize::try_from(n).ok();
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a fixture")
    }

    #[test]
    fn a_published_layout_is_read_from_outside() {
        let graph = Graph::read(&model("zipformer2/encoder.onnx")).expect("a model");
        assert_eq!(graph.inputs[0].name, "x");
        assert_eq!(graph.inputs[0].shape, [None, Some(45), Some(80)]);
        let key = &graph.inputs[1];
        assert_eq!((key.name.as_str(), key.free_axis(), key.kind), ("cached_key_0", Some(1), Kind::F32));
        assert_eq!(graph.inputs.last().map(|p| p.kind), Some(Kind::I64));
        assert_eq!(graph.inputs.len(), graph.outputs.len());
        assert_eq!(graph.number("decode_chunk_len").expect("there"), 32);
        assert_eq!(graph.list::<usize>("left_context_len").expect("there"), [32, 16]);
        assert!(matches!(graph.number("model_type"), Err(LoadError::Meta { key: "model_type", .. })));
    }

    #[test]
    fn what_is_no_model_is_refused() {
        assert_eq!(Graph::read(b"not a model"), Err(Malformed));
        assert_eq!(Graph::read(&[]), Err(Malformed));
        let whole = model("zipformer2/joiner.onnx");
        for length in 0..whole.len() {
            // Cut anywhere it is an error or, between two fields, a smaller message; never a panic.
            let _ = Graph::read(&whole[..length]);
        }
    }
}
