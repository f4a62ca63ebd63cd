//! `tunebook train RECIPE.yaml`: a whole LLaMA-Factory run.

use std::path::Path;

use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::recipe::Recipe;
use tunebook_engine::report::TrainEnd;

use crate::error::Result;
use crate::log;
use crate::output::Output;
use crate::verb::Stage;

/// Loads the model, the data and the adapter that the recipe names, and trains to the end.
///
/// # Errors
/// The recipe cannot be followed to the letter, or a step of it fails.
pub fn train(path: &Path, overrides: &[String], session: &mut Session, stage: &Stage) -> Result<Output> {
    let Recipe { model, settings, without_effect } = Recipe::read(path, overrides)?;
    if !without_effect.is_empty() {
        stage.context.emit(Event::Note(format!("without effect here: {}", without_effect.join(", "))));
    }
    let (data, adapter) = (settings.dataset.clone(), settings.adapter_name_or_path.clone());
    let output_dir = settings.output_dir.clone();
    session.set(settings);
    (stage.show)(Output::Loaded(session.load(&model, &stage.context)?));
    (stage.show)(Output::Data(session.data(&data, &stage.context)?));
    (stage.show)(Output::Adapter(match adapter {
        Some(folder) => session.adapter_load(&folder, None)?,
        None => session.lora(None)?,
    }));
    let trained = log::train(None, session, stage)?;
    let interrupted = matches!(&trained, Output::Trained(report) if report.end == TrainEnd::Interrupted);
    (stage.show)(trained);
    // A training that came to its end has written its folder; LLaMA-Factory writes that of an interrupted one too.
    match (output_dir, interrupted) {
        (Some(folder), true) => Ok(Output::Saved(session.save(&folder)?)),
        (Some(folder), false) => Ok(Output::Text(format!("written to {}", folder.display()))),
        (None, _) => Ok(Output::Nothing),
    }
}
