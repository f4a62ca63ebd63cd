import assert from "node:assert/strict";
import { test } from "node:test";
import { label } from "../../src/labels";
import { normalized, problem } from "../../src/settings";
import type { Setting } from "../../src/protocol";
import { declared } from "../declared";

const all = declared();

function setting(name: string): Setting {
  const found = all.find((one) => one.name === name)!;
  return { ...found, help: found.help.en, value: found.default };
}

const wrong = (name: string, value: string) => problem(setting(name), normalized(setting(name), value))?.kind ?? null;

test("every default can be sent", () => {
  assert.ok(all.length > 60);
  for (const { name, default: value } of all) assert.equal(wrong(name, value), null, name);
});

test("limits and kinds are kept", () => {
  assert.equal(wrong("learning_rate", "2e-4"), null);
  assert.equal(wrong("learning_rate", "fast"), "number");
  assert.equal(wrong("learning_rate", ""), "number");
  assert.equal(wrong("learning_rate", "101"), "range");
  assert.equal(wrong("lora_rank", "0"), "range");
  assert.equal(wrong("lora_dropout", "1"), "range");
  assert.equal(wrong("lora_dropout", "0.99"), null);
  assert.equal(wrong("lora_rank", "1.5"), "integer");
  assert.equal(wrong("image_max_pixels", "768*768"), null);
  assert.equal(wrong("image_max_pixels", "768*"), "integer");
  assert.equal(wrong("lr_scheduler_type", "cosin"), "choice");
  assert.equal(wrong("interleave_probs", "0.7,0.3"), null);
  assert.equal(wrong("interleave_probs", "0.7,x"), "number");
  assert.equal(wrong("dataset_dir", " "), "empty");
});

test("an empty field of an optional setting is none", () => {
  assert.equal(normalized(setting("temperature"), " "), "none");
  assert.equal(wrong("temperature", ""), null);
  assert.equal(normalized(setting("learning_rate"), " 1e-4 "), "1e-4");
});

test("every setting has a name for the form in both languages", () => {
  const unnamed = all.filter(({ name }) => label(name, "zh") === name || label(name, "en") === name);
  assert.deepEqual(unnamed.map(({ name }) => name), []);
});
