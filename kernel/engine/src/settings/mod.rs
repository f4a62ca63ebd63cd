//! The settings of a session, each declared once: its name (that of LLaMA-Factory, PEFT or transformers), short names,
//! type, default, limits and help. Parsing, completion, help, `show` and recipes come from this one list.

mod choice;
mod declaration;
mod lookup;
mod tied;
mod value;

use std::path::PathBuf;

use tunebook_data::Template;
use tunebook_nn::adapter::LoraTarget;
use tunebook_quote::quote;
pub(crate) use value::Value;

pub use choice::Device;
pub use choice::Dtype;
pub use choice::EvalStrategy;
pub use choice::FinetuningType;
pub use choice::Hub;
pub use choice::LrSchedulerType;
pub use choice::MixStrategy;
pub use choice::OnBadSample;
pub use choice::QuantizationBit;
pub use choice::SaveStrategy;
pub use declaration::Declaration;
use declaration::Flags;
pub use declaration::Group;
pub use declaration::Limits;
pub use lookup::declaration;
pub use lookup::declarations;
pub use lookup::names;
pub use tied::Owner;
pub use tied::Tied;
pub use value::AnyText;
pub use value::Kind;
pub(crate) use value::LONGEST_PATH;
pub use value::Mapping;
pub use value::shown;

use crate::error::Error;
use crate::error::Result;
use crate::lang::localized;

/// Makes the struct, its defaults, the table of declarations and the list of groups out of one list of
/// `name / alias: type = default, limits;`, each under two lines of help, in English and in Chinese, and its [`Flags`].
macro_rules! settings {
    ($($group:ident { $(
        #[doc = $help:literal]
        #[doc = $chinese_help:literal]
        $(#[$flag:ident])*
        $name:ident $(/ $alias:ident)*: $type:ty = $default:expr $(, $limits:expr)?;
    )* })*) => {
        /// Every setting, typed.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings { $($( #[doc = $help] pub $name: $type, )*)* }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($( $name: $default, )*)* }
            }
        }

        static DECLARATIONS: &[Declaration] = &[ $($( Declaration {
            name: stringify!($name),
            aliases: &[$(stringify!($alias)),*],
            group: Group::$group,
            help: localized($help, $chinese_help),
            flags: Flags { $($flag: true,)* ..Flags::NONE },
            kind: <$type as Value>::KIND,
            optional: <$type as Value>::OPTIONAL,
            limits: &[$($limits)?],
            set: |settings, text, limits| {
                let value = <$type as Value>::parse(text)?;
                limits.iter().all(|limit| limit.allow(&value)).then(|| settings.$name = value)
            },
            get: |settings| settings.$name.show(),
        }, )*)* ];

        impl Group {
            /// Every group, in the order in which `show` lists their settings.
            pub const ALL: &'static [Self] = &[ $( Self::$group, )* ];
        }
    };
}

