//! A LLaMA-Factory recipe carried out.

use std::path::Path;

use tunebook_engine::Event;
use tunebook_engine::Note;
use tunebook_engine::Session;
use tunebook_engine::recipe::Recipe;
use tunebook_engine::report::TrainEnd;
use tunebook_engine::settings::FinetuningType;

use crate::error::Result;
use crate::log;
use crate::output::Output;
use crate::say;
use crate::verb::Stage;

/// `tunebook train RECIPE.yaml`: loads the model, the data and the adapter that the recipe names, and trains to the end.
///
/// # Errors
/// The recipe cannot be followed to the letter, or a step of it fails.
pub fn train(path: &Path, overrides: &[String], session: &mut Session, stage: &Stage) -> Result<Output> {
    let recipe = Recipe::read(path, overrides)?.for_training()?;
    let output_dir = recipe.settings.output_dir.clone();
    prepare(&recipe, session, stage)?;
    let trained = log::train(None, session, stage)?;
    let interrupted = matches!(&trained, Output::Trained(report) if report.end == TrainEnd::Interrupted);
    (stage.show)(trained);
    // A training that came to its end has written its folder; LLaMA-Factory writes that of an interrupted one too.
    match (output_dir, interrupted) {
        (Some(folder), true) => Ok(Output::Saved(session.save(&folder)?)),
        (Some(folder), false) => {
            let folder = folder.display();
            Ok(Output::Text(say!(stage.lang(), "written to {folder}", "已写到 {folder}")))
        }
        (None, _) => Ok(Output::Nothing),
    }
}

/// Makes a session what the recipe says: its settings, model, data (if it names any) and adapter.
///
/// # Errors
/// A step of it fails; the session is as it was.
pub fn prepare(recipe: &Recipe, session: &mut Session, stage: &Stage) -> Result<()> {
    if !recipe.without_effect.is_empty() {
        stage.context.emit(Event::Note(Note::WithoutEffect { keys: recipe.without_effect.clone() }));
    }
    let mut made = Session::default();
    made.follow(recipe);
    (stage.show)(Output::Loaded(made.load(&recipe.model, &stage.context)?));
    if !recipe.settings.dataset.is_empty() {
        (stage.show)(Output::Data(made.data(&recipe.settings.dataset, &stage.context)?));
    }
    (stage.show)(Output::Adapter(match (&recipe.settings.adapter_name_or_path, recipe.settings.finetuning_type) {
        (Some(folder), _) => made.adapter_load(folder, None)?,
        (None, FinetuningType::Lora) => made.lora(None)?,
        (None, FinetuningType::Freeze) => made.freeze(None)?,
        (None, FinetuningType::Full) => made.full(None)?,
    }));
    *session = made;
    Ok(())
}
