//! The names of a family's tensors.

use crate::adapter::Part;

/// The names of a family's tensors and modules, as transformers has them in memory. Nothing else knows them.
#[derive(Debug, PartialEq, Eq)]
pub struct TensorNames {
    /// What the names of the vision tower begin with; all others belong to the language model.
    pub vision_tower: &'static str,
    /// What those of the projector begin with, which may lie within the tower.
    pub projector: &'static str,
    /// What the names of the language model begin with.
    pub language_model: &'static str,
    /// The embedding matrix.
    pub embedding: &'static str,
    /// The language model's head, where it is not the embedding.
    pub head: &'static str,
    /// What names in files may begin with, and with what they begin in memory. The first that fits counts.
    pub in_files: &'static [(&'static str, &'static str)],
    /// With what names begin in memory, and in the files that were published.
    pub published: &'static [(&'static str, &'static str)],
}

impl TensorNames {
    /// The name in memory of a tensor or module, whichever naming its file uses.
    pub(crate) fn canonical(&self, name: &str) -> String {
        replace_prefix(name, self.in_files)
    }

    /// The name that a tensor or a module has in published files.
    pub(crate) fn published(&self, canonical: &str) -> String {
        replace_prefix(canonical, self.published)
    }

    /// The part to which a tensor or a module belongs.
    pub(crate) fn part(&self, name: &str) -> Part {
        if name.starts_with(self.projector) {
            Part::MultiModalProjector
        } else if name.starts_with(self.vision_tower) {
            Part::VisionTower
        } else {
            Part::LanguageModel
        }
    }

    /// What of a name comes after that of the language model or the vision tower.
    pub(crate) fn within_tower<'a>(&self, name: &'a str) -> &'a str {
        let towers = [self.language_model, self.vision_tower];
        let within = towers.iter().find_map(|tower| name.strip_prefix(tower)?.strip_prefix('.'));
        within.unwrap_or(name)
    }
}

fn replace_prefix(name: &str, prefixes: &[(&str, &str)]) -> String {
    let replaced = prefixes.iter().find_map(|(old, new)| Some(format!("{new}{}", name.strip_prefix(old)?)));
    replaced.unwrap_or_else(|| name.to_string())
}
