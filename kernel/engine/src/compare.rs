//! One question to several adapters.

use std::time::Instant;

use crate::adapters::Chosen;
use crate::answers::Answers;
use crate::conversation::Conversation;
use crate::conversation::Question;
use crate::conversation::RunContext;
use crate::error::Result;
use crate::event::Context;
use crate::generate::Choice;
use crate::generate::Request;
use crate::pictures::Features;
use crate::prefix::Prefix;
use crate::report::AnswerEnd;
use crate::report::CompareReport;

/// Asks the same question with each of `chosen`, in a conversation of its own and with the same seed. All answer together;
/// the answers are told one after the other, each behind the name of who gives it. A stop keeps them as far as they came.
///
/// # Errors
/// As [`Conversation::ask`].
pub(crate) fn compare<'a>(
    question: Question,
    chosen: &'a [Chosen],
    run: RunContext<'a>,
    features: &mut Features,
    cx: &'a Context<'a>,
) -> Result<CompareReport> {
    let RunContext { model, settings, .. } = run;
    let mut answers = Answers::new(Instant::now(), cx);
    let choice = Choice::new(settings, &model.generation, settings.seed.wrapping_add(1));
    for Chosen { name, adapter, .. } in chosen {
        let adapter = adapter.as_ref();
        let of_adapter = RunContext { adapter, ..run };
        let (prompt, images) =
            Conversation::default().prompt_for(question, of_adapter, features, &|| cx.is_cancelled())?;
        let request = Request { id: answers.len(), prompt, choice: choice.clone(), adapter, alternatives: 0 };
        answers.ask(Some(name.clone()), request, images, run);
    }
    let mut answers = answers.generate(&mut Prefix::default(), run)?;
    // After a stop: those that had not begun.
    answers.retain(|answer| answer.report.new_tokens > 0 || answer.report.end != AnswerEnd::Interrupted);
    let Question { text, images, .. } = question;
    Ok(CompareReport { question: text.to_string(), images: images.to_vec(), answers, asked: chosen.len() })
}
