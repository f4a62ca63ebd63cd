//! The files of a model's folder.

use std::fs;
use std::path::Path;

use super::Verdict;
use super::child::Started;
use super::dice::Dice;
use super::json;
use super::safetensors;
use super::verdict;
use crate::fixtures::fixture;

type Change = fn(&mut Dice, &[u8]) -> Vec<u8>;

/// One of these files of a model's folder is changed, and the model is loaded and asked.
fn asked(dice: &mut Dice, folder: &Path, files: &[(&str, &str)], change: Change) -> Verdict {
    let (model, changed) = *dice.pick(files);
    let (from, to) = (fixture(model), folder.join("m"));
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(&from).unwrap().flatten() {
        match entry.file_name() {
            name if name == changed => {
                fs::write(to.join(name), change(dice, &fs::read(entry.path()).unwrap())).unwrap();
            }
            name => std::os::unix::fs::symlink(entry.path(), to.join(name)).unwrap(),
        }
    }
    let picture = fixture("pictures/creature_0.png");
    let rest = *dice.pick(&[
        "",
        "chat do_sample=true max_new_tokens=3 Hello\n",
        "lora\nexport out\nload out\n",
        "load m quantization_bit=4\nchat max_new_tokens=2 Hello\n",
    ]);
    let script = format!("load m\nchat max_new_tokens=2 image={} What?\n{rest}", picture.display());
    verdict::of(&Started::script(folder, &script).ended())
}

pub(super) fn config(dice: &mut Dice, folder: &Path) -> Verdict {
    asked(dice, folder, &[("tiny", "config.json"), ("tiny-nested", "config.json")], json::mutate_file)
}

pub(super) fn preprocessor(dice: &mut Dice, folder: &Path) -> Verdict {
    asked(
        dice,
        folder,
        &[("tiny", "preprocessor_config.json"), ("tiny-nested", "processor_config.json")],
        json::mutate_file,
    )
}

pub(super) fn generation(dice: &mut Dice, folder: &Path) -> Verdict {
    asked(dice, folder, &[("tiny", "generation_config.json")], json::mutate_file)
}

pub(super) fn tokenizer(dice: &mut Dice, folder: &Path) -> Verdict {
    asked(dice, folder, &[("tiny", "tokenizer.json"), ("tiny", "tokenizer_config.json")], json::mutate_file)
}

pub(super) fn index(dice: &mut Dice, folder: &Path) -> Verdict {
    asked(dice, folder, &[("tiny", "model.safetensors.index.json")], json::mutate_file)
}

pub(super) fn weights(dice: &mut Dice, folder: &Path) -> Verdict {
    asked(
        dice,
        folder,
        &[("tiny", "model-00001-of-00002.safetensors"), ("tiny-nested", "model.safetensors")],
        safetensors::mutate,
    )
}

/// What begins as a ZIP archive of PyTorch does, in the place of the weights.
pub(super) fn pickle(dice: &mut Dice, folder: &Path) -> Verdict {
    const START: &[u8] = b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\x12\0archive/data.pkl\
        \x80\x02cposix\nsystem\nX\x02\0\0\0idR.";
    let to = folder.join("m");
    fs::create_dir(&to).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        std::os::unix::fs::symlink(fixture("tiny").join(name), to.join(name)).unwrap();
    }
    let name = *dice.pick(&["pytorch_model.bin", "pytorch_model.bin.index.json", "model.gguf", "consolidated.00.pth"]);
    fs::write(to.join(name), super::bytes::mutate(dice, START)).unwrap();
    verdict::of(&Started::script(folder, "load m\n").ended())
}
