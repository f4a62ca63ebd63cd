//! Calls of `session()`, carried out as the commands are.

use crossbeam_channel::bounded;
use tunebook_client::Adapter;
use tunebook_client::Answer;
use tunebook_client::Data;
use tunebook_client::Evaluation;
use tunebook_client::Model;
use tunebook_client::Part;
use tunebook_client::Prediction;
use tunebook_client::Predictions;
use tunebook_client::Probed;
use tunebook_client::Request;
use tunebook_client::SampleLoss;
use tunebook_client::Step;
use tunebook_client::Tensor;
use tunebook_client::Token;
use tunebook_client::Trained;
use tunebook_client::Trial;
use tunebook_client::wire::Wire;
use tunebook_commands::CellCall;
use tunebook_commands::CommandContext;
use tunebook_commands::Error;
use tunebook_commands::Event;
use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_commands::Localize;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::Result;
use tunebook_commands::cell::quoted;
use tunebook_commands::lang::localized;
use tunebook_commands::output::Predicted;
use tunebook_commands::run;
use tunebook_commands::sweep::SweepReport;
use tunebook_commands::text;
use tunebook_engine::Session;
use tunebook_engine::probes::ProbeAnswer;
use tunebook_engine::probes::ProbeRecord;
use tunebook_engine::report::AdapterReport;
use tunebook_engine::report::AnswerEnd;
use tunebook_engine::report::ComparedAnswer;
use tunebook_engine::report::EvaluationRecord;
use tunebook_engine::report::ScoredToken;
use tunebook_engine::report::StepRecord;
use tunebook_engine::report::TensorReport;
use tunebook_engine::report::TrainEnd;
use tunebook_engine::report::TrainReport;

use crate::cell::Cell;

/// Carries out a call and gives the last part of the answer; `on_piece` hears the others.
pub(crate) fn carry_out(request: Request, host: &Host, cell: &Cell, on_piece: &dyn Fn(String)) -> Part {
    // What comes back as a value is not shown as well, and a loop over `train` needs no estimate in every round.
    let is_shown = matches!(request, Request::Run { shown: true, .. });
    let is_streamed = matches!(request, Request::Chat { streamed: true, .. });
    let (sender, answer) = bounded(1);
    let (trains, sweeps) = (matches!(request, Request::Train { .. }), matches!(request, Request::Sweep { .. }));
    if trains || sweeps {
        cell.begin_training(if trains { place(host) } else { None });
    }
    let messages = host.call(move |session, cx| {
        let mut trained = None;
        let part = answer_to(request, session, cx, &mut trained).unwrap_or_else(|error| match error {
            Error::Engine(tunebook_engine::Error::Cancelled) => stopped(cx.lang()),
            error => Part::Refused { message: error.localize(cx.lang()) },
        });
        // The receiver waits below.
        let _ = sender.send((part, trained));
    });
    let (mut problem, mut has_told, mut trains_shown) = (String::new(), false, false);
    for message in messages {
        match message {
            Message::Event(Event::Text(text)) if !is_shown => {
                if is_streamed {
                    on_piece(text);
                }
            }
            Message::Event(Event::MemoryEstimate(_) | Event::Estimate { .. } | Event::Answering(_))
            | Message::Output(Output::Picture(_))
                if !is_shown => {}
            Message::Done(result) => {
                problem = result.err().map(|error| error.localize(host.language().get())).unwrap_or_default();
                break;
            }
            message => {
                // A command that is shown as such has a display of its own.
                if is_shown && !trains_shown && matches!(message, Message::Event(Event::MicroBatch { .. })) {
                    trains_shown = true;
                    cell.begin_training(None);
                }
                has_told |= matches!(message, Message::Event(_));
                cell.show(message);
            }
        }
    }
    let (part, trained) = answer.try_recv().unwrap_or((Part::Refused { message: problem }, None));
    if has_told {
        cell.show(Message::Call(CellCall::Ended(trained)));
    }
    if trains || sweeps || trains_shown {
        cell.end_training(if trains { place(host) } else { None });
    }
    part
}

