//! A LLaMA-Factory recipe carried out.

use std::path::Path;

use tunebook_engine::Event;
use tunebook_engine::Note;
use tunebook_engine::Session;
use tunebook_engine::recipe::Recipe;
use tunebook_engine::report::TrainEnd;
use tunebook_engine::settings::EvalStrategy;
use tunebook_engine::settings::FinetuningType;

use crate::error::Result;
use crate::lang::both;
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
    if let Some(checkpoint) = recipe.checkpoint() {
        stage.context.emit(Event::Note(Note::GoingOn { checkpoint: checkpoint.to_path_buf() }));
    }
    prepare(&recipe, session, stage)?;
    let trained = log::train(None, session, stage)?;
    let interrupted = matches!(&trained, Output::Trained(report) if report.end == TrainEnd::Interrupted);
    (stage.show)(trained);
    if recipe.evaluates_at_end() && recipe.settings.eval_strategy == EvalStrategy::No && !interrupted {
        (stage.show)(Output::Evaluated(session.evaluate(&[], None, None, &stage.context)?));
    }
    // A training that came to its end has written its folder; LLaMA-Factory writes that of an interrupted one too.
    match (output_dir, interrupted) {
        (Some(folder), true) => Ok(Output::Saved(session.save(&folder)?)),
        (Some(folder), false) => {
            let folder = folder.display();
            let is_whole = !session.export_trained(&stage.context)?.is_empty();
            let model = if is_whole { both(", the whole model, too", "，包括整个模型") } else { both("", "") };
            let model = model.in_lang(stage.lang());
            Ok(Output::Text(say!(stage.lang(), "written to {folder}{model}", "已写到 {folder}{model}")))
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
    let (mut made, before) = (Session::default(), session.settings_of_its_own());
    made.follow(recipe);
    (stage.show)(Output::Loaded(made.load(&recipe.model, &stage.context)?));
    if !recipe.settings.dataset.is_empty() {
        (stage.show)(Output::Data(made.data(&recipe.settings.dataset, &stage.context)?));
    }
    let output = match (recipe.checkpoint(), &recipe.settings.adapter_name_or_path, recipe.settings.finetuning_type) {
        // The recipe says what is meant.
        (Some(folder), ..) => Output::Resumed(Box::new(made.resume(Some(folder), &|_| true, &stage.context)?)),
        (None, Some(folder), _) => Output::Adapter(made.adapter_load(folder, None)?),
        (None, None, FinetuningType::Lora) => Output::Adapter(made.lora(None)?),
        (None, None, FinetuningType::Freeze) => Output::Adapter(made.freeze(None)?),
        (None, None, FinetuningType::Full) => Output::Adapter(made.full(None)?),
    };
    (stage.show)(output);
    made.tie_recipe(&before);
    *session = made;
    Ok(())
}
