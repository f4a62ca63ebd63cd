//! What a session asks its model: conversations, comparisons, evaluations and predictions.

use std::path::PathBuf;

use tunebook_data::ImageProcessor;
use tunebook_data::Template;

use super::Predicted;
use super::Session;
use super::processor;
use crate::adapters::Chosen;
use crate::answers::Details;
use crate::bad_sample;
use crate::chat_requests;
use crate::chat_requests::Answerer;
use crate::chat_requests::ChatRequests;
use crate::chosen_data::ChosenData;
use crate::chosen_data::Split;
use crate::compare;
use crate::conversation::Question;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::evaluate;
use crate::evaluate::Samples;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::predict;
use crate::report::ChatReport;
use crate::report::CompareReport;
use crate::report::ComparedAnswer;
use crate::report::EvaluateReport;
use crate::report::Exchange;
use crate::report::PredictReport;
use crate::report::Prediction;
use crate::report::SampleReport;
use crate::report::SystemPrompt;
use crate::report::SystemPromptSource;
use crate::report::WorstReport;
use crate::system_prompt;
use crate::token_scores::score_sample;
use crate::training::Run;
use crate::worst;

impl Session {
    /// Adds a user turn (with images, in front of the text if it holds no `<image>`) and streams the answer. The system
    /// prompt is [`Session::system_prompt`]; a change of it is announced.
    pub fn chat(&mut self, text: &str, images: &[PathBuf], cx: &Context) -> Result<ChatReport> {
        self.chat_detailed(text, images, Details::default(), cx)
    }

    /// The same with more about the answer than its text.
    pub fn chat_detailed(
        &mut self,
        text: &str,
        images: &[PathBuf],
        details: Details,
        cx: &Context,
    ) -> Result<ChatReport> {
        let answers = self.ask(text, images, 1, details, cx)?;
        answers.into_iter().next().map(|answer| answer.report).ok_or(Error::Cancelled)
    }

    /// The same with `n` answers, each with its own seed. They are named by their numbers from 1 on; the first is that of
    /// [`Session::chat`], and with it the conversation goes on.
    pub fn chat_n(&mut self, text: &str, images: &[PathBuf], n: usize, cx: &Context) -> Result<CompareReport> {
        let answers = self.ask(text, images, n, Details::default(), cx)?;
        Ok(CompareReport { question: text.to_string(), images: images.to_vec(), answers, asked: n })
    }

    pub(super) fn ask(
        &mut self,
        text: &str,
        images: &[PathBuf],
        n: usize,
        details: Details,
        cx: &Context,
    ) -> Result<Vec<ComparedAnswer>> {
        let processor = self.processor()?;
        self.tell_template(cx)?;
        let system = self.tell_system_prompt(cx)?;
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let adapter = self.adapters.active().map(|(adapter, _)| adapter);
        let labels = self.data.as_deref().map(ChosenData::labels);
        let run = RunContext { model, adapter, processor: &processor, settings: &self.settings, labels };
        let question = Question { system: &system, text, images };
        self.conversation.ask(question, n, details, run, &mut self.features, cx)
    }

    /// Answers conversations that others hold, until `requests` has no more or `stop`; see [`chat_requests`]. The session's
    /// own stays as it is.
    ///
    /// # Errors
    /// No model is loaded; the device fails, or the model's output is no number, and the requests on their way have failed.
    pub fn answer(&mut self, requests: &mut dyn ChatRequests, stop: &dyn Fn() -> bool) -> Result<()> {
        let (processor, system) = (self.processor()?, self.system_prompt()?.text);
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let models: Vec<_> = self.adapters.all().chain([Chosen::base()]).collect();
        let labels = self.data.as_deref().map(ChosenData::labels);
        let run = RunContext { model, adapter: None, processor: &processor, settings: &self.settings, labels };
        let answerer = Answerer { run, system: &system, name: &model.report.id(), models: &models };
        chat_requests::answer(&answerer, &mut self.kept, requests, stop)
    }

