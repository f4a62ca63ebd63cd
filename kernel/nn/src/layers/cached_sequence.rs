//! Sequences whose next tokens go through the model together.

use candle_core::DType;
use candle_core::Result;
use candle_core::Tensor;

use crate::adapter::Adapter;
use crate::ops::rounded;

use super::adapter_rows::AdapterRows;
use super::adapter_rows::joined;
use super::kv_cache::KvCache;

/// The next tokens of one sequence of a batch, in which the tokens of all sequences lie end to end.
pub struct CachedSequence<'a, 'c> {
    /// The tokens before them; afterwards it holds these, too.
    pub cache: &'c mut KvCache,
    /// The adapter that is on; none is the base model.
    pub adapter: Option<&'a Adapter>,
    /// How many tokens are read.
    pub new: usize,
    /// After how many of the last of them the next token's logits are wanted.
    pub wanted: usize,
}

/// The adapters of all rows of a batch, and of those rows whose logits are wanted.
pub(super) fn adapter_rows<'a>(sequences: &[CachedSequence<'a, '_>]) -> [Vec<AdapterRows<'a>>; 2] {
    let counts: [fn(&CachedSequence) -> usize; 2] = [|sequence| sequence.new, |sequence| sequence.wanted];
    counts.map(|count| {
        joined(sequences.iter().map(|sequence| AdapterRows { adapter: sequence.adapter, rows: count(sequence) }))
    })
}

/// Of the rows of a batch those whose logits are wanted; none if that is all of them.
pub(super) fn wanted_rows(sequences: &[CachedSequence]) -> Option<Vec<u32>> {
    let mut end = 0;
    let mut rows = Vec::new();
    for sequence in sequences {
        end += sequence.new as u32;
        rows.extend(end - sequence.wanted as u32..end);
    }
    (rows.len() < end as usize).then_some(rows)
}

/// Writes keys and values, `[T, kv_heads · head_dim]`, into one layer of the caches, which have room for them.
pub(super) fn write(layer: usize, kv: [&Tensor; 2], sequences: &[CachedSequence], dtype: DType) -> Result<()> {
    let stored = |x: &Tensor| if dtype == DType::BF16 { rounded(x) } else { Ok(x.clone()) };
    let [k, v] = [stored(kv[0])?, stored(kv[1])?];
    let mut first = 0;
    for CachedSequence { cache, new, .. } in sequences {
        cache.write(layer, &k.narrow(0, first, *new)?, &v.narrow(0, first, *new)?)?;
        first += new;
    }
    Ok(())
}
