//! One question to several adapters.

use crate::adapters::Chosen;
use crate::conversation::Conversation;
use crate::conversation::Question;
use crate::conversation::RunContext;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::pictures::Features;
use crate::report::AnswerEnd;
use crate::report::CompareReport;
use crate::report::ComparedAnswer;

/// Asks the same question with each of `chosen`, in a conversation of its own and with the same seed. The answers are
/// told as they are made, each behind the name of who gives it. A stop keeps them as far as they came.
///
/// # Errors
/// As [`Conversation::ask`].
pub(crate) fn compare(
    question: Question,
    chosen: &[Chosen],
    run: RunContext,
    features: &mut Features,
    cx: &Context,
) -> Result<CompareReport> {
    let mut answers = Vec::with_capacity(chosen.len());
    for Chosen { name, adapter, .. } in chosen {
        cx.emit(Event::Answering(name.clone()));
        let run = RunContext { adapter: adapter.as_ref(), ..run };
        let report = Conversation::default().ask(question, run, features, cx)?;
        let end = report.end;
        answers.push(ComparedAnswer { name: name.clone(), report });
        if end == AnswerEnd::Interrupted {
            break;
        }
    }
    let Question { text, images, .. } = question;
    Ok(CompareReport { question: text.to_string(), images: images.to_vec(), answers, asked: chosen.len() })
}
