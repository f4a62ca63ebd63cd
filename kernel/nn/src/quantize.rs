//! Frozen weights in 4 or 8 bits, quantized when a model is loaded, as bitsandbytes quantizes them.
//!
//! Layers are quantized one at a time, and each gives its mapped pages back. `tunebook-gemm` decodes a run of codes
//! where a matmul would have read a run of the checkpoint, forward and backward, so no decoded matrix ever exists.
//!
//! Unlike LLM.int8 in bitsandbytes, activations are not rounded to 8 bits: a matmul differs from the unquantized one
//! only by its weights.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use tunebook_gemm::DYNAMIC_VALUES;
use tunebook_gemm::Int8;
use tunebook_gemm::NF4_BLOCK;
use tunebook_gemm::NF4_GROUP;
use tunebook_gemm::NF4_VALUES;
use tunebook_gemm::Nf4;
use tunebook_gemm::Weights;

use crate::frozen::FrozenMatrix;

/// What the weights of linear layers are stored in; the embeddings and the head stay as they are, as in transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantizationBit {
    /// NF4 in blocks of 64, with double quantization: `bnb_4bit_quant_type="nf4"`, `bnb_4bit_use_double_quant=True`.
    Four,
    /// A scale a row, as `load_in_8bit=True` stores weights.
    Eight,
}

/// A quantized matrix.
pub(crate) enum Quantized {
    Nf4 { len: usize, codes: Vec<u8>, absmax: Vec<u8>, scales: Vec<f32>, offset: f32 },
    Int8 { codes: Vec<i8>, absmax: Vec<f32> },
}

impl Quantized {
    pub(crate) fn new(matrix: &FrozenMatrix, bit: QuantizationBit) -> Self {
        match bit {
            QuantizationBit::Four => nf4(matrix),
            QuantizationBit::Eight => int8(matrix),
        }
    }

    /// What it takes in memory.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Nf4 { codes, absmax, scales, .. } => codes.len() + absmax.len() + size_of_val(&scales[..]),
            Self::Int8 { codes, absmax } => codes.len() + size_of_val(&absmax[..]),
        }
    }

    pub(crate) fn weights(&self) -> Weights<'_> {
        match self {
            Self::Nf4 { len, codes, absmax, scales, offset } => {
                Weights::Nf4(Nf4::new(*len, codes, absmax, scales, *offset))
            }
            Self::Int8 { codes, absmax } => Weights::Int8(Int8::new(codes, absmax)),
        }
    }
}

/// bitsandbytes' `quantize_4bit` with `compress_statistics=True`: each block is scaled by its absmax and each element
/// becomes the nearest code; absmax, less the mean of all, is scaled in groups and becomes the nearest dynamic code.
///
/// The mean is rounded from f64, where bitsandbytes sums in f32 in an order that depends on the machine.
fn nf4(matrix: &FrozenMatrix) -> Quantized {
    let len = matrix.rows * matrix.cols;
    let mut codes = vec![0; len.div_ceil(2)];
    let mut block_absmax = vec![0f32; len.div_ceil(NF4_BLOCK)];
    const GROUP: usize = NF4_BLOCK * NF4_GROUP;
    codes.par_chunks_mut(GROUP / 2).zip(block_absmax.par_chunks_mut(NF4_GROUP)).enumerate().for_each_init(
        || vec![0f32; GROUP],
        |values, (group, (codes, absmax))| {
            let values = &mut values[..GROUP.min(len - group * GROUP)];
            matrix.read(group * GROUP, values);
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for ((values, codes), absmax) in
                        values.chunks(NF4_BLOCK).zip(codes.chunks_mut(NF4_BLOCK / 2)).zip(absmax)
                    {
                        *absmax = nf4_block(values, codes);
                    }
                },
            );
        },
    );
    let mean = block_absmax.iter().map(|&absmax| f64::from(absmax)).sum::<f64>() / block_absmax.len().max(1) as f64;
    let offset = mean as f32;
    let mut absmax = vec![0; block_absmax.len()];
    let groups = absmax.chunks_mut(NF4_GROUP).zip(block_absmax.chunks(NF4_GROUP));
    let scales = groups.map(|(codes, absmax)| dynamic_group(absmax, offset, codes)).collect();
    Quantized::Nf4 { len, codes, absmax, scales, offset }
}

