//! Advice in words: the memory that a training takes, and one line about what is wrong with it.

use std::time::Duration;

use tunebook_engine::Settings;
use tunebook_engine::advice::Advice;
use tunebook_engine::advice::MemoryEstimate;
use tunebook_engine::advice::Remedies;

use crate::lang::Lang;
use crate::lang::Localize;
use crate::localized;
use crate::quantities::seconds;

impl Localize for MemoryEstimate {
    fn localize(&self, lang: Lang) -> String {
        let &Self { tokens, least, most, kept, layers, limit, free, weights } = self;
        let room = match (limit, free) {
            (Some(limit), _) => localized!(lang, "; memory={limit} is the limit", "；上限 memory={limit}"),
            (None, Some(free)) => localized!(lang, "; {free:.1} GB available", "；可用 {free:.1} GB"),
            (None, None) => String::new(),
        };
        let mut text = match layers - kept {
            0 => localized!(
                lang,
                "memory: up to {tokens} tokens at a time need {most:.1} GB without recomputation{room}",
                "内存：一次最多计算 {tokens} 个 token，需要 {most:.1} GB，无需重计算{room}"
            ),
            twice => localized!(
                lang,
                "memory: up to {tokens} tokens at a time need {least:.1} GB, or {most:.1} GB without \
                 recomputation{room}; activation checkpointing recomputes {twice} of {layers} layers",
                "内存：一次最多计算 {tokens} 个 token，需要 {least:.1} GB，完全不重计算则需要 {most:.1} GB{room}；\
                 {layers} 层中有 {twice} 层使用激活检查点（重计算）"
            ),
        };
        if self.rereads() {
            text += &localized!(
                lang,
                "; the weights ({weights:.1} GB) do not fit in the remaining memory, so every step reads them from \
                 disk: quantization_bit=4 makes them smaller",
                "；权重（{weights:.1} GB）放不进剩下的内存，每步都要从磁盘重读：可用 quantization_bit=4 缩小权重"
            );
        }
        text
    }
}

/// How long a call of `train` takes.
pub fn estimate(steps: usize, time: Duration, lang: Lang) -> String {
    let time = seconds(time, lang);
    localized!(
        lang,
        "about {time} for the remaining {steps} steps, judging by the last one",
        "剩下 {steps} 步大约还要 {time}（按最近一步的用时估计）"
    )
}

impl Localize for Advice {
    fn localize(&self, lang: Lang) -> String {
        match *self {
            Self::NotFalling { steps, before, now, learning_rate } => {
                let (higher, now_rate) = (rate(3.0 * learning_rate), shown(learning_rate));
                localized!(
                    lang,
                    "the loss is not falling: {before:.3} in the first steps, {now:.3} in the last of {steps} steps. \
                     Try a higher learning rate (learning_rate={higher}, now {now_rate}) or lora_rank, and check the \
                     data with `sample`",
                    "损失没有下降：前几步 {before:.3}，共 {steps} 步后 {now:.3}。可调高学习率\
                     （learning_rate={higher}，现在 {now_rate}）或 lora_rank，并用 `sample` 检查数据"
                )
            }
            Self::Rising { lowest, step, now, learning_rate } => {
                let (lower, now_rate) = (rate(learning_rate / 3.0), shown(learning_rate));
                localized!(
                    lang,
                    "the loss is rising: {lowest:.3} around step {step}, {now:.3} now. Lower the learning rate \
                     (learning_rate={lower}, now {now_rate}), or use warmup (warmup_ratio=0.1)",
                    "损失在上升：第 {step} 步附近 {lowest:.3}，现在 {now:.3}。可调低学习率\
                     （learning_rate={lower}，现在 {now_rate}）或加预热（warmup_ratio=0.1）"
                )
            }
            Self::NoGradient { steps, loss, learning_rate } => {
                let (lower, now_rate) = (rate(learning_rate / 10.0), shown(learning_rate));
                localized!(
                    lang,
                    "the gradient has been 0 for {steps} steps at a loss of {loss:.3}: the training has diverged, and \
                     continuing will not change that. Go back to an earlier checkpoint with `resume`, or create a new \
                     adapter with `lora`, and lower the learning rate (learning_rate={lower}, now {now_rate})",
                    "连续 {steps} 步梯度为 0，而损失仍有 {loss:.3}：训练已发散，继续也不会有变化。请用 `resume` 回到更早的检查点，或用 \
                     `lora` 新建适配器，并调低学习率（learning_rate={lower}，现在 {now_rate}）"
                )
            }
            Self::Swinging { mean, spread, samples, learning_rate } => {
                let (lower, now_rate) = (rate(learning_rate / 2.0), shown(learning_rate));
                localized!(
                    lang,
                    "the loss fluctuates: by {spread:.2} around {mean:.2} from step to step. Use more samples per step \
                     (now {samples}) by raising gradient_accumulation_steps, or a lower learning rate \
                     (learning_rate={lower}, now {now_rate})",
                    "损失波动大：均值 {mean:.2}，每步波动 {spread:.2}。可调大梯度累积步数 \
                     gradient_accumulation_steps（现在每步 {samples} 个样本），或调低学习率（learning_rate={lower}，现\
                     在 {now_rate}）"
                )
            }
            Self::FewThreads { threads, cores } => localized!(
                lang,
                "training uses {threads} of {cores} CPU cores; start tunebook without RAYON_NUM_THREADS to use all of \
                 them",
                "训练只用了 {cores} 个 CPU 核心中的 {threads} 个；启动 tunebook 时不设 RAYON_NUM_THREADS 即可全部使用"
            ),
            Self::Rereading { gigabytes, weights } => localized!(
                lang,
                "training is slow, because a step read {gigabytes:.1} GB from disk: the weights ({weights:.1} GB) do \
                 not stay in memory. Close other programs, lower memory, cutoff_len or per_device_train_batch_size, or \
                 load the model with quantization_bit=4",
                "训练很慢，因为一步从磁盘读了 {gigabytes:.1} GB：权重（{weights:.1} GB）无法留在内存里。可关闭其他程序\
                 ，调低 memory、cutoff_len 或 per_device_train_batch_size，或加载时用 quantization_bit=4"
            ),
            Self::Swapped { gigabytes } => localized!(
                lang,
                "training is slow, because {gigabytes:.1} GB are swapped out; lower cutoff_len, image_max_pixels or \
                 per_device_train_batch_size, or set memory=GB",
                "训练很慢，因为有 {gigabytes:.1} GB 被换到了交换分区；可调低 cutoff_len、image_max_pixels 或 \
                 per_device_train_batch_size，或设置 memory=GB"
            ),
            Self::Slower { before, now } => localized!(
                lang,
                "training has become slow: {before:.0} tokens/s at best, {now:.0} now. Is another program using the \
                 CPU?",
                "训练变慢了：最快 {before:.0} token/秒，现在 {now:.0}。是否有别的程序在占用 CPU？"
            ),
        }
    }
}

