//! What the decoder reads: embeddings, and what is added to the hidden states on the way.

use std::ops::Range;

use candle_core::Result;
use candle_core::Tensor;

/// Tokens of all sequences, end to end.
pub struct DecoderInput {
    /// What the first layer reads, `[T · hidden]`.
    pub embeddings: Vec<f32>,
    pub deepstack: DeepStack,
}

/// DeepStack (Meng et al. 2024, arXiv 2406.04334): features of images for the first layers, beside those that stand in
/// place of image tokens. Most families have none.
#[derive(Clone, Default)]
pub struct DeepStack {
    /// The rows of image tokens, ascending.
    rows: Vec<u32>,
    /// For layer i, what is added to its output in these rows, `[rows, hidden]`.
    features: Vec<Tensor>,
}

impl DeepStack {
    pub(crate) fn new(rows: Vec<u32>, features: Vec<Tensor>) -> Self {
        Self { rows, features }
    }

    /// The output `x` of layer `index`, `[T, hidden]`, with its features.
    pub(crate) fn add(&self, index: usize, x: Tensor) -> Result<Tensor> {
        match self.features.get(index) {
            Some(features) => x.index_add(&self.rows(&x)?, features, 0),
            None => Ok(x),
        }
    }

    /// The gradient of the features of layer `index`, given that of its output; none if it has no features.
    pub(crate) fn backward(&self, index: usize, dx: &Tensor) -> Result<Option<Tensor>> {
        self.features.get(index).map(|_| dx.index_select(&self.rows(dx)?, 0)).transpose()
    }

    /// What belongs to some of the tokens.
    fn part(&self, tokens: &Range<usize>) -> Result<Self> {
        let before = |end: usize| self.rows.partition_point(|&row| (row as usize) < end);
        let (start, end) = (before(tokens.start), before(tokens.end));
        if start == end {
            return Ok(Self::default());
        }
        let rows = self.rows[start..end].iter().map(|row| row - tokens.start as u32).collect();
        let features = self.features.iter().map(|features| features.narrow(0, start, end - start));
        Ok(Self { rows, features: features.collect::<Result<_>>()? })
    }

    fn rows(&self, x: &Tensor) -> Result<Tensor> {
        Tensor::new(self.rows.as_slice(), x.device())
    }
}

impl DecoderInput {
    /// Those of several sequences, end to end, whose embeddings are `hidden` wide.
    ///
    /// # Errors
    /// The device has too little memory.
    pub fn end_to_end(parts: Vec<Self>, hidden: usize) -> Result<Self> {
        let (mut embeddings, mut rows) = (Vec::new(), Vec::new());
        let mut features: Vec<Vec<Tensor>> = Vec::new();
        for part in parts {
            let first = (embeddings.len() / hidden) as u32;
            embeddings.extend(part.embeddings);
            rows.extend(part.deepstack.rows.iter().map(|row| first + row));
            features.resize(features.len().max(part.deepstack.features.len()), Vec::new());
            features.iter_mut().zip(part.deepstack.features).for_each(|(all, own)| all.push(own));
        }
        let features = features.iter().map(|parts| Tensor::cat(parts, 0)).collect::<Result<_>>()?;
        Ok(Self { embeddings, deepstack: DeepStack { rows, features } })
    }

    /// That of some of the tokens, whose embeddings are `hidden` wide.
    ///
    /// # Errors
    /// The device has too little memory.
    pub fn part(&self, tokens: Range<usize>, hidden: usize) -> Result<Self> {
        let embeddings = self.embeddings[tokens.start * hidden..tokens.end * hidden].to_vec();
        Ok(Self { embeddings, deepstack: self.deepstack.part(&tokens)? })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn values(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_part_has_the_features_of_its_own_tokens() {
        let features = Tensor::new(&[[1f32], [2.0], [3.0]], &Device::Cpu).unwrap();
        let deepstack = DeepStack::new(vec![1, 4, 5], vec![features]);
        let input = DecoderInput { embeddings: vec![0.0; 7], deepstack };
        let added = |tokens: Range<usize>| {
            let part = input.part(tokens, 1).unwrap();
            let x = Tensor::from_vec(part.embeddings.clone(), (part.embeddings.len(), 1), &Device::Cpu).unwrap();
            values(&part.deepstack.add(0, x).unwrap())
        };
        assert_eq!(added(0..7), [0.0, 1.0, 0.0, 0.0, 2.0, 3.0, 0.0]);
        assert_eq!(added(0..5), [0.0, 1.0, 0.0, 0.0, 2.0]);
        assert_eq!(added(5..7), [3.0, 0.0]);
        assert_eq!(added(2..4), [0.0, 0.0]);
    }

    #[test]
    fn sequences_keep_their_features_end_to_end() {
        let with = |rows: Vec<u32>, feature: f32| {
            let features = Tensor::full(feature, (rows.len(), 1), &Device::Cpu).unwrap();
            DecoderInput { embeddings: vec![0.0; 3], deepstack: DeepStack::new(rows, vec![features]) }
        };
        let text = DecoderInput { embeddings: vec![7.0; 2], deepstack: DeepStack::default() };
        let all = DecoderInput::end_to_end(vec![with(vec![1], 1.0), text, with(vec![0, 2], 2.0)], 1).unwrap();
        let x = Tensor::from_vec(all.embeddings.clone(), (8, 1), &Device::Cpu).unwrap();
        assert_eq!(values(&all.deepstack.add(0, x).unwrap()), [0.0, 1.0, 0.0, 7.0, 7.0, 2.0, 0.0, 2.0]);
    }

    #[test]
    fn layers_without_features_are_passed_by() {
        let features = Tensor::new(&[[1f32]], &Device::Cpu).unwrap();
        let deepstack = DeepStack::new(vec![0], vec![features]);
        let x = Tensor::new(&[[5f32], [6.0]], &Device::Cpu).unwrap();
        assert_eq!(values(&deepstack.add(1, x.clone()).unwrap()), [5.0, 6.0]);
        assert!(deepstack.backward(1, &x).unwrap().is_none());
        assert_eq!(values(&deepstack.backward(0, &x).unwrap().unwrap()), [5.0]);
    }
}