/// The adapter that is on and its step.
fn place(host: &Host) -> Option<(String, usize)> {
    let (sender, answer) = bounded(1);
    let asked = host.call(move |session, _| {
        let active = session.adapters().into_iter().find(|adapter| adapter.active);
        // The receiver waits below.
        let _ = sender.send(active.map(|adapter| (adapter.name, adapter.step)));
    });
    asked.into_iter().find(|message| matches!(message, Message::Done(_)));
    answer.try_recv().ok().flatten()
}

/// The last part of the answer; `trained` is told what a training has done.
fn answer_to(
    request: Request,
    session: &mut Session,
    cx: &CommandContext,
    trained: &mut Option<TrainReport>,
) -> Result<Part> {
    let silently = |line: String, session: &mut Session| run(&line, session, cx);
    Ok(match request {
        Request::Run { line, shown } => {
            let output = run(&line, session, cx)?;
            let was_stopped = cx.context.is_cancelled();
            match output {
                Output::Conversation => return Err(Error::NobodyToTalk),
                output if shown => (cx.show)(output),
                _ => {}
            }
            if was_stopped { stopped(cx.lang()) } else { value(()) }
        }
        Request::StepCount {} => value(session.step()),
        Request::Get { key } => value(session.settings().get(&key)?),
        Request::Set { key, value: to } => {
            silently(format!("set {key}={}", quoted(&to)), session)?;
            value(())
        }
        Request::Load { model } => match silently(format!("load {}", quoted(&model)), session)? {
            Output::Loaded(report) => {
                value(Model { name: report.name, parameters: report.parameters, dtype: report.dtype })
            }
            other => unexpected(&other),
        },
        Request::Data { names } => match silently(format!("data {}", quoted(&names)), session)? {
            Output::Data(report) => value(Data {
                names: report.names,
                samples: report.samples,
                eval_samples: report.eval_samples,
                steps_per_epoch: report.steps_per_epoch,
            }),
            other => unexpected(&other),
        },
        Request::Lora { name } => match silently(format!("lora {}", quoted(&name)), session)? {
            Output::Adapter(report) => value(adapter(report)),
            other => unexpected(&other),
        },
        Request::Blend { sum } => match silently(format!("blend {sum}"), session)? {
            Output::Adapter(report) => value(adapter(report)),
            other => unexpected(&other),
        },
        Request::Train { steps } => train(steps, session, cx, trained)?,
        Request::History {} => value(session.history().iter().map(step).collect::<Vec<_>>()),
        Request::Evaluations {} => value(session.evaluations().iter().map(evaluation).collect::<Vec<_>>()),
        Request::Evaluate {} => match silently("evaluate".to_string(), session)? {
            Output::Evaluated(report) if report.done + report.left_out.len() == report.total => value(Evaluation {
                step: session.step(),
                loss: report.loss as f32,
                perplexity: report.perplexity as f32,
                samples: report.done,
            }),
            Output::Evaluated(_) => stopped(cx.lang()),
            other => unexpected(&other),
        },
        Request::Predict {} => predict(session, cx)?,
        Request::ChatN { text, images, n } => {
            let line = format!("chat n={n} {}{}", of_images(&images), quoted(&text));
            match silently(line, session)? {
                // One answer is told as such.
                Output::Answer(report) => answers(1, vec![ComparedAnswer { name: "1".to_string(), report }], cx),
                Output::Compared(report) => answers(report.asked, report.answers, cx),
                Output::Conversation => return Err(Error::NobodyToTalk),
                other => unexpected(&other),
            }
        }
        Request::Compare { text, images } => {
            match silently(format!("compare {}{}", of_images(&images), quoted(&text)), session)? {
                Output::Compared(report) => answers(report.asked, report.answers, cx),
                other => unexpected(&other),
            }
        }
        Request::ChatTokens { text, images, alternatives } => {
            let line = format!("chat alternatives={alternatives} {}{}", of_images(&images), quoted(&text));
            match silently(line, session)? {
                Output::Answer(report) if report.end == AnswerEnd::Interrupted => stopped(cx.lang()),
                Output::Answer(report) => value(report.tokens.into_iter().map(token).collect::<Vec<_>>()),
                Output::Conversation => return Err(Error::NobodyToTalk),
                other => unexpected(&other),
            }
        }
        Request::Chat { text, images, .. } => {
            match silently(format!("chat {}{}", of_images(&images), quoted(&text)), session)? {
                Output::Answer(report) if report.end == AnswerEnd::Interrupted => stopped(cx.lang()),
                Output::Answer(report) => value(report.text),
                Output::Conversation => return Err(Error::NobodyToTalk),
                other => unexpected(&other),
            }
        }
        Request::Probe { question, images } => {
            silently(format!("probe {}{}", of_images(&images), quoted(&question)), session)?;
            value(())
        }
        Request::Probes {} => value(session.probe_records().iter().flat_map(probed).collect::<Vec<_>>()),
        Request::Undo { steps } => {
            let line = steps.map_or_else(|| "undo".to_string(), |steps| format!("undo {steps}"));
            match silently(line, session)? {
                Output::Undone(report) => value(report.step),
                other => unexpected(&other),
            }
        }
        Request::Redo {} => match silently("redo".to_string(), session)? {
            Output::Undone(report) => value(report.step),
            other => unexpected(&other),
        },
        Request::Branch { name, at } => {
            let at = at.map_or_else(String::new, |at| format!(" at={at}"));
            match silently(format!("branch {}{at}", quoted(&name)), session)? {
                Output::Adapter(report) => value(adapter(report)),
                other => unexpected(&other),
            }
        }
        Request::Sweep { settings, steps } => match silently(format!("sweep {settings} steps={steps}"), session)? {
            Output::Sweep(report) if report.trials.len() < report.planned => stopped(cx.lang()),
            Output::Sweep(report) => value(trials(&report)),
            // It has no trials.
            Output::RangeTest(report) => Part::Finished { message: text::range_note(&report, cx.lang()) },
            other => unexpected(&other),
        },
        Request::Worst { most, split } => match silently(format!("worst {most} split={}", quoted(&split)), session)? {
            Output::Worst(report) => value(report.worst.into_iter().map(sample_loss).collect::<Vec<_>>()),
            other => unexpected(&other),
        },
        Request::UseAdapter { name } => {
            silently(format!("adapter use {}", quoted(&name)), session)?;
            value(())
        }
        Request::Plot { name } => {
            (cx.show)(silently(format!("plot {}", quoted(&name)), session)?);
            value(())
        }
        Request::Adapters {} => value(session.adapters().into_iter().map(adapter).collect::<Vec<_>>()),
        Request::Tensors {} => value(session.tensors(None)?.into_iter().map(tensor).collect::<Vec<_>>()),
        Request::Tensor { name } => {
            let found = session.tensors(Some(&name))?.into_iter().next().map(tensor);
            found.map_or_else(|| Part::Refused { message: name }, value)
        }
        Request::Hello { .. }
        | Request::Print { .. }
        | Request::Stderr { .. }
        | Request::Failed { .. }
        | Request::Input { .. } => value(()),
    })
}

