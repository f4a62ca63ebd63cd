//! Settings that are one of a few words.

use serde::Serialize;
use serde::Serializer;

use super::value::Kind;
use super::value::Value;

/// An enum whose variants are the words of a setting; words after the first are accepted as well.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $( $(#[doc = $help:literal])? $variant:ident = $word:literal $(| $other:literal)* ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $help])? $variant ),* }

        impl $name {
            const WORDS: &[&str] = &[$($word),*];
        }

        impl Value for $name {
            const KIND: Kind = Kind::Choice(Self::WORDS);

            fn parse(text: &str) -> Option<Self> {
                match text.to_lowercase().as_str() {
                    $( $word $(| $other)* => Some(Self::$variant), )*
                    _ => None,
                }
            }

            fn show(&self) -> String {
                match self { $( Self::$variant => $word ),* }.to_string()
            }
        }
    };
}

choice! {
    /// How products with frozen weights are formed.
    Dtype {
        /// As the checkpoint is stored.
        Auto = "auto",
        Float32 = "float32" | "fp32" | "f32",
        Bfloat16 = "bfloat16" | "bf16",
    }
}

choice! {
    /// What computes.
    Device {
        /// A CUDA device, if there is one.
        Auto = "auto",
        Cpu = "cpu",
        Cuda = "cuda" | "gpu",
    }
}

choice! {
    /// Where models and data sets are downloaded from.
    Hub {
        Huggingface = "huggingface" | "hf",
        Modelscope = "modelscope" | "ms",
    }
}

choice! {
    /// In which scale the boxes of data are written.
    Boxes {
        /// The model's own.
        Model = "model",
        Pixels = "pixels" | "real",
        Resized = "resized",
        Norm1000 = "norm1000" | "thousandths",
        Norm1 = "norm1",
    }
}

choice! {
    /// How several data sets become one.
    MixStrategy {
        Concat = "concat",
        InterleaveUnder = "interleave_under",
        InterleaveOver = "interleave_over",
    }
}

impl From<MixStrategy> for tunebook_data::MixStrategy {
    fn from(strategy: MixStrategy) -> Self {
        match strategy {
            MixStrategy::Concat => Self::Concat,
            MixStrategy::InterleaveUnder => Self::InterleaveUnder,
            MixStrategy::InterleaveOver => Self::InterleaveOver,
        }
    }
}

choice! {
    /// What the weights of linear layers are quantized to.
    QuantizationBit {
        Four = "4",
        Eight = "8",
    }
}

/// As a number of bits.
impl Serialize for QuantizationBit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self {
            Self::Four => 4,
            Self::Eight => 8,
        })
    }
}

impl From<QuantizationBit> for tunebook_nn::QuantizationBit {
    fn from(bit: QuantizationBit) -> Self {
        match bit {
            QuantizationBit::Four => Self::Four,
            QuantizationBit::Eight => Self::Eight,
        }
    }
}

choice! {
    /// What is trained.
    FinetuningType {
        /// Low-rank updates of linear layers.
        Lora = "lora",
        /// Some layers of the model itself.
        Freeze = "freeze",
        /// All of the model that is not frozen.
        Full = "full",
    }
}

choice! {
    /// The learning rate over the steps of a training.
    LrSchedulerType {
        Cosine = "cosine",
        Linear = "linear",
        Constant = "constant",
        ConstantWithWarmup = "constant_with_warmup",
        CosineWithRestarts = "cosine_with_restarts",
        Polynomial = "polynomial",
        InverseSqrt = "inverse_sqrt",
        WarmupStableDecay = "warmup_stable_decay",
        CosineWithMinLr = "cosine_with_min_lr",
        CosineWarmupWithMinLr = "cosine_warmup_with_min_lr",
        ReduceLrOnPlateau = "reduce_lr_on_plateau",
    }
}

choice! {
    /// When held-out samples are evaluated in a training.
    EvalStrategy {
        No = "no" | "false",
        /// Every `eval_steps`, and at the end.
        Steps = "steps",
        /// After every epoch.
        Epoch = "epoch",
    }
}

choice! {
    /// When a training writes a checkpoint.
    SaveStrategy {
        No = "no" | "false",
        /// Every `save_steps`, and at the end.
        Steps = "steps",
        /// After every epoch.
        Epoch = "epoch",
        /// When an evaluation found the lowest loss so far.
        Best = "best",
    }
}

choice! {
    /// A kind of file that tells how a training goes, beside LLaMA-Factory's own.
    Reporter {
        /// Event files.
        Tensorboard = "tensorboard",
        /// `trainer_log.csv`.
        Csv = "csv",
    }
}

impl Value for Vec<Reporter> {
    const KIND: Kind = Kind::Choices(Reporter::WORDS);
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Option<Self> {
        let mut reporters = Self::new();
        for word in text.split(',').map(str::trim).filter(|word| !matches!(*word, "" | "none" | "null")) {
            let reporter = Reporter::parse(word)?;
            if !reporters.contains(&reporter) {
                reporters.push(reporter);
            }
        }
        Some(reporters)
    }

    fn show(&self) -> String {
        let words: Vec<_> = self.iter().map(Reporter::show).collect();
        if words.is_empty() { "none".to_string() } else { words.join(",") }
    }
}

choice! {
    /// What becomes of a sample that turns out to be unusable when its turn comes.
    OnBadSample {
        /// It is left out.
        Skip = "skip",
        /// The command ends with an error.
        Stop = "stop",
    }
}
