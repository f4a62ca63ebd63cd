//! What is shown of single tokens is what transformers and PEFT compute (`reference/scores.py`, in float32): losses and ranks
//! of labels, and what else was likely.

use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Details;
use tunebook_engine::Session;
use tunebook_engine::Split;
use tunebook_engine::report::AnswerEnd;
use tunebook_engine::report::ChatReport;
use tunebook_engine::report::LabelScores;
use tunebook_engine::report::ScoredToken;

use crate::fixtures::Family;
use crate::fixtures::fixture;

fn expected(family: Family) -> Value {
    let file = std::fs::read(family.fixture("scores/scores.json")).unwrap();
    serde_json::from_slice(&file).unwrap()
}

fn session(family: Family, cx: &Context) -> Session {
    let mut session = Session::default();
    let mut settings = session.settings().clone();
    settings.set("dataset_dir", fixture("train").to_str().unwrap()).unwrap();
    let common = [
        ("template", family.template().name),
        ("cutoff_len", "512"),
        ("disable_shuffling", "true"),
        ("per_device_train_batch_size", "1"),
        ("gradient_accumulation_steps", "1"),
        ("do_sample", "false"),
    ];
    common.into_iter().for_each(|(key, value)| settings.set(key, value).unwrap());
    session.set(settings);
    session.load(&family.fixture("tiny"), cx).unwrap();
    session
}

fn check_token(found: &ScoredToken, expected: &Value, of: &str) {
    assert_eq!(u64::from(found.id), expected["id"].as_u64().unwrap(), "{of}");
    let loss = expected["loss"].as_f64().unwrap();
    assert!((found.loss - loss).abs() <= 1e-5, "{of}: {} instead of {loss}", found.loss);
    let [least, most] = [0, 1].map(|at| expected["rank"][at].as_u64().unwrap());
    assert!((least..=most).contains(&(found.rank as u64)), "{of}: rank {}", found.rank);
    let likeliest = expected["likeliest"].as_array().unwrap();
    assert_eq!(found.likeliest.len(), likeliest.len());
    for (found, expected) in found.likeliest.iter().zip(likeliest) {
        assert_eq!(u64::from(found.id), expected[0].as_u64().unwrap(), "{of}");
        assert!((found.probability - expected[1].as_f64().unwrap()).abs() <= 1e-5, "{of}");
    }
}

fn check_labels(found: &LabelScores, expected: &Value, of: &str) {
    let labels = expected["labels"].as_array().unwrap();
    assert_eq!(found.labels.len(), labels.len(), "{of}");
    found.labels.iter().zip(labels).for_each(|(found, expected)| check_token(found, expected, of));
    let loss = expected["loss"].as_f64().unwrap();
    assert!((found.mean() - loss).abs() <= 1e-5, "{of}: {} instead of {loss}", found.mean());
    assert!((found.sum() - loss * labels.len() as f64).abs() <= 1e-3, "{of}");
}

#[test]
fn labels_have_the_losses_ranks_and_alternatives_of_transformers() {
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    for family in Family::ALL {
        let mut session = session(family, &quiet);
        let expected = expected(family);
        for sample in expected["samples"].as_array().unwrap() {
            let (data, index) = (sample["data"].as_str().unwrap(), sample["index"].as_u64().unwrap() as usize);
            session.data(&[data.to_string()], &quiet).unwrap();
            session.adapter_load(&family.fixture("train/adapter_nonzero"), None).unwrap();
            let of = format!("{family:?}, {data} {index}");
            let found = session.scored_sample(Split::Train, index, None, &quiet).unwrap();
            let [adapter, base] = &found.scores[..] else { panic!("{of}: {} models", found.scores.len()) };
            assert_eq!((adapter.name.as_str(), base.name.as_str()), ("adapter_nonzero", "base"));
            check_labels(adapter, &sample["adapter"], &of);
            check_labels(base, &sample["base"], &of);
            let places: Vec<_> = adapter.labels.iter().map(|label| label.place as u64).collect();
            assert_eq!(serde_json::json!(places), sample["places"], "{of}");
            // All pieces together are the text that is learned.
            let learned: String = found.tokens.iter().filter(|t| t.supervised).map(|t| t.text.as_str()).collect();
            assert_eq!(adapter.labels.iter().map(|label| label.piece.as_str()).collect::<String>(), learned);

            let of_base = session.scored_sample(Split::Train, index, Some("base"), &quiet).unwrap();
            assert_eq!(of_base.scores, std::slice::from_ref(base));
            session.adapter_drop("adapter_nonzero").unwrap();
        }
    }
}