/// As options of a command.
fn of_images(images: &[String]) -> String {
    images.iter().map(|image| format!("image={} ", quoted(image))).collect()
}

/// The texts of so many answers, unless they were stopped.
fn answers(asked: usize, answers: Vec<ComparedAnswer>, cx: &CommandContext) -> Part {
    if answers.len() < asked || answers.iter().any(|answer| answer.report.end == AnswerEnd::Interrupted) {
        return stopped(cx.lang());
    }
    let answer = |answer: ComparedAnswer| Answer { name: answer.name, text: answer.report.text };
    value(answers.into_iter().map(answer).collect::<Vec<_>>())
}

fn train(
    steps: Option<usize>,
    session: &mut Session,
    cx: &CommandContext,
    trained: &mut Option<TrainReport>,
) -> Result<Part> {
    let before = session.history().len();
    let line = steps.map_or_else(|| "train".to_string(), |steps| format!("train {steps}"));
    let report = match run(&line, session, cx)? {
        Output::Trained(report) => report,
        other => return Ok(unexpected(&other)),
    };
    *trained = Some(report.clone());
    let made: Vec<_> = session.history().get(before..).unwrap_or_default().iter().map(step).collect();
    Ok(match (report.end, made.last().cloned()) {
        (TrainEnd::Interrupted, _) => stopped(cx.lang()),
        (end, Some(last)) => value(Trained {
            loss: made.iter().map(|step| step.loss).sum::<f32>() / made.len() as f32,
            grad_norm: last.grad_norm,
            learning_rate: last.learning_rate,
            step: report.step,
            total_steps: report.total_steps,
            is_finished: end != TrainEnd::Paused,
            steps: made,
        }),
        // A loop that trains until something happens would not end.
        (_, None) => Part::Finished {
            message: tunebook_commands::text::render(
                &Output::Trained(report),
                tunebook_commands::page::Page { width: usize::MAX, color: false, lang: cx.lang() },
            ),
        },
    })
}

