import assert from "node:assert/strict";
import { test } from "node:test";
import { cells } from "../../src/script";
import type { Recorded } from "../../src/protocol";

function done(line: string, step = 0, running = false): Recorded {
  return { line, ok: true, from: "panel", step, running };
}

test("lines of the panel that worked are one cell", () => {
  const recorded: Recorded[] = [
    done("demo"),
    { line: "lora x", ok: false, from: "panel" },
    { line: "status", ok: true, from: "other" },
    done("lang zh"),
    done("lora"),
  ];
  assert.deepEqual(cells(recorded), ["demo\nlora"]);
  assert.deepEqual(cells([]), []);
});

test("a message of several lines is a cell by itself", () => {
  assert.deepEqual(cells([done("demo"), done("%%chat\na\nb"), done("evaluate")]), ["demo", "%%chat\na\nb", "evaluate"]);
});

test("a training in the background stands still where something else came in between", () => {
  const recorded = [
    done("train &", 0),
    done("set learning_rate=1e-3", 12, true),
    done("chat Hi", 12, true),
    done("stop", 30, true),
    done("evaluate", 30),
    done("train &", 30),
    done("predict", 60),
  ];
  assert.deepEqual(cells(recorded), [
    ["train 12", "set learning_rate=1e-3", "chat Hi", "train 18", "evaluate", "train", "predict"].join("\n"),
  ]);
});

test("steps that are counted end where they would have", () => {
  assert.deepEqual(cells([done("train 10 lr=1e-4 &", 5), done("evaluate", 15)]), ["train 10 lr=1e-4\nevaluate"]);
  assert.deepEqual(cells([done("train 10 lr=1e-4 &", 5), done("set seed=1", 8, true)]), [
    "train 3 lr=1e-4\nset seed=1\ntrain 7",
  ]);
});

test("a training that somebody stopped before its first step is none", () => {
  assert.deepEqual(cells([done("train &", 4), done("stop", 4, true), done("train 1 &", 4)]), ["train 1"]);
});

test("a training that still runs goes to its end", () => {
  assert.deepEqual(cells([done("lora"), done("train &")]), ["lora\ntrain"]);
});
