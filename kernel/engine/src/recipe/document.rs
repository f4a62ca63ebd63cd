//! A session as LLaMA-Factory would be told of it: a YAML, and the command that its web page shows.

use std::path::Path;

use serde_json::Map;
use serde_json::Value;
use tunebook_files::replace_file;

use super::defaults;
use super::is;
use super::keys;
use super::keys::REPORT_TO;
use super::notation;
use super::page::PAGE;
use super::text;
use crate::error::Error;
use crate::error::Result;
use crate::settings;
use crate::settings::Declaration;
use crate::settings::Kind;
use crate::settings::Mapping;
use crate::settings::Reporter;
use crate::settings::Settings;

/// A session as LLaMA-Factory would be told of it.
#[derive(Clone, Debug)]
pub struct RecipeDocument {
    entries: Vec<(String, Value)>,
    /// Settings that differ from their defaults and that LLaMA-Factory has not, as `key=value`; and that samples are dropped.
    pub left_out: Vec<String>,
    /// What LLaMA-Factory needs and the session has not.
    pub missing: Vec<&'static str>,
    /// Its processes: a matter of how it is started.
    world_size: usize,
}

impl RecipeDocument {
    /// Without a recipe that was loaded: what the web page writes for these settings, and every setting beside them
    /// that is not at LLaMA-Factory's default. With one: its keys in its order with their values of now, and every
    /// other setting that is not at that default.
    ///
    /// `model` is the name of the one that is loaded, and `bf16` says whether products are formed so.
    pub fn new(model: Option<&str>, bf16: bool, settings: &Settings, given: &Map<String, Value>) -> Self {
        let session = Session { model, bf16, settings };
        let mut entries = if given.is_empty() { session.page() } else { session.again(given) };
        let is_new = |key: &str| given.is_empty() || !given.contains_key(key);
        let missing_key = |key: &str| !entries.iter().any(|(name, _)| name == key);
        let others: Vec<_> = settings::declarations()
            .iter()
            .filter(|setting| is_new(setting.name) && missing_key(setting.name))
            .filter(|setting| session.is_asked(setting.name) && session.differs(setting))
            .map(|setting| (setting.name.to_string(), typed(setting, settings)))
            .collect();
        entries.extend(others);
        if !given.is_empty() && !given.contains_key("pure_bf16") && is_new("bf16") && bf16 {
            entries.push(("bf16".to_string(), Value::Bool(true)));
        }
        // What it has in another way is not left out.
        let is_own = |setting: &&Declaration| {
            keys::OWN.contains(&setting.name) && !["dtype", WORLD_SIZE].contains(&setting.name)
        };
        let left_out = settings::declarations().iter().filter(is_own).filter(|own| own.get(settings) != own.default());
        let csv = settings.report_to.contains(&Reporter::Csv).then(|| "report_to=csv".to_string());
        let left_out = left_out.map(|own| format!("{}={}", own.name, own.get(settings))).chain(csv).collect();
        let has = |key: &str| entries.iter().any(|(name, value)| name == key && !value.is_null());
        let missing = ["model_name_or_path", "dataset", "output_dir"].into_iter().filter(|key| !has(key)).collect();
        Self { entries, left_out, missing, world_size: settings.world_size }
    }

    /// A line a key, as `llamafactory-cli train FILE` reads it.
    pub fn yaml(&self) -> String {
        let processes = match self.start() {
            None => String::new(),
            Some(start) => format!("# {start}llamafactory-cli train FILE\n"),
        };
        processes
            + &self.entries.iter().map(|(key, value)| format!("{key}: {}\n", notation::yaml(value))).collect::<String>()
    }

    /// What starts several processes: `FORCE_TORCHRUN=1 NPROC_PER_NODE=2 `.
    fn start(&self) -> Option<String> {
        (self.world_size > 1).then(|| format!("FORCE_TORCHRUN=1 {PROCESSES}{} ", self.world_size))
    }

    /// Writes the YAML to a file.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn save(&self, path: &Path) -> Result<()> {
        let written = replace_file(path, self.yaml().as_bytes());
        written.map_err(|source| Error::Write { path: path.to_path_buf(), source })
    }

    /// `llamafactory-cli train …` in the form of the web page's Preview button: its order, a line a key, nothing that is
    /// off unless it is on by default.
    pub fn command(&self) -> String {
        let mut shown: Vec<_> = self.entries.iter().filter(|(key, value)| is_shown(key, value)).collect();
        shown.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)));
        let lines = shown.iter().map(|(key, value)| format!("    --{key} {} ", notation::python(value)));
        std::iter::once(self.start().unwrap_or_default() + "llamafactory-cli train ")
            .chain(lines)
            .collect::<Vec<_>>()
            .join("\\\n")
    }
}

/// The setting.
const WORLD_SIZE: &str = "world_size";
/// What LLaMA-Factory has for it: environment variables, whose numbers are multiplied.
const PROCESSES: &str = "NPROC_PER_NODE=";
const NODES: &str = "NNODES=";

/// How many processes the comments of a recipe say that it is for.
pub(super) fn world_size(text: &str) -> Option<usize> {
    let comments = || text.lines().filter_map(|line| line.trim_start().strip_prefix('#'));
    let number = |variable: &str| {
        let after = comments().find_map(|comment| comment.split_once(variable)?.1.split_whitespace().next())?;
        after.parse::<usize>().ok().filter(|number| (1..=65536).contains(number))
    };
    let (processes, nodes) = (number(PROCESSES), number(NODES));
    processes.or(nodes).map(|_| processes.unwrap_or(1) * nodes.unwrap_or(1))
}

