//! Verbs that did not finish, and recipes that are not followed.

use tunebook_engine::Error;
use tunebook_engine::KwargType;
use tunebook_engine::ScheduleError;
use tunebook_engine::difference::DataDifference;
use tunebook_engine::difference::ModelDifference;
use tunebook_engine::difference::SampleCounts;
use tunebook_engine::difference::SettingDifference;
use tunebook_engine::instead::Instead;
use tunebook_engine::recipe::RecipeError;
use tunebook_quote::REMEDY_ZH;
use tunebook_quote::in_one;
use tunebook_quote::message;

use super::Chinese;
use super::io;
use super::nearest as mean;
use crate::lang::Lang;
use crate::lang::Localize;
use crate::quantities::thousands;
use crate::text::expected;

impl Chinese for Error {
    fn zh(&self) -> String {
        match self {
            Self::NoModel => format!("还没有加载模型{REMEDY_ZH}请先加载，例如 `load path/to/Qwen2.5-VL-3B-Instruct`"),
            Self::NoData => format!("还没有选择数据集{REMEDY_ZH}请先选择，例如 `data creatures dataset_dir=data`"),
            Self::Training { adapter, step, total_steps } => format!(
                "正在训练适配器 `{adapter}`，已到第 {step} 步，共 {total_steps} 步{REMEDY_ZH}`wait` 等训练结束，`stop` 停止训练，\
                 之后 `train` 可从那里继续"
            ),
            Self::NoAdapter => format!("没有启用适配器{REMEDY_ZH}请用 `lora` 新建，或用 `adapter load PATH` 加载"),
            Self::PromptTooLong { tokens, most } => {
                format!("对话有 {tokens} 个 token，而模型和内存最多容纳 {most} 个（包括回答）")
            }
            Self::UnknownAdapter { name, nearest } => format!("没有名为 `{name}` 的适配器{}", mean(nearest)),
            Self::NoTensor { name, nearest } => {
                format!(
                    "适配器中没有名为 `{name}` 的张量{}{REMEDY_ZH}`session().tensors()` 列出它们的名称",
                    mean(nearest)
                )
            }
            Self::NoProbe { number, probes } => {
                format!("没有第 {number} 个探针；会话中有 {probes} 个{REMEDY_ZH}`probe list` 列出它们")
            }
            Self::UnknownSetting { key, nearest } => {
                format!("没有名为 `{key}` 的设置{}{REMEDY_ZH}`show` 列出所有设置", mean(nearest))
            }
            Self::BadValue { setting, value } => {
                format!("`{value}` 不能作为 {} 的值：可取{}", setting.name, expected(setting, Lang::Zh))
            }
            Self::Write { path, source } => format!("无法写入 {}：{}", path.display(), io(source)),
            Self::Read { path, source } => format!("无法读取 {}：{}", path.display(), io(source)),
            Self::Cancelled => "已停止".to_string(),
            Self::Workers(error) => error.zh(),
            Self::Json { path, source } => {
                format!("{} 不是有效的 JSON：{}", path.display(), message(&source.to_string()))
            }
            Self::BuiltWithoutCuda => {
                format!("这个 tunebook 只能用 CPU 计算{REMEDY_ZH}请用 `--features cuda` 编译，或 `set device=auto`")
            }
            Self::NoCudaDevice { problem } => {
                format!("没有可用的 CUDA 设备（{problem}）{REMEDY_ZH}要用 CPU 计算，请 `set device=cpu`")
            }
            Self::Instead { path, what } => format!("{} {}", path.display(), what.zh()),
            Self::NoFolder { path } => {
                format!("没有文件夹 {}{REMEDY_ZH}请写模型的 config.json 所在的文件夹", path.display())
            }
            Self::File { path } => {
                format!("{} 是文件{REMEDY_ZH}请加载它和模型的 config.json 所在的文件夹", path.display())
            }
            Self::NoConfig { path } => format!(
                "{} 中没有 config.json：模型的文件夹应有 config.json、tokenizer.json 和 *.safetensors",
                path.display()
            ),
            Self::AdapterFolder { path, base } => {
                let base = base.as_ref().map(|base| format!("（`load {base}`）")).unwrap_or_default();
                let path = path.display();
                format!(
                    "{path} 中是适配器，不是模型{REMEDY_ZH}请先加载它所属的模型{base}，再用 `adapter load {path}` 加载适配器"
                )
            }
            Self::AdapterExists { name } => {
                format!("已有名为 `{name}` 的适配器{REMEDY_ZH}请用 `adapter drop {name}` 丢弃它，或换一个名称")
            }
            Self::NoSamples { names, skipped } => match &skipped[..] {
                [] => format!("{names} 中一个样本也没有"),
                [first, ..] => {
                    let (count, first) = (skipped.len(), in_one(|| first.zh()));
                    format!("{names} 中没有能用的样本（跳过了 {count} 个；第一个：{first}）")
                }
            },
            Self::NothingToUndo => "没有可退回的步：本次会话还没有用这些数据训练过这个适配器".to_string(),
            Self::NotSoManySteps { made } => format!("一共只训练了 {made} 步"),
            Self::StepNotKept { step, first } => format!(
                "第 {step} 步没有保留：本次会话能退回到第 {first} 步及之后{REMEDY_ZH}如果有更早的检查点，可用 `resume` 从那里继续"
            ),
            Self::StatesTooLarge { gigabytes } => format!(
                "没有保留这次训练的早先状态：一份需要 {gigabytes:.1} GB，内存不够{REMEDY_ZH}如果有检查点，可用 `resume` 从那里继续"
            ),
            Self::NothingToRedo => "没有可恢复的内容：没有退回过，或退回之后又训练过".to_string(),
            Self::NoRoomToRedo => "空间不够，没能保留退回的步；`train` 会重新训练这些步".to_string(),
            Self::EarlierState(source) => format!("无法从临时文件读取训练的早先状态：{}", io(source)),
            Self::NotDropped { number, dropped } => {
                format!("样本 {number} 没有被去掉，共去掉了 {dropped} 个{REMEDY_ZH}`data dropped` 列出它们")
            }
            Self::NoPictures => format!("对话中没有图片，无法显示区域{REMEDY_ZH}请用 image=FILE 指定图片"),
            Self::NoSample { index, samples } => format!("没有样本 {index}：数据共有 {samples} 个，从 0 数起"),
            Self::OutputExists { path, found } => format!(
                "{} 中已有训练（{found}）{REMEDY_ZH}请换一个 output_dir，或设置 overwrite_output_dir=true",
                path.display()
            ),
            Self::Plot(problem) => format!("无法绘制曲线：{problem}"),
            Self::PromptAndHistory => {
                format!(
                    "train_on_prompt 在每一轮上计算损失，mask_history 只在最后一个回答上计算{REMEDY_ZH}请把其中一个设为 false"
                )
            }
            Self::ValSizeAndEvalDataset => {
                format!("val_size 从训练数据中留出一部分，eval_dataset 用另外的数据集{REMEDY_ZH}只能设其中一个")
            }
            Self::CopiesMemory { parameters, needed, free } => {
                let parameters = thousands(*parameters);
                format!(
                    "训练模型自身的 {parameters} 个参数需要 {needed:.1} GB，空闲的只有 {free:.1} GB{REMEDY_ZH}请少训练几层\
                     （freeze_trainable_layers），或用 `lora` 新建适配器"
                )
            }
            Self::Memory { limit, least, remedies } => {
                let remedies = remedies.localize(Lang::Zh);
                format!(
                    "memory={limit} 小于一步至少需要的 {least:.1} GB（即使全部重计算）{REMEDY_ZH}请调大 memory，或调低设置：{remedies}"
                )
            }
            Self::FreeMemory { needed, free, remedies } => {
                let remedies = remedies.localize(Lang::Zh);
                format!(
                    "除权重外，一步还需要 {needed:.1} GB，可用的只有 {free:.1} GB{REMEDY_ZH}请调低设置：{remedies}；要照样训练，请设 memory=GB"
                )
            }
            Self::NotFinite { step, loss, grad_norm, learning_rate } => format!(
                "第 {step} 步的损失是 {loss}，梯度范数是 {grad_norm}，因此没有更新{REMEDY_ZH}适配器停在上一步之后的状态。`train` 从后面的样本继续；如果再次出现，请用 `undo N` 退回若干步，并调低学习率（learning_rate 现在是 {learning_rate}），或用 dtype=float32 加载模型"
            ),
            Self::Diverged { step, learning_rate, checkpoint } => {
                let way = match checkpoint {
                    Some(checkpoint) => format!("用 `resume {}` 回去", checkpoint.display()),
                    None => "用 `undo N` 退回若干步，或用 `lora` 新建适配器".to_string(),
                };
                format!(
                    "训练已发散：到第 {step} 步，带适配器时所有样本的损失都不是有限数，而不带适配器时正常。继续训练无法恢复：\
                     请{way}，并调低学习率（learning_rate 现在是 {learning_rate}）"
                )
            }
            Self::OutputLocked { path, holder } => format!(
                "另一个 tunebook 正在 {} 中训练（进程 {holder}）{REMEDY_ZH}请等它结束，或另选 output_dir",
                path.display()
            ),
            Self::BadSample(skipped) => {
                format!("{}{REMEDY_ZH}请修好后继续，或用 on_bad_sample=skip 跳过这样的样本", skipped.zh())
            }
            Self::BadSamplesInARow { count, last } => {
                format!("连续 {count} 个样本都不能用，问题可能不在样本本身；最后一个：{}", last.zh())
            }
            Self::AdapterNotFinite { name } => format!(
                "适配器的 `{name}` 中有 NaN 或无穷大，适配器无法使用{REMEDY_ZH}请从更早的检查点加载，或用 `adapter off` 停用"
            ),
            Self::OutputNotFinite => {
                format!(
                    "模型的输出是 NaN 或无穷大，但模型和适配器的权重都是有限数：有些值太大，无法计算{REMEDY_ZH}请加载适配器更早的检查点，或用 dtype=float32 加载模型"
                )
            }
            Self::NothingToCompare => {
                format!("没有可与模型比较的适配器{REMEDY_ZH}请用 `lora` 新建，或用 `adapter load PATH` 加载")
            }
            Self::ExportExists { path } => {
                format!("{} 不是空的{REMEDY_ZH}请选一个空的或还不存在的文件夹", path.display())
            }
            Self::OtherSplit { path } => format!(
                "{} 切分文本的方式与 Qwen 的分词器不同，llama.cpp 没有对应的名称：它会切出不同的 token",
                path.display()
            ),
            Self::NoLlamaServer { program } => {
                let program =
                    program.as_ref().map_or("llama-server".to_string(), |program| program.display().to_string());
                format!(
                    "找不到 {program}，而 check 要提问 llama.cpp{REMEDY_ZH}请安装 llama.cpp，使 llama-server 在 PATH 中，或用 llama_server=FILE 指定"
                )
            }
            Self::LlamaServerStart { program, source } => format!("无法启动 {}：{}", program.display(), io(source)),
            Self::LlamaServer { program, problem, said } => {
                format!("无法提问 {}（{problem}）；文件已经写好。它的输出：\n{said}", program.display())
            }
            Self::NoSpace { path, needed, free } => format!(
                "{} 的剩余空间是 {free:.1} GB，模型需要 {needed:.1} GB{REMEDY_ZH}请换一个磁盘或腾出空间",
                path.display()
            ),
            Self::OtherTokenizer { path, config, found } => format!(
                "{} 中 image_token_id 是 {config}，但在 tokenizer.json 中 <|image_pad|> 是 token {found}：这两个文件属于不同的模型",
                path.display()
            ),
            Self::OtherProcessor { path, key, config, found } => format!(
                "{} 的图像处理器中 {key} 是 {found}，config.json 中却是 {config}：preprocessor_config.json（或 processor_config.json）属于别的模型",
                path.display()
            ),
            Self::NoCheckpoint { path } => {
                format!(
                    "{} 中没有可以继续的检查点{REMEDY_ZH}训练每 save_steps 步把检查点写到 output_dir",
                    path.display()
                )
            }
            Self::NoCheckpointFolder => {
                format!(
                    "没有设置 output_dir，不知道到哪里找检查点{REMEDY_ZH}请写 `resume FOLDER`，或 `resume latest output_dir=FOLDER`"
                )
            }
            Self::NoTrainingState { path } => format!(
                "{} 中有适配器，但没有训练状态（保存时设了 save_only_model，或由其他程序保存）{REMEDY_ZH}`adapter load` 可从它开始新的训练",
                path.display()
            ),
            Self::MissingState { path, name } => {
                format!("{} 中没有张量 `{name}`{REMEDY_ZH}检查点不完整，请从更早的检查点继续", path.display())
            }
            Self::OtherSnapshot { name } => format!("这份快照属于别的适配器：其中没有张量 `{name}`"),
            Self::StateVersion { path, version } => {
                format!("{} 的版本是 {version}，这个 tunebook 无法读取{REMEDY_ZH}请用写出它的 tunebook", path.display())
            }
            Self::OtherModel { path, name, differences } => format!(
                "{} 是用别的模型训练的（{name}：{}）{REMEDY_ZH}请先以同样的设置加载那个模型",
                path.display(),
                list(differences)
            ),
            Self::OtherData { path, differences } => format!(
                "{} 是用别的数据训练的（{}）{REMEDY_ZH}请用 `data` 选同样的数据，或在新的会话中重新开始",
                path.display(),
                list(differences)
            ),
            Self::NoOutputDir => {
                format!(
                    "没有设置 output_dir，不知道把检查点写到哪里{REMEDY_ZH}请设置它，或用 `save FOLDER` 只保存适配器"
                )
            }
            Self::NothingToEvaluate { key } => format!(
                "{key} 需要评估，但没有留出样本：选数据时请设置 val_size 或 eval_dataset，并把 eval_strategy 设为 steps 或 epoch"
            ),
            Self::BestNeedsOutput => "load_best_model_at_end 需要检查点：请设置 output_dir".to_string(),
            Self::Schedule(error) => error.zh(),
            Self::Other(problem) => format!("内部错误：{problem}"),
            Self::Hub(error) => error.zh(),
            Self::Recipe(error) => error.zh(),
            Self::Model(error) => error.zh(),
            Self::Dataset(error) => error.zh(),
            Self::Choice(error) => error.zh(),
            Self::Encode(error) => error.zh(),
            Self::Image(error) => error.zh(),
            Self::Template(error) => error.zh(),
            Self::Tokenizer(error) => error.zh(),
        }
    }
}

