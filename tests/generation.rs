//! Answers that are made together are those that are made alone, whatever shares their passes: other prompts, pictures,
//! penalties, seeds and adapters.

use std::cell::Cell;
use std::collections::HashSet;
use std::collections::VecDeque;

use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Error;
use tunebook_engine::Result;
use tunebook_engine::Session;
use tunebook_engine::drafts::NGrams;
use tunebook_engine::generate::Answer;
use tunebook_engine::generate::Choice;
use tunebook_engine::generate::Generated;
use tunebook_engine::generate::Generator;
use tunebook_engine::generate::Prompt;
use tunebook_engine::generate::Request;
use tunebook_engine::generate::Requests;
use tunebook_engine::generate::Sampling;
use tunebook_engine::model::Model;
use tunebook_engine::prefix::Prefix;
use tunebook_engine::report::AnswerEnd;
use tunebook_nn::adapter::Adapter;

use crate::fixtures::Family;
use crate::fixtures::fixture;
use crate::logits::Case;

/// Requests in a row, and what was answered.
pub(crate) struct Asked<'a> {
    requests: VecDeque<Request<'a>>,
    answers: Vec<Vec<u32>>,
    ends: Vec<Option<Answer>>,
    /// The most answers that were on their way at a time.
    at_once: usize,
}

impl<'a> Asked<'a> {
    fn new(requests: impl IntoIterator<Item = Request<'a>>) -> Self {
        let requests = requests.into_iter().enumerate();
        let requests: VecDeque<_> = requests.map(|(id, request)| Request { id, ..request }).collect();
        let (answers, ends) = (vec![Vec::new(); requests.len()], vec![None; requests.len()]);
        Self { requests, answers, ends, at_once: 0 }
    }
}

impl<'a> Requests<'a> for Asked<'a> {
    fn next(&mut self) -> Result<Option<Request<'a>>> {
        Ok(self.requests.pop_front())
    }

    fn hear(&mut self, id: usize, generated: Generated) -> Result<()> {
        assert_eq!(self.ends[id], None, "nothing follows an end");
        match generated {
            Generated::Token(token) => self.answers[id].push(token),
            Generated::Begin { .. } | Generated::Score(..) => {}
            Generated::End(answer) => self.ends[id] = Some(answer),
        }
        let on_their_way = self.answers.iter().zip(&self.ends).filter(|(made, end)| !made.is_empty() && end.is_none());
        self.at_once = self.at_once.max(on_their_way.count());
        Ok(())
    }
}

pub(crate) fn request<'a>(prompt: &Prompt, choice: Choice, adapter: Option<&'a Adapter>) -> Request<'a> {
    Request { id: 0, prompt: prompt.clone(), choice, adapter, alternatives: 0 }
}

/// The answers to requests of which at most so many are on their way at a time.
pub(crate) fn answers<'a, const N: usize>(model: &Model, most: usize, requests: [Request<'a>; N]) -> [Vec<u32>; N] {
    let asked = run(model, most, None, requests);
    asked.answers.try_into().unwrap()
}

fn run<'a>(
    model: &Model,
    most: usize,
    labels: Option<&NGrams>,
    requests: impl IntoIterator<Item = Request<'a>>,
) -> Asked<'a> {
    let mut asked = Asked::new(requests);
    let generator = Generator { model, most, labels, free: Box::new(|| None) };
    generator.run(&mut Prefix::default(), &mut asked, &|| false).unwrap();
    asked
}

/// Prompts with no, one and two pictures.
fn cases(family: Family) -> Vec<Case> {
    ["text", "picture", "two_pictures"].map(|name| Case::of(family, name, None)).into()
}

/// Requests for all prompts, in many ways, each under two of the adapters.
fn requests<'a>(cases: &[Case], adapters: &'a [Option<Adapter>]) -> Vec<Request<'a>> {
    let mut requests = Vec::new();
    for (index, case) in cases.iter().cycle().take(32).enumerate() {
        let choice = case.greedy_choice([1.0, 1.3][index % 2]);
        let sampling = Sampling { temperature: 0.9, top_k: 50, top_p: 0.95 };
        let sampling = (index % 4 == 3).then_some(sampling);
        let choice = Choice { sampling, seed: index as u64, max_new_tokens: 6 + 5 * (index % 5), ..choice };
        requests.push(request(&case.prompt, choice, adapters[(index / 3) % adapters.len()].as_ref()));
    }
    requests
}

fn again<'a>(requests: &[Request<'a>]) -> Vec<Request<'a>> {
    requests.iter().map(|asked| request(&asked.prompt, asked.choice.clone(), asked.adapter)).collect()
}

