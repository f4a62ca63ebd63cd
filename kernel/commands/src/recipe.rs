//! A LLaMA-Factory recipe carried out.

use tunebook_engine::Event;
use tunebook_engine::Note;
use tunebook_engine::Session;
use tunebook_engine::recipe::Recipe;
use tunebook_engine::recipe::Start;
use tunebook_engine::report::TrainEnd;
use tunebook_engine::settings::FinetuningType;

use crate::error::Result;
use crate::given_file;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::run::run;
use crate::training;
use crate::verb::CommandContext;
use crate::verbs::predict::predict;
use crate::verbs::workers;

/// `tunebook train RECIPE.yaml`: loads the model, the data and the adapter that the recipe names, trains to the end,
/// evaluates and predicts, as far as the recipe says so. Instead of a file there may be LLaMA-Factory's arguments.
///
/// # Errors
/// The recipe cannot be followed to the letter, or a step of it fails.
pub(crate) fn train(arguments: &[String], session: &mut Session, cx: &CommandContext) -> Result<Output> {
    let (workers, arguments) = workers::in_recipe(arguments);
    let recipe = given(&arguments, cx)?.for_running()?;
    if !workers.is_empty() {
        (cx.show)(run(&workers, session, cx)?);
    }
    if let Some(checkpoint) = recipe.checkpoint().filter(|_| recipe.trains()) {
        cx.context.emit(Event::Note(Note::GoingOn { checkpoint: checkpoint.to_path_buf() }));
    }
    prepare(&recipe, session, cx)?;
    let mut written = Output::Nothing;
    if recipe.trains() {
        let trained = training::train(None, session, cx)?;
        let interrupted = matches!(&trained, Output::Trained(report) if report.end == TrainEnd::Interrupted);
        (cx.show)(trained);
        written = write(&recipe, interrupted, session, cx)?;
        if interrupted {
            return Ok(written);
        }
    }
    let names = recipe.data_to_evaluate();
    if recipe.evaluates_after_training() {
        (cx.show)(Output::Evaluated(session.evaluate(names, None, None, &cx.context)?));
    }
    if recipe.predicts() {
        (cx.show)(predict(names, None, None, session, cx)?);
    }
    Ok(written)
}

/// Where a training lies. One that came to its end has written its folder; LLaMA-Factory writes that of an interrupted one
/// too.
fn write(recipe: &Recipe, interrupted: bool, session: &mut Session, cx: &CommandContext) -> Result<Output> {
    let Some(folder) = &recipe.settings.output_dir else { return Ok(Output::Nothing) };
    if interrupted {
        return Ok(Output::Saved(session.save(folder)?));
    }
    let folder = folder.display();
    let is_whole = !session.export_trained(&cx.context)?.is_empty();
    let model =
        if is_whole { localized(", including the whole model", "，包括整个模型") } else { localized("", "") };
    let model = model.in_lang(cx.lang());
    Ok(Output::Text(localized!(cx.lang(), "written to {folder}{model}", "已写到 {folder}{model}")))
}

/// `tunebook export RECIPE.yaml`: writes the model with the adapter that the recipe names merged into it.
///
/// # Errors
/// The recipe cannot be followed to the letter, or a step of it fails.
pub(crate) fn export(arguments: &[String], session: &mut Session, cx: &CommandContext) -> Result<Output> {
    let (recipe, folder) = given(arguments, cx)?.for_export()?;
    prepare(&recipe, session, cx)?;
    Ok(Output::Exported(session.export(&folder, None, &cx.context)?))
}

/// What the program was called with.
fn given(arguments: &[String], cx: &CommandContext) -> Result<Recipe> {
    Ok(Recipe::from_arguments(arguments, |file| given_file::read_to_string(file, cx.context.cancel))?)
}

/// Makes a session what the recipe says: its settings, model, data (if it names any) and adapter (if it trains one, or
/// names one).
///
/// # Errors
/// A step of it fails; the session is as it was.
pub(crate) fn prepare(recipe: &Recipe, session: &mut Session, cx: &CommandContext) -> Result<()> {
    session.check_no_training()?;
    if !recipe.without_effect.is_empty() {
        cx.context.emit(Event::Note(Note::WithoutEffect { keys: recipe.without_effect.clone() }));
    }
    let (mut made, before) = (Session::default(), session.settings_of_its_own());
    made.follow(recipe);
    (cx.show)(Output::Loaded(made.load(&recipe.model, &cx.context)?));
    if recipe.reads_data() {
        (cx.show)(Output::Data(Box::new(made.data(&recipe.settings.dataset, &cx.context)?)));
    }
    let output = match recipe.start() {
        // The recipe says what is meant.
        Start::Checkpoint(folder) => Output::Resumed(Box::new(made.resume(Some(folder), &|_| true, &cx.context)?)),
        Start::Adapter(folder) => Output::Adapter(made.adapter_load(folder, None)?),
        Start::NewAdapter(FinetuningType::Lora) => Output::Adapter(made.lora(None, &cx.context)?),
        Start::NewAdapter(FinetuningType::Freeze) => Output::Adapter(made.freeze(None)?),
        Start::NewAdapter(FinetuningType::Full) => Output::Adapter(made.full(None)?),
        Start::Model => Output::Nothing,
    };
    (cx.show)(output);
    made.tie_recipe(&before);
    made.take_workers(session);
    *session = made;
    Ok(())
}