settings! {
    Model {
        /// How products are formed: float32, bfloat16, or as the checkpoint is stored (float16: float32).
        /// 乘积的计算精度：float32、bfloat16，或与检查点的存储精度相同（float16 则为 float32）。
        dtype: Dtype = Dtype::Auto;
        /// What computes: cpu, cuda (the first device that CUDA_VISIBLE_DEVICES leaves), or cuda where there is one.
        /// 用什么计算：cpu、cuda（CUDA_VISIBLE_DEVICES 允许的第一个设备），或有 cuda 设备时用 cuda。
        device: Device = Device::Auto;
        /// Quantizes the linear layers as the model is loaded, to 4 bits (NF4) or 8 (LLM.int8); none leaves them as they are.
        /// 加载时量化线性层：4 比特（NF4）或 8 比特（LLM.int8）；none 表示不量化。
        quantization_bit: Option<QuantizationBit> = None;
        /// The hub that models and data sets come from: huggingface or modelscope; none leaves it to USE_MODELSCOPE_HUB.
        /// 模型和数据集从哪个站下载：huggingface 或 modelscope；none 由 USE_MODELSCOPE_HUB 决定。
        hub: Option<Hub> = None;
        /// The branch, tag or commit of a hub's model.
        /// 模型在模型站上的分支、标签或提交。
        model_revision: String = "main".to_string();
        /// Where downloads are kept; none leaves it to the hubs' own variables (HF_HOME, MODELSCOPE_CACHE).
        /// 下载内容的存放处；none 由模型站自己的变量（HF_HOME、MODELSCOPE_CACHE）决定。
        cache_dir: Option<PathBuf> = None;
    }
    Pictures {
        /// A larger picture is shrunk to this area; `768*768` is a way to write it.
        /// 更大的图片会缩小到这个面积；也可写成 `768*768`。
        image_max_pixels: usize = 768 * 768, Limits::Min(1.0);
        /// A smaller picture is enlarged to this area.
        /// 更小的图片会放大到这个面积。
        image_min_pixels: usize = 32 * 32, Limits::Min(1.0);
    }
    Data {
        /// The folder of dataset_info.json.
        /// dataset_info.json 所在的文件夹。
        #[location]
        #[no_effect_on_result]
        dataset_dir: PathBuf = PathBuf::from("data");
        /// The data sets in use, as dataset_info.json names them.
        /// 使用的数据集，名称见 dataset_info.json。
        dataset: Vec<String> = Vec::new();
        /// Most tokens of a sample; what is longer is cut, but never inside a picture.
        /// 截断长度：每个样本的最大 token 数；更长的会被截断，但不会截在图片中间。
        cutoff_len: usize = 2048, Limits::Range(4.0, 131072.0);
        /// Takes only the first so many samples of each data set.
        /// 最大样本数：每个数据集只取前这么多个样本。
        max_samples: Option<usize> = None, Limits::Min(1.0);
        /// The folder of the pictures; none stands for dataset_dir.
        /// 图片所在的文件夹；none 表示与 dataset_dir 相同。
        #[location]
        #[no_effect_on_result]
        media_dir: Option<PathBuf> = None;
        /// How several data sets become one: one behind the other, or by turns until one (under) or all (over) are used up.
        /// 多个数据集如何合并：首尾相接，或轮流取样，到一个取完（under）或全部取完（over）为止。
        mix_strategy: MixStrategy = MixStrategy::Concat;
        /// How often each data set has its turn, as 0.7,0.3; none lets them take equal turns.
        /// 各数据集被取样的概率，如 0.7,0.3；none 表示轮流。
        interleave_probs: Option<Vec<f64>> = None;
        /// Samples held back to evaluate on: a share up to 1, a number above.
        /// 验证集比例：不大于 1 是比例，大于 1 是个数。
        val_size: f64 = 0.0, Limits::Range(0.0, 1e9);
        /// Data sets to evaluate on, instead of val_size.
        /// 用来评估的数据集，代替 val_size。
        eval_dataset: Vec<String> = Vec::new();
        /// Packs several samples into one of cutoff_len tokens; they do not see each other.
        /// 序列打包：把多个样本装进一个 cutoff_len 长的序列；它们互不可见。
        packing: bool = false;
        /// The same; LLaMA-Factory's packing without it lets samples see each other, which is not built.
        /// 与 packing 相同；LLaMA-Factory 中不加它的 packing 会让样本互相可见，这里没有那种做法。
        neat_packing: bool = false;
        /// Learns the questions as well as the answers.
        /// 学习提示词：除回答外，问题也参与训练。
        train_on_prompt: bool = false;
        /// Learns only the last answer of a conversation.
        /// 不学习历史对话：只学习最后一个回答。
        mask_history: bool = false;
    }
    Prompt {
        /// How a conversation is written for the model.
        /// 提示模板：对话以什么格式写给模型。
        template: String = "qwen2_vl".to_string(), Limits::OneOf(Template::NAMES);
        /// The system prompt of chat and compare, and of samples without one; none leaves it to the data, then to the template; "" is no system prompt.
        /// 系统提示词：用于 chat、compare 和自身没有系统提示词的样本；none 由数据决定，其次由模板决定；"" 表示没有系统提示词。
        default_system / system: Option<AnyText> = None;
    }
    Lora {
        /// Rank of the update, the r of PEFT.
        /// LoRA 秩，即 PEFT 的 r。
        lora_rank / rank: usize = 8, Limits::Range(1.0, 1024.0);
        /// The update is scaled by alpha / rank; none stands for twice the rank.
        /// LoRA 缩放系数：更新乘以 alpha / rank；none 表示秩的两倍。
        lora_alpha / alpha: Option<f64> = None, Limits::Range(1.0, 2048.0);
        /// Share of the inputs that is dropped in training.
        /// LoRA 随机丢弃：训练时丢弃输入的比例。
        lora_dropout / dropout: f64 = 0.0, Limits::Below(0.0, 1.0);
        /// The layers to adapt: all, or parts of names such as q_proj,v_proj.
        /// LoRA 作用模块：all，或名称的一部分，如 q_proj,v_proj。
        lora_target / target: LoraTarget = LoraTarget::All;
        /// Scales the update by alpha / √rank instead, which keeps large ranks from learning too slowly (rsLoRA).
        /// 使用 rslora：改用 alpha / √rank 缩放，秩大时学得不会太慢。
        use_rslora: bool = false;
        /// Trains the length of each weight's rows apart from their direction (DoRA).
        /// 使用 DoRA：权重各行的长度与方向分开训练。
        use_dora: bool = false;
        /// Starts from the weights' largest singular vectors instead of from nothing (PiSSA).
        /// 使用 PiSSA：从权重最大的奇异向量开始，而不是从零开始。
        pissa_init: bool = false;
        /// Iterations that find these vectors; -1 goes on until they stand still.
        /// 求这些向量的迭代次数；-1 表示直到不再变化。
        pissa_iter: i64 = 16, Limits::Min(-1.0);
        /// Modules of which a copy is trained beside the LoRA layers, by the ends of their names, such as merger.
        /// 附加模块：在 LoRA 层之外训练其副本的模块，写名称的结尾，如 merger。
        additional_target: Vec<String> = Vec::new();
        /// So many times faster B learns than A (LoRA+); 0 lets both learn alike.
        /// LoRA+ 学习率比例：B 的学习率是 A 的多少倍；0 表示相同。
        loraplus_lr_ratio: f64 = 0.0, Limits::Range(0.0, 1024.0);
        /// A recipe goes on from this adapter folder.
        /// 训练配方从这个适配器文件夹继续。
        #[transient]
        adapter_name_or_path: Option<PathBuf> = None;
    }
    Freeze {
        /// So many of the last layers are trained; a negative number means the first ones.
        /// 可训练层数：训练最后这么多层；负数表示最前面的层。
        freeze_trainable_layers: i64 = 2, Limits::Range(-1024.0, 1024.0);
        /// The modules of these layers that are trained: all, or some of self_attn, mlp and so on.
        /// 可训练模块：这些层中训练哪些模块，all，或 self_attn、mlp 等。
        freeze_trainable_modules: Vec<String> = vec!["all".to_string()];
        /// Modules outside of layers that are trained as well, such as embed_tokens.
        /// 额外模块：层以外也要训练的模块，如 embed_tokens。
        freeze_extra_modules: Vec<String> = Vec::new();
    }
    Method {
        /// What a recipe trains: LoRA layers, some layers of the model, or all of it.
        /// 微调方法：训练配方训练 LoRA 层、模型的一部分层，还是整个模型。
        finetuning_type: FinetuningType = FinetuningType::Lora;
        /// Leaves the vision tower as it is.
        /// 冻结视觉编码器。
        freeze_vision_tower: bool = true;
        /// Leaves the projector between vision tower and language model as it is.
        /// 冻结多模态投影器，即视觉编码器与语言模型之间的部分。
        freeze_multi_modal_projector: bool = true;
        /// Leaves the language model as it is.
        /// 冻结语言模型。
        freeze_language_model: bool = false;
    }
    Training {
        /// The highest learning rate of AdamW.
        /// 学习率：AdamW 优化器的最高学习率。
        learning_rate / lr: f64 = 5e-5, Limits::Range(0.0, 100.0);
        /// How often the data is gone through.
        /// 训练轮数：数据一共过多少遍。
        num_train_epochs / epochs: f64 = 3.0, Limits::Range(0.0, 1e6);
        /// Optimizer steps in all, instead of num_train_epochs; -1 leaves it to them.
        /// 优化步的总数，代替 num_train_epochs；-1 表示由后者决定。
        max_steps: i64 = -1, Limits::Min(-1.0);
        /// Samples in a micro-batch.
        /// 批处理大小：每个小批次的样本数。
        per_device_train_batch_size / batch: usize = 2, Limits::Range(1.0, 1024.0);
        /// Micro-batches in an optimizer step.
        /// 梯度累积：每个优化步的小批次数。
        gradient_accumulation_steps / accum: usize = 8, Limits::Range(1.0, 1024.0);
        /// How the learning rate goes over the steps.
        /// 学习率调节器：学习率随步数怎样变化。
        lr_scheduler_type / scheduler: LrSchedulerType = LrSchedulerType::Cosine;
        /// Further values of the schedule, as min_lr_rate:0.1 for cosine_with_min_lr.
        /// 学习率调节器的其他参数，例如 cosine_with_min_lr 的 min_lr_rate:0.1。
        lr_scheduler_kwargs: Mapping = Mapping::default();
        /// Steps in which the learning rate rises from 0.
        /// 预热步数：学习率从 0 升上来的步数。
        warmup_steps: usize = 0, Limits::Min(0.0);
        /// The same as a share of all steps, where warmup_steps is 0.
        /// 预热步数占总步数的比例，在 warmup_steps 为 0 时有效。
        warmup_ratio: f64 = 0.0, Limits::Range(0.0, 1.0);
        /// Decoupled weight decay of AdamW.
        /// 权重衰减：AdamW 的解耦权重衰减。
        weight_decay: f64 = 0.0, Limits::Range(0.0, 1.0);
        /// Decay of AdamW's mean of gradients.
        /// AdamW 梯度均值的衰减。
        adam_beta1: f64 = 0.9, Limits::Below(0.0, 1.0);
        /// Decay of AdamW's mean of squared gradients.
        /// AdamW 梯度平方均值的衰减。
        adam_beta2: f64 = 0.999, Limits::Below(0.0, 1.0);
        /// Keeps AdamW from dividing by 0.
        /// 防止 AdamW 除以 0。
        adam_epsilon: f64 = 1e-8, Limits::Range(1e-30, 1.0);
        /// Strength of random noise on the embeddings (NEFTune); 0 is none.
        /// NEFTune 噪声参数：嵌入向量上随机噪声的强度；0 表示没有。
        neftune_noise_alpha: f64 = 0.0, Limits::Range(0.0, 1000.0);
        /// Gradients are scaled down to this norm; 0 leaves them as they are.
        /// 最大梯度范数：梯度缩小到这个范数；0 表示不缩小。
        max_grad_norm: f64 = 1.0, Limits::Min(0.0);
        /// Fixes shuffles, new adapters, dropout and sampling.
        /// 随机种子：决定洗牌、新适配器、随机丢弃和采样。
        seed: u64 = 42;
        /// Fixes the order in which samples are taken; none leaves it to seed.
        /// 决定取样本的顺序；none 由 seed 决定。
        data_seed: Option<u64> = None;
        /// Takes the samples in the order of the files.
        /// 按文件中的顺序取样本，不洗牌。
        disable_shuffling: bool = false;
        /// A sample whose picture can no longer be read, or whose loss is not finite: skip leaves it out and says so, stop ends.
        /// 图片读不了或损失不是有限数的样本：skip 跳过并报告，stop 停止训练。
        on_bad_sample: OnBadSample = OnBadSample::Skip;
        /// GB that training may take; what it does not need saves computing twice; none takes half of what is free.
        /// 训练可用的内存（GB）；用不完的部分用来省去重复计算；none 表示用空闲内存的一半。
        #[transient]
        memory: Option<f64> = None, Limits::Range(0.1, 65536.0);
        /// Steps between two lines of the log.
        /// 日志间隔：两行日志之间的步数。
        #[no_effect_on_result]
        logging_steps: usize = 5, Limits::Range(1.0, 1e6);
        /// Draws training_loss.png in output_dir.
        /// 在 output_dir 中画 training_loss.png。
        #[no_effect_on_result]
        plot_loss: bool = true;
    }
    Evaluation {
        /// When training evaluates what is held out (val_size, eval_dataset): every eval_steps, after every epoch, or not.
        /// 训练中何时评估留出的样本（val_size、eval_dataset）：每 eval_steps 步、每轮之后，或不评估。
        eval_strategy: EvalStrategy = EvalStrategy::Steps;
        /// Steps between two evaluations; none stands for save_steps.
        /// 评估间隔：两次评估之间的步数；none 表示与 save_steps 相同。
        eval_steps: Option<usize> = None, Limits::Range(1.0, 1e6);
        /// Samples whose mean loss is taken together; eval_loss is the mean over the samples of these means.
        /// 一起求平均损失的样本数；eval_loss 是这些平均值的平均。
        per_device_eval_batch_size: usize = 2, Limits::Range(1.0, 1024.0);
        /// Ends with the adapter of the evaluation that found the lowest eval_loss.
        /// 结束时换回 eval_loss 最低的那次评估时的适配器。
        load_best_model_at_end: bool = false;
        /// Ends when so many evaluations in a row have found no lower eval_loss.
        /// 连续这么多次评估都没有更低的 eval_loss 就提前结束。
        early_stopping_steps: Option<usize> = None, Limits::Min(1.0);
    }
    Generation {
        /// Draws the next token by chance instead of taking the likeliest; none leaves it to the model.
        /// 随机抽取下一个 token，而不是取最可能的；none 由模型决定。
        do_sample: Option<bool> = None;
        /// Higher is more varied, 0 takes the likeliest token; none leaves it to the model.
        /// 温度系数：越大越多样，0 表示取最可能的 token；none 由模型决定。
        temperature: Option<f64> = None, Limits::Range(0.0, 10.0);
        /// Draws from the likeliest tokens that together have this probability; none leaves it to the model.
        /// Top-p 采样值：从概率合计达到它的最可能 token 中抽取；none 由模型决定。
        top_p: Option<f64> = None, Limits::Range(0.0, 1.0);
        /// Draws from so many likeliest tokens; none leaves it to the model.
        /// 从这么多个最可能的 token 中抽取；none 由模型决定。
        top_k: Option<usize> = None, Limits::Min(0.0);
        /// Makes tokens that were there less likely; 1 does not; none leaves it to the model.
        /// 重复惩罚：降低出现过的 token 的概率；1 表示不降低；none 由模型决定。
        repetition_penalty: Option<f64> = None, Limits::Range(0.01, 10.0);
        /// Most tokens of an answer.
        /// 最大生成长度：每个回答最多多少 token。
        max_new_tokens: usize = 512, Limits::Range(1.0, 131072.0);
    }
    Output {
        /// Where train, evaluate and predict write what they find; none writes nothing.
        /// 输出目录：train、evaluate 和 predict 把结果写到这里；none 表示不写。
        #[transient]
        output_dir: Option<PathBuf> = None;
        /// Starts an output_dir anew that holds a training already.
        /// output_dir 中已有训练时重新开始。
        #[transient]
        overwrite_output_dir: bool = false;
        /// When training writes a checkpoint to output_dir: every save_steps, after every epoch, at the lowest eval_loss, or not.
        /// 何时把检查点写到 output_dir：每 save_steps 步、每轮之后、eval_loss 最低时，或不写。
        #[no_effect_on_result]
        save_strategy: SaveStrategy = SaveStrategy::Steps;
        /// Steps between two checkpoints.
        /// 保存间隔：两个检查点之间的步数。
        #[no_effect_on_result]
        save_steps: usize = 100, Limits::Range(1.0, 1e6);
        /// Keeps so many checkpoints and deletes older ones, but never the best; none keeps all.
        /// 最多保留这么多检查点，更早的会删除，但最好的不删；none 表示全部保留。
        #[no_effect_on_result]
        save_total_limit: Option<usize> = None, Limits::Min(1.0);
        /// Leaves out of a checkpoint what `resume` needs, two thirds of it.
        /// 检查点中不写 `resume` 需要的内容，约占三分之二。
        #[no_effect_on_result]
        save_only_model: bool = false;
        /// A recipe goes on from this checkpoint; true means the latest in output_dir.
        /// 训练配方从这个检查点继续；true 表示 output_dir 中最新的一个。
        #[transient]
        resume_from_checkpoint: Option<PathBuf> = None;
    }
    Export {
        /// Most gigabytes of a file of weights that export writes.
        /// 最大分块大小（GB）：export 写的每个权重文件最大多少 GB。
        export_size: f64 = 5.0, Limits::Range(1e-4, 1e3);
    }
}