#[test]
fn a_batch_answers_as_each_alone_with_every_family() {
    for family in Family::ALL {
        let cases = cases(family);
        let model = &cases[0].model;
        let requests = requests(&cases, &[None]);
        let alone: Vec<_> = again(&requests).into_iter().flat_map(|request| answers(model, 1, [request])).collect();
        for most in [5, 32] {
            let batch = run(model, most, None, again(&requests));
            assert_eq!(batch.answers, alone, "{family:?}, {most} at once");
            assert!(batch.at_once > most / 2 && batch.at_once <= most, "{} at once", batch.at_once);
            let ends = batch.ends.iter().map(|end| end.unwrap().end);
            assert!(ends.eq([AnswerEnd::MaxNewTokens; 32]));
            let shared = batch.ends.iter().filter(|end| end.unwrap().cached_tokens > 0).count();
            assert!(shared > 16, "{shared} of 32 shared what they begin with");
        }
    }
}

/// Adapters of every kind, and the base model.
fn adapters(model: &Model) -> Vec<Option<Adapter>> {
    let folders = ["train/adapter_nonzero", "train/adapter_dora", "train/adapter_additional", "brought/tied"];
    let loaded = folders.map(|folder| Some(model.net.load_adapter(&fixture(folder)).unwrap()));
    [None].into_iter().chain(loaded).collect()
}

#[test]
fn sequences_of_different_adapters_share_passes() {
    let cases = cases(Family::Qwen2_5);
    let model = &cases[0].model;
    let adapters = adapters(model);
    let requests = requests(&cases, &adapters);
    let alone: Vec<_> = again(&requests).into_iter().flat_map(|request| answers(model, 1, [request])).collect();
    assert_eq!(run(model, 32, None, again(&requests)).answers, alone);
    // The first three are answered by the base model, the next by the first adapter.
    assert_ne!(alone[1][..6], alone[4][..6], "the adapters change nothing");
}

#[test]
fn a_long_prompt_is_read_in_parts_and_holds_nobody_up() {
    let mut cases = cases(Family::Qwen2_5);
    let text = cases[0].prompt.input_ids.clone();
    cases[0].prompt.input_ids = text.iter().copied().cycle().take(1500).collect();
    let model = &cases[1].model;
    let ask =
        |case: &Case, most| request(&case.prompt, Choice { max_new_tokens: most, ..case.greedy_choice(1.0) }, None);
    let asked = || [ask(&cases[1], 3), ask(&cases[0], 8), ask(&cases[2], 24)];
    let alone = asked().map(|request| answers(model, 1, [request])).concat();
    assert_eq!(run(model, 3, None, asked()).answers, alone);
}

#[test]
fn what_has_been_read_is_shared_up_to_where_prompts_part() {
    let case = Case::load("two_pictures");
    let choice = case.greedy_choice(1.0);
    let (same, mut other) = (case.prompt.clone(), case.prompt.clone());
    *other.input_ids.last_mut().unwrap() += 1;
    let tokens = case.prompt.input_ids.len();
    let requests = [&same, &same, &other].map(|prompt| request(prompt, choice.clone(), None));
    let asked = run(&case.model, 8, None, requests);
    let cached: Vec<_> = asked.ends.iter().map(|end| end.unwrap().cached_tokens).collect();
    assert_eq!(cached, [0, tokens - 1, tokens - 1]);
    assert_eq!(asked.answers[0], asked.answers[1]);
    assert_eq!(asked.at_once, 3);
}

/// What of a text, as often as it was said.
fn counted(texts: &[Vec<u32>]) -> NGrams {
    let mut counted = NGrams::default();
    texts.iter().for_each(|text| counted.add(text, 0));
    counted
}

#[test]
fn drafts_change_no_answer_greedy_or_sampled() {
    let cases = cases(Family::Qwen2_5);
    let model = &cases[0].model;
    let requests = requests(&cases, &[None]);
    let alone: Vec<_> = again(&requests).into_iter().flat_map(|request| answers(model, 1, [request])).collect();
    // Right throughout, wrong throughout, and both.
    let wrong: Vec<Vec<u32>> = alone.iter().map(|answer| answer.iter().rev().copied().collect()).collect();
    for labels in [counted(&alone), counted(&wrong), counted(&[alone.clone(), wrong].concat())] {
        for most in [1, 3] {
            assert_eq!(run(model, most, Some(&labels), again(&requests)).answers, alone, "{most} at once");
        }
    }
}

