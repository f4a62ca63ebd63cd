//! The settings of a session, each declared once: its name (that of LLaMA-Factory, PEFT or transformers), short names,
//! type, default, limits and help. Parsing, completion, help, `show` and recipes come from this one list.

mod choice;
mod declaration;
mod lookup;
mod tied;
mod value;

use std::path::PathBuf;

use tunebook_data::Template;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::adapter::LoraTarget;
use tunebook_quote::quote;
pub(crate) use value::Value;

pub use choice::Boxes;
pub use choice::Device;
pub use choice::Dtype;
pub use choice::EvalStrategy;
pub use choice::FinetuningType;
pub use choice::Hub;
pub use choice::LrSchedulerType;
pub use choice::MixStrategy;
pub use choice::OnBadSample;
pub use choice::QuantizationBit;
pub use choice::Reporter;
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
        /// Precision of matrix products: float32, bfloat16, or auto: the checkpoint's dtype (float32 for float16).
        /// 矩阵乘法的计算精度：float32、bfloat16，或 auto：与检查点的精度相同（float16 用 float32 计算）。
        dtype: Dtype = Dtype::Auto;
        /// Where to compute: cpu, cuda (the first device in CUDA_VISIBLE_DEVICES), or auto: cuda if there is one.
        /// 计算设备：cpu、cuda（CUDA_VISIBLE_DEVICES 中的第一个设备），或 auto：有 cuda 设备时用 cuda。
        device: Device = Device::Auto;
        /// Quantizes the linear layers when the model is loaded, to 4 bits (NF4) or 8 bits (LLM.int8); none does not.
        /// 量化等级：加载时把线性层量化为 4 比特（NF4）或 8 比特（LLM.int8）；none 表示不量化。
        quantization_bit: Option<QuantizationBit> = None;
        /// Hub to download models and datasets from: huggingface or modelscope; none follows USE_MODELSCOPE_HUB.
        /// 下载源：从 huggingface 或 modelscope 下载模型和数据集；none 由环境变量 USE_MODELSCOPE_HUB 决定。
        hub: Option<Hub> = None;
        /// Branch, tag or commit of a model on the hub.
        /// 模型仓库的分支、标签或提交。
        model_revision: String = "main".to_string();
        /// Folder for downloads; none follows the hub's own variables (HF_HOME, MODELSCOPE_CACHE).
        /// 下载缓存的文件夹；none 由下载源自己的环境变量（HF_HOME、MODELSCOPE_CACHE）决定。
        cache_dir: Option<PathBuf> = None;
    }
    Pictures {
        /// Maximum number of pixels of an image; larger images are shrunk. Can be written as `768*768`.
        /// 图像最大像素：更大的图片会缩小到这个像素数；也可写成 `768*768`。
        image_max_pixels: usize = 768 * 768, Limits::Min(1.0);
        /// Minimum number of pixels of an image; smaller images are enlarged.
        /// 图像最小像素：更小的图片会放大到这个像素数。
        image_min_pixels: usize = 32 * 32, Limits::Min(1.0);
    }
    Data {
        /// Folder that contains dataset_info.json.
        /// 数据路径：dataset_info.json 所在的文件夹。
        #[location]
        #[no_effect_on_result]
        dataset_dir: PathBuf = PathBuf::from("data");
        /// Datasets in use, by their names in dataset_info.json.
        /// 使用的数据集，名称见 dataset_info.json。
        dataset: Vec<String> = Vec::new();
        /// Maximum tokens per sample; longer samples are truncated, but never inside an image.
        /// 截断长度：每个样本的最大 token 数；更长的会被截断，但不会截在图片中间。
        cutoff_len: usize = 2048, Limits::Range(4.0, 131072.0);
        /// Maximum samples per dataset; the first ones are used.
        /// 最大样本数：每个数据集最多取前这么多个样本。
        max_samples: Option<usize> = None, Limits::Min(1.0);
        /// Folder that contains the images; none uses dataset_dir.
        /// 图片所在的文件夹；none 表示用 dataset_dir。
        #[location]
        #[no_effect_on_result]
        media_dir: Option<PathBuf> = None;
        /// How datasets are mixed: one after the other, or interleaved until the first (under) or all (over) are used up.
        /// 数据集混合策略：首尾相接，或交错取样，到一个取完（under）或全部取完（over）为止。
        mix_strategy: MixStrategy = MixStrategy::Concat;
        /// Probability of drawing from each dataset, such as 0.7,0.3; none takes turns.
        /// 各数据集的采样概率，如 0.7,0.3；none 表示轮流取样。
        interleave_probs: Option<Vec<f64>> = None;
        /// Size of the validation set: a fraction of the samples up to 1, a number of samples above 1.
        /// 验证集大小：不大于 1 时是比例，大于 1 时是样本数。
        val_size: f64 = 0.0, Limits::Range(0.0, 1e9);
        /// Datasets to evaluate on, instead of a part of the training data (val_size).
        /// 验证数据集：用它评估，代替 val_size 划分出的验证集。
        eval_dataset: Vec<String> = Vec::new();
        /// Scale of the boxes (bbox_2d, <|box_start|>) in the data, which are brought into the model's own: pixels of the file, resized (pixels of the image as the model sees it), norm1000 (0 to 1000), norm1 (0 to 1), or model: as they are.
        /// 数据中边界框（bbox_2d、<|box_start|>）的坐标尺度，读取时换算成模型自己的：pixels 原图像素，resized 模型所见（缩放后）图片的像素，norm1000 千分位，norm1 归一化到 0~1，model 不换算。
        boxes: Boxes = Boxes::Model;
        /// Packs several samples into one sequence of cutoff_len tokens; they do not attend to each other.
        /// 序列打包：把多个样本装进一个长度为 cutoff_len 的序列；样本之间互不可见。
        packing: bool = false;
        /// The same as packing: packed samples never attend to each other. (In LLaMA-Factory, packing alone lets them.)
        /// 与 packing 相同：打包的样本总是互不可见。（在 LLaMA-Factory 中，只用 packing 时样本互相可见。）
        neat_packing: bool = false;
        /// Computes the loss on the prompts as well as on the answers.
        /// 学习提示词：除回答外，提示词也计算损失。
        train_on_prompt: bool = false;
        /// Computes the loss on the last answer of a conversation only.
        /// 不学习历史对话：只在最后一个回答上计算损失。
        mask_history: bool = false;
    }
    Prompt {
        /// Chat template: the format in which the model reads a conversation; none uses the one that the model was trained with.
        /// 对话模板：模型读取对话的格式；none 表示用模型训练时的模板。
        template: Option<&'static Template> = None;
        /// Thoughts of the template qwen3_vl: true learns them, false removes them and answers without; none learns only those that are there.
        /// 思考模式（模板 qwen3_vl）：true 学习思考内容；false 去掉思考内容，直接回答；none 只学习数据中已有的。
        enable_thinking: Option<bool> = Some(true);
        /// Shows the model the thoughts of its earlier answers as well (template qwen3_vl).
        /// 保留历史思考：模型也能看到之前回答的思考内容（模板 qwen3_vl）。
        preserve_thinking: bool = false;
        /// System prompt of chat, compare and samples without their own; none uses the data's, or else the template's; "" is no system prompt.
        /// 系统提示词：用于 chat、compare 和自身没有系统提示词的样本；none 用数据的，没有则用模板的；"" 表示不用系统提示词。
        default_system / system: Option<AnyText> = None;
    }
    Lora {
        /// Rank of the LoRA matrices, PEFT's r.
        /// LoRA 秩，即 PEFT 的 r。
        lora_rank / rank: usize = 8, Limits::Range(1.0, 1024.0);
        /// LoRA scaling: the update is multiplied by alpha / rank; none is twice the rank.
        /// LoRA 缩放系数：更新乘以 alpha / rank；none 表示秩的两倍。
        lora_alpha / alpha: Option<f64> = None, Limits::Range(1.0, 2048.0);
        /// Dropout probability of the inputs of LoRA layers during training.
        /// LoRA 随机丢弃：训练时丢弃 LoRA 层输入的概率。
        lora_dropout / dropout: f64 = 0.0, Limits::Below(0.0, 1.0);
        /// Modules to apply LoRA to: all, or parts of names such as q_proj,v_proj.
        /// LoRA 作用模块：all，或名称的一部分，如 q_proj,v_proj。
        lora_target / target: LoraTarget = LoraTarget::All;
        /// Rank-stabilized LoRA: scales the update by alpha / √rank, so that large ranks do not learn too slowly.
        /// 使用 rslora：改用 alpha / √rank 缩放，避免秩较大时学习过慢。
        use_rslora: bool = false;
        /// Weight-decomposed LoRA: trains magnitude and direction of each weight row separately.
        /// 使用 DoRA：把权重的每一行分解为模长和方向，分别训练。
        use_dora: bool = false;
        /// Initializes LoRA from the weights' largest singular vectors instead of from zero (PiSSA).
        /// 使用 PiSSA：用权重最大的奇异向量初始化，而不是从零开始。
        pissa_init: bool = false;
        /// Iterations that find these singular vectors; -1 iterates until convergence.
        /// 求这些奇异向量的迭代次数；-1 表示迭代到收敛。
        pissa_iter: i64 = 16, Limits::Min(-1.0);
        /// Modules to train in full, besides the LoRA layers, by the ends of their names, such as merger.
        /// 附加模块：除 LoRA 层以外全量训练的模块，写名称的结尾，如 merger。
        additional_target: Vec<String> = Vec::new();
        /// LoRA+: ratio of B's learning rate to A's; 0 uses the same rate for both.
        /// LoRA+ 学习率比例：B 与 A 的学习率之比；0 表示两者相同。
        loraplus_lr_ratio: f64 = 0.0, Limits::Range(0.0, 1024.0);
        /// Adapter folder that a recipe starts from.
        /// 适配器路径：训练配方从这个适配器开始。
        #[transient]
        adapter_name_or_path: Option<PathBuf> = None;
    }
    Freeze {
        /// How many of the last layers to train; a negative number trains the first ones instead.
        /// 可训练层数：训练最后这么多层；负数表示最前面的层。
        freeze_trainable_layers: i64 = 2, Limits::Range(-1024.0, 1024.0);
        /// Modules of these layers to train: all, or names such as self_attn and mlp.
        /// 可训练模块：这些层中训练哪些模块，all，或 self_attn、mlp 等。
        freeze_trainable_modules: Vec<String> = vec!["all".to_string()];
        /// Modules outside of the layers to train as well, such as embed_tokens.
        /// 额外模块：层以外也要训练的模块，如 embed_tokens。
        freeze_extra_modules: Vec<String> = Vec::new();
    }
    Method {
        /// What a recipe trains: LoRA layers (lora), some layers of the model (freeze), or all of it (full).
        /// 微调方法：训练配方训练 LoRA 层（lora）、模型的部分层（freeze），还是整个模型（full）。
        finetuning_type: FinetuningType = FinetuningType::Lora;
        /// Freezes the vision tower.
        /// 冻结视觉编码器。
        freeze_vision_tower: bool = true;
        /// Freezes the projector between the vision tower and the language model.
        /// 冻结多模态投影器，即视觉编码器与语言模型之间的部分。
        freeze_multi_modal_projector: bool = true;
        /// Freezes the language model.
        /// 冻结语言模型。
        freeze_language_model: bool = false;
    }
    Training {
        /// Peak learning rate of AdamW.
        /// 学习率：AdamW 优化器的峰值学习率。
        learning_rate / lr: f64 = 5e-5, Limits::Range(0.0, 100.0);
        /// Number of passes over the training data.
        /// 训练轮数：遍历训练数据的次数。
        num_train_epochs / epochs: f64 = 3.0, Limits::Range(0.0, 1e6);
        /// Total number of optimizer steps, instead of num_train_epochs; -1 uses num_train_epochs.
        /// 优化步的总数，代替 num_train_epochs；-1 表示由 num_train_epochs 决定。
        max_steps: i64 = -1, Limits::Min(-1.0);
        /// Samples per micro-batch.
        /// 批处理大小：每个微批次的样本数。
        per_device_train_batch_size / batch: usize = 2, Limits::Range(1.0, 1024.0);
        /// Micro-batches per optimizer step.
        /// 梯度累积：每个优化步的微批次数。
        gradient_accumulation_steps / accum: usize = 8, Limits::Range(1.0, 1024.0);
        /// Processes that the batch size is given for: an optimizer step has batch × accumulation × world_size samples. `workers N` sets it to N.
        /// 进程数：每个优化步的样本数 = 批处理大小 × 梯度累积 × world_size。`workers N` 会把它设为 N。
        world_size: usize = 1, Limits::Range(1.0, 65536.0);
        /// Sums gradients of workers in the order of their ranks, so that the same number of workers always gives the same bits.
        /// 按 rank 的顺序累加各工作进程的梯度：工作进程数相同，结果的每一位都相同。
        full_determinism: bool = false;
        /// How the learning rate changes over the steps.
        /// 学习率调节器：学习率如何随步数变化。
        lr_scheduler_type / scheduler: LrSchedulerType = LrSchedulerType::Cosine;
        /// Further parameters of the schedule, such as min_lr_rate:0.1 for cosine_with_min_lr.
        /// 学习率调节器的其他参数，例如 cosine_with_min_lr 的 min_lr_rate:0.1。
        lr_scheduler_kwargs: Mapping = Mapping::default();
        /// Steps over which the learning rate rises from 0.
        /// 预热步数：学习率从 0 升到峰值的步数。
        warmup_steps: usize = 0, Limits::Min(0.0);
        /// Warmup as a fraction of all steps, if warmup_steps is 0.
        /// 预热比例：预热步数占总步数的比例，在 warmup_steps 为 0 时有效。
        warmup_ratio: f64 = 0.0, Limits::Range(0.0, 1.0);
        /// Decoupled weight decay of AdamW.
        /// 权重衰减：AdamW 的解耦权重衰减。
        weight_decay: f64 = 0.0, Limits::Range(0.0, 1.0);
        /// Decay rate of AdamW's first moment, the mean of the gradients.
        /// AdamW 一阶矩（梯度均值）的衰减率。
        adam_beta1: f64 = 0.9, Limits::Below(0.0, 1.0);
        /// Decay rate of AdamW's second moment, the mean of the squared gradients.
        /// AdamW 二阶矩（梯度平方均值）的衰减率。
        adam_beta2: f64 = 0.999, Limits::Below(0.0, 1.0);
        /// Keeps AdamW from dividing by 0.
        /// 防止 AdamW 除以 0。
        adam_epsilon: f64 = 1e-8, Limits::Range(1e-30, 1.0);
        /// Scale of the random noise on the embeddings (NEFTune); 0 adds none.
        /// NEFTune 噪声参数：嵌入向量上随机噪声的强度；0 表示不加噪声。
        neftune_noise_alpha: f64 = 0.0, Limits::Range(0.0, 1000.0);
        /// Gradient clipping: gradients are scaled down to this norm; 0 does not clip.
        /// 最大梯度范数：用于梯度裁剪；0 表示不裁剪。
        max_grad_norm: f64 = 1.0, Limits::Min(0.0);
        /// Random seed for shuffling, new adapters, dropout and sampling.
        /// 随机种子：决定数据的打乱、新适配器的初始化、随机丢弃和采样。
        seed: u64 = 42;
        /// Random seed for the order of the samples; none uses seed.
        /// 样本顺序的随机种子；none 表示用 seed。
        data_seed: Option<u64> = None;
        /// Takes the samples in the order of the files.
        /// 不打乱数据：按文件中的顺序取样本。
        disable_shuffling: bool = false;
        /// What to do about a sample whose image can no longer be read or whose loss is not finite: skip and report it, or stop.
        /// 图片无法读取或损失不是有限数的样本：skip 跳过并报告，stop 停止训练。
        on_bad_sample: OnBadSample = OnBadSample::Skip;
        /// Memory limit for training, in GB; more memory means fewer recomputed layers. none: half of the free memory.
        /// 训练的内存上限（GB）；内存越多，需要重计算的层越少。none 表示空闲内存的一半。
        #[transient]
        memory: Option<f64> = None, Limits::Range(0.1, 65536.0);
        /// Steps between two log lines.
        /// 日志间隔：两行日志之间的步数。
        #[no_effect_on_result]
        logging_steps: usize = 5, Limits::Range(1.0, 1e6);
        /// Saves training_loss.png in output_dir.
        /// 保存损失曲线：把 training_loss.png 写到 output_dir。
        #[no_effect_on_result]
        plot_loss: bool = true;
    }
    Evaluation {
        /// When training evaluates on the validation samples (val_size, eval_dataset): every eval_steps, after every epoch, or never.
        /// 训练中何时在验证集（val_size、eval_dataset）上评估：每 eval_steps 步、每轮之后，或不评估。
        eval_strategy: EvalStrategy = EvalStrategy::Steps;
        /// Steps between two evaluations; none uses save_steps.
        /// 评估间隔：两次评估之间的步数；none 表示与 save_steps 相同。
        eval_steps: Option<usize> = None, Limits::Range(1.0, 1e6);
        /// Samples per evaluation batch (none: 2), of whose mean losses eval_loss is the mean over all samples; and answers generated at once (none: as many as fit into memory, up to 32).
        /// 评估批处理大小（none 表示 2），eval_loss 是各批次平均损失按样本数的加权平均；也是同时生成的回答数（none 表示内存能容纳多少就多少，最多 32）。
        per_device_eval_batch_size: Option<usize> = None, Limits::Range(1.0, 1024.0);
        /// Steps between two answers to the probes, which `help probe` explains; they are also answered before the first and after the last step.
        /// 探针间隔：两次回答探针问题之间的步数，见 `help probe`；第一步之前和最后一步之后也会回答。
        #[no_effect_on_result]
        probe_steps: usize = 10, Limits::Range(1.0, 1e6);
        /// Loads the adapter with the lowest eval_loss when training ends.
        /// 训练结束时加载 eval_loss 最低的适配器。
        load_best_model_at_end: bool = false;
        /// Early stopping: ends training after this many evaluations in a row without a lower eval_loss.
        /// 早停：连续这么多次评估都没有更低的 eval_loss 就结束训练。
        early_stopping_steps: Option<usize> = None, Limits::Min(1.0);
    }
    Generation {
        /// Samples the next token instead of taking the most likely one; none uses the model's default.
        /// 随机采样下一个 token，而不是取概率最高的；none 由模型决定。
        do_sample: Option<bool> = None;
        /// Higher values are more varied, 0 takes the most likely token; none uses the model's default.
        /// 温度系数：越大越多样，0 表示取概率最高的 token；none 由模型决定。
        temperature: Option<f64> = None, Limits::Range(0.0, 10.0);
        /// Samples from the most likely tokens whose probabilities add up to this; none uses the model's default.
        /// Top-p 采样值：从概率合计达到该值的最可能的 token 中采样；none 由模型决定。
        top_p: Option<f64> = None, Limits::Range(0.0, 1.0);
        /// Samples from this many of the most likely tokens; none uses the model's default.
        /// 从概率最高的这么多个 token 中采样；none 由模型决定。
        top_k: Option<usize> = None, Limits::Min(0.0);
        /// Makes tokens that already occurred less likely; 1 has no effect; none uses the model's default.
        /// 重复惩罚：降低已出现 token 的概率；1 表示不降低；none 由模型决定。
        repetition_penalty: Option<f64> = None, Limits::Range(0.01, 10.0);
        /// Maximum tokens per answer.
        /// 最大生成长度：每个回答的最大 token 数。
        max_new_tokens: usize = 512, Limits::Range(1.0, 131072.0);
    }
    Output {
        /// Folder to which train, evaluate and predict write their results; none writes nothing.
        /// 输出目录：train、evaluate 和 predict 把结果写到这里；none 表示不写。
        #[transient]
        output_dir: Option<PathBuf> = None;
        /// Starts a new training even if output_dir already contains one.
        /// output_dir 中已有训练时也重新开始。
        #[transient]
        overwrite_output_dir: bool = false;
        /// When training saves a checkpoint to output_dir: every save_steps, after every epoch, at a new lowest eval_loss, or never.
        /// 训练何时把检查点写到 output_dir：每 save_steps 步、每轮之后、eval_loss 创新低时，或不写。
        #[no_effect_on_result]
        save_strategy: SaveStrategy = SaveStrategy::Steps;
        /// Steps between two checkpoints.
        /// 保存间隔：两个检查点之间的步数。
        #[no_effect_on_result]
        save_steps: usize = 100, Limits::Range(1.0, 1e6);
        /// Maximum checkpoints to keep; older ones are deleted, but never the best. none keeps all.
        /// 最多保留这么多检查点，更早的会删除，但最好的不删；none 表示全部保留。
        #[no_effect_on_result]
        save_total_limit: Option<usize> = None, Limits::Min(1.0);
        /// Saves checkpoints without what `resume` needs, which is two thirds of their size.
        /// 检查点中不保存 `resume` 所需的训练状态（约占三分之二）。
        #[no_effect_on_result]
        save_only_model: bool = false;
        /// Files that tell how training goes, beside trainer_log.jsonl: tensorboard (event files in output_dir/runs) and csv (trainer_log.csv). Nothing is sent anywhere.
        /// 除 trainer_log.jsonl 外还写哪些记录文件：tensorboard（output_dir/runs 中的事件文件）、csv（trainer_log.csv）。不会发送到任何地方。
        #[no_effect_on_result]
        report_to: Vec<Reporter> = Vec::new();
        /// Checkpoint that a recipe resumes from; true is the latest one in output_dir.
        /// 训练配方从这个检查点继续；true 表示 output_dir 中最新的检查点。
        #[transient]
        resume_from_checkpoint: Option<PathBuf> = None;
    }
    Export {
        /// Maximum size of each weight file that export writes, in GB.
        /// 最大分块大小（GB）：export 写出的每个权重文件的大小上限。
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

    /// Micro-batches of an optimizer step: `gradient_accumulation_steps` of each process.
    pub fn micro_batches_per_step(&self) -> usize {
        self.gradient_accumulation_steps * self.world_size
    }

    /// Whether chance gives each micro-batch something of its own, by its number: dropout, or noise on the embeddings.
    pub(crate) fn has_noise(&self, adapter: &Adapter) -> bool {
        let dropout = adapter.config.as_ref().is_some_and(|config| config.lora_dropout > 0.0);
        dropout || self.neftune_noise_alpha > 0.0
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
        assert!(error("lr_scheduler_kwargs", "min_lr").ends_with("name:value pairs separated by commas, or none"));
        error("lr_scheduler_kwargs", "{min_lr");
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_would_be_right() {
        assert_eq!(error("rank", "0"), "`0` is not a value for lora_rank, which accepts an integer from 1 to 1024");
        assert_eq!(
            error("lr_scheduler_type", "cosin"),
            "`cosin` is not a value for lr_scheduler_type, which accepts cosine, linear, constant, constant_with_warmup, \
             cosine_with_restarts, polynomial, inverse_sqrt, warmup_stable_decay, cosine_with_min_lr, \
             cosine_warmup_with_min_lr, reduce_lr_on_plateau"
        );
        assert!(error("dropout", "1").ends_with("a number of at least 0 and below 1"));
        assert!(error("max_samples", "few").ends_with("an integer of at least 1, or none"));
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
            "there is no setting named `learning_rte` (did you mean `learning_rate`?); `show` lists all settings"
        );
        assert!(error("zzzzzzzzzz", "1").ends_with("`zzzzzzzzzz`; `show` lists all settings"));
    }
}
