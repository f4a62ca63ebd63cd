//! Counts, sizes and times in words.

use std::time::Duration;

use crate::lang::Lang;
use crate::localized;

/// Something that is counted.
#[derive(Clone, Copy)]
pub struct Noun {
    one: &'static str,
    many: &'static str,
    /// The measure word and the noun.
    zh: &'static str,
}

const fn noun(one: &'static str, many: &'static str, zh: &'static str) -> Noun {
    Noun { one, many, zh }
}

pub const ANSWER: Noun = noun("answer", "answers", "个回答");
pub const BOX: Noun = noun("box", "boxes", "个边界框");
pub const FILE: Noun = noun("file", "files", "个文件");
pub const LAYER: Noun = noun("layer", "layers", "层");
pub const MICRO_BATCH: Noun = noun("micro-batch", "micro-batches", "个微批次");
pub const PACK: Noun = noun("pack", "packs", "包");
pub const PICTURE: Noun = noun("image", "images", "张图片");
pub const SAMPLE: Noun = noun("sample", "samples", "个样本");
pub const EVALUATION: Noun = noun("evaluation", "evaluations", "次评估");
pub const STEP: Noun = noun("step", "steps", "步");
pub const TOKEN: Noun = noun("token", "tokens", "个 token");
pub const TURN: Noun = noun("turn", "turns", "轮");

/// `1 step`, `2 steps`, `2 步`.
pub fn count(number: usize, noun: Noun, lang: Lang) -> String {
    let noun = match (lang, number) {
        (Lang::Zh, _) => noun.zh,
        (Lang::En, 1) => noun.one,
        (Lang::En, _) => noun.many,
    };
    format!("{} {noun}", thousands(number))
}

/// `312 MiB`, `3.25 GiB`.
pub fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / (1u64 << 20) as f64;
    if mebibytes < 1024.0 { format!("{mebibytes:.0} MiB") } else { format!("{:.2} GiB", mebibytes / 1024.0) }
}

/// `1,234,567`.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

/// `0.85 s`, `12.3 s`, `4 min 05 s`, `2 h 03 min`.
pub fn seconds(elapsed: Duration, lang: Lang) -> String {
    let (whole, exact) = (elapsed.as_secs(), elapsed.as_secs_f64());
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match exact {
        short if short < 10.0 => localized!(lang, "{short:.2} s", "{short:.2} 秒"),
        short if short < 100.0 => localized!(lang, "{short:.1} s", "{short:.1} 秒"),
        _ if whole < 3600 => localized!(lang, "{minutes} min {rest:02} s", "{minutes} 分 {rest:02} 秒"),
        _ => localized!(lang, "{hours} h {minutes:02} min", "{hours} 小时 {minutes:02} 分"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(14966784), "14,966,784");
        assert_eq!(
            [count(1, STEP, Lang::En), count(2, STEP, Lang::En), count(2, STEP, Lang::Zh)],
            ["1 step", "2 steps", "2 步"]
        );
    }

    #[test]
    fn times_are_as_exact_as_they_are_short() {
        let text = |millis| seconds(Duration::from_millis(millis), Lang::En);
        assert_eq!(
            [text(850), text(12340), text(245_000), text(7_380_000)],
            ["0.85 s", "12.3 s", "4 min 05 s", "2 h 03 min"]
        );
        assert_eq!(seconds(Duration::from_secs(245), Lang::Zh), "4 分 05 秒");
    }
}
