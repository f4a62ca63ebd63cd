//! What is shown of single tokens is what transformers and PEFT compute (`reference/scores.py`, in float32): losses and ranks
//! of labels, what else was likely, and what an answer rests on in its picture.

use candle_core::Device;
use candle_core::Tensor;
use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Details;
use tunebook_engine::Session;
use tunebook_engine::Split;
use tunebook_engine::regions::relevance;
use tunebook_engine::report::AnswerEnd;
use tunebook_engine::report::ChatReport;
use tunebook_engine::report::LabelScores;
use tunebook_engine::report::ScoredToken;
use tunebook_nn::layers::CachedSequence;
use tunebook_nn::layers::CheckpointPlan;
use tunebook_nn::layers::KvCache;

use crate::fixtures::Family;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::logits::Case;

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
        let details = Details { alternatives: 5, ..Details::default() };
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
    let details = Details { alternatives: 3, ..Details::default() };
    let found = session.chat_detailed("Hello!", &[], details, &quiet).unwrap();
    assert_eq!((found.end, found.tokens.len()), (AnswerEnd::EndOfTurn, found.new_tokens + 1), "{}", found.text);
    assert_eq!(found.tokens.last().unwrap().text, "<|im_end|>");
    // Greedy, without a penalty for what was said before: each was the likeliest but for that.
    assert!(found.tokens.iter().filter(|token| token.rank == 1).count() + 2 >= found.tokens.len());
}

fn floats(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

#[test]
fn an_answer_rests_on_the_regions_that_transformers_finds() {
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    for family in Family::ALL {
        let expected = &expected(family)["answer"];
        let details = Details { regions: true, ..Details::default() };
        let mut session = session(family, &quiet);
        let found = ask(&mut session, expected, details, &quiet);
        assert!(found.tokens.is_empty(), "nobody has asked for them");
        let [picture] = &found.regions[..] else { panic!("{} pictures", found.regions.len()) };
        assert_eq!(picture.path, fixture("pictures/wide.png"));
        let grid = [2 * picture.rows, 2 * picture.columns].map(|side| side as u64);
        assert_eq!(serde_json::json!(grid), serde_json::json!(expected["grid"].as_array().unwrap()[1..]));
        let relevance = floats(&expected["relevance"]);
        let largest = relevance.iter().fold(0f32, |most, r| most.max(r.abs()));
        let difference = max_difference(&picture.relevance, &relevance);
        println!("{family:?}: {difference} of {largest}");
        assert!(difference <= 1e-4 * largest, "{family:?}: {difference} of {largest}");

        // A later question without a picture of its own still shows those of the conversation.
        let more = session.chat_detailed("Why?", &[], details, &quiet).unwrap();
        assert_eq!(more.regions.len(), 1);
        session.chat_clear();
        let error = session.chat_detailed("Why?", &[], details, &quiet).unwrap_err().to_string();
        assert!(error.contains("no image whose regions"), "{error}");
        assert_eq!(session.status().turns, 0);
    }
}

/// ln p of an answer, made by another way through the model: with the cache, and without gradients.
fn log_probability(case: &Case, features: Tensor, answer: &[u32]) -> f64 {
    let net = &case.model.net;
    let prompt = &case.prompt.input_ids;
    let ids = [prompt, answer].concat();
    let ctx = case.model.forward_context(None);
    let input = net.embed(&ids, &[features], ctx).unwrap();
    let rotary = net.rotary(&net.positions(&ids, &case.prompt.grids).unwrap().thw).unwrap();
    let cache = &mut KvCache::default();
    let sequence = CachedSequence { cache, adapter: None, new: ids.len(), wanted: answer.len() + 1 };
    let logits = net.text.next_logits(input, &rotary, &mut [sequence], ctx).unwrap().to_vec2::<f32>().unwrap();
    let ln_p = |(logits, token): (&Vec<f32>, &u32)| {
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        f64::from(logits[*token as usize]) - sum.ln()
    };
    logits.iter().zip(answer).map(ln_p).sum()
}

#[test]
fn relevance_is_the_slope_of_the_log_probability_along_a_regions_features() {
    for family in Family::ALL {
        let case = Case::of(family, "picture", None);
        let answer: Vec<u32> = case.expected.integers("generated")[..6].iter().map(|&id| id as u32).collect();
        let plan = CheckpointPlan { saved_layers: 1, evicted_layers: 0 };
        let found = relevance(&case.model.net, None, &case.prompt, &answer, plan, &|| false).unwrap();
        let features = &case.prompt.features[0];
        let rows = features.dim(0).unwrap();
        assert_eq!(found.len(), rows);
        let largest = found.iter().fold(0f32, |most, r| most.max(r.abs()));
        // Other pictures of the prompt, and words, are no part of it: each row is scaled by itself.
        for row in 0..rows {
            let scaled = |factor: f64| {
                let mut factors = vec![1f32; rows];
                factors[row] = factor as f32;
                let factors = Tensor::from_vec(factors, (rows, 1), &Device::Cpu).unwrap();
                log_probability(&case, features.broadcast_mul(&factors).unwrap(), &answer)
            };
            let step = 0.01;
            let slope = (scaled(1.0 + step) - scaled(1.0 - step)) / (2.0 * step);
            let error = (slope as f32 - found[row]).abs();
            assert!(error <= 0.01 * largest, "{family:?}, region {row}: slope {slope}, relevance {}", found[row]);
        }
        println!("{family:?}: {rows} regions, relevance up to {largest}");
    }
}
