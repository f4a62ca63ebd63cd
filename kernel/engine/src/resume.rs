//! Going on from a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use crate::checkpoint::DataFingerprint;
use crate::checkpoint::Fingerprint;
use crate::checkpoint::ModelFingerprint;
use crate::checkpoint::STATE;
use crate::checkpoint::folder;
use crate::difference::DataDifference;
use crate::difference::ModelDifference;
use crate::difference::SampleCounts;
use crate::difference::SettingDifference;
use crate::error::Error;
use crate::error::Result;
use crate::model::Model;
use crate::settings::Declaration;
use crate::settings::Group;
use crate::settings::Settings;
use crate::settings::Value;
use crate::settings::declarations;

/// The checkpoint that `from` means: the folder itself, or the latest of an output folder; without it, the latest of
/// `output_dir`.
///
/// # Errors
/// There is none.
pub(crate) fn find(from: Option<&Path>, output_dir: Option<&Path>) -> Result<PathBuf> {
    let folder = from.or(output_dir).ok_or(Error::NoCheckpointFolder)?;
    if folder.join(STATE).is_file() {
        return Ok(folder.to_path_buf());
    }
    // A process that died while it replaced a checkpoint has left the old one under another name.
    tunebook_files::sweep(folder);
    if let Some(latest) = folder::latest(folder) {
        return Ok(latest);
    }
    let path = folder.to_path_buf();
    let is_adapter =
        ["adapter_config.json", "trained_weights.safetensors"].iter().any(|name| folder.join(name).exists());
    Err(if is_adapter { Error::NoTrainingState { path } } else { Error::NoCheckpoint { path } })
}

/// Behind the number of bits in a checkpoint.
const BITS: &str = " bits";

pub(crate) fn model_fingerprint(model: &Model) -> ModelFingerprint {
    let report = &model.report;
    ModelFingerprint {
        name: report.name.clone(),
        parameters: report.parameters,
        dtype: report.dtype.clone(),
        quantized: report.quantized.map(|bit| bit.show() + BITS),
        weights: Some(model.fingerprint().to_string()),
    }
}

/// The settings that a checkpoint holds: all that a training is made with; those of the data as the `data` was read with.
pub(crate) fn settings_to_keep(settings: &Settings, data: &Settings) -> BTreeMap<String, String> {
    let value = |s: &Declaration| s.get(if is_of_samples(s) { data } else { settings });
    declarations().iter().filter(|s| is_kept(s)).map(|s| (s.name.to_string(), value(s))).collect()
}

/// Whether samples are read and encoded by a setting, so that another value counts from the next `data` on.
fn is_of_samples(setting: &Declaration) -> bool {
    matches!(setting.group, Group::Data | Group::Prompt | Group::Pictures) && setting.name != "dataset"
}

/// The settings by which samples are encoded that have changed since the `data` was read; where it lies is left out.
pub(crate) fn changed_since_data(settings: &Settings, data: &Settings) -> Vec<String> {
    let changed = |s: &&Declaration| is_of_samples(s) && !s.flags.location && s.get(settings) != s.get(data);
    declarations().iter().filter(changed).map(|s| s.name.to_string()).collect()
}

/// Whether a checkpoint keeps a setting.
fn is_kept(setting: &Declaration) -> bool {
    let is_of_training = match setting.group {
        Group::Model | Group::Generation | Group::Export => false,
        Group::Pictures
        | Group::Data
        | Group::Prompt
        | Group::Lora
        | Group::Freeze
        | Group::Method
        | Group::Training
        | Group::Evaluation
        | Group::Output => true,
    };
    is_of_training && !setting.flags.transient
}

/// Whether a setting says which datasets are read, and from where.
fn chooses_data(setting: &Declaration) -> bool {
    setting.flags.location || setting.name == "dataset"
}

/// The settings of a resumed training.
pub(crate) struct Resumed {
    pub settings: Settings,
    /// As `key=value`.
    pub taken: Vec<String>,
    pub differing: Vec<SettingDifference>,
}

