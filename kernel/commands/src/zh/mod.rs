//! Every error in Chinese, by its variant and its fields; the English is its `Display`.
//!
//! The `match`es name every variant and every field, so an error without Chinese, or Chinese that leaves out a value,
//! does not compile (or pass clippy). Messages of other libraries (the system, JSON, images) are passed on as they are.

mod command;
mod data;
mod engine;
mod hub;
mod nn;
mod pictures;
mod workers;

use tunebook_files::NotAFile;

use crate::lang::Lang;
use crate::lang::Localize;

/// An error that has a Chinese text beside its `Display`.
trait Chinese: std::fmt::Display {
    fn zh(&self) -> String;
}

impl<E: Chinese> Localize for E {
    fn localize(&self, lang: Lang) -> String {
        match lang {
            Lang::En => self.to_string(),
            Lang::Zh => self.zh(),
        }
    }
}

/// `（是不是想写 `X`？）`, where there is an X.
fn nearest(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("（是不是想写 `{name}`？）")).unwrap_or_default()
}

/// What the system says of a file.
fn io(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    if let Some(found) = NotAFile::of(error) {
        return found.zh();
    }
    match error.kind() {
        ErrorKind::NotFound => "没有这个文件或文件夹".to_string(),
        ErrorKind::PermissionDenied => "没有权限".to_string(),
        ErrorKind::AlreadyExists => "已经存在".to_string(),
        ErrorKind::IsADirectory => "这是一个文件夹".to_string(),
        ErrorKind::NotADirectory => "这不是文件夹".to_string(),
        ErrorKind::StorageFull => "磁盘已满".to_string(),
        ErrorKind::QuotaExceeded => "超出了磁盘配额".to_string(),
        ErrorKind::FileTooLarge => "超出了文件大小的上限（ulimit -f）".to_string(),
        ErrorKind::ReadOnlyFilesystem => "文件系统只读".to_string(),
        ErrorKind::InvalidData => "不是有效的 UTF-8 文本".to_string(),
        _ => error.to_string(),
    }
}

impl Chinese for NotAFile {
    fn zh(&self) -> String {
        match self {
            Self::Pipe => "这是管道；请把它的输出写到文件里，再使用该文件",
            Self::Socket => "这是套接字，不是文件",
            Self::Device => "这是设备，不是文件",
        }
        .to_string()
    }
}
