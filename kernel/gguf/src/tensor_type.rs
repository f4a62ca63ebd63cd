//! ggml's types of elements, and how values become them.

use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::QTensor;
use half::bf16;
use half::f16;
use rayon::prelude::*;

/// A type of elements. Quantized ones hold a row in blocks, each with its own scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    F32,
    F16,
    Bf16,
    /// 8 bits an element and a scale for 32.
    Q8_0,
    /// 4 bits an element and a scale for 32.
    Q4_0,
    /// 5 bits an element and a scale for 32.
    Q5_0,
    /// 4 bits an element, in blocks of 256 with a scale and a minimum, of 6 bits each, for 32.
    Q4K,
    /// 6 bits an element, in blocks of 256 with a scale of 8 bits for 16.
    Q6K,
}

/// What is quantized at a time by one thread: a whole number of blocks of every type.
const RUN: usize = 1 << 16;
/// Elements in a block of 256.
const K: usize = 256;

impl TensorType {
    /// Its number in files.
    pub fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q5_0 => 6,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q6K => 14,
            Self::Bf16 => 30,
        }
    }

    /// Elements in a block; rows must hold whole blocks.
    pub fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q5_0 => 32,
            Self::Q4K | Self::Q6K => K,
        }
    }

    /// Bytes of so many elements, in whole blocks.
    pub fn size(self, elements: usize) -> usize {
        let block = match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q5_0 => 22,
            Self::Q4K => 144,
            Self::Q6K => 210,
        };
        elements / self.block() * block
    }

    /// Values, row by row, as this type has them: rounded to the nearest, or quantized as ggml does.
    ///
    /// In blocks of 256, scales and minima are those with the least squared error that a search finds. llama.cpp searches,
    /// too; candle does only where it is given the importance of the columns, and with all of them alike it comes as near to
    /// the values as llama.cpp does.
    ///
    /// # Errors
    /// The values are no whole number of blocks.
    pub fn encode(self, values: &[f32]) -> Result<Vec<u8>> {
        match self {
            Self::F32 => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Self::F16 => Ok(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()),
            Self::Bf16 => Ok(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()),
            Self::Q8_0 => quantize(values, GgmlDType::Q8_0),
            Self::Q4_0 => quantize(values, GgmlDType::Q4_0),
            Self::Q5_0 => quantize(values, GgmlDType::Q5_0),
            Self::Q4K => quantize_searching(values, GgmlDType::Q4K),
            Self::Q6K => quantize_searching(values, GgmlDType::Q6K),
        }
    }
}

fn quantize(values: &[f32], dtype: GgmlDType) -> Result<Vec<u8>> {
    in_runs(values, |run| QTensor::quantize(&Tensor::from_slice(run, run.len(), &Device::Cpu)?, dtype))
}

fn quantize_searching(values: &[f32], dtype: GgmlDType) -> Result<Vec<u8>> {
    in_runs(values, |run| {
        let rows = Tensor::from_slice(run, (run.len() / K, K), &Device::Cpu)?;
        QTensor::quantize_imatrix(&rows, &[1.0; K], dtype)
    })
}

/// The bytes of what `quantize` makes of the values, piece by piece.
fn in_runs(values: &[f32], quantize: impl Fn(&[f32]) -> Result<QTensor> + Sync) -> Result<Vec<u8>> {
    let runs = values.par_chunks(RUN).map(|run| Ok(quantize(run)?.data()?.into_owned()));
    Ok(runs.collect::<Result<Vec<_>>>()?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [TensorType; 8] = [
        TensorType::F32,
        TensorType::F16,
        TensorType::Bf16,
        TensorType::Q8_0,
        TensorType::Q4_0,
        TensorType::Q5_0,
        TensorType::Q4K,
        TensorType::Q6K,
    ];

    /// Something between a wave and noise, with a row of zeros, which is where a scale has nothing to go by.
    fn values() -> Vec<f32> {
        let wave = |i: usize| ((i * i) as f32 * 0.37).sin() * (1.0 + (i % 97) as f32 / 50.0);
        let mut values: Vec<f32> = (0..RUN + 4 * K).map(wave).collect();
        values[K..2 * K].fill(0.0);
        values
    }

    fn dequantized(kind: TensorType, bytes: &[u8], elements: usize) -> Vec<f32> {
        let dtype = match kind {
            TensorType::F32 => GgmlDType::F32,
            TensorType::F16 => GgmlDType::F16,
            TensorType::Bf16 => GgmlDType::BF16,
            TensorType::Q8_0 => GgmlDType::Q8_0,
            TensorType::Q4_0 => GgmlDType::Q4_0,
            TensorType::Q5_0 => GgmlDType::Q5_0,
            TensorType::Q4K => GgmlDType::Q4K,
            TensorType::Q6K => GgmlDType::Q6K,
        };
        let storage = candle_core::quantized::QStorage::from_data(bytes.into(), &Device::Cpu, dtype).unwrap();
        let tensor = QTensor::new(storage, elements).unwrap().dequantize(&Device::Cpu).unwrap();
        tensor.to_vec1().unwrap()
    }

    #[test]
    fn each_type_is_as_long_as_it_says_and_as_near_as_its_bits_allow() {
        let values = values();
        let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v * v)).sum::<f64>();
        for (kind, most) in ALL.into_iter().zip([0.0, 3e-4, 3e-3, 4e-3, 7e-2, 4e-2, 6e-2, 2e-2]) {
            let bytes = kind.encode(&values).unwrap();
            assert_eq!(bytes.len(), kind.size(values.len()), "{kind:?}");
            let back = dequantized(kind, &bytes, values.len());
            assert!(back[K..2 * K].iter().all(|value| *value == 0.0), "{kind:?}: zeros are no longer zero");
            let error = squares(&mut back.iter().zip(&values).map(|(a, b)| a - b));
            let error = (error / squares(&mut values.iter().copied())).sqrt();
            assert!(error <= most && (error > 0.0 || kind == TensorType::F32), "{kind:?}: {error}");
        }
    }

    #[test]
    fn part_of_a_block_is_refused() {
        assert!(TensorType::Q8_0.encode(&[0.0; 40]).is_err());
        assert!(TensorType::Q4K.encode(&[0.0; 300]).is_err());
    }
}
