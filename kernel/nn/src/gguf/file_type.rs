//! The types of files, and which type each tensor gets in them.

use tunebook_gguf::TensorType;
use tunebook_gguf::Value;

use crate::checkpoint::StoredDType;

/// What most matrices of a file are stored as; vectors are always float32. Names are llama.cpp's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    /// Q4_K, with some matrices of the more sensitive layers in Q6_K.
    Q4KM,
}

/// A matrix of a language model, as far as its type depends on it.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// What makes logits: the head, or the embedding where it is the head, too.
    Output,
    /// The value projection or the second layer of the feed-forward, in this layer of so many.
    Sensitive {
        layer: usize,
        layers: usize,
    },
    Other,
}

impl FileType {
    /// The 16-bit type that fits a checkpoint, as `--outtype auto` of llama.cpp's converters chooses it.
    pub fn of_checkpoint(stored: StoredDType) -> Self {
        match stored {
            StoredDType::Bf16 => Self::Bf16,
            StoredDType::F16 | StoredDType::F32 => Self::F16,
        }
    }

    /// As it stands in the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4KM => "Q4_K_M",
        }
    }

    /// Whether it has blocks of 4-bit numbers, which vision towers and adapters are not written in.
    pub fn is_four_bit(self) -> bool {
        matches!(self, Self::Q4_0 | Self::Q4KM)
    }

    /// `general.file_type`.
    pub(super) fn metadata(self) -> (String, Value) {
        let id = match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            Self::Q4KM => 15,
            Self::Bf16 => 32,
        };
        ("general.file_type".to_string(), Value::U32(id))
    }

    fn base(self) -> TensorType {
        match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::Bf16 => TensorType::Bf16,
            Self::Q8_0 => TensorType::Q8_0,
            Self::Q4_0 => TensorType::Q4_0,
            Self::Q4KM => TensorType::Q4K,
        }
    }

    /// The type of a tensor of a language model, as `llama-quantize` chooses it.
    pub(super) fn of_text(self, dims: &[usize], role: Role) -> TensorType {
        let (base, [.., cols]) = (self.base(), dims) else { return TensorType::F32 };
        if dims.len() < 2 {
            return TensorType::F32;
        }
        let kind = match role {
            Role::Output if self.is_four_bit() => match cols.is_multiple_of(base.block()) {
                true => TensorType::Q6K,
                false => TensorType::Q8_0,
            },
            Role::Sensitive { layer, layers } if self == Self::Q4KM && has_more_bits(layer, layers) => TensorType::Q6K,
            Role::Output | Role::Sensitive { .. } | Role::Other => base,
        };
        fitting(kind, *cols)
    }

    /// The type of a matrix of a vision tower or an adapter, as llama.cpp's converters choose it; 4-bit types are none of
    /// theirs.
    pub(super) fn of_matrix(self, cols: usize) -> TensorType {
        fitting(self.base(), cols)
    }
}

/// Of the layers the first eighth, the last, and every third one in between.
fn has_more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// The type itself, or the nearest one whose blocks a row of `cols` elements consists of.
fn fitting(kind: TensorType, cols: usize) -> TensorType {
    let smaller = match kind {
        TensorType::Q4K => TensorType::Q5_0,
        TensorType::Q6K => TensorType::Q8_0,
        other => other,
    };
    let fits = |kind: &TensorType| cols.is_multiple_of(kind.block());
    [kind, smaller].into_iter().find(fits).unwrap_or(TensorType::F16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_no_whole_blocks_fall_back_as_in_llama_quantize() {
        let types = [(256, TensorType::Q4K), (192, TensorType::Q5_0), (112, TensorType::F16)];
        for (cols, expected) in types {
            assert_eq!(FileType::Q4KM.of_text(&[8, cols], Role::Other), expected, "{cols}");
        }
        assert_eq!(FileType::Q8_0.of_text(&[8, 112], Role::Other), TensorType::F16);
        assert_eq!(FileType::Q4_0.of_text(&[8, 192], Role::Output), TensorType::Q8_0);
        assert_eq!(FileType::Q4_0.of_text(&[8, 256], Role::Output), TensorType::Q6K);
        assert_eq!(FileType::Q4_0.of_text(&[256], Role::Other), TensorType::F32);
    }

    #[test]
    fn sensitive_layers_have_six_bits() {
        let kind = |layer| FileType::Q4KM.of_text(&[8, 256], Role::Sensitive { layer, layers: 36 });
        let six: Vec<usize> = (0..36).filter(|layer| kind(*layer) == TensorType::Q6K).collect();
        assert_eq!(six, [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 31, 32, 33, 34, 35]);
    }
}
