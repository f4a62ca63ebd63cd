//! The keys and values of the tokens that a model has read.

use candle_core::DType;
use candle_core::Result;
use candle_core::Tensor;

/// The keys and values of one sequence, a pair a layer.
///
/// It can be shortened, so that a text that begins like the one it holds is read from where the two part. A reading
/// that fails half way leaves it as it was: what counts is [`KvCache::tokens`], and that changes last.
pub struct KvCache {
    layers: Vec<[Rows; 2]>,
    tokens: usize,
}

impl KvCache {
    /// An empty cache for so many layers, with room for `room` tokens; it grows if more come.
    pub fn new(layers: usize, room: usize) -> Self {
        let rows = || [(); 2].map(|()| Rows { values: None, room });
        Self { layers: (0..layers).map(|_| rows()).collect(), tokens: 0 }
    }

    /// How many tokens it holds.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Forgets all but the first `tokens`.
    pub fn truncate(&mut self, tokens: usize) {
        self.tokens = self.tokens.min(tokens);
    }

    /// The part of one layer.
    pub(crate) fn layer(&mut self, index: usize) -> LayerCache<'_> {
        let [keys, values] = &mut self.layers[index];
        LayerCache { keys, values, tokens: self.tokens }
    }

    /// Says that the new tokens have been appended to every layer.
    pub(crate) fn appended(&mut self, new: usize) {
        self.tokens += new;
    }
}

/// The keys and values of one layer.
pub(crate) struct LayerCache<'a> {
    keys: &'a mut Rows,
    values: &'a mut Rows,
    /// How many tokens it holds.
    tokens: usize,
}

impl LayerCache<'_> {
    /// Writes the keys and values, `[new, kv_heads · head_dim]`, of new tokens behind those that are there, and gives
    /// all of the layer, `[tokens + new, kv_heads · head_dim]`.
    pub(crate) fn append(self, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.keys.put(self.tokens, k)?, self.values.put(self.tokens, v)?))
    }
}

/// Rows that are written one after the other, with room for more.
struct Rows {
    /// `[capacity, width]`, once the width is known.
    values: Option<Tensor>,
    room: usize,
}

impl Rows {
    /// Writes `rows` from row `at` on; gives all rows up to their end.
    fn put(&mut self, at: usize, rows: &Tensor) -> Result<Tensor> {
        let (new, width) = rows.dims2()?;
        let end = at + new;
        let values = match &self.values {
            Some(values) if values.dim(0)? >= end => values.clone(),
            full => {
                let capacity = full.as_ref().map_or(Ok(self.room), |full| full.dim(0).map(|rows| 2 * rows))?.max(end);
                let values = Tensor::zeros((capacity, width), DType::F32, rows.device())?;
                if let Some(full) = full.as_ref().filter(|_| at > 0) {
                    values.slice_set(&full.narrow(0, 0, at)?, 0, 0)?;
                }
                self.values.insert(values).clone()
            }
        };
        values.slice_set(&rows.contiguous()?, 0, at)?;
        values.narrow(0, 0, end)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn rows(from: usize, count: usize) -> Tensor {
        Tensor::arange(2.0 * from as f32, 2.0 * (from + count) as f32, &Device::Cpu)
            .unwrap()
            .reshape((count, 2))
            .unwrap()
    }

    fn append(cache: &mut KvCache, from: usize, count: usize) -> Tensor {
        let (k, v) = cache.layer(0).append(&rows(from, count), &rows(from + 100, count)).unwrap();
        assert_eq!((&v - &k).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(), vec![200.0; 2 * k.dims()[0]]);
        k
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn it_grows_past_its_room_and_can_be_shortened() {
        let mut cache = KvCache::new(1, 2);
        assert_eq!(values(&append(&mut cache, 0, 2)), values(&rows(0, 2)));
        cache.appended(2);
        assert_eq!(values(&append(&mut cache, 2, 5)), values(&rows(0, 7)));
        cache.appended(5);
        cache.truncate(3);
        assert_eq!(cache.tokens(), 3);
        let expected = [values(&rows(0, 3)), values(&rows(50, 1))].concat();
        assert_eq!(values(&append(&mut cache, 50, 1)), expected);
    }

    #[test]
    fn what_was_not_read_to_the_end_does_not_count() {
        let mut cache = KvCache::new(1, 8);
        append(&mut cache, 0, 2);
        cache.appended(2);
        append(&mut cache, 30, 4);
        assert_eq!(values(&append(&mut cache, 2, 1)), values(&rows(0, 3)));
    }
}