struct Session<'a> {
    model: Option<&'a str>,
    bf16: bool,
    settings: &'a Settings,
}

impl Session<'_> {
    /// What the web page would write.
    fn page(&self) -> Vec<(String, Value)> {
        let value = |(key, constant): &(&str, &str)| {
            let value = self.value(key).unwrap_or_else(|| parsed(constant));
            (key.to_string(), value)
        };
        let asked = PAGE.iter().filter(|(key, _)| self.is_asked(key));
        asked.map(value).filter(|(key, value)| is_shown(key, value)).collect()
    }

    /// Whether a key says something of what the session does. The page shows the fields of its other kinds of training
    /// not at all, and leaves out what is off at 0.
    fn is_asked(&self, key: &str) -> bool {
        let is_set =
            |key: &str| settings::declarations().iter().any(|setting| setting.name == key && self.differs(setting));
        let kind = self.settings.get("finetuning_type").unwrap_or_else(|_| "lora".to_string());
        match key {
            "quantization_method" | "double_quantization" => is_set("quantization_bit"),
            "neftune_noise_alpha" | "loraplus_lr_ratio" | "val_size" => is_set(key),
            "eval_strategy" | "eval_steps" | "per_device_eval_batch_size" | "load_best_model_at_end" => {
                is_set("val_size") || is_set("eval_dataset")
            }
            _ if key.starts_with("freeze_trainable_") || key == "freeze_extra_modules" => kind == "freeze",
            _ if key.starts_with("lora_") => kind == "lora",
            _ => true,
        }
    }

    /// A recipe that was loaded, with the values of now.
    fn again(&self, given: &Map<String, Value>) -> Vec<(String, Value)> {
        let mut entries = Vec::new();
        for (key, before) in given {
            let now = self.value(key).filter(|now| !self.means(key, before, now));
            entries.push((key.clone(), now.unwrap_or_else(|| before.clone())));
        }
        entries
    }

    /// Whether `before` says the same as the session does.
    fn means(&self, key: &str, before: &Value, now: &Value) -> bool {
        if text(before) == text(now) {
            return true;
        }
        let mut then = defaults();
        if key == REPORT_TO {
            return super::report_to(&text(before)).is_ok_and(|(then, _)| then == self.settings.report_to);
        }
        match settings::declarations().iter().find(|setting| setting.name == key) {
            Some(setting) => {
                let is_default = super::means_default(key, &text(before));
                (is_default || then.set(key, &text(before)).is_ok()) && setting.get(&then) == setting.get(self.settings)
            }
            None => is(&text(before), &text(now)),
        }
    }

    /// What the session says of a key; `None` if nothing.
    fn value(&self, key: &str) -> Option<Value> {
        match key {
            "model_name_or_path" => self.model.map(|model| Value::String(model.to_string())),
            "bf16" => Some(Value::Bool(self.bf16)),
            "eval_steps" => Some(Value::from(self.settings.steps_between_evaluations())),
            "pure_bf16" if !self.bf16 => Some(Value::Bool(false)),
            _ => {
                let setting = settings::declarations().iter().find(|setting| setting.name == key)?;
                Some(typed(setting, self.settings))
            }
        }
    }

    fn differs(&self, setting: &Declaration) -> bool {
        !keys::OWN.contains(&setting.name) && setting.get(self.settings) != setting.get(&defaults())
    }
}

/// Whether a command shows a key: what is off or unset is left out, but for a few that are on by default.
fn is_shown(key: &str, value: &Value) -> bool {
    const ON_BY_DEFAULT: &[&str] = &[
        "packing",
        "enable_thinking",
        "use_reentrant_gc",
        "double_quantization",
        "freeze_vision_tower",
        "freeze_multi_modal_projector",
    ];
    match value {
        Value::Null => false,
        Value::Bool(false) => ON_BY_DEFAULT.contains(&key),
        // No system prompt is something else than the template's.
        Value::String(text) => !text.is_empty() || key == "default_system",
        _ => true,
    }
}

/// Where a command has a key; what the page knows not comes where it lays its free arguments, by name.
fn place(key: &str) -> (usize, &str) {
    let of = |key: &str| PAGE.iter().position(|(name, _)| *name == key);
    of(key).map(|at| (at, "")).or_else(|| Some((of("optim")?, key))).unwrap_or((usize::MAX, key))
}

/// The value of a setting, of the type that LLaMA-Factory has for it.
fn typed(setting: &Declaration, settings: &Settings) -> Value {
    let text = setting.get(settings);
    let whole = || text.parse::<i64>().ok().map(Value::from);
    let number = || text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
    let typed = match setting.kind {
        // What LLaMA-Factory has not is left out, and without a word it is none.
        Kind::Choices(_) => Some(Value::from(match settings.report_to.contains(&Reporter::Tensorboard) {
            true => "tensorboard",
            false => "none",
        })),
        _ if text == "none" => Some(Value::Null),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Number if keys::WHOLE.contains(&setting.name) => whole().or_else(number),
        Kind::Number => number(),
        Kind::Integer | Kind::Choice(_) => whole(),
        // As an empty text is shown.
        Kind::Text if text == "\"\"" => Some(Value::String(String::new())),
        Kind::Mapping => Mapping::parse(&text).map(|Mapping(map)| Value::Object(map)),
        Kind::Text | Kind::List | Kind::Numbers | Kind::Path => None,
    };
    typed.unwrap_or(Value::String(text))
}

/// A constant of the tables.
fn parsed(text: &str) -> Value {
    match text {
        "" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<i64>().map_or_else(|_| Value::String(text.to_string()), Value::from),
    }
}