#[test]
fn where_memory_gets_short_answers_wait_and_nothing_is_lost() {
    let cases = cases(Family::Qwen2_5);
    let model = &cases[0].model;
    let adapters = adapters(model);
    let requests = requests(&cases, &adapters);
    let plenty = run(model, 32, None, again(&requests));
    // There is room for a few, then for one, then for all.
    let (asked_for, bytes) = (Cell::new(0), model.net.text.kv_bytes() as u64);
    let free = || {
        asked_for.set(asked_for.get() + 1);
        Some(bytes * [2000, 100, 0, 100_000][asked_for.get() / 40 % 4])
    };
    let mut asked = Asked::new(again(&requests));
    let generator = Generator { model, most: 32, labels: None, free: Box::new(free) };
    generator.run(&mut Prefix::default(), &mut asked, &|| false).unwrap();
    assert_eq!(asked.answers, plenty.answers);
    assert!(asked_for.get() > 80 && asked.at_once > 3);
    // With room for none, one at a time.
    let mut asked = Asked::new(again(&requests));
    let generator = Generator { model, most: 32, labels: None, free: Box::new(|| Some(0)) };
    generator.run(&mut Prefix::default(), &mut asked, &|| false).unwrap();
    assert_eq!((&asked.answers, asked.at_once), (&plenty.answers, 1));
}

#[test]
fn a_stop_ends_all_that_are_on_their_way_and_the_next_go_on_from_what_was_read() {
    let cases = cases(Family::Qwen2_5);
    let model = &cases[0].model;
    let requests = requests(&cases, &[None]);
    let whole = run(model, 8, None, again(&requests));
    let passes = Cell::new(0);
    let stop = || passes.replace(passes.get() + 1) > 40;
    let (mut asked, mut prefix) = (Asked::new(again(&requests)), Prefix::default());
    let generator = Generator { model, most: 8, labels: None, free: Box::new(|| None) };
    generator.run(&mut prefix, &mut asked, &stop).unwrap();
    let ends: Vec<_> = asked.ends.iter().map(|end| end.map(|end| end.end)).collect();
    let count = |wanted| ends.iter().filter(|end| **end == wanted).count();
    let interrupted = count(Some(AnswerEnd::Interrupted));
    assert!((1..=8).contains(&interrupted) && count(None) > 10 && count(Some(AnswerEnd::MaxNewTokens)) > 1, "{ends:?}");
    for ((found, whole), end) in asked.answers.iter().zip(&whole.answers).zip(&ends) {
        let made = if *end == Some(AnswerEnd::MaxNewTokens) { whole.len() } else { found.len() };
        assert_eq!(found, &whole[..made]);
    }
    let mut again = Asked::new(again(&requests));
    generator.run(&mut prefix, &mut again, &|| false).unwrap();
    assert_eq!(again.answers, whole.answers);
    assert!(again.ends[0].unwrap().cached_tokens > 0);
}

/// Fails after some requests.
struct Failing<'a> {
    asked: Asked<'a>,
    left: usize,
}

impl<'a> Requests<'a> for Failing<'a> {
    fn next(&mut self) -> Result<Option<Request<'a>>> {
        if self.left == 0 {
            return Err(Error::NoData);
        }
        self.left -= 1;
        self.asked.next()
    }

    fn hear(&mut self, id: usize, generated: Generated) -> Result<()> {
        self.asked.hear(id, generated)
    }
}

#[test]
fn an_error_loses_no_answer_that_has_ended() {
    let cases = cases(Family::Qwen2_5);
    let model = &cases[0].model;
    let requests = requests(&cases, &[None]);
    let mut failing = Failing { asked: Asked::new(again(&requests)), left: 9 };
    let generator = Generator { model, most: 3, labels: None, free: Box::new(|| None) };
    let error = generator.run(&mut Prefix::default(), &mut failing, &|| false).unwrap_err();
    assert!(matches!(error, Error::NoData));
    let ended = failing.asked.ends.iter().flatten().count();
    assert!((6..9).contains(&ended), "{ended}");
}

#[test]
fn several_answers_to_a_question_are_those_of_their_seeds() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = Session::default();
    session.load(&fixture("tiny"), &cx).unwrap();
    let mut settings = session.settings().clone();
    for (key, value) in [("temperature", "1"), ("max_new_tokens", "12"), ("seed", "3")] {
        settings.set(key, value).unwrap();
    }
    session.set(settings);
    let images = [fixture("pictures/wide.png")];
    let one = session.chat("What is it?", &images, &cx).unwrap();
    let next = session.chat("Why?", &[], &cx).unwrap();
    session.chat_clear();
    let report = session.chat_n("What is it?", &images, 4, &cx).unwrap();
    let names: Vec<_> = report.answers.iter().map(|answer| answer.name.as_str()).collect();
    assert_eq!((names, report.asked), (vec!["1", "2", "3", "4"], 4));
    let texts: HashSet<_> = report.answers.iter().map(|answer| &answer.report.text).collect();
    assert_eq!(texts.len(), 4, "each has its own seed");
    assert_eq!(report.answers[0].report.text, one.text);
    assert_eq!(session.chat("Why?", &[], &cx).unwrap().text, next.text, "the conversation goes on with the first");
}
