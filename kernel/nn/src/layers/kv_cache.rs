//! The keys and values of the tokens that a model has read.

use std::sync::Arc;

use candle_core::DType;
use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;

use crate::ops::CachedKeys;

/// Tokens whose keys and values lie together.
const BLOCK: usize = 64;

/// The keys and values of one sequence, in blocks of tokens, as Kwon et al. 2023 (arXiv 2309.06180) have them. Sequences
/// that begin alike share blocks; the one that writes first copies the block that it writes to.
///
/// It can be shortened, so that a text that begins like the one it holds is read from where the two part. A reading
/// that fails half way leaves it as it was: what counts is [`KvCache::tokens`], and that changes last.
#[derive(Default)]
pub struct KvCache {
    blocks: Vec<Arc<Block>>,
    tokens: usize,
}

/// For each layer keys and values, `[BLOCK, kv_heads · head_dim]`.
struct Block {
    layers: Vec<[Tensor; 2]>,
}

/// What a block is made of.
pub(crate) struct KvShape<'a> {
    pub layers: usize,
    /// kv_heads · head_dim.
    pub width: usize,
    /// Under bf16, keys and values are bf16: half the memory, and half of what a token reads.
    pub dtype: DType,
    pub device: &'a Device,
}

impl KvCache {
    /// How many tokens it holds.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// One that holds the first `tokens` of these, and shares their blocks.
    #[must_use]
    pub fn prefix(&self, tokens: usize) -> Self {
        let tokens = tokens.min(self.tokens);
        Self { blocks: self.blocks[..tokens.div_ceil(BLOCK)].to_vec(), tokens }
    }

    /// Forgets all but the first `tokens`.
    pub fn truncate(&mut self, tokens: usize) {
        self.tokens = self.tokens.min(tokens);
        self.blocks.truncate(self.tokens.div_ceil(BLOCK));
    }

    /// Makes room for `new` tokens behind those that are there.
    pub(crate) fn reserve(&mut self, new: usize, shape: &KvShape) -> Result<()> {
        if let Some(block) = self.blocks.get_mut(self.tokens / BLOCK)
            && Arc::get_mut(block).is_none()
        {
            *block = Arc::new(block.copy()?);
        }
        while self.blocks.len() * BLOCK < self.tokens + new {
            self.blocks.push(Arc::new(Block::new(shape)?));
        }
        Ok(())
    }

    /// Writes the keys and values of one layer, `[new, kv_heads · head_dim]`, of tokens for which there is room.
    pub(crate) fn write(&self, layer: usize, k: &Tensor, v: &Tensor) -> Result<()> {
        let new = k.dim(0)?;
        let mut written = 0;
        while written < new {
            let at = self.tokens + written;
            let rows = (BLOCK - at % BLOCK).min(new - written);
            for (stored, rows) in self.blocks[at / BLOCK].layers[layer]
                .iter()
                .zip([k.narrow(0, written, rows)?, v.narrow(0, written, rows)?])
            {
                stored.slice_set(&rows.contiguous()?, 0, at % BLOCK)?;
            }
            written += rows;
        }
        Ok(())
    }

    /// What the last `queries` of the tokens see of one layer, once it has the keys and values of `new` ones.
    pub(crate) fn keys(&self, layer: usize, new: usize, queries: usize) -> CachedKeys<'_> {
        let tokens = self.tokens + new;
        let blocks = &self.blocks[..tokens.div_ceil(BLOCK)];
        let of = |index: usize| blocks.iter().map(|block| &block.layers[layer][index]).collect();
        CachedKeys { queries, tokens, k: of(0), v: of(1) }
    }

    /// Says that every layer has the keys and values of the new tokens.
    pub(crate) fn appended(&mut self, new: usize) {
        self.tokens += new;
    }
}

impl Block {
    fn new(shape: &KvShape) -> Result<Self> {
        let empty = || Tensor::zeros((BLOCK, shape.width), shape.dtype, shape.device);
        let layers = (0..shape.layers).map(|_| Ok([empty()?, empty()?]));
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    fn copy(&self) -> Result<Self> {
        let layers = self.layers.iter().map(|[k, v]| Ok([k.copy()?, v.copy()?]));
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KvShape = KvShape { layers: 1, width: 2, dtype: DType::F32, device: &Device::Cpu };

    fn rows(from: usize, count: usize) -> Tensor {
        let numbers = Tensor::arange(2.0 * from as f32, 2.0 * (from + count) as f32, &Device::Cpu);
        numbers.unwrap().reshape((count, 2)).unwrap()
    }

    fn append(cache: &mut KvCache, from: usize, count: usize) {
        cache.reserve(count, &SHAPE).unwrap();
        cache.write(0, &rows(from, count), &rows(from + 1000, count)).unwrap();
        cache.appended(count);
    }

    /// The first number of each key.
    fn keys(cache: &KvCache) -> Vec<usize> {
        let CachedKeys { tokens, k, v, .. } = cache.keys(0, 0, 1);
        let all = |blocks: &[&Tensor]| Tensor::cat(blocks, 0).unwrap().to_vec2::<f32>().unwrap();
        let numbers = all(&k).into_iter().zip(all(&v)).take(tokens);
        let number = |(k, v): (Vec<f32>, Vec<f32>)| {
            assert_eq!(v[1] - k[1], 2000.0);
            k[0] as usize / 2
        };
        numbers.map(number).collect()
    }

    fn range(parts: &[std::ops::Range<usize>]) -> Vec<usize> {
        parts.iter().cloned().flatten().collect()
    }

    #[test]
    fn it_grows_block_by_block_and_can_be_shortened() {
        let mut cache = KvCache::default();
        append(&mut cache, 0, 3);
        append(&mut cache, 3, 2 * BLOCK);
        assert_eq!(keys(&cache), (0..2 * BLOCK + 3).collect::<Vec<_>>());
        cache.truncate(BLOCK + 1);
        append(&mut cache, 500, 2);
        assert_eq!(keys(&cache), range(&[0..BLOCK + 1, 500..502]));
        cache.truncate(1000);
        assert_eq!(cache.tokens(), BLOCK + 3);
    }

    #[test]
    fn what_was_not_read_to_the_end_does_not_count() {
        let mut cache = KvCache::default();
        append(&mut cache, 0, 2);
        cache.reserve(BLOCK, &SHAPE).unwrap();
        cache.write(0, &rows(300, BLOCK), &rows(1300, BLOCK)).unwrap();
        append(&mut cache, 2, 1);
        assert_eq!(keys(&cache), (0..3).collect::<Vec<_>>());
    }

    #[test]
    fn sequences_that_begin_alike_share_blocks_and_do_not_see_each_others_tokens() {
        let mut first = KvCache::default();
        append(&mut first, 0, BLOCK + 10);
        let (mut second, third) = (first.prefix(BLOCK + 5), first.prefix(BLOCK));
        assert!(Arc::ptr_eq(&first.blocks[0], &second.blocks[0]) && third.blocks.len() == 1);
        append(&mut second, 500, 3);
        append(&mut first, BLOCK + 10, 1);
        assert_eq!(keys(&first), (0..BLOCK + 11).collect::<Vec<_>>());
        assert_eq!(keys(&second), range(&[0..BLOCK + 5, 500..503]));
        assert_eq!(keys(&third), (0..BLOCK).collect::<Vec<_>>());
        assert!(Arc::ptr_eq(&first.blocks[0], &second.blocks[0]), "what is full is never copied");
    }
}