/// Takes over the settings of a checkpoint, but for those that `is_meant` says are meant as they are. Where the data
/// lies is left as it is if some is chosen.
///
/// # Errors
/// A value that this version does not take.
pub(crate) fn settings(
    fingerprint: &Fingerprint,
    now: &Settings,
    is_meant: &dyn Fn(&str) -> bool,
    has_data: bool,
) -> Result<Resumed> {
    let mut resumed = Resumed { settings: now.clone(), taken: Vec::new(), differing: Vec::new() };
    for setting in declarations().iter().filter(|setting| is_kept(setting)) {
        let name = setting.name;
        let Some(then) = fingerprint.settings.get(name).filter(|then| **then != setting.get(now)) else { continue };
        if has_data && chooses_data(setting) {
            continue;
        }
        if !is_meant(name) {
            resumed.settings.set(name, then)?;
            resumed.taken.push(format!("{name}={then}"));
        } else if !setting.flags.no_effect_on_result {
            let (key, then) = (name.to_string(), then.clone());
            resumed.differing.push(SettingDifference { key, then, now: setting.get(now) });
        }
    }
    Ok(resumed)
}

/// The settings of the data whose values have changed.
pub(crate) fn data_settings(fingerprint: &Fingerprint, now: &Settings) -> Vec<SettingDifference> {
    let of_data = declarations().iter().filter(|s| matches!(s.group, Group::Data | Group::Prompt | Group::Pictures));
    let differing = |setting: &Declaration| {
        let (then, now) = (fingerprint.settings.get(setting.name)?.clone(), setting.get(now));
        (then != now).then(|| SettingDifference { key: setting.name.to_string(), then, now })
    };
    of_data.filter(|s| !chooses_data(s)).filter_map(differing).collect()
}

/// # Errors
/// The checkpoint was made with a model of another kind, or one that forms products otherwise.
pub(crate) fn check_model(checkpoint: &Path, then: &ModelFingerprint, now: &ModelFingerprint) -> Result<()> {
    let bits = |fingerprint: &ModelFingerprint| {
        fingerprint.quantized.as_ref().map(|bits| bits.trim_end_matches(BITS).to_string())
    };
    // A checkpoint of an earlier version does not tell.
    let weights = then.weights.clone().zip(now.weights.clone());
    let differences = [
        (then.parameters != now.parameters)
            .then_some(ModelDifference::Parameters { then: then.parameters, now: now.parameters }),
        (then.dtype != now.dtype).then(|| ModelDifference::Dtype { then: then.dtype.clone(), now: now.dtype.clone() }),
        (then.quantized != now.quantized).then(|| ModelDifference::Quantization { then: bits(then), now: bits(now) }),
        weights.filter(|(then, now)| then != now).map(|(then, now)| ModelDifference::Weights { then, now }),
    ];
    let differences: Vec<_> = differences.into_iter().flatten().collect();
    match differences.is_empty() {
        true => Ok(()),
        false => Err(Error::OtherModel { path: checkpoint.to_path_buf(), name: then.name.clone(), differences }),
    }
}

/// # Errors
/// The checkpoint was made with other samples than those that are chosen; it says which.
pub(crate) fn check_data(
    checkpoint: &Path,
    then: &DataFingerprint,
    now: &DataFingerprint,
    settings: Vec<SettingDifference>,
) -> Result<()> {
    if (&then.train, &then.eval) == (&now.train, &now.eval) {
        return Ok(());
    }
    let names =
        (then.names != now.names).then(|| DataDifference::Names { then: then.names.clone(), now: now.names.clone() });
    let count =
        |fingerprint: &DataFingerprint| SampleCounts { train: fingerprint.samples, eval: fingerprint.eval_samples };
    let samples = (count(then) != count(now)).then(|| DataDifference::Samples { then: count(then), now: count(now) });
    let settings = settings.into_iter().map(DataDifference::Setting);
    let mut differences: Vec<_> = names.into_iter().chain(samples).chain(settings).collect();
    if differences.is_empty() {
        differences.push(DataDifference::Contents { names: now.names.clone(), held_out: then.train == now.train });
    }
    Err(Error::OtherData { path: checkpoint.to_path_buf(), differences })
}
