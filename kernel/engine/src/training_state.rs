//! The state of a training apart from the weights that it trains, and going back to an earlier state.
//!
//! [`TrainingState`] holds where the training stands, the optimizer's moments and the gradients of the open
//! accumulation window. Together with the adapter's values it determines everything that follows. A snapshot copies it
//! in memory; a checkpoint is the same in a file.

use std::collections::BTreeMap;

use candle_core::Tensor;
use candle_core::Var;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::tensor_file::Floats;

use crate::error::Error;
use crate::error::Result;
use crate::optimizer::AdamW;
use crate::run_state::RunState;

/// The counters of a training, AdamW's moments, and the gradients of the open accumulation window. Together with the
/// values of the adapter, they determine everything that follows.
#[derive(Default)]
pub struct TrainingState {
    pub run: RunState,
    pub optimizer: AdamW,
    /// Gradients summed over the micro-batches since the last optimizer step.
    pub gradients: Gradients,
}

/// A copy of a [`TrainingState`] and of the adapter's values.
#[derive(Clone)]
pub struct Snapshot {
    pub run: RunState,
    optimizer_steps: i32,
    /// Moments and gradients, see [`TrainingState::tensors`].
    tensors: BTreeMap<String, Floats<'static>>,
    /// The adapter's parameters by their names.
    parameters: BTreeMap<String, Floats<'static>>,
}

impl Snapshot {
    /// What its tensors take in memory.
    pub fn bytes(&self) -> usize {
        self.floats().map(|floats| size_of_val(&*floats.values)).sum()
    }

    /// All values, in an order that depends on the names of the tensors only.
    pub fn floats(&self) -> impl Iterator<Item = &Floats<'static>> {
        self.tensors.values().chain(self.parameters.values())
    }

    #[cfg(test)]
    pub(crate) fn of_values(values: Vec<f32>) -> Self {
        let parameter = Floats { dims: vec![values.len()], values: values.into() };
        let parameters = BTreeMap::from([("a".to_string(), parameter)]);
        Self { run: RunState::default(), optimizer_steps: 0, tensors: BTreeMap::new(), parameters }
    }

    pub fn floats_mut(&mut self) -> impl Iterator<Item = &mut Floats<'static>> {
        self.tensors.values_mut().chain(self.parameters.values_mut())
    }
}

impl TrainingState {
    /// What a copy of this state and of the values of `adapter` takes.
    pub fn bytes(&self, adapter: &Adapter) -> usize {
        let moments = if self.optimizer.steps() > 0 { 2 } else { 0 };
        let gradients = usize::from(!self.gradients.is_empty());
        (1 + moments + gradients) * adapter.parameter_count() * size_of::<f32>()
    }

    /// Copies this state and the values of `adapter`, which it trains.
    ///
    /// # Errors
    /// The device fails.
    pub fn snapshot(&self, adapter: &Adapter) -> Result<Snapshot> {
        let parameters = adapter.vars();
        let owned = |(name, floats): (String, Floats)| {
            (name, Floats { dims: floats.dims, values: floats.values.into_owned().into() })
        };
        let values = parameters.iter().map(|(name, parameter)| Ok((name.clone(), floats(parameter)?)));
        Ok(Snapshot {
            run: self.run.clone(),
            optimizer_steps: self.optimizer.steps(),
            tensors: self.tensors(&parameters)?.into_iter().map(owned).collect(),
            parameters: values.collect::<Result<_>>()?,
        })
    }

    /// Restores this state and the values of `adapter` from `snapshot`.
    ///
    /// # Errors
    /// The snapshot is of an adapter with other parameters; the device fails.
    pub fn restore(&mut self, adapter: &Adapter, snapshot: &Snapshot) -> Result<()> {
        let parameters = adapter.vars();
        let Snapshot { run, optimizer_steps, tensors, parameters: values } = snapshot;
        let restored = Self::from_tensors(run.clone(), *optimizer_steps, &parameters, tensors.clone());
        let other = |name: &str| Error::OtherSnapshot { name: name.to_string() };
        let restored = restored?.map_err(|name| other(&name))?;
        for (name, parameter) in &parameters {
            let Floats { values, .. } = values.get(name).ok_or_else(|| other(name))?;
            parameter.set(&Tensor::from_slice(values, parameter.shape(), parameter.device())?)?;
        }
        adapter.changed();
        *self = restored;
        Ok(())
    }

    /// AdamW's moments and the gradients of `parameters`, by the names that they have in a checkpoint.
    ///
    /// # Errors
    /// The device fails.
    pub fn tensors<'a>(&'a self, parameters: &'a [(String, Var)]) -> Result<Vec<(String, Floats<'a>)>> {
        let mut tensors: Vec<_> = self.optimizer.tensors(parameters).collect();
        for (name, parameter) in parameters {
            if let Some(sum) = self.gradients.get(parameter) {
                tensors.push((gradient(name), floats(sum)?));
            }
        }
        Ok(tensors)
    }

    /// The state with these [`TrainingState::tensors`] of `parameters`, or the name of one that is missing or of another
    /// size.
    ///
    /// # Errors
    /// The device fails.
    pub fn from_tensors(
        run: RunState,
        optimizer_steps: i32,
        parameters: &[(String, Var)],
        mut tensors: BTreeMap<String, Floats<'static>>,
    ) -> Result<std::result::Result<Self, String>> {
        let optimizer = match AdamW::restore(optimizer_steps, parameters, &mut tensors) {
            Ok(optimizer) => optimizer,
            Err(name) => return Ok(Err(name)),
        };
        let mut gradients = Gradients::default();
        for (name, parameter) in parameters {
            if let Some(sum) = tensors.remove(&gradient(name)) {
                gradients.put(parameter, sum.values.into_owned())?;
            }
        }
        Ok(Ok(Self { run, optimizer, gradients }))
    }
}

fn floats(tensor: &Tensor) -> Result<Floats<'static>> {
    let values = tensor.flatten_all()?.to_vec1::<f32>()?.into();
    Ok(Floats { dims: tensor.dims().to_vec(), values })
}

/// The name of the sum of a parameter's gradients.
fn gradient(parameter: &str) -> String {
    format!("gradient.{parameter}")
}