fn predict(session: &mut Session, cx: &CommandContext) -> Result<Part> {
    // The cell shows what it likes of them.
    let show = |output| match output {
        Output::Prediction(_) => {}
        output => (cx.show)(output),
    };
    Ok(match run("predict", session, &CommandContext { show: &show, ..*cx })? {
        Output::Predicted(Predicted { report, predictions }) if report.done + report.left_out.len() == report.total => {
            let scores = report.scores.named().map(|(name, score)| (name.to_string(), score)).to_vec();
            let prediction = |made: tunebook_engine::report::Prediction| Prediction {
                prompt: made.prompt,
                predict: made.predict,
                label: made.label,
            };
            value(Predictions { predictions: predictions.into_iter().map(prediction).collect(), scores })
        }
        Output::Predicted(_) => stopped(cx.lang()),
        other => unexpected(&other),
    })
}

pub(crate) fn value(value: impl Wire) -> Part {
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    Part::Value { bytes }
}

/// The user has asked to stop.
fn stopped(lang: Lang) -> Part {
    Part::Interrupted { message: localized("stopped", "已停止").in_lang(lang).to_string() }
}

/// A verb that answers something else than it should is a bug; the cell is told.
fn unexpected(output: &Output) -> Part {
    Part::Refused { message: format!("an unexpected answer: {output:?}") }
}

fn adapter(report: AdapterReport) -> Adapter {
    let AdapterReport { name, active, trainable_parameters, step, .. } = report;
    Adapter { name, active, trainable_parameters, step }
}

fn trials(report: &SweepReport) -> Vec<Trial> {
    let trial = |(index, trial): (usize, &tunebook_commands::sweep::Trial)| Trial {
        settings: trial.settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        adapter: trial.adapter.clone(),
        loss: trial.loss.unwrap_or(f64::NAN),
        eval_loss: trial.eval_loss,
        is_best: report.best == Some(index),
    };
    report.trials.iter().enumerate().map(trial).collect()
}

fn sample_loss(sample: tunebook_engine::report::SampleLoss) -> SampleLoss {
    let tunebook_engine::report::SampleLoss { index, loss, base_loss, expected, .. } = sample;
    SampleLoss { index, loss, base_loss, expected }
}

fn token(token: ScoredToken) -> Token {
    let (probability, rank) = (token.probability(), token.rank);
    let likeliest = token.likeliest.into_iter().map(|likely| (likely.text, likely.probability)).collect();
    Token { text: token.text, probability, rank, likeliest }
}

fn step(record: &StepRecord) -> Step {
    Step {
        step: record.step,
        loss: record.loss() as f32,
        grad_norm: record.grad_norm as f32,
        learning_rate: record.learning_rate,
        epoch: record.epoch,
        tokens: record.tokens,
        elapsed: record.elapsed,
    }
}

fn probed(record: &ProbeRecord) -> Vec<Probed> {
    let answer = |answer: &ProbeAnswer| Probed {
        step: record.step,
        question: answer.probe.question.clone(),
        answer: answer.text.clone(),
    };
    record.answers.iter().map(answer).collect()
}

fn evaluation(record: &EvaluationRecord) -> Evaluation {
    Evaluation {
        step: record.step,
        loss: record.loss as f32,
        perplexity: record.loss.exp() as f32,
        samples: record.samples,
    }
}

fn tensor(report: TensorReport) -> Tensor {
    Tensor { name: report.name, shape: report.shape, data: report.values }
}