impl Settings {
    /// Sets what `key`, a name or an alias, means to what `value` says.
    ///
    /// # Errors
    /// An unknown key (the nearest one is named) or a value that it does not take (the range or the choices are named);
    /// nothing is changed.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let declaration = declaration(key)?;
        (declaration.set)(self, value, declaration.limits)
            .ok_or_else(|| Error::BadValue { setting: declaration, value: quote(value) })
    }

    /// `eval_steps`, or what stands for it.
    pub fn steps_between_evaluations(&self) -> usize {
        self.eval_steps.unwrap_or(self.save_steps)
    }

    /// The value of a setting, in the form in which it is set.
    ///
    /// # Errors
    /// An unknown key; the nearest one is named.
    pub fn get(&self, key: &str) -> Result<String> {
        Ok(declaration(key)?.get(self))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn error(key: &str, value: &str) -> String {
        let mut settings = Settings::default();
        let message = settings.set(key, value).unwrap_err().to_string();
        assert_eq!(settings, Settings::default());
        message
    }

    #[test]
    fn every_value_is_read_as_it_is_shown() {
        for declaration in declarations() {
            let mut settings = Settings::default();
            settings.set(declaration.name, &declaration.default()).unwrap();
            assert_eq!(settings, Settings::default(), "{}", declaration.name);
            for choice in declaration.choices() {
                settings.set(declaration.name, choice).unwrap();
                assert_eq!(&declaration.get(&settings), choice);
            }
        }
    }

    #[test]
    fn no_two_settings_share_a_name() {
        let mut seen = HashSet::new();
        assert!(names().all(|name| seen.insert(name)));
    }

    #[test]
    fn short_names_mean_the_long_ones() {
        let mut settings = Settings::default();
        for (key, value) in [("lr", "2e-4"), ("batch", "1"), ("rank", "64"), ("alpha", "128"), ("dtype", "bf16")] {
            settings.set(key, value).unwrap();
        }
        assert_eq!(settings.learning_rate, 2e-4);
        assert_eq!((settings.per_device_train_batch_size, settings.lora_rank), (1, 64));
        assert_eq!((settings.lora_alpha, settings.dtype), (Some(128.0), Dtype::Bfloat16));
        assert_eq!(settings.get("lr").unwrap(), "2e-4");
    }

    #[test]
    fn pictures_are_limited_by_a_number_or_a_product() {
        let mut settings = Settings::default();
        settings.set("image_max_pixels", "512*512").unwrap();
        assert_eq!(settings.image_max_pixels, 262144);
        settings.set("image_max_pixels", "262145").unwrap();
        assert_eq!(settings.get("image_max_pixels").unwrap(), "262145");
    }

    #[test]
    fn an_optional_setting_can_be_taken_back() {
        let mut settings = Settings::default();
        settings.set("temperature", "0.5").unwrap();
        assert_eq!(settings.temperature, Some(0.5));
        settings.set("temperature", "none").unwrap();
        assert_eq!(settings.temperature, None);
    }

    #[test]
    fn a_mapping_is_json_or_pairs() {
        let mut settings = Settings::default();
        for text in [r#"{"min_lr": 1e-6, "decay_type": "1-sqrt"}"#, "min_lr:1e-6, decay_type:1-sqrt"] {
            settings.set("lr_scheduler_kwargs", text).unwrap();
            assert_eq!(settings.get("lr_scheduler_kwargs").unwrap(), "min_lr:1e-6,decay_type:1-sqrt", "{text}");
        }
        settings.set("lr_scheduler_kwargs", "none").unwrap();
        assert_eq!(settings, Settings::default());
        assert!(error("lr_scheduler_kwargs", "min_lr").ends_with("values as name:value, between commas, or none"));
        error("lr_scheduler_kwargs", "{min_lr");
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_would_be_right() {
        assert_eq!(error("rank", "0"), "`0` is not a value for lora_rank: it takes a whole number from 1 to 1024");
        assert_eq!(
            error("lr_scheduler_type", "cosin"),
            "`cosin` is not a value for lr_scheduler_type: it takes cosine, linear, constant, constant_with_warmup, \
             cosine_with_restarts, polynomial, inverse_sqrt, warmup_stable_decay, cosine_with_min_lr, \
             cosine_warmup_with_min_lr, reduce_lr_on_plateau"
        );
        assert!(error("dropout", "1").ends_with("a number from 0 to below 1"));
        assert!(error("max_samples", "few").ends_with("a whole number from 1, or none"));
        assert!(error("cutoff_len", "3").contains("from 4 to 131072"));
        for (key, value) in [
            ("lr", "nan"),
            ("val_size", "1e300"),
            ("lora_target", ","),
            ("lora_target", ""),
            ("lr", "fast"),
            ("seed", "-1"),
            ("plot_loss", "maybe"),
            ("template", "llama"),
        ] {
            error(key, value);
        }
        error("image_max_pixels", "99999999999*99999999999");
    }

    #[test]
    fn a_wrong_key_is_answered_with_the_nearest() {
        assert_eq!(
            error("learning_rte", "1"),
            "there is no setting named `learning_rte` (did you mean `learning_rate`?); `show` lists them"
        );
        assert!(error("zzzzzzzzzz", "1").ends_with("`zzzzzzzzzz`; `show` lists them"));
    }
}
