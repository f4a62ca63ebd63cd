// What the page knows, and how each message changes it.

import type { Curve, Failure, FromKernel, MicroBatch, Output, Recorded, State } from "./protocol";
import { verbOf } from "./lines";

/** A line that this page has sent. */
export interface Job {
  id: string;
  line: string;
  /** The part of the page that shows what comes of it. */
  where: string;
  outputs: Output[];
  notes: string[];
  progress: { text: string; part: number } | null;
  /** Pieces of answers, by whose they are; "" is the only one. */
  answers: Map<string, string>;
  failure: Failure | null;
  isDone: boolean;
  /** The connection was lost before its end was told. */
  isLost: boolean;
}

/** A line that was carried out, by whomever, and what came of it if this page sent it. */
export interface Entry extends Recorded {
  key: number;
  job: Job | null;
}

export interface Knowledge {
  /** Nothing before the kernel's first answer. */
  session: State | null;
  jobs: Map<string, Job>;
  history: Entry[];
  micro: MicroBatch | null;
  /** What is told of no line of this page. */
  progress: { text: string; part: number } | null;
  notes: string[];
  /** Changes with every change of a curve; the arrays themselves grow in place. */
  curvesVersion: number;
  /** Changes when other samples would be listed. */
  samplesVersion: number;
  isEnded: boolean;
  nextKey: number;
}

export function nothing(): Knowledge {
  return {
    session: null,
    jobs: new Map(),
    history: [],
    micro: null,
    progress: null,
    notes: [],
    curvesVersion: 0,
    samplesVersion: 0,
    isEnded: false,
    nextKey: 0,
  };
}

export function newJob(id: string, line: string, where: string): Job {
  const [outputs, notes, answers] = [[], [], new Map<string, string>()];
  return { id, line, where, outputs, notes, progress: null, answers, failure: null, isDone: false, isLost: false };
}

const MOST_NOTES = 50;
const MOST_JOBS = 300;

/** Verbs after which other samples are listed, or the same with other losses. */
const CHANGE_SAMPLES = ["data", "demo", "load", "unload", "worst", "recipe", "resume", "run"];

export function reduce(known: Knowledge, message: FromKernel): void {
  const { session } = known;
  switch (message.type) {
    case "state":
      takeState(known, message);
      break;
    case "changed": {
      if (!session) break;
      const { type: _, values, curves, ...rest } = message;
      const before = session.training;
      Object.assign(session, rest);
      if (values) {
        session.settings = session.settings.map((setting) => {
          const value = values[setting.name];
          return value === undefined ? setting : { ...setting, value };
        });
      }
      if (curves) {
        Object.assign(session.curves, curves);
        known.curvesVersion += 1;
      }
      if ("data" in rest || "model" in rest) known.samplesVersion += 1;
      if ("training" in rest) followTraining(known, before);
      break;
    }
    case "recorded": {
      const { type: _, ...recorded } = message;
      takeRecorded(known, recorded);
      break;
    }
    case "step": {
      if (!session) break;
      const { steps } = curveOf(session, message.adapter);
      cutFrom(steps, message.record.step);
      steps.push(message.record);
      const { training } = session;
      if (training?.adapter === message.adapter) session.training = { ...training, step: message.record.step };
      const adapter = session.adapters.find((one) => one.name === message.adapter);
      if (adapter) adapter.step = message.record.step;
      known.curvesVersion += 1;
      break;
    }
    case "evaluation": {
      if (!session) break;
      const { evaluations } = curveOf(session, message.adapter);
      cutFrom(evaluations, message.record.step);
      evaluations.push(message.record);
      known.curvesVersion += 1;
      break;
    }
    case "micro_batch":
      known.micro = message;
      break;
    case "progress": {
      const progress = message.part >= 1 ? null : { text: message.text, part: message.part };
      const job = message.id === null ? undefined : known.jobs.get(message.id);
      if (job) job.progress = progress;
      else known.progress = progress;
      break;
    }
    case "text": {
      const job = known.jobs.get(message.id);
      const answer = message.answer ?? "";
      job?.answers.set(answer, (job.answers.get(answer) ?? "") + message.text);
      break;
    }
    case "note": {
      const notes = (message.id !== null && known.jobs.get(message.id)?.notes) || known.notes;
      notes.push(message.text);
      if (notes.length > MOST_NOTES) notes.shift();
      break;
    }
    case "output": {
      const { kind, text, html } = message;
      known.jobs.get(message.id)?.outputs.push({ kind, text, html });
      break;
    }
    case "done": {
      const job = known.jobs.get(message.id);
      if (!job) break;
      job.isDone = true;
      job.isLost = false;
      job.progress = null;
      job.failure = message.error;
      if (session?.busy?.id === job.id) session.busy = null;
      if (CHANGE_SAMPLES.includes(verbOf(job.line))) known.samplesVersion += 1;
      forgetOldJobs(known);
      break;
    }
    case "ended":
      known.isEnded = true;
      break;
    case "samples":
    case "datasets":
    case "completions":
    case "uploaded":
    case "failed":
      // Their request waits for them.
      break;
  }
}