/// A rate to try; the default, where the one in use is 0.
fn rate(rate: f64) -> String {
    shown(if rate > 0.0 { rate } else { Settings::default().learning_rate })
}

/// `5e-5`
fn shown(rate: f64) -> String {
    if rate == 0.0 { "0".to_string() } else { format!("{rate:.1e}").replace(".0e", "e") }
}

impl Localize for Remedies {
    fn localize(&self, lang: Lang) -> String {
        if lang == Lang::En {
            return self.to_string();
        }
        if self.0.is_empty() {
            return "同时调低几项，如 per_device_train_batch_size、cutoff_len、image_max_pixels 和 lora_rank"
                .to_string();
        }
        let each = |remedy: &tunebook_engine::advice::Remedy| {
            format!("{}={} 需要 {:.1} GB", remedy.setting, remedy.value, remedy.least)
        };
        self.0.iter().map(each).collect::<Vec<_>>().join("，")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_says_its_numbers_in_both_languages() {
        let rising = Advice::Rising { lowest: 1.5, step: 12, now: 2.25, learning_rate: 3e-4 };
        assert_eq!(
            rising.localize(Lang::En),
            "the loss is rising: 1.500 around step 12, 2.250 now. Lower the learning rate (learning_rate=1e-4, now \
             3e-4), or use warmup (warmup_ratio=0.1)"
        );
        let zh = rising.localize(Lang::Zh);
        assert!(["1.500", "12", "2.250", "learning_rate=1e-4"].iter().all(|number| zh.contains(number)), "{zh}");
        let still = Advice::NotFalling { steps: 60, before: 2.0, now: 2.0, learning_rate: 0.0 };
        assert!(still.localize(Lang::En).contains("learning_rate=5e-5, now 0)"));
    }

    #[test]
    fn a_plan_says_what_is_needed_and_what_there_is() {
        let plan = MemoryEstimate {
            tokens: 2000,
            least: 9.0,
            most: 12.0,
            kept: 10,
            layers: 36,
            limit: None,
            free: Some(8.0),
            weights: 6.2,
        };
        assert_eq!(
            plan.localize(Lang::En),
            "memory: up to 2000 tokens at a time need 9.0 GB, or 12.0 GB without recomputation; 8.0 GB available; \
             activation checkpointing recomputes 26 of 36 layers; the weights (6.2 GB) do not fit in the remaining \
             memory, so every step reads them from disk: quantization_bit=4 makes them smaller"
        );
        assert!(plan.localize(Lang::Zh).contains("36 层中有 26 层使用激活检查点"));
        let easy = MemoryEstimate { kept: 36, free: Some(30.0), ..plan };
        assert_eq!(
            easy.localize(Lang::En),
            "memory: up to 2000 tokens at a time need 12.0 GB without recomputation; 30.0 GB available"
        );
    }
}
