//! Image files and the image processor.

use tunebook_data::ConfigProblem;
use tunebook_data::ImageError;
use tunebook_data::OtherFile;
use tunebook_data::PictureError;
use tunebook_data::PictureFault;
use tunebook_quote::REMEDY_ZH;

use super::Chinese;
use super::io;

impl Chinese for ImageError {
    fn zh(&self) -> String {
        match self {
            Self::Read { path, source } => format!("无法读取 {}：{}", path.display(), io(source)),
            Self::Json { path, line, column, message } => {
                format!("{}:{line}:{column} 不是有效的 JSON：{message}", path.display())
            }
            Self::NoConfig { folder } => format!(
                "{} 中没有 preprocessor_config.json，也没有含 image_processor 的 processor_config.json：模型文件夹用它说明如何处理图片",
                folder.display()
            ),
            Self::Config { path, key, problem } => format!("{}：`{key}` {}", path.display(), problem.zh()),
            Self::Limits { min, max } => format!("image_min_pixels {min} 大于 image_max_pixels {max}"),
            Self::Picture(error) => error.zh(),
        }
    }
}

impl Chinese for ConfigProblem {
    fn zh(&self) -> String {
        match self {
            Self::NotPositiveInteger => "应为不小于 1 的整数",
            Self::NotNumber => "应为数",
            Self::NotThreeNumbers => "应为由三个数组成的列表",
            Self::Zero => "不能是 0",
            Self::HoldsZero => "中不能有 0",
            Self::AboveMaxPixels => "大于 max_pixels",
            Self::NotBicubic => "应为 3（双三次插值）",
        }
        .to_string()
    }
}

impl Chinese for PictureError {
    fn zh(&self) -> String {
        let Self { path, fault } = self;
        format!("图片 {}：{}", path.display(), fault.zh())
    }
}

impl Chinese for PictureFault {
    fn zh(&self) -> String {
        match self {
            Self::Unreadable { kind, message } => {
                format!("无法读取：{}", io(&std::io::Error::new(*kind, message.clone())))
            }
            Self::NotAFile(found) => format!("无法读取：{}", found.zh()),
            Self::NotAPicture(file) => file.zh(),
            Self::CutOff => format!("文件被截断，缺少结尾{REMEDY_ZH}请重新复制或下载"),
            Self::NoPixels => "图片没有像素".to_string(),
            Self::TooLarge { width, height } => format!("{width}×{height} 像素太多，无法解码{REMEDY_ZH}请缩小图片"),
            Self::EnlargedTooMuch { width, height } => {
                format!("图片会被放大到 {width}×{height} 像素，太多了{REMEDY_ZH}请调低 image_min_pixels")
            }
            Self::Undecodable { message } => {
                format!("无法解码：{message}{REMEDY_ZH}如果别的程序能打开它，请另存为 PNG 或 JPEG")
            }
            Self::Changed { before, now } => format!(
                "数据编码之后，图片变了：原来有 {}×{} 个图块，现在有 {}×{} 个{REMEDY_ZH}请重新选择数据",
                before.h, before.w, now.h, now.w
            ),
        }
    }
}

impl Chinese for OtherFile {
    fn zh(&self) -> String {
        match self {
            Self::Empty => format!("文件是空的{REMEDY_ZH}请重新复制或下载"),
            Self::Zeros => format!("文件里全是零字节{REMEDY_ZH}请重新复制或下载"),
            Self::LfsPointer => format!("文件只是 Git LFS 指针，不是图片本身{REMEDY_ZH}请用 `git lfs pull` 取得图片"),
            Self::Document(name) => {
                format!("文件内容是 {name}，不是图片{REMEDY_ZH}可能是服务器返回的错误信息，请重新下载")
            }
            Self::Text => "文件内容是文本，不是图片".to_string(),
            Self::Archive(name) => format!("文件是 {name} 压缩包{REMEDY_ZH}请先解压出图片"),
            Self::Video => format!("文件是视频{REMEDY_ZH}请截取一帧，存为 PNG 或 JPEG"),
            Self::Convertible(name) => format!("文件是 {name} 格式，tunebook 不读{REMEDY_ZH}请转换成 PNG 或 JPEG"),
            Self::Unknown => format!(
                "文件不是 tunebook 能读的图片{REMEDY_ZH}能读的格式有 PNG、JPEG、WebP、GIF、BMP、TIFF、ICO、PNM \
                              和 QOI"
            ),
        }
    }
}