/// The absmax of a block, whose codes go to `codes`.
#[inline(always)]
fn nf4_block(values: &[f32], codes: &mut [u8]) -> f32 {
    // Below this, 1 / absmax is infinite.
    const LEAST: f32 = 1e-38;
    // As whole numbers, since they compare as their absolute values do, and faster.
    let absmax = f32::from_bits(values.iter().fold(0, |most, value| most.max(value.abs().to_bits())));
    let mut indices = [0u8; NF4_BLOCK];
    if let Ok(values) = <&[f32; NF4_BLOCK]>::try_from(values) {
        let inverse = 1.0 / absmax.max(LEAST);
        for (index, value) in indices.iter_mut().zip(values) {
            *index = nf4_code(value * inverse);
        }
    } else {
        // bitsandbytes divides in the last block, if it is shorter than the others.
        for (index, value) in indices.iter_mut().zip(values) {
            *index = nf4_code(value / absmax.max(LEAST));
        }
        if values.len() % 2 == 1 {
            indices[values.len()] = nf4_code(0.0);
        }
    }
    for (code, pair) in codes.iter_mut().zip(indices.as_chunks::<2>().0) {
        *code = pair[0] << 4 | pair[1];
    }
    absmax
}

/// The nearest code; halfway, the lower one.
#[inline(always)]
fn nf4_code(value: f32) -> u8 {
    const BOUNDS: [f32; 15] = {
        let mut bounds = [0.0; 15];
        let mut i = 0;
        while i < 15 {
            bounds[i] = (NF4_VALUES[i] + NF4_VALUES[i + 1]) / 2.0;
            i += 1;
        }
        bounds
    };
    BOUNDS.iter().map(|&bound| u8::from(value > bound)).sum()
}

/// The scale of a group of absmax, whose codes go to `codes`. A group without spread has scale 0 and, of no number,
/// code 0.
fn dynamic_group(absmax: &[f32], offset: f32, codes: &mut [u8]) -> f32 {
    let scale = absmax.iter().map(|absmax| (absmax - offset).abs()).fold(0f32, f32::max);
    let inverse = 1.0 / scale;
    for (code, absmax) in codes.iter_mut().zip(absmax) {
        let value = (absmax - offset) * inverse;
        let high = DYNAMIC_VALUES.partition_point(|&other| other < value).clamp(1, 255);
        let halfway = (DYNAMIC_VALUES[high - 1] + DYNAMIC_VALUES[high]) / 2.0;
        *code = (if value > halfway { high } else { high - 1 }) as u8;
    }
    scale
}

