//! A random checkpoint to begin with, in the file layout of the published models.
//!
//! Three choices let so small a model learn to see within an hour on one core. White is 0 among the normalised pixels,
//! so shapes stand out. The patch embedding starts from waves instead of noise, so outlines have channels of their own
//! from the first step. Rotary positions turn fast enough to tell four columns apart.

use std::error::Error;
use std::fs;
use std::path::Path;

use half::bf16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tokenizers::Tokenizer;
use tunebook_data::random::unit;

const HIDDEN: usize = 192;
const LAYERS: usize = 5;
const HEADS: usize = 6;
const KEY_VALUE_HEADS: usize = 2;
const INTERMEDIATE: usize = 512;
/// Pictures are 4 tokens wide and high. With a base of a million, as is published, neighbours would turn keys by next
/// to nothing; here a column makes a difference of up to 0.24, a row of up to 0.7.
const ROPE_THETA: f64 = 300.0;
const MROPE_SECTION: [usize; 3] = [1, 3, 12];
const VISION_HIDDEN: usize = 128;
const VISION_DEPTH: usize = 4;
const VISION_HEADS: usize = 4;
const VISION_INTERMEDIATE: usize = 320;
const PATCH: usize = 14;
/// Larger pictures are shrunk to this area: 4 × 4 tokens.
const PIXELS: usize = 112 * 112;
/// More rows than tokens, as in the published models.
const ROWS: usize = 64;

/// Writes the folder.
pub(crate) fn write(dir: &Path, tokenizer: &Tokenizer) -> Result<(), Box<dyn Error + Send + Sync>> {
    fs::create_dir_all(dir)?;
    let id = |token: &str| tokenizer.token_to_id(token).ok_or(format!("the tokenizer has no {token}"));
    let rows = tokenizer.get_vocab_size(true).next_multiple_of(ROWS);
    let json = |name: &str, value: &Value| fs::write(dir.join(name), format!("{value:#}\n"));
    json("config.json", &config(rows, &id)?)?;
    json(
        "generation_config.json",
        &json!({
            "bos_token_id": id("<|endoftext|>")?,
            "pad_token_id": id("<|endoftext|>")?,
            "do_sample": false,
            "eos_token_id": [id("<|im_end|>")?, id("<|endoftext|>")?],
        }),
    )?;
    json(
        "preprocessor_config.json",
        &json!({
            "min_pixels": 56 * 56,
            "max_pixels": PIXELS,
            "patch_size": PATCH,
            "temporal_patch_size": 2,
            "merge_size": 2,
            // White is 0, so that what is there stands out from nothing.
            "image_mean": [1.0, 1.0, 1.0],
            "image_std": [0.25, 0.25, 0.25],
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
        }),
    )?;
    json(
        "tokenizer_config.json",
        &json!({
            "add_prefix_space": false,
            "bos_token": null,
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": false,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 4096,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": false,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": null,
        }),
    )?;
    json("chat_template.json", &json!({"chat_template": CHAT_TEMPLATE}))?;
    tokenizer.save(dir.join("tokenizer.json"), false)?;
    fs::write(dir.join("model.safetensors"), weights(rows)?)?;
    Ok(())
}

const CHAT_TEMPLATE: &str = "\
{%- if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}\
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}\
{%- if message['content'] is string %}{{ message['content'] }}\
{%- else %}{%- for part in message['content'] %}\
{%- if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}\
{%- elif part['type'] == 'video' %}{{ '<|vision_start|><|video_pad|><|vision_end|>' }}\
{%- else %}{{ part['text'] }}{% endif %}{%- endfor %}{%- endif %}\
{{ '<|im_end|>\\n' }}{%- endfor %}\
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn config(rows: usize, id: &dyn Fn(&str) -> Result<u32, String>) -> Result<Value, String> {
    Ok(json!({
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": id("<|endoftext|>")?,
        "eos_token_id": id("<|im_end|>")?,
        "vision_start_token_id": id("<|vision_start|>")?,
        "vision_end_token_id": id("<|vision_end|>")?,
        "vision_token_id": id("<|vision_pad|>")?,
        "image_token_id": id("<|image_pad|>")?,
        "video_token_id": id("<|video_pad|>")?,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": 4096,
        "max_window_layers": LAYERS,
        "model_type": "qwen2_5_vl",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "rms_norm_eps": 1e-6,
        "rope_theta": ROPE_THETA,
        "sliding_window": 4096,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
        "use_cache": true,
        "use_sliding_window": false,
        "vision_config": {
            "depth": VISION_DEPTH,
            "hidden_act": "silu",
            "hidden_size": VISION_HIDDEN,
            "intermediate_size": VISION_INTERMEDIATE,
            "num_heads": VISION_HEADS,
            "in_chans": 3,
            "out_hidden_size": HIDDEN,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "spatial_patch_size": PATCH,
            "window_size": 112,
            "fullatt_block_indexes": [1, 3],
            "tokens_per_second": 2,
            "temporal_patch_size": 2,
        },
        "rope_scaling": {
            "type": "mrope",
            "mrope_section": MROPE_SECTION,
        },
        "vocab_size": rows,
    }))
}

