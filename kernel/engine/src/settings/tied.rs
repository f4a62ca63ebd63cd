//! Settings that came with something (the demo, a recipe, a checkpoint, a word on the line of `load`) and leave with
//! it.
//!
//! `demo`, `recipe load` and `resume` change settings that the user has not typed. For each, [`Tied`] remembers what it
//! came with (a model, an adapter, datasets, the folder of `dataset_info.json`) and its value before. When another
//! thing of that kind comes, the earlier value returns, unless the user has set it since. A typed setting stays, with
//! two exceptions that belong to their line: a model's revision given to `load`, and a folder of images given to
//! `data`.

use std::path::PathBuf;

use tunebook_data::DatasetInfo;

use super::Settings;
use super::declaration;

/// What a setting came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Model,
    Adapter,
    /// Data sets, by their names.
    Data(Vec<String>),
    /// The folder of dataset_info.json.
    DatasetDir(PathBuf),
}

/// Which settings came with what, and what they were before. What somebody sets by hand is on the list no longer.
#[derive(Clone, Debug, Default)]
pub struct Tied(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    key: &'static str,
    owner: Owner,
    before: String,
    now: String,
}

impl Tied {
    /// The setting `key`, which is now as in `now`, came with `owner`, and was as in `before`.
    pub fn tie(&mut self, key: &str, owner: Owner, before: &Settings, now: &Settings) {
        let Ok(setting) = declaration(key) else { return };
        self.untie(key);
        self.0.push(Entry { key: setting.name, owner, before: setting.get(before), now: setting.get(now) });
    }

    /// The setting is somebody's own from now on.
    pub fn untie(&mut self, key: &str) {
        let Ok(setting) = declaration(key) else { return };
        self.0.retain(|entry| entry.key != setting.name);
    }

    /// Gives the settings back that came with `owner`, unless they were changed since; says which, as `key=value`.
    pub fn take_back(&mut self, owner: &Owner, settings: &mut Settings) -> Vec<String> {
        self.take_back_if(|entry| entry.owner == *owner, settings)
    }

    /// The same with all of them.
    pub fn take_back_all(&mut self, settings: &mut Settings) {
        self.take_back_if(|_| true, settings);
    }

    /// The same for all that do not belong to the data sets `names`: what came with others. The folder of
    /// dataset_info.json stays while they are declared there, and the pictures' stays with it. `val_size` goes before
    /// data sets to evaluate on that nobody has named.
    pub fn take_back_for(&mut self, names: &[String], settings: &mut Settings) -> Vec<String> {
        let holds_back = settings.val_size > 0.0;
        let is_other = |entry: &Entry| matches!(&entry.owner, Owner::Data(of) if of != names);
        let mut taken =
            self.take_back_if(|entry| entry.key == "eval_dataset" && (holds_back || is_other(entry)), settings);
        let (mut tied, mut earlier) = (self.clone(), settings.clone());
        let folder = tied.take_back_if(|entry| entry.key == "dataset_dir" && is_other(entry), &mut earlier);
        if !folder.is_empty() && !are_declared(names, settings) && are_declared(names, &earlier) {
            (*self, *settings) = (tied, earlier);
            taken.extend(folder);
        }
        let dataset_dir = settings.dataset_dir.clone();
        let is_of_another = |entry: &Entry| matches!(&entry.owner, Owner::DatasetDir(of) if *of != dataset_dir);
        taken.extend(self.take_back_if(is_of_another, settings));
        taken
    }

    fn take_back_if(&mut self, is_meant: impl Fn(&Entry) -> bool, settings: &mut Settings) -> Vec<String> {
        let mut taken = Vec::new();
        for Entry { key, before, now, .. } in self.0.extract_if(.., |entry| is_meant(entry)) {
            let is_as_it_came = settings.get(key).is_ok_and(|value| value == now);
            if is_as_it_came && before != now && settings.set(key, &before).is_ok() {
                taken.push(format!("{key}={before}"));
            }
        }
        taken
    }
}

