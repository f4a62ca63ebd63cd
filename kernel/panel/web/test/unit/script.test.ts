import assert from "node:assert/strict";
import { test } from "node:test";
import { cells, type Now } from "../../src/script";
import type { Recorded, Standing } from "../../src/protocol";

let number = 0;

/** A line of a page that worked; `training` as it stood when the line began. */
function done(line: string, step = 0, training: Standing | null = null): Recorded {
  number += 1;
  return { number, id: String(number), line, ok: true, step, training };
}

/** In the middle of the step behind `step`, unless said otherwise. */
function running(step: number, counts_from = step + 1): Standing {
  return { running: true, stopped: false, step, counts_from };
}

function ended(step: number, stopped = false): Standing {
  return { running: false, stopped, step, counts_from: step };
}

function now(step = 0, training: Standing | null = null): Now {
  return { step, training };
}

test("lines of pages that worked are one cell", () => {
  const recorded = [
    done("demo"),
    { ...done("lora x"), ok: false },
    { ...done("status"), id: null },
    { ...done("evaluate"), ok: null },
    done("lang zh"),
    done("lora"),
  ];
  assert.deepEqual(cells(recorded, now()), ["demo\nlora"]);
  assert.deepEqual(cells([], now()), []);
});

test("a message of several lines is a cell by itself", () => {
  assert.deepEqual(cells([done("demo"), done("%%chat\na\nb"), done("evaluate")], now()), ["demo", "%%chat\na\nb", "evaluate"]);
});

test("lines of the shell, of Rust and those that are timed stand where they stood", () => {
  const recorded = [
    done("!ls"),
    done("%time train 5 &", 0),
    done("time chat Hi", 2, running(2)),
    { ...done("!rm -r saves", 3, running(3)), id: null },
    done("%%time\nset seed=1\nplot", 5, ended(5)),
  ];
  assert.deepEqual(cells(recorded, now(5, ended(5))), ["!ls\ntrain 2\nchat Hi\ntrain 3", "%%time\nset seed=1\nplot"]);
});

test("a training stands still where something else came in between", () => {
  const recorded = [
    done("train &", 0),
    done("chat Hi", 12, running(12)),
    done("set learning_rate=1e-3", 12, running(12)),
    done("stop", 30, running(30)),
    done("evaluate", 30, ended(30, true)),
    done("train &", 30, ended(30, true)),
    done("predict", 60, ended(60)),
  ];
  assert.deepEqual(cells(recorded, now(60, ended(60))), [
    ["train 12", "chat Hi", "train 1", "set learning_rate=1e-3", "train 17", "evaluate", "train", "predict"].join("\n"),
  ]);
});

test("between two steps a setting counts at once", () => {
  const recorded = [done("train &", 0), done("set seed=1", 20, running(20, 20)), done("stop", 20, running(20, 20))];
  assert.deepEqual(cells(recorded, now(20, ended(20, true))), ["train 20\nset seed=1"]);
});

test("what was set in a step that was abandoned counts from the step before it", () => {
  const recorded = [
    done("train &", 0),
    done("set learning_rate=1e-3", 12, running(12)),
    done("stop", 12, running(12)),
    done("train &", 12, ended(12, true)),
  ];
  assert.deepEqual(cells(recorded, now(60, ended(60))), ["train 12\nset learning_rate=1e-3\ntrain"]);
});

test("a training that somebody else stopped ends there", () => {
  const recorded = [done("train &", 0), { ...done("stop", 7, running(7)), id: null }, done("save x", 8, ended(8, true))];
  assert.deepEqual(cells(recorded, now(8, ended(8, true))), ["train 8\nsave x"]);
});

test("steps that are counted end where they would have", () => {
  assert.deepEqual(cells([done("train 10 lr=1e-4 &", 5), done("evaluate", 15, ended(15))], now(15, ended(15))), [
    "train 10 lr=1e-4\nevaluate",
  ]);
  assert.deepEqual(cells([done("train 10 lr=1e-4 &", 5), done("set seed=1", 7, running(7))], now(15, ended(15))), [
    "train 3 lr=1e-4\nset seed=1\ntrain 7",
  ]);
});

test("a training that one waits for is parted as well, and one that failed ends where it did", () => {
  const recorded = [done("train 20", 0), done("set seed=1", 4, running(4)), done("save x", 20, ended(20))];
  assert.deepEqual(cells(recorded, now(20, ended(20))), ["train 5\nset seed=1\ntrain 15\nsave x"]);
  const failed = [{ ...done("train 20", 3), ok: false }, done("set lr=1e-5", 9, ended(9, true))];
  assert.deepEqual(cells(failed, now(9, ended(9, true))), ["train 6\nset lr=1e-5"]);
  assert.deepEqual(cells([{ ...done("train 20", 3, ended(8)), ok: false }], now(3, ended(8))), []);
});

test("a training that was stopped before its first step is none", () => {
  const recorded = [done("train &", 4), done("stop", 4, running(4, 4)), done("train 1 &", 4, ended(4, true))];
  assert.deepEqual(cells(recorded, now(5, ended(5))), ["train 1"]);
});

test("a training that still runs goes to its end", () => {
  assert.deepEqual(cells([done("lora"), done("train &")], now(3, running(3))), ["lora\ntrain"]);
  assert.deepEqual(cells([{ ...done("train 9"), ok: null }], now(3, running(3))), ["train 9"]);
});
