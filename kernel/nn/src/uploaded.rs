//! A frozen matrix in the memory of a device: its elements, or the codes that they are decoded from for each product.
//!
//! The embedding, of which a step reads a few rows, stays in its file, and so do the weights that `export` and PiSSA
//! read.

use candle_core::DType;
use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::NF4_BLOCK;
use tunebook_gemm::NF4_VALUES;
use tunebook_gemm::Weights;

/// Its elements, or the codes that they are decoded from for each matmul.
#[derive(Clone)]
pub(crate) enum Uploaded {
    /// `[rows, cols]`.
    Plain(Tensor),
    Nf4 {
        /// The two elements that every byte of codes stands for, before their scale, `[256, 2]`; zeros for the last
        /// byte, which means no row to candle's CUDA kernel.
        pairs: Tensor,
        /// Of whole blocks, `[blocks · 32]`.
        codes: Tensor,
        /// `[blocks, 1]`.
        absmax: Tensor,
        shape: (usize, usize),
    },
    Int8 {
        /// 128 more than each code, since candle has no signed bytes, `[rows, cols]`.
        codes: Tensor,
        /// `[rows, 1]`.
        absmax: Tensor,
    },
}

const LAST_BYTE: usize = 255;

impl Uploaded {
    /// Copies `weights`, `[rows, cols]`; elements that are not coded become `dtype`.
    pub(crate) fn new(
        weights: Weights,
        shape @ (rows, _): (usize, usize),
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        Ok(match weights {
            Weights::F32(values) => Self::Plain(Tensor::from_slice(values, shape, device)?.to_dtype(dtype)?),
            Weights::Bf16(values) => Self::Plain(Tensor::from_slice(values, shape, device)?.to_dtype(dtype)?),
            Weights::Bf12(packed) => {
                let mut values = vec![0f32; packed.len()];
                packed.read(0, &mut values);
                Self::Plain(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
            }
            Weights::Nf4(nf4) => {
                let blocks = nf4.len().div_ceil(NF4_BLOCK);
                let mut codes = nf4.codes().to_vec();
                codes.resize(blocks * NF4_BLOCK / 2, 0);
                let absmax = (0..blocks).map(|block| nf4.absmax(block)).collect();
                let pair = |byte: usize| match byte {
                    LAST_BYTE => [0.0; 2],
                    _ => [NF4_VALUES[byte >> 4], NF4_VALUES[byte & 15]],
                };
                Self::Nf4 {
                    pairs: Tensor::from_vec((0..256).flat_map(pair).collect(), (256, 2), device)?,
                    codes: Tensor::from_vec(codes, blocks * NF4_BLOCK / 2, device)?,
                    absmax: Tensor::from_vec(absmax, (blocks, 1), device)?,
                    shape,
                }
            }
            Weights::Int8(int8) => {
                let codes: Vec<u8> = int8.codes().iter().map(|code| code.cast_unsigned() ^ 0x80).collect();
                Self::Int8 {
                    codes: Tensor::from_vec(codes, shape, device)?,
                    absmax: Tensor::from_slice(int8.absmax(), (rows, 1), device)?,
                }
            }
        })
    }

    /// The elements, `[rows, cols]`, decoded in f32 and then rounded.
    pub(crate) fn tensor(&self, dtype: DType) -> Result<Tensor> {
        match self {
            Self::Plain(values) => values.to_dtype(dtype),
            Self::Nf4 { pairs, codes, absmax, shape } => {
                let last = (codes.eq(LAST_BYTE as u8)?.to_dtype(DType::F32)? * f64::from(NF4_VALUES[15]))?;
                let values = pairs.index_select(codes, 0)?.broadcast_add(&last.unsqueeze(1)?)?;
                let values = values.reshape((absmax.dim(0)?, NF4_BLOCK))?.broadcast_mul(absmax)?;
                let values = values.flatten_all()?.narrow(0, 0, shape.0 * shape.1)?;
                values.reshape(*shape)?.to_dtype(dtype)
            }
            Self::Int8 { codes, absmax } => {
                let codes = codes.to_dtype(DType::F32)?.affine(1.0, -128.0)?;
                (codes.broadcast_mul(absmax)? * f64::from(1f32 / 127.0))?.to_dtype(dtype)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frozen::FrozenMatrix;
    use crate::quantize::QuantizationBit;

    #[test]
    fn the_elements_are_those_that_the_cpu_reads() {
        for (rows, cols) in [(3, 64), (7, 33), (2, 1)] {
            // The first two are the largest, and the byte that stands for them the last.
            let values: Vec<f32> =
                (0..rows * cols).map(|i| if i < 2 { 1.0 } else { (0.37 * i as f32).sin() }).collect();
            let plain = FrozenMatrix::from_f32(&values, rows, cols);
            let [four, eight] = [QuantizationBit::Four, QuantizationBit::Eight].map(|bit| plain.quantized(bit));
            for matrix in [plain, four, eight] {
                let mut expected = vec![0f32; rows * cols];
                matrix.read(0, &mut expected);
                let found = matrix.tensor(&Device::Cpu, DType::F32).unwrap();
                assert_eq!(found.dims(), [rows, cols]);
                assert_eq!(found.flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected);
            }
        }
    }
}
