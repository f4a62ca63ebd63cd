//! Downloads and uploads that fail.

use tunebook_engine::hub::HubError;
use tunebook_quote::REMEDY_ZH;

use super::Chinese;

impl Chinese for HubError {
    fn zh(&self) -> String {
        match self {
            Self::NoId { text } => format!("`{text}` 不是模型社区中仓库的名称{REMEDY_ZH}名称应为 OWNER/NAME"),
            Self::NoCache { variable } => {
                format!("用户没有主目录，无处存放下载的文件{REMEDY_ZH}请把 {variable} 或 cache_dir 设为一个文件夹")
            }
            Self::Unreachable { names, id, problem } => format!(
                "没有文件夹 {id}，也无法通过 {} 连接 {}（{problem}）{REMEDY_ZH}请把 {} 设为可以连接的主机，或试试 hub={}",
                names.endpoint, names.hub, names.endpoint_variable, names.other
            ),
            Self::Offline { id, cache } => {
                format!("{id} 不在（或不全在）{} 中，而 HF_HUB_OFFLINE 禁止下载", cache.display())
            }
            Self::NotFound { names, id, with_token, nearest } => {
                let who = match with_token {
                    true => "你的令牌".to_string(),
                    false => format!("没有令牌（{}）的访客", names.token_variable),
                };
                let nearest = nearest.as_ref().map(|name| format!("（是不是想写 {name}？）")).unwrap_or_default();
                format!("没有文件夹 {id}，{} 上也没有{who}能访问的同名仓库{nearest}", names.hub)
            }
            Self::NoRevision { names, id, revision } => {
                format!("{id} 在 {} 上没有版本 `{revision}`{REMEDY_ZH}model_revision=main 是最新的", names.hub)
            }
            Self::Denied { names, id, status, with_token, page } => {
                let (hub, variable) = (names.hub, names.token_variable);
                let remedy = match with_token {
                    true => format!("你的令牌（{variable}）没有权限{REMEDY_ZH}请在 {page} 申请访问并接受许可协议"),
                    false => format!("需要在 {variable} 中设置令牌{REMEDY_ZH}请在 {page} 取得令牌并接受许可协议"),
                };
                format!("{hub} 拒绝访问 {id}（{status}）：{remedy}")
            }
            Self::Status { url, status, text } => {
                let text = if text.is_empty() { String::new() } else { format!("（{text}）") };
                format!("{url} 返回 {status}{text}")
            }
            Self::Answer { url, problem } => format!("{url} 返回的内容与预期不同：{problem}"),
            Self::LongListing { url, megabytes } => {
                format!("{url} 列出的文件名超过 {megabytes} MB{REMEDY_ZH}模型社区中没有哪个仓库有这么多文件")
            }
            Self::Entry { url, file } => format!("{url} 列出的 `{file}` 的名称、大小或哈希值不可能属于仓库中的文件"),
            Self::NoModel { id, missing, found } => format!(
                "{id} 没有 {missing}（共 {found} 个文件）{REMEDY_ZH}模型需要 config.json、tokenizer.json 和 *.safetensors"
            ),
            Self::NoData { id, folder } => {
                let folder = folder.as_ref().map(|folder| format!(" 的 {folder} 中")).unwrap_or_default();
                format!("{id}{folder} 没有能作为数据读取的文件{REMEDY_ZH}支持 json、jsonl、csv 和 parquet")
            }
            Self::Broken { file, times, problem } => {
                format!(
                    "{file} 的下载连续 {times} 次中断，没有任何进展（{problem}）{REMEDY_ZH}再次执行同一命令会从中断处继续"
                )
            }
            Self::Size { names, file, host, times, expected, found } => {
                let found = found.map_or_else(|| format!("超过 {expected} 字节"), |found| format!("{found} 字节"));
                format!(
                    "{host} 发来的 {file} 有 {found}，而 {} 列出的是 {expected} 字节（试了 {times} 次）：两者之一已过时{REMEDY_ZH}\
                     请把 {} 设为别的主机，或试试 hub={}",
                    names.endpoint, names.endpoint_variable, names.other
                )
            }
            Self::Checksum { file, host, algorithm, expected, found } => {
                format!(
                    "从 {host} 下载的 {file} 已损坏：{algorithm} 是 {found}，应为 {expected}{REMEDY_ZH}文件已删除，请重试"
                )
            }
            Self::NoPush { hub } => {
                format!(
                    "`push` 只能上传到 Hugging Face，不能上传到 {hub}{REMEDY_ZH}请设置 hub=huggingface，或使用 {hub} 自己的程序"
                )
            }
            Self::OfflinePush => {
                format!("设置了 HF_HUB_OFFLINE 或 TRANSFORMERS_OFFLINE，禁止上传{REMEDY_ZH}要上传请取消设置")
            }
            Self::NothingToPush { path } => format!(
                "{} 中没有 `save` 或 `export` 写出的适配器或模型{REMEDY_ZH}请给出含 adapter_config.json 和 \
                 adapter_model.safetensors 的文件夹，或含 config.json 和全部权重的文件夹",
                path.display()
            ),
            Self::NoPeftAdapter { name } => format!(
                "适配器 `{name}` 存的是模型自身的权重，PEFT 无法加载{REMEDY_ZH}请用 `export FOLDER` 写出整个模型，再用 `push \
                 OWNER/NAME folder=FOLDER` 上传"
            ),
            Self::NoToken { names, url } => format!(
                "上传需要有写权限的令牌，放在 {} 中或 huggingface_hub 保存令牌的地方{REMEDY_ZH}请在 {url} 取得",
                names.token_variable
            ),
            Self::IsPublic { id } => format!(
                "{id} 是公开的，或者社区没有说明它是私有的，因此没有上传任何内容{REMEDY_ZH}请在社区网站上把它设为私有，换一个名称，或写 private=false"
            ),
            Self::Href { href } => {
                format!("社区要求把文件发到 {href}，那里不如社区自己的地址安全，因此没有发送")
            }
            Self::Away { names, problem } => format!(
                "无法通过 {} 连接 {}（{problem}）{REMEDY_ZH}再次执行同一命令会重试，已上传的内容不会再传",
                names.endpoint, names.hub
            ),
            Self::NoWrite { names, id, status, text, page } => {
                let text = if text.is_empty() { String::new() } else { format!("：{text}") };
                format!(
                    "{} 不允许你写入 {id}（{status}{text}）{REMEDY_ZH}{} 中的令牌需要它的写权限，见 {page}",
                    names.hub, names.token_variable
                )
            }
            Self::Conflict { id, text } => {
                let text = if text.is_empty() { String::new() } else { format!("（{text}）") };
                format!("{id} 在此期间被其他人修改{text}{REMEDY_ZH}再次执行同一命令会重试，已上传的内容不会再传")
            }
            Self::TooLarge { id, text } => {
                let text = if text.is_empty() { String::new() } else { format!("（{text}）") };
                format!("社区认为上传到 {id} 的内容太大{text}{REMEDY_ZH}`export … export_size=GB` 可以写出较小的文件")
            }
            Self::UploadBroken { file, times, problem } => format!(
                "{file} 的上传中断了 {times} 次（{problem}）{REMEDY_ZH}再次执行同一命令会重试，已上传的内容不会再传"
            ),
            Self::Changed { path } => {
                format!("{} 在上传时发生了变化{REMEDY_ZH}请等它写完后再上传", path.display())
            }
        }
    }
}
