import assert from "node:assert/strict";
import { test } from "node:test";
import { differences } from "../../src/differences";

const marked = (base: string, text: string) => {
  const pieces = differences(base, text);
  assert.equal(pieces.map((piece) => piece.text).join(""), text);
  return pieces.filter((piece) => piece.isOther).map((piece) => piece.text.trim());
};

test("what the base does not say is marked", () => {
  assert.deepEqual(marked("This is a blue creature.", "This is Marmobo, a blue creature of the water type."), [
    "Marmobo,",
    "creature of the water type.",
  ]);
  assert.deepEqual(marked("这是一只蓝色的小精灵。", "这是水团团，一只水系小精灵。"), ["水团团，", "水系"]);
  assert.deepEqual(marked("the same", "the same"), []);
  assert.deepEqual(marked("", "all of it"), ["all of it"]);
  assert.deepEqual(marked("x", ""), []);
});