    /// The chat template: the one of the settings, or else the model's own.
    ///
    /// # Errors
    /// Neither is there.
    pub fn template(&self) -> Result<&'static Template> {
        let own = self.model.as_ref().map(|model| model.template);
        self.settings.template.or(own).ok_or(Error::NoModel)
    }

    /// The system prompt of `chat` and `compare`: `default_system`, or else the one that all samples of the data share,
    /// or else the template's own.
    ///
    /// # Errors
    /// There is no template: no model is loaded.
    pub fn system_prompt(&self) -> Result<SystemPrompt> {
        let data = self.data.as_ref().map(|data| &data.report);
        Ok(system_prompt::in_use(&self.settings, self.template()?, data))
    }

    /// The conversation so far.
    pub fn conversation(&self) -> Vec<Exchange> {
        self.conversation.exchanges()
    }

    /// Forgets the conversation.
    pub fn chat_clear(&mut self) {
        self.conversation.clear();
    }

    /// The loss on the datasets `names`, or on the samples that are held out of the chosen ones; on at most the first
    /// `most` samples. `adapter` is the name of a live adapter, a folder, or `base`; the default is the one that is on.
    pub fn evaluate(
        &mut self,
        names: &[String],
        most: Option<usize>,
        adapter: Option<&str>,
        cx: &Context,
    ) -> Result<EvaluateReport> {
        let processor = self.processor_for(names)?;
        self.tell_template(cx)?;
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let settings = &self.settings_for(names);
        let chosen = self.adapters.choose(adapter, &model.net)?;
        let samples = Samples::choose(names, most, self.data.as_deref(), (model, &processor, settings), cx)?;
        let (adapter, labels) = (chosen.adapter.as_ref(), None);
        let run = RunContext { model, adapter, processor: &processor, settings, labels };
        let report = evaluate::evaluate(&samples, &chosen, run, &mut self.features, self.workers.as_ref(), cx)?;
        bad_sample::list(&mut self.skipped, &report.left_out);
        Ok(report)
    }

    /// The `most` samples of a split with the highest loss, without dropped ones; `adapter` as in [`Session::evaluate`].
    ///
    /// # Errors
    /// There is no data, or none in that split; as [`Session::evaluate`].
    pub fn worst(&mut self, split: Split, most: usize, adapter: Option<&str>, cx: &Context) -> Result<WorstReport> {
        let processor = self.processor_for(&[])?;
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let data = self.data.as_deref().ok_or(Error::NoData)?;
        let samples: Vec<_> = data.samples(split).into_iter().enumerate().collect();
        let is_kept = |number: &usize| split == Split::Eval || !self.dropped.contains(number);
        let samples: Vec<_> = samples.into_iter().filter(|(number, _)| is_kept(number)).collect();
        if samples.is_empty() {
            return Err(Error::NoSample { index: 0, samples: 0 });
        }
        let chosen = self.adapters.choose(adapter, &model.net)?;
        let (adapter, settings) = (chosen.adapter.as_ref(), &self.settings);
        let run = RunContext { model, adapter, processor: &processor, settings, labels: None };
        let report = worst::worst(&samples, split, most, &chosen, run, &mut self.features, cx)?;
        bad_sample::list(&mut self.skipped, &report.left_out);
        Ok(report)
    }

    /// [`Session::sample`] with what the model says to its labels; `adapter` as in [`Session::evaluate`]. A sample that cannot
    /// be used, which is announced, and a stop leave that out.
    ///
    /// # Errors
    /// There is no data, or no sample of that number; there is no such adapter; the device fails.
    pub fn scored_sample(
        &mut self,
        split: Split,
        index: usize,
        adapter: Option<&str>,
        cx: &Context,
    ) -> Result<SampleReport> {
        let mut report = self.sample(split, index)?;
        let processor = self.processor_for(&[])?;
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let data = self.data.as_deref().ok_or(Error::NoData)?;
        let chosen = self.adapters.choose(adapter, &model.net)?;
        let (adapter, settings) = (chosen.adapter.as_ref(), &self.settings);
        let run = RunContext { model, adapter, processor: &processor, settings, labels: None };
        match score_sample(data.samples(split)[index], &chosen, run, &mut self.features, cx) {
            Ok(scores) => report.scores = scores,
            Err(Error::BadSample(bad)) => cx.emit(Event::Note(Note::LeftOut(bad))),
            Err(Error::Cancelled) => {}
            Err(error) => return Err(error),
        }
        Ok(report)
    }

    /// Generates an answer to every sample and scores it. Samples and adapter are chosen as in [`Session::evaluate`].
    /// `on_prediction` is called with each prediction.
    pub fn predict(
        &mut self,
        names: &[String],
        most: Option<usize>,
        adapter: Option<&str>,
        on_prediction: &mut dyn FnMut(&Prediction),
        cx: &Context,
    ) -> Result<PredictReport> {
        let processor = self.processor_for(names)?;
        self.tell_template(cx)?;
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let settings = &self.settings_for(names);
        let chosen = self.adapters.choose(adapter, &model.net)?;
        let samples = Samples::choose(names, most, self.data.as_deref(), (model, &processor, settings), cx)?;
        let (adapter, labels) = (chosen.adapter.as_ref(), self.data.as_deref().map(ChosenData::labels));
        let run = RunContext { model, adapter, processor: &processor, settings, labels };
        let data = self.data.as_deref().filter(|_| self.workers.is_some());
        let answers = data.map(ChosenData::answers).unwrap_or_default();
        let (features, workers) = (&mut self.features, self.workers.as_ref());
        let report = predict::predict(&samples, &chosen, run, features, (workers, &answers), on_prediction, cx)?;
        bad_sample::list(&mut self.skipped, &report.left_out);
        let step = self.adapters.run(&report.adapter).map_or(0, Run::step);
        self.predicted = Some(Predicted { report: report.clone(), step });
        if self.adapters.active_name() == Some(&report.adapter)
            && let Ok((inputs, run)) = self.train_inputs()
        {
            run.tell_scores(&inputs, &report)?;
        }
        Ok(report)
    }

    /// Asks the base model and `adapters` (names or folders; all live ones if empty) the same question. The
    /// conversation is not changed.
    pub fn compare(
        &mut self,
        text: &str,
        images: &[PathBuf],
        adapters: &[String],
        cx: &Context,
    ) -> Result<CompareReport> {
        let processor = self.processor()?;
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let named = adapters.iter().map(|name| self.adapters.choose(Some(name), &model.net));
        let mut chosen = named.collect::<Result<Vec<_>>>()?;
        if adapters.is_empty() {
            chosen.extend(self.adapters.all());
        }
        if chosen.is_empty() {
            return Err(Error::NothingToCompare);
        }
        chosen.insert(0, Chosen::base());
        self.tell_template(cx)?;
        let system = self.tell_system_prompt(cx)?;
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let labels = self.data.as_deref().map(ChosenData::labels);
        let run = RunContext { model, adapter: None, processor: &processor, settings: &self.settings, labels };
        let question = Question { system: &system, text, images };
        compare::compare(question, &chosen, run, &mut self.features, cx)
    }

    /// The system prompt in use; announces it if it is not the one of the last time.
    pub(super) fn tell_system_prompt(&mut self, cx: &Context) -> Result<String> {
        let prompt = self.system_prompt()?;
        let new = (prompt.source != SystemPromptSource::Template).then(|| prompt.text.clone());
        if new != self.told_system {
            cx.emit(Event::Note(Note::SystemPrompt(prompt.clone())));
            self.told_system = new;
        }
        Ok(prompt.text)
    }

    /// Announces a template that is not the model's own, if it is not the one of the last time.
    pub(super) fn tell_template(&mut self, cx: &Context) -> Result<()> {
        let own = self.model()?.template.name;
        let other = self.settings.template.map(|template| template.name).filter(|name| *name != own);
        if let Some(template) = other.filter(|_| other != self.told_template) {
            cx.emit(Event::Note(Note::OtherTemplate { template, own }));
        }
        self.told_template = other;
        Ok(())
    }

    /// The image processor for other datasets, or for the chosen data, which keeps the pixel limits that it was read
    /// with.
    pub(super) fn processor_for(&self, names: &[String]) -> Result<ImageProcessor> {
        match (names, &self.data) {
            ([], Some(data)) => processor(self.model()?, &data.settings),
            _ => self.processor(),
        }
    }

    pub(super) fn processor(&self) -> Result<ImageProcessor> {
        processor(self.model()?, &self.settings)
    }
}
