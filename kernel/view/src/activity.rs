//! What goes on at the moment.

use std::time::Duration;

use tunebook_commands::Lang;
use tunebook_commands::Localize;
use tunebook_commands::localized;
use tunebook_commands::quantities::seconds;
use tunebook_engine::Task;
use tunebook_engine::hub::decimal_size;

/// What a command does before, after or between the steps of a training.
pub enum Activity {
    /// `done` of `total` units of a task.
    Task { task: Task, done: usize, total: usize },
    /// `done` of `total` samples have their answer, and this part of all answers was made in so long.
    Answers { done: usize, total: usize, part: f64, elapsed: Duration },
    /// Bytes of a file that comes from a hub, and of all files that are to come.
    Download { file: String, done: u64, size: u64, all_done: u64, all: u64 },
}

/// Before that, a rate says nothing.
const WARM_UP: Duration = Duration::from_secs(1);

impl Activity {
    /// `encoding 5 of 10`, or the file that comes.
    pub fn title(&self, lang: Lang) -> String {
        match self {
            Self::Task { task, done, total } => {
                let task = task.localize(lang);
                localized!(lang, "{task} {done} of {total}", "{task} {done}/{total}")
            }
            &Self::Answers { done, total, part, elapsed } => {
                let title = localized!(lang, "predicting {done} of {total}", "预测 {done}/{total}");
                if part <= 0.0 || elapsed < WARM_UP {
                    return title;
                }
                let rate = 60.0 * part * total as f64 / elapsed.as_secs_f64();
                let rate = if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") };
                let left = seconds(elapsed.mul_f64((1.0 - part).max(0.0) / part), lang);
                localized!(
                    lang,
                    "{title}  {rate} answers/min  {left} left",
                    "{title}  每分钟 {rate} 个回答  剩余 {left}"
                )
            }
            Self::Download { file, done, size, .. } => format!("{file} {}", bytes(*done, *size, lang)),
        }
    }

    /// Its lines, the title first, each with the part of it that is done, from 0 to 1.
    pub fn lines(&self, lang: Lang) -> Vec<(String, f64)> {
        let title = self.title(lang);
        match *self {
            Self::Task { done, total, .. } => vec![(title, part(done as f64, total as f64))],
            Self::Answers { part, .. } => vec![(title, part)],
            Self::Download { done, size, all_done, all, .. } => {
                let files = bytes(all_done, all, lang);
                vec![
                    (title, part(done as f64, size as f64)),
                    (localized!(lang, "all files {files}", "所有文件 {files}"), part(all_done as f64, all as f64)),
                ]
            }
        }
    }
}

fn bytes(done: u64, all: u64, lang: Lang) -> String {
    let (done, all) = (decimal_size(done), decimal_size(all));
    localized!(lang, "{done} of {all}", "{done} / {all}")
}

fn part(done: f64, all: f64) -> f64 {
    done / all.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html;

    #[test]
    fn a_download_shows_the_file_and_all_of_them() {
        let (file, size, all) = ("model-00001-of-00002.safetensors".to_string(), 4_000_000_000, 8_000_000_000);
        let download = Activity::Download { file, done: 1_000_000_000, size, all_done: 1_500_000, all };
        let lines: Vec<_> = download.lines(Lang::En).into_iter().map(|(text, _)| text).collect();
        assert_eq!(lines, ["model-00001-of-00002.safetensors 1.00 GB of 4.00 GB", "all files 1.5 MB of 8.00 GB"]);
        assert!(html::activity(&download, Lang::En).contains("width:25.0%"));
    }

    #[test]
    fn answers_have_a_rate_and_time_left() {
        let answers = |part, seconds| {
            let elapsed = Duration::from_secs_f64(seconds);
            let [(text, _)] = &Activity::Answers { done: 3, total: 32, part, elapsed }.lines(Lang::En)[..] else {
                panic!("one line")
            };
            text.clone()
        };
        assert_eq!(answers(0.25, 20.0), "predicting 3 of 32  24 answers/min  60.0 s left");
        assert_eq!(answers(0.01, 60.0), "predicting 3 of 32  0.3 answers/min  1 h 39 min left");
        assert_eq!(answers(0.25, 0.1), "predicting 3 of 32");
        assert_eq!(answers(0.0, 9.0), "predicting 3 of 32");
    }

    #[test]
    fn a_task_is_one_line() {
        let task = Activity::Task { task: Task::Evaluating, done: 3, total: 12 };
        let [(text, part)] = &task.lines(Lang::Zh)[..] else { panic!("one line") };
        assert!(text.ends_with(" 3/12") && *part == 0.25, "{text}");
    }
}