/// bitsandbytes' `int8_vectorwise_quant` of the weight in float16: each row is scaled by its absmax to ±127 and
/// rounded, halves to even.
fn int8(matrix: &FrozenMatrix) -> Quantized {
    let mut codes = vec![0; matrix.rows * matrix.cols];
    let mut absmax = vec![0f32; matrix.rows];
    codes.par_chunks_mut(matrix.cols.max(1)).zip(&mut absmax).enumerate().for_each_init(
        || (vec![0f32; matrix.cols], vec![f16::ZERO; matrix.cols]),
        |(values, narrow), (row, (codes, absmax))| {
            matrix.read_row(row, values);
            narrow.convert_from_f32_slice(values);
            narrow.convert_to_f32_slice(values);
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    *absmax = f32::from_bits(values.iter().fold(0, |most, value| most.max(value.abs().to_bits())));
                    // Not 127 / absmax, which is rounded once less.
                    let scale = 1.0 / *absmax * 127.0;
                    for (code, value) in codes.iter_mut().zip(values.iter()) {
                        *code = (value * scale).round_ties_even() as i8;
                    }
                },
            );
        },
    );
    Quantized::Int8 { codes, absmax }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::DType;
    use candle_core::Device;
    use candle_core::Tensor;
    use safetensors::SafeTensors;

    use super::*;

    /// What bitsandbytes makes of four matrices (`tests/reference/quantize.py`).
    fn reference(check: impl Fn(&str, &FrozenMatrix, &HashMap<String, Tensor>, &SafeTensors)) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/quantize/weights.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let raw = SafeTensors::deserialize(&bytes).unwrap();
        // 8-bit integers have no place in candle; they are read as the bytes that they are.
        let tensors = raw.iter().filter(|(_, view)| view.dtype() != safetensors::Dtype::I8).map(|(name, view)| {
            let dtype = DType::try_from(view.dtype()).unwrap();
            (name.to_string(), Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu).unwrap())
        });
        let tensors: HashMap<_, _> = tensors.collect();
        for name in ["groups", "uneven", "odd", "short"] {
            let (rows, cols) = tensors[&format!("{name}.weight")].dims2().unwrap();
            check(name, &FrozenMatrix::from_f32(&floats(&tensors, name, "weight"), rows, cols), &tensors, &raw);
        }
    }

    fn floats(tensors: &HashMap<String, Tensor>, name: &str, key: &str) -> Vec<f32> {
        let tensor = tensors[&format!("{name}.{key}")].to_dtype(DType::F32).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Names the first element that differs.
    fn assert_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], expected: &[T]) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let differing: Vec<_> = (0..found.len()).filter(|&i| found[i] != expected[i]).collect();
        if let Some(&i) = differing.first() {
            panic!("{what}: {} differ; {i} is {:?}, not {:?}", differing.len(), found[i], expected[i]);
        }
    }

    fn decoded(quantized: &Quantized, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        match quantized.weights() {
            Weights::Nf4(w) => w.read(0, &mut values),
            Weights::Int8(w) => w.read(0, &mut values),
            other => panic!("{other:?} is not quantized"),
        }
        values
    }

    #[test]
    fn four_bits_are_those_of_bitsandbytes() {
        reference(|name, matrix, tensors, raw| {
            let quantized = Quantized::new(matrix, QuantizationBit::Four);
            let Quantized::Nf4 { codes, absmax, scales, offset, .. } = &quantized else { panic!("not NF4") };
            let bytes = |key: &str| raw.tensor(&format!("{name}.nf4.{key}")).unwrap().data();
            assert_same(name, codes, bytes("codes"));
            assert_same(name, absmax, bytes("absmax"));
            assert_same(name, scales, &floats(tensors, name, "nf4.scales"));
            assert_same(name, &[*offset], &floats(tensors, name, "nf4.offset"));
            // The dynamic values differ in their last digit from machine to machine.
            let expected = floats(tensors, name, "nf4.values");
            let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
            for (found, expected) in decoded(&quantized, expected.len()).iter().zip(expected) {
                assert!((found - expected).abs() <= 2e-7 * largest, "{name}: {found} instead of {expected}");
            }
        });
    }

    #[test]
    fn eight_bits_are_those_of_bitsandbytes() {
        reference(|name, matrix, tensors, raw| {
            let quantized = Quantized::new(matrix, QuantizationBit::Eight);
            let Quantized::Int8 { codes, absmax } = &quantized else { panic!("not int8") };
            let expected = raw.tensor(&format!("{name}.int8.codes")).unwrap().data();
            assert_same(name, codes, bytemuck::cast_slice::<u8, i8>(expected));
            assert_same(name, absmax, &floats(tensors, name, "int8.absmax"));
            let expected = floats(tensors, name, "int8.values");
            for (found, expected) in decoded(&quantized, expected.len()).iter().zip(expected) {
                assert!((found - expected).abs() <= 2e-7 * expected.abs(), "{name}: {found} instead of {expected}");
            }
        });
    }

    #[test]
    fn matrices_without_elements_are_quantized() {
        for (rows, cols) in [(0, 0), (0, 5), (3, 0)] {
            for bit in [QuantizationBit::Four, QuantizationBit::Eight] {
                assert!(Quantized::new(&FrozenMatrix::from_f32(&[], rows, cols), bit).weights().is_empty());
            }
        }
    }
}
