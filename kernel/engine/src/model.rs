//! A model folder, loaded: network, tokenizer, image processor, generation defaults.

use std::hash::Hasher;
use std::ops::ControlFlow;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use candle_core::Device;
use serde_json::Value;
use tunebook_data::ImageProcessor;
use tunebook_data::Template;
use tunebook_data::Tokenizer;
use tunebook_nn::Precision;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::checkpoint::StoredDType;
use tunebook_nn::layers::DecodeWeights;
use tunebook_nn::layers::ForwardContext;
use twox_hash::XxHash3_64;

use crate::device;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Task;
use crate::hub;
use crate::memory;
use crate::own_template;
use crate::report::LoadReport;
use crate::settings::Dtype;
use crate::settings::QuantizationBit;
use crate::settings::Settings;

/// Everything that a model folder holds.
pub struct Model {
    pub net: VisionLanguageModel,
    /// What answers read in place of the network's own weights; a training drops it.
    pub decode_weights: DecodeWeights,
    pub tokenizer: Tokenizer,
    /// With the limits of the folder's own file.
    pub processor: ImageProcessor,
    pub generation: GenerationConfig,
    /// The chat template that it was trained with.
    pub template: &'static Template,
    pub report: LoadReport,
    fingerprint: OnceLock<String>,
    is_training: AtomicBool,
}

impl Model {
    /// A hash that identifies the weights; see [`VisionLanguageModel::sample_weights`].
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| {
            let mut hash = XxHash3_64::new();
            self.net.sample_weights(|name, shape, bytes| {
                hash.write(name.as_bytes());
                shape.iter().for_each(|size| hash.write_u64(*size as u64));
                hash.write(bytes);
            });
            format!("{:016x}", hash.finish())
        })
    }

    /// Loads a model from a folder, or from a hub under that name (see [`hub::model`]), as the settings have it: with their
    /// precision, quantized, and on their device.
    ///
    /// # Errors
    /// There is no such model, or it cannot be loaded; the device is not there, or has too little memory; a stop.
    pub(crate) fn open(name: &Path, settings: &Settings, cx: &Context) -> Result<Self> {
        let folder = hub::model(name, settings, cx)?;
        let mut model = Self::load(&folder, settings.dtype, device::open(settings.device)?)?;
        model.report.name = name.display().to_string();
        if let Some(bit) = settings.quantization_bit {
            model.quantize(bit, cx)?;
        }
        model.upload(cx)?;
        Ok(model)
    }

    /// Loads the folder; weights stay where they are mapped.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(folder: &Path, dtype: Dtype, device: Device) -> Result<Self> {
        let start = Instant::now();
        check_folder(folder)?;
        let precision = match dtype {
            Dtype::Auto => None,
            Dtype::Float32 => Some(Precision::F32),
            Dtype::Bfloat16 => Some(Precision::Bf16),
        };
        let net = VisionLanguageModel::load(folder, precision, device)?;
        let tokenizer = Tokenizer::from_folder(folder)?;
        check_tokens(folder, &net, &tokenizer)?;
        let processor = ImageProcessor::from_folder(folder)?;
        check_processor(folder, &net, &processor)?;
        let generation = GenerationConfig::read(folder, tokenizer.special().im_end)?;
        let template = own_template::of(folder, net.family)?;
        let report = LoadReport {
            name: folder.display().to_string(),
            path: folder.to_path_buf(),
            architecture: net.family.architecture.to_string(),
            parameters: net.parameters,
            stored_dtype: stored_name(net.stored_dtype).to_string(),
            quantized: None,
            dtype: precision_name(net.precision).to_string(),
            device: device::name(&net.device),
            text_layers: net.text.layers.len(),
            vision_layers: net.vision.depth(),
            vocabulary: net.text.config.vocab_size,
            own_head: net.config.tie_word_embeddings() && !net.text.is_tied(),
            unused: net.unused.clone(),
            elapsed: start.elapsed(),
        };
        Ok(Self {
            decode_weights: DecodeWeights::new(&net.text),
            net,
            tokenizer,
            processor,
            generation,
            template,
            report,
            fingerprint: OnceLock::new(),
            is_training: AtomicBool::new(false),
        })
    }

    /// Quantizes the linear layers.
    ///
    /// # Errors
    /// It was stopped; then the model is of no use any more.
    pub fn quantize(&mut self, bit: QuantizationBit, cx: &Context) -> Result<()> {
        let start = Instant::now();
        if let ControlFlow::Break(error) = self.net.quantize(bit.into(), progress(Task::Quantizing, cx)) {
            return Err(error);
        }
        self.report.quantized = Some(bit);
        self.report.elapsed += start.elapsed();
        Ok(())
    }

    /// How the model is run without training it.
    pub fn forward_context<'a>(&'a self, adapter: Option<&'a Adapter>) -> ForwardContext<'a> {
        ForwardContext { adapter, decode_weights: Some(&self.decode_weights), ..ForwardContext::default() }
    }

    /// Says whether a training runs, whose steps are faster where weights lie in the file.
    pub(crate) fn set_training(&self, is_training: bool) {
        self.is_training.store(is_training, Ordering::SeqCst);
    }

    /// Packs one more layer's weights for the tokens to come: reading weights is what a token takes its time for.
    /// Packing a layer takes about as long as a token does. Layers stay in the file if there is no room, during a
    /// training, or if the adapter that is on has copies of weights, which are read instead.
    pub fn pack_next(&self, adapter: Option<&Adapter>) {
        let Self { net, decode_weights, .. } = self;
        let weights = || (net.text.size() - decode_weights.saved()) as u64;
        let room = || memory::available_bytes().is_some_and(|bytes| bytes > weights());
        let read = adapter.is_none_or(|adapter| adapter.config.is_some()) && !self.is_training.load(Ordering::SeqCst);
        if net.device.is_cpu() && read && !decode_weights.is_complete() && room() {
            decode_weights.pack_next(&net.text);
        }
    }

    /// Copies the weights to the device that computes, unless that is the CPU.
    ///
    /// # Errors
    /// It has too little memory, or it was stopped; then the model is of no use any more.
    pub fn upload(&mut self, cx: &Context) -> Result<()> {
        if self.net.device.is_cpu() {
            return Ok(());
        }
        let start = Instant::now();
        if let ControlFlow::Break(error) = self.net.upload(progress(Task::Uploading, cx))? {
            return Err(error);
        }
        self.report.elapsed += start.elapsed();
        Ok(())
    }
}

