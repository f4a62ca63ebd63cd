//! Where values come from that are no numbers (NaN, infinity).

use tunebook_nn::adapter::Adapter;

use crate::error::Error;
use crate::error::Result;
use crate::model::Model;
use crate::tensor_values::with_values;

/// Why the model's output is not finite, as an error. It reads all weights: it is asked once something is wrong.
pub(crate) fn why(model: &Model, adapter: Option<&Adapter>) -> Error {
    weights(model, adapter).unwrap_or(Error::OutputNotFinite)
}

/// The first tensor with a value that is no number, of the adapter or else of the model.
pub(crate) fn weights(model: &Model, adapter: Option<&Adapter>) -> Option<Error> {
    if let Some(adapter) = adapter
        && let Err(error) = check(adapter)
    {
        return Some(error);
    }
    model.net.check_finite().err().map(Error::Model)
}

/// # Errors
/// The adapter has a value that is no number.
pub(crate) fn check(adapter: &Adapter) -> Result<()> {
    match of_adapter(adapter)? {
        Some(name) => Err(Error::AdapterNotFinite { name }),
        None => Ok(()),
    }
}

/// The first tensor of an adapter with a value that is no number.
///
/// # Errors
/// Its device fails.
pub(crate) fn of_adapter(adapter: &Adapter) -> Result<Option<String>> {
    for (name, var) in adapter.vars() {
        if !with_values(&var, |values| values.iter().all(|value| value.is_finite()))? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
