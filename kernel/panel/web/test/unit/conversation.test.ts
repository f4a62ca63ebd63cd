import assert from "node:assert/strict";
import { test } from "node:test";
import { inOrder, type Turn } from "../../src/conversation";
import { newJob } from "../../src/reducer";

const exchange = (text: string) => ({ text, pictures: [], answer: `${text}!` });

function turn(text: string, at: number, isDone: boolean, isCompare = false): Turn {
  return { job: { ...newJob(text, `chat ${text}`, "chat"), isDone }, text, pictures: [], isCompare, at };
}

const shown = (chat: string[], turns: Turn[]) =>
  inOrder(chat.map(exchange), turns).map((one) => ("job" in one ? `own ${one.text}` : one.text));

test("a question of this page is there once, whatever is told first", () => {
  assert.deepEqual(shown(["a"], [turn("b", 1, false)]), ["a", "own b"]);
  assert.deepEqual(shown(["a", "b"], [turn("b", 1, false)]), ["a", "own b"]);
  assert.deepEqual(shown(["a"], [turn("b", 1, true)]), ["a", "own b"]);
  assert.deepEqual(shown(["a", "b"], [turn("b", 1, true)]), ["a", "b"]);
  assert.deepEqual(shown(["a", "b"], [turn("b", 1, true), turn("c", 2, false)]), ["a", "b", "own c"]);
});

test("comparisons and failures stay in their places", () => {
  const failed = turn("x", 1, true);
  failed.job.failure = { cause: "no", remedy: null };
  assert.deepEqual(shown(["a", "b"], [turn("c", 1, true, true), failed]), ["a", "own c", "own x", "b"]);
  assert.deepEqual(shown([], [turn("c", 3, true, true)]), ["own c"]);
});