/// Names what a folder without config.json is instead.
fn check_folder(folder: &Path) -> Result<()> {
    let path = folder.to_path_buf();
    if !folder.is_dir() {
        return Err(Error::NoFolder { path });
    }
    if folder.join("config.json").exists() {
        return Ok(());
    }
    let adapter = folder.join("adapter_config.json");
    if !adapter.exists() {
        return Err(match tunebook_nn::weight_files(folder) {
            Err(error @ tunebook_nn::Error::Gguf { .. }) => error.into(),
            _ => Error::NoConfig { path },
        });
    }
    let base = read_json(adapter)?.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_string);
    Err(Error::AdapterFolder { path, base })
}

/// Reports the progress of a task once it has taken a second, and ends it when it should stop.
fn progress(task: Task, cx: &Context) -> impl FnMut(usize, usize) -> ControlFlow<Error> {
    const UNNOTICED: Duration = Duration::from_secs(1);
    let start = Instant::now();
    move |done, total| {
        if start.elapsed() > UNNOTICED {
            cx.emit(Event::Progress { task, done, total });
        }
        if cx.is_cancelled() { ControlFlow::Break(Error::Cancelled) } else { ControlFlow::Continue(()) }
    }
}

fn stored_name(dtype: StoredDType) -> &'static str {
    match dtype {
        StoredDType::F32 => "float32",
        StoredDType::Bf16 => "bfloat16",
        StoredDType::F16 => "float16",
    }
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "float32",
        Precision::Bf16 => "bfloat16",
    }
}

/// config.json and tokenizer.json must mean the same token by `<|image_pad|>`.
fn check_tokens(folder: &Path, net: &VisionLanguageModel, tokenizer: &Tokenizer) -> Result<()> {
    let (config, found) = (net.config.image_token_id(), tokenizer.special().image_pad);
    if config == found {
        return Ok(());
    }
    Err(Error::OtherTokenizer { path: folder.join("config.json"), config, found })
}

/// The image processor must cut pictures into the patches that the vision tower takes.
fn check_processor(folder: &Path, net: &VisionLanguageModel, processor: &ImageProcessor) -> Result<()> {
    let config = &net.config;
    let pairs = [
        ("patch_size", config.patch_size(), processor.patch_size),
        ("temporal_patch_size", config.temporal_patch_size(), processor.temporal_patch_size),
        ("merge_size", config.spatial_merge_size(), processor.merge_size),
    ];
    match pairs.into_iter().find(|(_, config, found)| config != found) {
        Some((key, config, found)) => Err(Error::OtherProcessor { path: folder.to_path_buf(), key, config, found }),
        None => Ok(()),
    }
}

/// The model's defaults for generation (`generation_config.json`).
#[derive(Clone, Debug)]
pub struct GenerationConfig {
    pub eos_token_ids: Vec<u32>,
    pub do_sample: bool,
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: usize,
    pub repetition_penalty: f32,
}

impl GenerationConfig {
    /// Missing values are transformers' defaults; without the file, decoding is greedy.
    fn read(folder: &Path, im_end: u32) -> Result<Self> {
        let path = folder.join("generation_config.json");
        let mut config = Self {
            eos_token_ids: vec![im_end],
            do_sample: false,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 50,
            repetition_penalty: 1.0,
        };
        if !path.exists() {
            return Ok(config);
        }
        let root = read_json(path)?;
        let number = |key: &str| root.get(key).and_then(Value::as_f64);
        config.do_sample = root.get("do_sample").and_then(Value::as_bool).unwrap_or(config.do_sample);
        config.temperature = number("temperature").unwrap_or(config.temperature);
        config.top_p = number("top_p").unwrap_or(config.top_p);
        config.top_k = number("top_k").map_or(config.top_k, |k| k as usize);
        config.repetition_penalty = number("repetition_penalty").map_or(config.repetition_penalty, |p| p as f32);
        let ids = match root.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_u64).collect(),
            Some(id) => id.as_u64().into_iter().collect(),
            None => Vec::new(),
        };
        config.eos_token_ids.extend(ids.into_iter().filter_map(|id| u32::try_from(id).ok()));
        Ok(config)
    }
}

/// Reads a JSON file.
///
/// # Errors
/// There is none, or it holds something else.
pub fn read_json(path: PathBuf) -> Result<Value> {
    let text = tunebook_files::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })
}