/// The facts one after the other.
fn list<T: Chinese>(differences: &[T]) -> String {
    differences.iter().map(T::zh).collect::<Vec<_>>().join("；")
}

impl Chinese for ModelDifference {
    fn zh(&self) -> String {
        match self {
            Self::Parameters { then, now } => format!("参数量当时为 {then}，现在为 {now}"),
            Self::Dtype { then, now } => format!("计算精度当时为 {then}，现在为 {now}"),
            Self::Quantization { then, now } => {
                let bits = |bits: &Option<String>| {
                    bits.as_ref().map_or_else(|| "未量化".to_string(), |bits| format!("为 {bits} 比特"))
                };
                format!("线性层当时{}，现在{}", bits(then), bits(now))
            }
            Self::Weights { then, now } => format!("权重的哈希值当时为 {then}，现在为 {now}"),
        }
    }
}

impl Chinese for DataDifference {
    fn zh(&self) -> String {
        match self {
            Self::Names { then, now } => format!("数据集当时为 {}，现在为 {}", then.join(","), now.join(",")),
            Self::Samples { then, now } => format!("样本数当时为{}，现在为{}", then.zh(), now.zh()),
            Self::Setting(SettingDifference { key, then, now }) => format!("{key} 当时为 {then}，现在为 {now}"),
            Self::Contents { names, held_out } => {
                let names = names.join(",");
                format!("{names} {}已改变", if *held_out { "留出的样本" } else { "的样本" })
            }
        }
    }
}

