// The messages between the page and the kernel.

export interface Model {
  name: string;
  path: string;
  architecture: string;
  parameters: number;
  dtype: string;
  device: string | null;
  quantized: string | null;
}

export interface Data {
  names: string[];
  train: number;
  eval: number;
  skipped: number;
}

export interface Adapter {
  name: string;
  active: boolean;
  method: string;
  trainable: number;
  step: number;
  /** The step that ends its training, if it was trained in this session. */
  total_steps: number | null;
}

export type Kind = "number" | "integer" | "text" | "bool" | "choice" | "list" | "numbers" | "path" | "mapping";

export interface Setting {
  name: string;
  aliases: string[];
  group: string;
  help: string;
  kind: Kind;
  choices: string[];
  /** Values from `min` to `max`, or to less than `below`. */
  min: number | null;
  max: number | null;
  below: number | null;
  optional: boolean;
  default: string;
  value: string;
}

export interface Training {
  adapter: string;
  running: boolean;
  stopping: boolean;
  /** It has not come to its own end: it was stopped, or has failed. */
  stopped: boolean;
  /** Optimizer steps that are complete. */
  step: number;
  /** The step that ends this call of `train`. */
  last_step: number;
  /** The step that ends the training. */
  total_steps: number;
}

/** One optimizer step; `tokens` and `elapsed` count from the training's beginning. */
export interface StepRecord {
  step: number;
  loss: number;
  learning_rate: number;
  grad_norm: number;
  epoch: number;
  tokens: number;
  elapsed: number;
}

export interface EvaluationRecord {
  step: number;
  loss: number;
  epoch?: number;
}

export interface Curve {
  steps: StepRecord[];
  evaluations: EvaluationRecord[];
}

/** Where the training that runs stands, or where the last one has ended. */
export interface Standing {
  running: boolean;
  /** It has not come to its own end: it was stopped, or has failed. */
  stopped: boolean;
  /** Optimizer steps that are complete. */
  step: number;
  /** The step behind which counts what is changed now. */
  counts_from: number;
}

/** A line that is being carried out, or was. */
export interface Recorded {
  number: number;
  /** The id under which a page has sent it; nothing if it came from a cell or the prompt. */
  id: string | null;
  line: string;
  /** Whether it worked; nothing while it is being carried out. */
  ok: boolean | null;
  /** Optimizer steps of the active adapter when it began, and the training then. */
  step: number;
  training: Standing | null;
}

/** A question of the conversation and its answer. */
export interface Exchange {
  text: string;
  /** Addresses of pictures. */
  pictures: string[];
  answer: string;
}

export interface State {
  type: "state";
  version: string;
  lang: "en" | "zh";
  model: Model | null;
  data: Data | null;
  adapters: Adapter[];
  groups: { name: string; title: string }[];
  settings: Setting[];
  training: Training | null;
  recorded: Recorded[];
  memory: { resident: number } | null;
}

export interface Changed {
  type: "changed";
  model?: Model | null;
  data?: Data | null;
  adapters?: Adapter[];
  values?: Record<string, string>;
  training?: Training | null;
  memory?: { resident: number } | null;
  /** Those of all adapters, after a `hello` and when they are others than the steps have told. */
  curves?: Record<string, Curve>;
  /** The whole conversation. */
  chat?: Exchange[];
}

/** All of a session, as a notebook keeps it. */
export type Snapshot = State & Pick<Changed, "curves" | "chat">;

export interface MicroBatch {
  type: "micro_batch";
  /** The step that is being made, of which `done` of `total` micro-batches are complete. */
  step: number;
  last_step: number;
  total_steps: number;
  done: number;
  total: number;
  /** Seconds that this call of `train` has taken. */
  elapsed: number;
}

export interface Output {
  kind: "text" | "html" | "table" | "error";
  text: string;
  html: string | null;
}

export interface Failure {
  cause: string;
  remedy: string | null;
}

export interface SampleRow {
  index: number;
  messages: { role: string; text: string }[];
  pictures: string[];
  dropped: boolean;
  loss: number | null;
}

export interface Samples {
  type: "samples";
  id: string;
  total: number;
  rows: SampleRow[];
}

export interface Datasets {
  type: "datasets";
  id: string;
  folder: string;
  names: string[];
}

export interface Completions {
  type: "completions";
  id: string;
  start: number;
  candidates: { text: string; description: string }[];
}

export interface Uploaded {
  type: "uploaded";
  id: string;
  path: string;
}

/** The answer to a request that is no line. */
export type Reply = Samples | Datasets | Completions | Uploaded;

export type FromKernel =
  | State
  | Changed
  | ({ type: "recorded" } & Recorded)
  | { type: "step"; adapter: string; record: StepRecord }
  | { type: "evaluation"; adapter: string; record: EvaluationRecord }
  | { type: "progress"; id: string | null; text: string; part: number }
  | MicroBatch
  | { type: "text"; id: string; answer: string | null; text: string }
  | { type: "note"; id: string | null; text: string }
  | ({ type: "output"; id: string } & Output)
  | { type: "done"; id: string; error: Failure | null }
  | Reply
  | { type: "failed"; id: string; cause: string }
  | { type: "ended" };

/** What is asked for, without the id under which it is answered. */
export type Request =
  | { type: "upload"; name: string; data: string }
  | { type: "complete"; line: string; cursor: number }
  | { type: "samples"; split: "train" | "eval"; from: number; count: number; query: string; order: "file" | "loss" }
  | { type: "datasets" };

export type ToKernel =
  | { type: "hello" }
  | { type: "run"; id: string; line: string }
  | { type: "interrupt" }
  | (Request & { id: string });
