// What the page knows, and how each message changes it.

import type { Curve, Exchange, Failure, FromKernel, MicroBatch, Output, Recorded, State } from "./protocol";
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

/** A line, whoever sent it, and what came of it if this page did. */
export interface Entry extends Recorded {
  job: Job | null;
}

export interface Knowledge {
  /** Nothing before the kernel's first answer. */
  session: State | null;
  curves: Record<string, Curve>;
  /** The conversation. */
  chat: Exchange[];
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
}

export function nothing(): Knowledge {
  return {
    session: null,
    curves: {},
    chat: [],
    jobs: new Map(),
    history: [],
    micro: null,
    progress: null,
    notes: [],
    curvesVersion: 0,
    samplesVersion: 0,
    isEnded: false,
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
      const { type: _, values, curves, chat, ...rest } = message;
      Object.assign(session, rest);
      if (values) {
        session.settings = session.settings.map((setting) => {
          const value = values[setting.name];
          return value === undefined ? setting : { ...setting, value };
        });
      }
      if (curves) {
        known.curves = curves;
        known.curvesVersion += 1;
      }
      if (chat) known.chat = chat;
      if ("data" in rest || "model" in rest) known.samplesVersion += 1;
      if ("training" in rest && !rest.training?.running) [known.micro, known.progress] = [null, null];
      break;
    }
    case "recorded": {
      const { type: _, ...recorded } = message;
      takeRecorded(known, recorded);
      break;
    }
    case "step": {
      if (!session) break;
      const { steps } = curveOf(known, message.adapter);
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
      const { evaluations } = curveOf(known, message.adapter);
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
    if (job.isDone || known.history.some((entry) => entry.job === job && entry.ok === null)) continue;
    job.isDone = true;
    job.isLost = true;
    job.progress = null;
  }
}

/** The line that is being carried out, the innermost if one is within another. */
export function running(known: Knowledge): Entry | null {
  return known.history.findLast((entry) => entry.ok === null) ?? null;
}

function takeState(known: Knowledge, state: State): void {
  known.session = state;
  known.isEnded = false;
  // Their outputs are still at hand, unless the page is new.
  known.history = state.recorded.map((recorded) => ({ ...recorded, job: jobOf(known, recorded) }));
  if (!state.training?.running) known.micro = null;
  known.samplesVersion += 1;
}

function takeRecorded(known: Knowledge, recorded: Recorded): void {
  const entry = { ...recorded, job: jobOf(known, recorded) };
  const at = known.history.findLastIndex(({ number }) => number === recorded.number);
  if (at < 0) known.history.push(entry);
  else known.history[at] = entry;
  if (entry.ok !== null && !entry.job && CHANGE_SAMPLES.includes(verbOf(recorded.line))) known.samplesVersion += 1;
}

function jobOf(known: Knowledge, { id }: Recorded): Job | null {
  return (id !== null && known.jobs.get(id)) || null;
}

function curveOf(known: Knowledge, adapter: string): Curve {
  return (known.curves[adapter] ??= { steps: [], evaluations: [] });
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