/** After the connection was lost: whatever the kernel does not name any more will not be heard of again. */
export function loseJobs(known: Knowledge): void {
  for (const job of known.jobs.values()) {
    if (job.isDone || job.id === known.session?.busy?.id) continue;
    job.isDone = true;
    job.isLost = true;
    job.progress = null;
  }
}

function takeState(known: Knowledge, state: State): void {
  const jobs = new Map<string, Job[]>();
  for (const { job } of known.history) {
    if (job) jobs.set(job.line, [...(jobs.get(job.line) ?? []), job]);
  }
  known.session = state;
  known.isEnded = false;
  known.history = state.recorded.map((recorded) => {
    // Their outputs are still at hand, unless the page is new.
    const job = jobs.get(recorded.line)?.shift() ?? null;
    return { ...recorded, key: known.nextKey++, job };
  });
  if (!state.training?.running) known.micro = null;
  known.curvesVersion += 1;
  known.samplesVersion += 1;
}

function takeRecorded(known: Knowledge, recorded: Recorded): void {
  const { session } = known;
  const training = session?.training ?? null;
  const own = recorded.from === "panel";
  const isRecorded = (job: Job) => known.history.some((entry) => entry.job === job);
  const job = own ? [...known.jobs.values()].find((one) => one.line === recorded.line && !isRecorded(one)) : null;
  known.history.push({
    step: training?.step ?? 0,
    running: training?.running ?? false,
    ...recorded,
    key: known.nextKey++,
    job: job ?? null,
  });
  if (!own && CHANGE_SAMPLES.includes(verbOf(recorded.line))) known.samplesVersion += 1;
}

/** A training that has ended or went back: the curve and the record of `stop` say where it is now. */
function followTraining(known: Knowledge, before: State["training"]): void {
  const session = known.session;
  const training = session?.training;
  if (!session || !training) {
    known.micro = null;
    return;
  }
  if (training.running) return;
  known.micro = null;
  known.progress = null;
  const curve = session.curves[training.adapter];
  if (curve && (curve.steps.at(-1)?.step ?? 0) > training.step) {
    cutFrom(curve.steps, training.step + 1);
    cutFrom(curve.evaluations, training.step + 1);
    known.curvesVersion += 1;
  }
  // A line that stopped it took effect at the step where it stands now.
  const last = known.history.findLast((entry) => ["stop", "train"].includes(verbOf(entry.line)));
  if (before?.running && last?.running && verbOf(last.line) === "stop") last.step = training.step;
}

function curveOf(session: State, adapter: string): Curve {
  return (session.curves[adapter] ??= { steps: [], evaluations: [] });
}

/** Removes what is at `step` or behind it. */
function cutFrom(records: { step: number }[], step: number): void {
  let length = records.length;
  while (length > 0 && (records[length - 1]?.step ?? 0) >= step) length -= 1;
  records.length = length;
}

function forgetOldJobs(known: Knowledge): void {
  for (const [id, job] of known.jobs) {
    if (known.jobs.size <= MOST_JOBS) return;
    if (job.isDone) known.jobs.delete(id);
  }
}