/// Every tensor: norms are 1, biases 0, matrices normal with a deviation of `gain / √inputs`, smaller where they add to
/// the residual stream.
fn weights(rows: usize) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let mut all = Weights { rng: ChaCha8Rng::seed_from_u64(20261124), tensors: Vec::new() };
    let head = HIDDEN / HEADS;
    all.normal("model.embed_tokens", &[rows, HIDDEN], 1.0);
    let into_stream = (2.0 * LAYERS as f64).sqrt().recip();
    for layer in 0..LAYERS {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        all.ones(&name("input_layernorm"), HIDDEN);
        all.ones(&name("post_attention_layernorm"), HIDDEN);
        for (part, outputs) in [("q", HIDDEN), ("k", KEY_VALUE_HEADS * head), ("v", KEY_VALUE_HEADS * head)] {
            all.normal(&name(&format!("self_attn.{part}_proj")), &[outputs, HIDDEN], 1.0);
            all.zeros(&name(&format!("self_attn.{part}_proj")), outputs);
        }
        all.normal(&name("self_attn.o_proj"), &[HIDDEN, HIDDEN], into_stream);
        all.normal(&name("mlp.gate_proj"), &[INTERMEDIATE, HIDDEN], 1.0);
        all.normal(&name("mlp.up_proj"), &[INTERMEDIATE, HIDDEN], 1.0);
        all.normal(&name("mlp.down_proj"), &[HIDDEN, INTERMEDIATE], into_stream);
    }
    all.ones("model.norm", HIDDEN);

    all.waves("visual.patch_embed.proj");
    let into_stream = (2.0 * VISION_DEPTH as f64).sqrt().recip();
    for block in 0..VISION_DEPTH {
        let name = |part: &str| format!("visual.blocks.{block}.{part}");
        all.ones(&name("norm1"), VISION_HIDDEN);
        all.ones(&name("norm2"), VISION_HIDDEN);
        all.linear(&name("attn.qkv"), 3 * VISION_HIDDEN, VISION_HIDDEN, 1.0);
        all.linear(&name("attn.proj"), VISION_HIDDEN, VISION_HIDDEN, into_stream);
        all.linear(&name("mlp.gate_proj"), VISION_INTERMEDIATE, VISION_HIDDEN, 1.0);
        all.linear(&name("mlp.up_proj"), VISION_INTERMEDIATE, VISION_HIDDEN, 1.0);
        all.linear(&name("mlp.down_proj"), VISION_HIDDEN, VISION_INTERMEDIATE, into_stream);
    }
    let merged = 4 * VISION_HIDDEN;
    all.ones("visual.merger.ln_q", VISION_HIDDEN);
    all.linear("visual.merger.mlp.0", merged, merged, 1.0);
    // About as large as embeddings are.
    all.linear("visual.merger.mlp.2", HIDDEN, merged, 0.2);
    all.file()
}

struct Weights {
    rng: ChaCha8Rng,
    tensors: Vec<(String, Vec<usize>, Vec<bf16>)>,
}

impl Weights {
    fn linear(&mut self, name: &str, outputs: usize, inputs: usize, gain: f64) {
        self.normal(name, &[outputs, inputs], gain);
        self.zeros(name, outputs);
    }

    fn normal(&mut self, name: &str, dims: &[usize], gain: f64) {
        let inputs: usize = dims[1..].iter().product();
        let deviation = gain / (inputs as f64).sqrt();
        let values = (0..dims[0] * inputs).map(|_| bf16::from_f64(deviation * self.gauss())).collect();
        self.tensors.push((format!("{name}.weight"), dims.to_vec(), values));
    }

    /// The patch embedding: waves across the patch, the slow ones first, each of lightness and of two differences of
    /// colours. Random filters would all answer to little but a patch's mean; in these, outlines have channels of their
    /// own, the louder the finer, as there is less of them in a picture.
    fn waves(&mut self, name: &str) {
        const COLOURS: [[f64; 3]; 3] = [[0.58, 0.58, 0.58], [0.71, 0.0, -0.71], [-0.41, 0.82, -0.41]];
        let side = (VISION_HIDDEN as f64 / COLOURS.len() as f64).sqrt().ceil() as usize;
        let mut orders: Vec<_> = (0..side * side).map(|index| (index / side, index % side)).collect();
        orders.sort_by_key(|(u, v)| (u + v, *u));
        let wave =
            |order: usize, at: usize| (std::f64::consts::PI * order as f64 * (at as f64 + 0.5) / PATCH as f64).cos();
        let mut values = Vec::with_capacity(VISION_HIDDEN * 3 * 2 * PATCH * PATCH);
        for channel in 0..VISION_HIDDEN {
            let ((u, v), colour) = (orders[channel / COLOURS.len()], COLOURS[channel % COLOURS.len()]);
            let gain = (1 + u + v) as f64 / (2 * PATCH * PATCH) as f64;
            for part in colour {
                for _ in 0..2 {
                    let pixels =
                        (0..PATCH * PATCH).map(|pixel| gain * part * wave(u, pixel / PATCH) * wave(v, pixel % PATCH));
                    values.extend(pixels.map(bf16::from_f64));
                }
            }
        }
        self.tensors.push((format!("{name}.weight"), vec![VISION_HIDDEN, 3, 2, PATCH, PATCH], values));
    }

    fn ones(&mut self, name: &str, len: usize) {
        self.tensors.push((format!("{name}.weight"), vec![len], vec![bf16::ONE; len]));
    }

    fn zeros(&mut self, name: &str, len: usize) {
        self.tensors.push((format!("{name}.bias"), vec![len], vec![bf16::ZERO; len]));
    }

    /// A normal number (Box and Muller's).
    fn gauss(&mut self) -> f64 {
        let (a, b) = (1.0 - unit(&mut self.rng), unit(&mut self.rng));
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    fn file(self) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let views = self.tensors.iter().map(|(name, dims, values)| {
            Ok((name, TensorView::new(Dtype::BF16, dims.clone(), bytemuck::cast_slice(values))?))
        });
        let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
        let metadata = [("format".to_string(), "pt".to_string())].into();
        Ok(safetensors::serialize(views, Some(metadata))?)
    }
}
