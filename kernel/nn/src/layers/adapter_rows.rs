//! A batch of several adapters: each of its rows is computed with its own, and the frozen weights are read once for all,
//! as Sheng et al. 2023 (S-LoRA, arXiv 2311.03285) and Chen et al. 2023 (Punica, arXiv 2310.18547) do.

use candle_core::Result;
use candle_core::Tensor;

use crate::adapter::Adapter;

use super::linear::ForwardContext;

/// The next rows of a batch, and the adapter that is on for them; none is the base model.
#[derive(Clone, Copy)]
pub struct AdapterRows<'a> {
    pub adapter: Option<&'a Adapter>,
    pub rows: usize,
}

/// Neighbours of the same adapter are one.
pub(super) fn joined<'a>(rows: impl IntoIterator<Item = AdapterRows<'a>>) -> Vec<AdapterRows<'a>> {
    let mut joined: Vec<AdapterRows> = Vec::new();
    for next in rows.into_iter().filter(|next| next.rows > 0) {
        match joined.last_mut().filter(|last| same(last.adapter, next.adapter)) {
            Some(last) => last.rows += next.rows,
            None => joined.push(next),
        }
    }
    joined
}

fn same(a: Option<&Adapter>, b: Option<&Adapter>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => std::ptr::eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

impl<'a> ForwardContext<'a> {
    /// For a batch whose rows belong to these adapters.
    pub(super) fn of_rows(self, rows: &'a [AdapterRows<'a>]) -> Self {
        match rows {
            [] => self,
            [all] => Self { adapter: all.adapter, batch: &[], ..self },
            _ => Self { adapter: None, batch: rows, ..self },
        }
    }

    /// For the rows of one adapter of the batch.
    pub(super) fn alone(self, rows: &AdapterRows<'a>) -> Self {
        Self { adapter: rows.adapter, batch: &[], ..self }
    }

    /// Whether `f` is true of an adapter of the batch.
    pub(super) fn any(self, f: impl Fn(Self) -> bool) -> bool {
        if self.batch.is_empty() { f(self) } else { self.batch.iter().any(|rows| f(self.alone(rows))) }
    }

    /// What `f` makes of the rows of each adapter, end to end. x may have several rows for each of the batch, such as its
    /// heads.
    pub(super) fn by_adapter(self, x: &Tensor, f: impl Fn(&Tensor, Self) -> Result<Tensor>) -> Result<Tensor> {
        if self.batch.is_empty() {
            return f(x, self);
        }
        let each = x.dim(0)? / self.batch.iter().map(|part| part.rows).sum::<usize>().max(1);
        let mut first = 0;
        let mut parts = Vec::with_capacity(self.batch.len());
        for part in self.batch {
            let rows = part.rows * each;
            parts.push(f(&x.narrow(0, first, rows)?, self.alone(part))?);
            first += rows;
        }
        Tensor::cat(&parts, 0)
    }
}
