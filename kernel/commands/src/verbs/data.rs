//! `data`: which data sets to train on.

use tunebook_data::DatasetInfo;
use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::output::Output;
use crate::output::Table;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "data",
    aliases: &[],
    usage: "data [NAME[,NAME…]] [dataset_dir= cutoff_len= val_size= …]",
    help: "choose data sets to train on; alone: list them",
    details: "The names are those of dataset_info.json in dataset_dir. Every sample is encoded at once; one that cannot \
              be used is left out and reported. val_size holds some of them back for `evaluate`, the same ones as \
              LLaMA-Factory. The training of every adapter starts anew; what they have learned stays.",
    examples: &[
        ("data dataset_dir=pokemon", "lists those of pokemon/dataset_info.json"),
        ("data creatures cutoff_len=512", "takes one of them"),
        ("data creatures val_size=0.1", "holds a tenth of it back"),
        ("data creatures,identity max_samples=100", "takes the first 100 samples of two of them"),
    ],
    takes: Takes::Words(0, usize::MAX),
    options: &[],
    settings: &[Group::Data, Group::Pictures],
    complete: |_| Complete::DataSets,
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    let words = args.words.iter().flat_map(|word| word.split(',')).filter(|name| !name.is_empty());
    let mut names: Vec<_> = words.map(str::to_string).collect();
    if args.settings.iter().any(|(key, _)| *key == "dataset") {
        names.extend(session.settings().dataset.clone());
    }
    if names.is_empty() {
        return list(session);
    }
    let report = session.data(&names, &stage.context)?;
    let mut settings = session.settings().clone();
    settings.dataset = names;
    session.set(settings);
    Ok(Output::Data(report))
}

fn list(session: &Session) -> Result<Output> {
    let settings = session.settings();
    let info = DatasetInfo::read(&settings.dataset_dir).map_err(tunebook_engine::Error::from)?;
    let used = |name: &str| if settings.dataset.iter().any(|used| used == name) { "in use" } else { "" };
    Ok(Output::Table(Table {
        title: format!("data sets in {}", settings.dataset_dir.display()),
        headers: vec!["name", ""],
        rows: info.names().map(|name| vec![name.to_string(), used(name).to_string()]).collect(),
        note: String::new(),
    }))
}
