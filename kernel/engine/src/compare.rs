//! One question to several adapters.

use std::path::PathBuf;

use crate::adapters::Chosen;
use crate::conversation::Asking;
use crate::conversation::Conversation;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::pictures::Features;
use crate::report::AnswerEnd;
use crate::report::CompareReport;
use crate::report::ComparedAnswer;

/// Asks the same question with each of `chosen`, in a conversation of its own and with the same seed. A stop keeps the
/// answers as far as they came.
///
/// # Errors
/// As [`Conversation::ask`].
pub fn compare(
    text: &str,
    images: &[PathBuf],
    chosen: &[Chosen],
    asking: Asking,
    features: &mut Features,
    cx: &Context,
) -> Result<CompareReport> {
    let longest = asking.settings.max_new_tokens;
    let total = chosen.len() * longest;
    let mut answers = Vec::with_capacity(chosen.len());
    for (index, Chosen { name, adapter, .. }) in chosen.iter().enumerate() {
        // The texts are shown side by side in the end; until then it is seen how far they are.
        let pieces = std::sync::atomic::AtomicUsize::new(index * longest);
        let emit = |event| match event {
            Event::Text(_) => {
                let done = pieces.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                cx.emit(Event::Progress { task: "answering", done, total });
            }
            event => cx.emit(event),
        };
        let cx = Context { emit: &emit, ..*cx };
        let asking = Asking { adapter: adapter.as_ref(), ..asking };
        let report = Conversation::default().ask(text, images, asking, features, &cx)?;
        let end = report.end;
        answers.push(ComparedAnswer { name: name.clone(), report });
        if end == AnswerEnd::Interrupted {
            break;
        }
    }
    Ok(CompareReport { question: text.to_string(), images: images.to_vec(), answers, asked: chosen.len() })
}
