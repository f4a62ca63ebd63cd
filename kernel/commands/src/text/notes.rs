//! Notes, long-running tasks and skipped samples, in words.

use tunebook_data::SkipKind;
use tunebook_data::Skipped;
use tunebook_engine::Note;
use tunebook_engine::Task;
use tunebook_engine::hub::decimal_size;
use tunebook_engine::report::SystemPrompt;
use tunebook_engine::report::SystemPromptSource;
use tunebook_quote::quote;

use crate::lang::Lang;
use crate::lang::Localize;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::quantities::FILE;
use crate::quantities::SAMPLE;
use crate::quantities::STEP;
use crate::quantities::count as counted;
use crate::quantities::seconds;

impl Localize for Note {
    fn localize(&self, lang: Lang) -> String {
        match self {
            Self::Download { id, hub, files, size, cache } => {
                let (files, size, cache) = (counted(*files, FILE, lang), decimal_size(*size), cache.display());
                localized!(
                    lang,
                    "downloading {id} from {hub}: {files}, {size}, to {cache}",
                    "从 {hub} 下载 {id}：{files}，{size}，存到 {cache}"
                )
            }
            Self::DownloadWaits { file, lock } => {
                let lock = lock.display();
                localized!(
                    lang,
                    "another program is downloading {file} (lock: {lock}); waiting for it, Ctrl-C cancels",
                    "另一个程序正在下载 {file}（锁文件：{lock}）；正在等它完成，按 Ctrl-C 取消"
                )
            }
            Self::DownloadStopped => {
                const STOPPED: Localized = localized(
                    "stopped; what has been downloaded is kept, and the next attempt continues from there",
                    "已停止；已下载的部分保留，下次从这里继续",
                );
                STOPPED.in_lang(lang).to_string()
            }
            Self::UploadStopped => {
                const STOPPED: Localized = localized(
                    "stopped; nothing was committed, and the next attempt does not send again what has arrived",
                    "已停止；没有提交任何内容，下次不会再传已上传的部分",
                );
                STOPPED.in_lang(lang).to_string()
            }
            Self::FromCache { id, hub, problem } => localized!(
                lang,
                "{hub} cannot be reached ({problem}); using {id} from the cache",
                "无法连接 {hub}（{problem}）；改用缓存中的 {id}"
            ),
            Self::CannotBeUsed { names, count, first } => {
                let (samples, first) = (counted(*count, SAMPLE, lang), first_skipped(first.as_deref(), lang));
                localized!(lang, "{samples} of {names} cannot be used{first}", "{names} 中有 {samples}不能用{first}")
            }
            Self::LeftOut(skipped) => {
                let skipped = skipped.localize(lang);
                localized!(
                    lang,
                    "skipped: {skipped} (on_bad_sample=stop would stop here)",
                    "已跳过：{skipped}（设 on_bad_sample=stop 则会停在这里）"
                )
            }
            Self::ProbeLeftOut { question, problem } => {
                let question = quote(question);
                localized!(
                    lang,
                    "the probe `{question}` was not asked: {problem}",
                    "没有问探针 `{question}`：{problem}"
                )
            }
            Self::Kept { checkpoint } => {
                let place = checkpoint.display();
                localized!(lang, "the training so far is saved in {place}", "到目前为止的训练保存在 {place}")
            }
            Self::FromNextData { keys } => {
                let keys = keys.join(", ");
                localized!(
                    lang,
                    "changed since the data was chosen; they take effect with the next `data`: {keys}",
                    "选择数据之后改过，下一次 `data` 起生效：{keys}"
                )
            }
            Self::WorkerLost { loss, left } => {
                let loss = loss.localize(lang);
                localized!(
                    lang,
                    "{loss}; its part is computed again, by {left} workers",
                    "{loss}；由其余 {left} 个工作进程重新计算"
                )
            }
            Self::OtherBits => {
                const OTHER_BITS: Localized = localized(
                    "too little free memory for as many tokens at a time as before: training continues with fewer at a \
                     time, and its results differ in the last bits from those of an uninterrupted training",
                    "空闲内存不够像之前那样一次计算那么多 token：改为分批计算后继续，结果与未中断的训练在末位上会有差\
                     别",
                );
                OTHER_BITS.in_lang(lang).to_string()
            }
            Self::Replays { steps, time } => {
                let (steps, time) = (counted(*steps, STEP, lang), seconds(*time, lang));
                localized!(
                    lang,
                    "{steps} are computed once more; they took {time} the first time",
                    "需要重新计算 {steps}，第一次用了 {time}"
                )
            }
            Self::SetAside { folder } => {
                let place = folder.display();
                localized!(lang, "the earlier training was moved to {place}", "早先的训练已移到 {place}")
            }
            Self::NothingHeldOut { names } => localized!(
                lang,
                "no samples of {names} are held out (val_size, eval_dataset): using the training samples",
                "{names} 没有留出样本（val_size、eval_dataset）：改用训练样本"
            ),
            Self::OtherSha1 { name, sha1 } => localized!(
                lang,
                "the file of {name} is not the one that dataset_info.json expects: its SHA-1 is {sha1}, which differs \
                 from file_sha1",
                "{name} 的文件与 dataset_info.json 所写的不符：它的 SHA-1 是 {sha1}，与 file_sha1 不同"
            ),
            Self::OtherTemplate { template, own } => localized!(
                lang,
                "conversations are written in the template {template}, but this model was trained with {own}; \
                 template=none uses the model's own",
                "对话按模板 {template} 写成，但这个模型训练时用的是 {own}；设 template=none 则用模型自己的模板"
            ),
            Self::ChangesLeftOut { problem } => localized!(
                lang,
                "the training goes on with its settings as they were: {problem}",
                "训练仍按原来的设置进行：{problem}"
            ),
            Self::TakenBack { settings } => {
                let settings = settings.join(", ");
                localized!(
                    lang,
                    "settings restored, because what they belonged to is gone: {settings}",
                    "以下设置所属的内容已换掉，已恢复原值：{settings}"
                )
            }
            Self::SystemPrompt(prompt) => {
                let prompt = system_prompt(prompt, lang);
                localized!(lang, "system prompt: {prompt}", "系统提示词：{prompt}")
            }
            Self::GoingOn { checkpoint } => {
                let place = checkpoint.display();
                localized!(
                    lang,
                    "resuming from {place}; overwrite_output_dir=true starts over",
                    "从 {place} 继续训练；overwrite_output_dir=true 则重新开始"
                )
            }
            Self::WithoutEffect { keys } => {
                let keys = keys.join(", ");
                localized!(lang, "accepted, but without effect here: {keys}", "已接受，在这里不起作用：{keys}")
            }
        }
    }
}

