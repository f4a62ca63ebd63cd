import assert from "node:assert/strict";
import { test } from "node:test";
import type { State, StepRecord } from "../../src/protocol";
import { loseJobs, newJob, nothing, reduce, running, type Knowledge } from "../../src/reducer";

const STATE: State = {
  type: "state",
  version: "0",
  lang: "en",
  model: null,
  data: null,
  adapters: [{ name: "a", active: true, method: "lora", trainable: 1, step: 0, total_steps: null }],
  groups: [],
  settings: [],
  training: null,
  recorded: [],
  memory: null,
};

function begun(state: Partial<State> = {}): Knowledge {
  const known = nothing();
  reduce(known, structuredClone({ ...STATE, ...state }));
  return known;
}

function record(step: number): StepRecord {
  return { step, loss: 1 / step, learning_rate: 1, grad_norm: 1, epoch: 0, tokens: step, elapsed: step };
}

function recorded(number: number, id: string | null, line: string, ok: boolean | null) {
  return { type: "recorded", number, id, line, ok, step: 0, training: null } as const;
}

const training = { adapter: "a", running: true, stopping: false, stopped: false, step: 0, last_step: 9, total_steps: 9 };
const steps = (known: Knowledge) => known.curves.a?.steps.map(({ step }) => step);

test("nothing is taken in before the state", () => {
  const known = nothing();
  reduce(known, { type: "step", adapter: "a", record: record(1) });
  reduce(known, { type: "changed", model: null });
  assert.equal(known.session, null);
});

test("steps make the curve, and a step that is made again takes the place of what was behind it", () => {
  const known = begun({ training });
  for (const step of [1, 2, 3, 4]) reduce(known, { type: "step", adapter: "a", record: record(step) });
  reduce(known, { type: "evaluation", adapter: "a", record: { step: 4, loss: 1 } });
  assert.deepEqual(steps(known), [1, 2, 3, 4]);
  assert.equal(known.session?.training?.step, 4);
  assert.equal(known.session?.adapters[0]?.step, 4);
  reduce(known, { type: "step", adapter: "a", record: record(3) });
  assert.deepEqual(steps(known), [1, 2, 3]);
});

test("other curves take the place of those that were there", () => {
  const known = begun({ training });
  for (const step of [1, 2, 3, 4]) reduce(known, { type: "step", adapter: "a", record: record(step) });
  reduce(known, { type: "changed", curves: { a: { steps: [record(1)], evaluations: [] } } });
  assert.deepEqual(steps(known), [1]);
  // A whole state, as after a change of the language, says nothing of them.
  reduce(known, structuredClone(STATE));
  assert.deepEqual(steps(known), [1]);
  reduce(known, { type: "changed", curves: {} });
  assert.equal(steps(known), undefined);
});

test("values change in their settings alone", () => {
  const setting = { aliases: [], group: "g", help: "", kind: "text", choices: [], min: null, max: null, below: null, optional: false, default: "", value: "1" } as const;
  const known = begun({ settings: [{ ...setting, name: "x", aliases: [], choices: [] }, { ...setting, name: "y", aliases: [], choices: [] }] });
  const before = known.session?.settings[1];
  reduce(known, { type: "changed", values: { x: "2" } });
  assert.equal(known.session?.settings[0]?.value, "2");
  assert.equal(known.session?.settings[1], before);
});

test("a line has its outputs, its answers and its end", () => {
  const known = begun();
  const job = newJob("1", "chat Hi", "chat");
  known.jobs.set("1", job);
  reduce(known, { type: "progress", id: "1", text: "reading", part: 0.5 });
  reduce(known, { type: "text", id: "1", answer: null, text: "Th" });
  reduce(known, { type: "text", id: "1", answer: null, text: "is" });
  reduce(known, { type: "text", id: "1", answer: "base", text: "No" });
  reduce(known, { type: "output", id: "1", kind: "text", text: "This", html: null });
  reduce(known, { type: "note", id: "1", text: "advice" });
  assert.deepEqual(job.progress, { text: "reading", part: 0.5 });
  reduce(known, recorded(1, "1", "chat Hi", true));
  reduce(known, { type: "done", id: "1", error: null });
  assert.deepEqual([...job.answers], [["", "This"], ["base", "No"]]);
  assert.deepEqual([job.isDone, job.progress, job.outputs.length, job.notes], [true, null, 1, ["advice"]]);
  assert.equal(known.history[0]?.job, job);
});

test("a line has one entry from its beginning to its end, and its outputs by its id", () => {
  const known = begun();
  const jobs = ["1", "2"].map((id) => newJob(id, "evaluate", "x"));
  for (const job of jobs) known.jobs.set(job.id, job);
  reduce(known, recorded(1, "1", "evaluate", null));
  assert.equal(running(known)?.number, 1);
  reduce(known, recorded(2, null, "evaluate", null));
  assert.equal(running(known)?.number, 2);
  reduce(known, recorded(2, null, "evaluate", true));
  reduce(known, recorded(1, "1", "evaluate", false));
  reduce(known, recorded(3, "2", "evaluate", true));
  assert.equal(running(known), null);
  assert.deepEqual(known.history.map(({ ok, job }) => [ok, job]), [[false, jobs[0]], [true, null], [true, jobs[1]]]);
  // A whole state keeps what is known of them.
  reduce(known, structuredClone({ ...STATE, recorded: known.history.map(({ job: _, ...entry }) => entry) }));
  assert.deepEqual(known.history.map((entry) => entry.job), [jobs[0], null, jobs[1]]);
});

test("a lost connection ends what the kernel does not carry out any more", () => {
  const known = begun();
  for (const id of ["1", "2"]) known.jobs.set(id, newJob(id, "predict", "x"));
  const { type: _, ...line } = recorded(1, "2", "predict", null);
  reduce(known, structuredClone({ ...STATE, recorded: [line] }));
  loseJobs(known);
  assert.deepEqual([...known.jobs.values()].map(({ isDone, isLost }) => [isDone, isLost]), [[true, true], [false, false]]);
});
