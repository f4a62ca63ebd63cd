import assert from "node:assert/strict";
import { test } from "node:test";
import { decimated, path } from "../../src/curve/decimate";
import { marks, scale, texts } from "../../src/curve/scale";
import { best, nearest, series } from "../../src/curve/series";
import { automaticWeight, smoothed } from "../../src/curve/smooth";

test("every axis has at least three marks, all within it and of different texts", () => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let round = 0; round < 20000; round += 1) {
    const min = 10 ** (random() * 8 - 6) * (random() < 0.2 ? -1 : 1);
    const max = min + 10 ** (random() * 8 - 5);
    const isLog = min > 0 && random() < 0.5;
    const axis = scale(min, max, isLog);
    const found = marks(axis, 3 + Math.floor(random() * 8));
    const shown = texts(found, isLog);
    assert.ok(found.length >= 3 && found.length <= 21, `${min} to ${max}, log ${isLog}: ${found}`);
    const slack = (max - min) * 1e-6;
    assert.ok(found.every((mark) => mark >= min - slack && mark <= max + slack), `${min} to ${max}: ${found}`);
    assert.equal(new Set(shown).size, shown.length, `${min} to ${max}, log ${isLog}: ${shown}`);
  }
});

test("marks are round, and their texts have the same decimals", () => {
  assert.deepEqual(texts(marks(scale(0.005, 8.3), 6), false), ["2", "4", "6", "8"]);
  assert.deepEqual(texts(marks(scale(0, 1), 6), false), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
  assert.deepEqual(texts(marks(scale(0.01, 100, true), 6), true), ["0.01", "0.1", "1", "10", "100"]);
  assert.deepEqual(texts(marks(scale(0, 4e-4), 5), false), ["0", "1e-4", "2e-4", "3e-4", "4e-4"]);
});

test("a value lies where it is read again", () => {
  for (const axis of [scale(2, 10), scale(0.01, 100, true), scale(5, 5)]) {
    for (const part of [0, 0.3, 1]) assert.ok(Math.abs(axis.at(axis.value(part)) - part) < 1e-12);
  }
});

test("the smoothing is that of LLaMA-Factory's plots", () => {
  // What LLaMA-Factory's `smooth` gives for these three losses.
  const weight = automaticWeight(3);
  assert.ok(Math.abs(weight - 0.067374) < 1e-6);
  assert.deepEqual(
    smoothed([3, 2, 1], weight).map((value) => Number(value.toFixed(6))),
    [3, 2.067374, 1.071913],
  );
  assert.deepEqual(smoothed([4, NaN, 2], 0.5), [4, 4, 3]);
});

test("of many points those remain that make the picture", () => {
  const points = Array.from({ length: 10000 }, (_, index) => ({ x: index / 20, y: Math.sin(index) }));
  points[4321]!.y = 9;
  const found = decimated(points);
  assert.ok(found.length <= 4 * 501);
  assert.equal(Math.max(...found.map(({ y }) => y)), 9);
  assert.deepEqual([found[0], found.at(-1)], [points[0], points.at(-1)]);
  assert.ok(found.every(({ x }, index) => index === 0 || x >= found[index - 1]!.x));
});

test("a line is broken where a value is missing", () => {
  const points = [1, 2, NaN, 4, 5].map((y, x) => ({ x, y }));
  assert.equal(path(points), "M0.0 1.0L1.0 2.0M3.0 4.0L4.0 5.0");
});

test("series of adapters, and the best evaluation of them", () => {
  const steps = [1, 2, 3].map((step) => ({ step, loss: 4 - step, learning_rate: 1, grad_norm: 2, epoch: 0, tokens: 0, elapsed: 0 }));
  const curves = {
    a: { steps, evaluations: [{ step: 2, loss: 1.5 }] },
    b: { steps, evaluations: [{ step: 3, loss: 0.5 }] },
  };
  const lines = series(curves, "loss", 0, () => false);
  assert.deepEqual(lines[0]!.values, [3, 2, 1]);
  assert.equal(lines[0]!.smooth, null);
  assert.deepEqual([best(lines)?.line.adapter, best(lines)?.value], ["b", 0.5]);
  assert.deepEqual(series(curves, "eval_loss", null, (name) => name === "a").map(({ adapter }) => adapter), ["b"]);
  assert.deepEqual([nearest([1, 2, 5], 3), nearest([1, 2, 5], 4), nearest([1, 2, 5], 99)], [1, 2, 2]);
});
