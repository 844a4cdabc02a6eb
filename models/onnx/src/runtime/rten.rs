//! The pure-Rust runtime.

use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueView};

use super::Session;
use crate::graph::Graph;
use crate::tensor::{Data, Tensor};
use crate::{LoadError, RunError};

const NAME: &str = "rten";

pub(super) struct Rten {
    model: Model,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    pool: Arc<ThreadPool>,
}

impl Rten {
    pub(super) fn load(bytes: Vec<u8>, graph: &Graph, pool: Arc<ThreadPool>) -> Result<Self, LoadError> {
        let refused =
            |e: &dyn std::fmt::Display| LoadError::Runtime { runtime: NAME, message: e.to_string() };
        let model =
            ModelOptions::with_all_ops().prepack_weights(true).load(bytes).map_err(|e| refused(&e))?;
        let id = |port: &crate::graph::Port| model.node_id(&port.name).map_err(|e| refused(&e));
        let inputs = graph.inputs.iter().map(id).collect::<Result<_, _>>()?;
        let outputs = graph.outputs.iter().map(id).collect::<Result<_, _>>()?;
        Ok(Self { model, inputs, outputs, pool })
    }
}

impl Session for Rten {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, RunError> {
        let failed = |e: &dyn std::fmt::Display| RunError { runtime: NAME, message: e.to_string() };
        let mut values: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(inputs.len());
        for (id, tensor) in self.inputs.iter().zip(inputs) {
            let value = match &tensor.data {
                Data::F32(data) => ValueView::from_shape(&tensor.shape, data).map_err(|e| failed(&e))?.into(),
                Data::I64(data) => {
                    // Whole numbers of any width are 32 bits wide here; ours are small.
                    let narrow =
                        |n: &i64| i32::try_from(*n).unwrap_or(if *n < 0 { i32::MIN } else { i32::MAX });
                    let data: Vec<i32> = data.iter().map(narrow).collect();
                    Value::from_shape(&tensor.shape, data).map_err(|e| failed(&e))?.into()
                }
            };
            values.push((*id, value));
        }
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        let out = self.model.run(values, &self.outputs, Some(options)).map_err(|e| failed(&e))?;
        out.into_iter().map(|value| tensor(value).ok_or_else(|| failed(&"an output of no number"))).collect()
    }
}

fn tensor(value: Value) -> Option<Tensor> {
    use rten_tensor::Layout;

    match value {
        Value::FloatTensor(t) => Some(Tensor::floats(t.shape().to_vec(), t.into_data())),
        Value::Int32Tensor(t) => {
            let shape = t.shape().to_vec();
            Some(Tensor::whole(shape, t.into_data().into_iter().map(i64::from).collect()))
        }
        Value::UInt8Tensor(t) => {
            let shape = t.shape().to_vec();
            Some(Tensor::whole(shape, t.into_data().into_iter().map(i64::from).collect()))
        }
        Value::Int8Tensor(t) => {
            let shape = t.shape().to_vec();
            Some(Tensor::whole(shape, t.into_data().into_iter().map(i64::from).collect()))
        }
        _ => None,
    }
}