/// As it stands behind 为.
impl Chinese for SampleCounts {
    fn zh(&self) -> String {
        let Self { train, eval } = self;
        format!("训练 {train} 个、评估 {eval} 个")
    }
}

impl Chinese for Instead {
    fn zh(&self) -> String {
        match self {
            Self::LfsPointer => {
                format!("只是 Git LFS 指针，不是文件本身{REMEDY_ZH}请在它所在的文件夹中运行 `git lfs pull` 取得文件")
            }
            Self::WebPage => {
                format!("是网页，被当作文件存了下来{REMEDY_ZH}请重新下载，链接要用带 `resolve` 而不是 `blob` 的")
            }
            Self::Zip => {
                format!(
                    "是 ZIP 压缩包（Excel 和 PyTorch 的文件也是）{REMEDY_ZH}请解压，或另存为正确的格式：表格存为 UTF-8 的 CSV"
                )
            }
            Self::Archive(name) => format!("是 {name} 压缩包{REMEDY_ZH}请解压，使用其中的文件"),
        }
    }
}

impl Chinese for RecipeError {
    fn zh(&self) -> String {
        match self {
            Self::Yaml { path, problem } => format!("{} 不是 YAML 训练配方：{problem}", path.display()),
            Self::Override(text) => {
                format!("`{text}` 不能覆盖配方中的值{REMEDY_ZH}请写 key=value，例如 learning_rate=1e-4")
            }
            Self::UnknownKey { key, nearest } => format!("训练配方没有名为 `{key}` 的键{}", mean(nearest)),
            Self::Refused { key, value, why } => format!("无法执行 `{key}: {value}`：{}", why.zh),
            Self::NothingToEvaluate => {
                format!("训练配方要评估，但没有留出样本{REMEDY_ZH}请加上 val_size 或 eval_dataset")
            }
            Self::PredictsWithoutGenerating => {
                format!(
                    "`do_predict: true` 要生成回答，LLaMA-Factory 为此还要求 `predict_with_generate: true`{REMEDY_ZH}请加上"
                )
            }
            Self::EvaluatesByGenerating => {
                format!(
                    "`do_eval: true` 计算 eval_loss，而 `predict_with_generate: true` 会改为给回答打分，那是 `do_predict: true` 的作用{REMEDY_ZH}请写 do_predict: true，或 predict_with_generate: false"
                )
            }
            Self::Missing { key } => format!("训练配方缺少 `{key}`，训练需要它"),
            Self::MissingForExport { key } => format!("配方缺少 `{key}`，导出需要它"),
            Self::Several(problems) => {
                let lines: Vec<_> = problems.iter().map(|problem| format!("  {}", in_one(|| problem.zh()))).collect();
                format!("无法执行训练配方：\n{}", lines.join("\n"))
            }
        }
    }
}

impl Chinese for ScheduleError {
    fn zh(&self) -> String {
        match self {
            Self::Unknown { schedule, key, known } => {
                let known = if known.is_empty() {
                    "没有可设的".to_string()
                } else {
                    format!("可以有：{}", known.join(", "))
                };
                format!("lr_scheduler_type={schedule} 的 lr_scheduler_kwargs 没有 `{key}`{REMEDY_ZH}{known}")
            }
            Self::Value { key, value, expected } => {
                format!("`{value}` 不能作为 lr_scheduler_kwargs 中 {key} 的值：应为{}", expected.zh())
            }
            Self::MinLr { schedule } => format!(
                "lr_scheduler_type={schedule} 需要 min_lr 和 min_lr_rate 之一，例如 lr_scheduler_kwargs=min_lr_rate:0.1"
            ),
        }
    }
}

/// As it stands behind 应为.
impl Chinese for KwargType {
    fn zh(&self) -> String {
        match self {
            Self::Integer => "整数".to_string(),
            Self::Number => "不小于 0 的数".to_string(),
            Self::OneOf(words) => format!(" {}", words.join(", ")),
        }
    }
}