#[test]
fn the_mean_is_the_loss_of_a_step_and_a_stop_shows_the_sample_without() {
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = session(Family::Qwen2_5, &quiet);
    session.data(&["creatures".to_string()], &quiet).unwrap();
    session.lora(None, &quiet).unwrap();
    let scored = session.scored_sample(Split::Train, 0, None, &quiet).unwrap();
    session.train(Some(1), &quiet).unwrap();
    let step = session.history()[0].loss();
    assert!((scored.scores[0].mean() - step).abs() < 2e-6, "{} {step}", scored.scores[0].mean());

    cancel.cancel();
    let stopped = session.scored_sample(Split::Train, 0, None, &quiet).unwrap();
    assert!(stopped.scores.is_empty() && stopped.tokens.len() == scored.tokens.len());
    assert!(session.scored_sample(Split::Train, 0, Some("nobody"), &quiet).is_err());
}

/// Asks the question of the fixture, whose answer is as long.
fn ask(session: &mut Session, expected: &Value, details: Details, cx: &Context) -> ChatReport {
    let mut settings = session.settings().clone();
    settings.set("max_new_tokens", &expected["max_new_tokens"].to_string()).unwrap();
    session.set(settings);
    let picture = fixture("pictures").join(expected["image"].as_str().unwrap());
    let report = session.chat_detailed(expected["question"].as_str().unwrap(), &[picture], details, cx).unwrap();
    assert_eq!(report.new_tokens, expected["tokens"].as_array().unwrap().len());
    report
}

#[test]
fn an_answers_alternatives_are_those_of_transformers() {
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    for family in Family::ALL {
        let expected = &expected(family)["answer"];
        let mut session = session(family, &quiet);
        let details = Details { alternatives: 5 };
        let found = ask(&mut session, expected, details, &quiet);
        let tokens = expected["tokens"].as_array().unwrap();
        assert_eq!(found.tokens.len(), tokens.len());
        for (place, (found, expected)) in found.tokens.iter().zip(tokens).enumerate() {
            assert_eq!(found.place, place);
            check_token(found, expected, &format!("{family:?}, token {place}"));
        }
        assert!(found.tokens.iter().map(|token| token.piece.as_str()).collect::<String>().starts_with(&found.text));

        // Nothing is made where nobody asks, and what is asked changes nothing.
        session.chat_clear();
        let plain = ask(&mut session, expected, Details::default(), &quiet);
        assert!(plain.tokens.is_empty() && plain.text == found.text);
    }
}

#[test]
fn the_token_that_ends_an_answer_is_scored_too() {
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = session(Family::Qwen2_5, &quiet);
    session.change([("learning_rate", "0.01"), ("num_train_epochs", "20")].into_iter()).unwrap();
    session.data(&["creatures".to_string()], &quiet).unwrap();
    session.lora(None, &quiet).unwrap();
    session.train(Some(150), &quiet).unwrap();
    let details = Details { alternatives: 3 };
    let found = session.chat_detailed("Hello!", &[], details, &quiet).unwrap();
    assert_eq!((found.end, found.tokens.len()), (AnswerEnd::EndOfTurn, found.new_tokens + 1), "{}", found.text);
    assert_eq!(found.tokens.last().unwrap().text, "<|im_end|>");
    // Greedy, without a penalty for what was said before: each was the likeliest but for that.
    assert!(found.tokens.iter().filter(|token| token.rank == 1).count() + 2 >= found.tokens.len());
}