fn are_declared(names: &[String], settings: &Settings) -> bool {
    let info = DatasetInfo::read(&settings.dataset_dir);
    info.is_ok_and(|info| names.iter().all(|name| info.names().any(|known| known == name)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn set(settings: &mut Settings, changes: &[(&str, &str)]) {
        changes.iter().for_each(|(key, value)| settings.set(key, value).unwrap());
    }

    fn declare(folder: &Path, names: &[&str]) -> String {
        let entry = |name: &&str| format!(r#""{name}": {{"file_name": "{name}.json"}}"#);
        let entries = names.iter().map(entry).collect::<Vec<_>>().join(",");
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("dataset_info.json"), format!("{{{entries}}}")).unwrap();
        folder.display().to_string()
    }

    #[test]
    fn what_came_with_a_model_goes_with_it_unless_it_was_changed() {
        let mut before = Settings::default();
        set(&mut before, &[("lr", "1e-5")]);
        let mut now = before.clone();
        set(&mut now, &[("lr", "4e-3"), ("rank", "16"), ("batch", "8"), ("epochs", "6")]);
        let mut tied = Tied::default();
        for key in ["learning_rate", "lora_rank", "batch", "num_train_epochs", "seed"] {
            tied.tie(key, Owner::Model, &before, &now);
        }
        set(&mut now, &[("rank", "4")]);
        tied.untie("num_train_epochs");
        assert_eq!(tied.take_back(&Owner::Model, &mut now), ["learning_rate=1e-5", "per_device_train_batch_size=2"]);
        assert_eq!((now.lora_rank, now.num_train_epochs), (4, 6.0));
        assert!(tied.take_back(&Owner::Model, &mut now).is_empty());
    }

    #[test]
    fn what_came_with_data_goes_when_other_data_comes() {
        let folder = tempfile::tempdir().unwrap();
        let mine = declare(&folder.path().join("mine"), &["cats", "dogs"]);
        let theirs = declare(&folder.path().join("theirs"), &["a", "b"]);
        let mut before = Settings::default();
        set(&mut before, &[("dataset_dir", &mine), ("media_dir", "pictures")]);
        let mut came = before.clone();
        set(&mut came, &[("dataset_dir", &theirs), ("media_dir", "none"), ("eval_dataset", "b")]);
        let data = Owner::Data(vec!["a".to_string()]);
        let mut tied = Tied::default();
        tied.tie("dataset_dir", data.clone(), &before, &came);
        tied.tie("eval_dataset", data, &before, &came);
        tied.tie("media_dir", Owner::DatasetDir(theirs.clone().into()), &before, &came);
        let taken = |names: &[&str], changes: &[(&str, &str)]| {
            let (mut tied, mut settings) = (tied.clone(), came.clone());
            set(&mut settings, changes);
            changes.iter().for_each(|(key, _)| tied.untie(key));
            tied.take_back_for(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>(), &mut settings)
        };
        assert!(taken(&["a"], &[]).is_empty());
        assert_eq!(taken(&["a"], &[("val_size", "0.1")]), ["eval_dataset=none"]);
        // Another one of the same folder, one of the folder before, one that is nowhere.
        assert_eq!(taken(&["b"], &[]), ["eval_dataset=none"]);
        let all = ["eval_dataset=none".to_string(), format!("dataset_dir={mine}"), "media_dir=pictures".to_string()];
        assert_eq!(taken(&["cats"], &[]), all);
        assert_eq!(taken(&["neither"], &[]), ["eval_dataset=none"]);
        // What is given along is somebody's own.
        assert_eq!(taken(&["cats"], &[("dataset_dir", &mine)]), [all[0].clone(), all[2].clone()]);
        assert!(taken(&["b"], &[("eval_dataset", "b")]).is_empty());
    }
}
