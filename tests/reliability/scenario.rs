//! What users do while the program may die, and what they do next.

/// Something that is done with the program.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// Lines from a pipe.
    Lines(&'static str),
    /// `tunebook train` with these arguments, as `llamafactory-cli` takes them; here `key=value`.
    Recipe(&'static [&'static str]),
}

/// What a user does after a crash.
#[derive(Clone, Copy)]
pub(super) enum Next {
    /// Goes on from the newest checkpoint, or where the training has written none, starts it again.
    Resume,
    /// Starts the recipe again, which goes on by itself; where there is no checkpoint, it is to overwrite what is there.
    Recipe,
    /// The same again.
    Again,
    /// Loads the adapter that is there, which is the earlier one or the new one as a whole, and does the same again.
    LoadFirst,
    /// The same again, unless this folder is there: an export to it is complete then.
    UnlessThere(&'static str),
}

/// A run in which the program is killed. `TINY` and `TRAIN` stand for the tests' checkpoint and data, and other paths are
/// relative.
pub(super) struct Scenario {
    pub name: &'static str,
    /// What came first, each in a process of its own.
    pub before: &'static [Act],
    /// What is killed.
    pub killed: Act,
    /// Whether that goes on with the training of `before`, whose checkpoints may give way to newer ones then.
    pub continues: bool,
    pub next: Next,
}

use Act::Lines;
use Act::Recipe;

/// Goes on with a training whose folder is `out`.
pub(super) const RESUME: Act = Lines("load TINY\nset memory=3\nresume out\ntrain\n");

/// Loads what is in `saved`.
pub(super) const LOAD: Act = Lines("load TINY\nadapter load saved\n");

macro_rules! session {
    ($lines:literal) => {
        Lines(concat!(
            "load TINY\nset dataset_dir=TRAIN cutoff_len=512 batch=2 accum=2 learning_rate=1e-3 logging_steps=1 memory=3\n\
             set save_steps=1\ndata creatures\n",
            $lines
        ))
    };
}

macro_rules! recipe {
    ($($more:literal),*) => {
        &["stage=sft", "do_train=true", "model_name_or_path=TINY", "dataset=creatures", "dataset_dir=TRAIN",
          "template=qwen2_vl", "cutoff_len=512", "per_device_train_batch_size=2", "gradient_accumulation_steps=2",
          "learning_rate=1e-3", "logging_steps=1", "save_steps=1", "memory=3", "output_dir=out", $($more),*]
    };
}

const SAVED: Act = session!("lora lora_rank=2\nset max_steps=2\ntrain\nsave saved\n");

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "train",
        before: &[],
        killed: session!("lora lora_rank=2\nset output_dir=out max_steps=3\ntrain\n"),
        continues: true,
        next: Next::Resume,
    },
    Scenario {
        name: "rotate, same step",
        before: &[],
        killed: session!(
            "lora lora_rank=2\nset output_dir=out max_steps=4 save_total_limit=1\ntrain 2\nsave\nsave\ntrain\n"
        ),
        continues: true,
        next: Next::Resume,
    },
    Scenario {
        name: "best",
        before: &[],
        killed: session!(
            "set val_size=5 eval_strategy=steps eval_steps=1 load_best_model_at_end=true save_total_limit=1\n\
             data creatures\nlora lora_rank=2\nset output_dir=out max_steps=3\ntrain\n"
        ),
        continues: true,
        next: Next::Resume,
    },
    Scenario {
        name: "resume",
        before: &[session!("lora lora_rank=2\nset output_dir=out max_steps=4 save_total_limit=1\ntrain 2\n")],
        killed: RESUME,
        continues: true,
        next: Next::Resume,
    },
    Scenario {
        name: "resume an earlier step",
        before: &[session!("lora lora_rank=2\nset output_dir=out max_steps=3\ntrain\n")],
        killed: Lines("load TINY\nset memory=3\nresume out/checkpoint-1\nset learning_rate=5e-4\ntrain\n"),
        continues: false,
        next: Next::Resume,
    },
    Scenario {
        name: "overwrite",
        before: &[session!("lora lora_rank=2\nset output_dir=out max_steps=2 seed=7\ntrain\n")],
        killed: session!("lora lora_rank=2\nset output_dir=out max_steps=3 overwrite_output_dir=true\ntrain\n"),
        continues: false,
        next: Next::Resume,
    },
    Scenario {
        name: "overwrite again",
        before: &[
            session!("lora lora_rank=2\nset output_dir=out max_steps=1 seed=7\ntrain\n"),
            session!("lora lora_rank=2\nset output_dir=out max_steps=2 seed=8 overwrite_output_dir=true\ntrain\n"),
        ],
        killed: session!("lora lora_rank=2\nset output_dir=out max_steps=2 overwrite_output_dir=true\ntrain\n"),
        continues: false,
        next: Next::Resume,
    },
    Scenario {
        name: "recipe",
        before: &[],
        killed: Recipe(recipe!("finetuning_type=lora", "lora_rank=2", "max_steps=3", "save_total_limit=2")),
        continues: true,
        next: Next::Recipe,
    },
    Scenario {
        name: "recipe, full",
        before: &[],
        killed: Recipe(recipe!("finetuning_type=full", "max_steps=2", "save_total_limit=1")),
        continues: true,
        next: Next::Recipe,
    },
    Scenario { name: "save", before: &[], killed: SAVED, continues: true, next: Next::Again },
    Scenario {
        name: "save over another",
        before: &[session!("lora lora_rank=4\nset max_steps=1 seed=7\ntrain\nsave saved\n")],
        killed: SAVED,
        continues: true,
        next: Next::Again,
    },
    Scenario {
        name: "save over another, and load",
        before: &[session!("lora lora_rank=4\nset max_steps=1 seed=7\ntrain\nsave saved\n")],
        killed: SAVED,
        continues: true,
        next: Next::LoadFirst,
    },
    Scenario {
        name: "export",
        before: &[SAVED, Lines("load TINY\nadapter load saved\nexport other\n")],
        killed: Lines("load TINY\nset export_size=0.0005\nadapter load saved\nexport merged\n"),
        continues: true,
        next: Next::UnlessThere("merged"),
    },
];