/// A system prompt, shortened, and where it comes from.
pub(crate) fn system_prompt(prompt: &SystemPrompt, lang: Lang) -> String {
    let source = match prompt.source {
        SystemPromptSource::Setting => localized("default_system", "default_system"),
        SystemPromptSource::Data => {
            localized("shared by all samples; default_system= sets another", "所有样本共有；可用 default_system= 另设")
        }
        SystemPromptSource::Template => localized("the template's own", "模板自带"),
    };
    let (text, source) = (system_text(&prompt.text, lang), source.in_lang(lang));
    localized!(lang, "{text} ({source})", "{text}（{source}）")
}

/// The text of a system prompt on one line, cut where it is long.
pub(super) fn system_text(text: &str, lang: Lang) -> String {
    const MOST: usize = 120;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return localized("none", "无").in_lang(lang).to_string();
    }
    let end = line.char_indices().nth(MOST).map(|(at, _)| at);
    let line = end.map_or_else(|| line.clone(), |end| format!("{}…", &line[..end]));
    localized!(lang, "“{line}”", "“{line}”")
}

impl Localize for Task {
    fn localize(&self, lang: Lang) -> String {
        let text = match self {
            Self::Reading => localized("reading records", "读取记录"),
            Self::Encoding => localized("encoding samples", "编码样本"),
            Self::EncodingEval => localized("encoding evaluation samples", "编码评估样本"),
            Self::Quantizing => localized("quantizing parameters", "量化参数"),
            Self::Uploading => localized("copying bytes to the device", "把权重复制到设备（字节）"),
            Self::Hashing => localized("hashing bytes", "计算哈希值（字节）"),
            Self::Sending => localized("sending bytes", "上传（字节）"),
            Self::Evaluating => localized("evaluating", "评估"),
            Self::Writing => localized("writing tensors", "写入张量"),
            Self::Checking => localized("asking llama.cpp", "提问 llama.cpp"),
            Self::Replaying => localized("recomputing steps", "重新计算步"),
            Self::StartingWorkers => localized("starting workers", "启动工作进程"),
        };
        text.in_lang(lang).to_string()
    }
}

impl Localize for SkipKind {
    fn localize(&self, lang: Lang) -> String {
        let text = match self {
            Self::Format => localized("wrong format", "格式不符"),
            Self::NoMessages => localized("no messages", "没有消息"),
            Self::UnknownRole => localized("unknown role", "未知角色"),
            Self::WrongTurn => localized("messages out of order", "消息顺序错误"),
            Self::NoAnswer => localized("no answer", "没有回答"),
            Self::ImageCount => localized("images do not match <image>", "图片与 <image> 不匹配"),
            Self::OtherMedia => localized("video or audio", "视频或音频"),
            Self::VisionTokenInText => localized("vision token in text", "文字中有视觉 token"),
            Self::MissingPicture => localized("image not found", "找不到图片"),
            Self::RemotePicture => localized("image not downloaded", "图片未下载"),
            Self::BadPicture => localized("image not readable", "图片无法读取"),
            Self::CutoffTooShort => localized("cutoff_len too short", "cutoff_len 太短"),
            Self::BadTools => localized("tools or tool calls not readable", "工具或工具调用无法读取"),
            Self::LossNotFinite => localized("loss not finite", "损失不是有限数"),
        };
        text.in_lang(lang).to_string()
    }
}

/// `; the first: …`, where there is one.
fn first_skipped(first: Option<&Skipped>, lang: Lang) -> String {
    let first = first.map(|first| first.localize(lang));
    first.map(|first| localized!(lang, "; the first: {first}", "；第一个：{first}")).unwrap_or_default()
}
