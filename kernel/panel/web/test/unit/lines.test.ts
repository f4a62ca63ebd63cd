import assert from "node:assert/strict";
import { test } from "node:test";
import { chat, compare, line, option, verbOf, word } from "../../src/lines";

test("words are quoted where the parser would take them apart", () => {
  assert.equal(word("models/Qwen2.5-VL-3B"), "models/Qwen2.5-VL-3B");
  assert.equal(word("my models"), '"my models"');
  assert.equal(word('say "x"'), '"say \\"x\\""');
  assert.equal(word("C:\\models\\new"), '"C:\\\\models\\\\new"');
  assert.equal(word("#1"), '"#1"');
  assert.equal(word("a=b"), '"a=b"');
  assert.equal(word("2+2=4"), "2+2=4");
  assert.equal(word(""), '""');
  assert.equal(word("图片 一"), '"图片 一"');
  assert.equal(word("it's"), '"it\'s"');
});

test("values are quoted behind their key", () => {
  assert.equal(option("learning_rate", "1e-4"), "learning_rate=1e-4");
  assert.equal(option("default_system", "Answer briefly."), 'default_system="Answer briefly."');
  assert.equal(option("default_system", ""), 'default_system=""');
  assert.equal(option("image_max_pixels", "768*768"), "image_max_pixels=768*768");
});

test("a message is taken as it is, unless its beginning is no text", () => {
  assert.equal(chat([], "What's this?"), "chat What's this?");
  assert.equal(chat([option("image", "/tmp/my cat.png")], " What? "), 'chat image="/tmp/my cat.png" What?');
  assert.equal(chat([], '"Yes", he said'), 'chat "\\"Yes\\", he said"');
  assert.equal(chat([], "# 4 is what?"), 'chat "# 4 is what?"');
  assert.equal(chat([], "What is x=3?"), 'chat "What is x=3?"');
  assert.equal(chat([], "--why"), 'chat "--why"');
  assert.equal(chat([], "a\\"), 'chat "a\\\\"');
  assert.equal(chat(["temperature=0.7"], "one\ntwo"), "%%chat temperature=0.7\none\ntwo");
  assert.equal(chat([], "one\ntwo"), "%%chat\none\ntwo");
  assert.equal(compare([], "one\n  two"), "compare one two");
});

test("a line is its parts", () => {
  assert.equal(line("data", "a,b", false, "", null, "val_size=0.1"), "data a,b val_size=0.1");
});

test("the verb of a line", () => {
  assert.equal(verbOf("train 10 &"), "train");
  assert.equal(verbOf("%train"), "train");
  assert.equal(verbOf("lr=1e-4"), "set");
  assert.equal(verbOf("%%chat image=a.png\nHi"), "chat");
  assert.equal(verbOf(""), "");
});
