// The curve under the pointer, and under ten thousand steps.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { StepRecord } from "../../src/protocol";
import { open, panel, stop, tab, until } from "./support";

after(stop);

test("values under the pointer, zoom, scale, metric and adapters", async () => {
  const session = await open({ stepTime: 3 });
  const { kernel, page } = session;
  for (const line of ["demo", "lora", "train &"]) await kernel.other(line);
  await until(() => kernel.training?.running === false, "it does not end");
  await kernel.other("lora slow");
  await kernel.other("train 30 &");
  await until(() => kernel.training?.running === false, "it does not end");
  const root = panel(page);
  await tab(root, "Training");
  const plot = root.getByRole("slider", { name: /, step$/ });
  let box = (await plot.boundingBox())!;
  // It takes the width that it has room for.
  await until(async () => {
    const now = (await plot.boundingBox())!;
    const isStill = now.x === box.x && now.y === box.y && now.width === box.width;
    box = now;
    await page.waitForTimeout(100);
    return isStill;
  }, "the layout does not come to rest");
  const at = (part: number) => [box.x + box.width * part, box.y + box.height / 2] as const;
  await page.mouse.move(...at(20 / 59));
  await root.locator(".tb-legend").getByText("step 21", { exact: true }).waitFor();
  const { loss } = kernel.curves.default!.steps[20]!;
  assert.ok((await root.locator(".tb-legend").textContent())!.includes(`default${loss.toFixed(4)}`));

  await page.mouse.down();
  await page.mouse.move(...at(0.6), { steps: 4 });
  await page.mouse.up();
  await root.getByRole("button", { name: "Reset zoom" }).waitFor();
  assert.ok(Math.abs(Number(await plot.getAttribute("aria-valuemin")) - 21) <= 1);
  await root.getByRole("button", { name: "Reset zoom" }).click();
  assert.equal(await plot.getAttribute("aria-valuemin"), "1");

  await root.getByRole("checkbox", { name: "Log scale" }).check();
  const marks = () => root.locator(".tb-grid g:has(text[text-anchor=end]) text").allTextContents();
  await until(async () => (await marks()).includes("0.1"), "no logarithmic marks");
  assert.ok((await marks()).length >= 3);
  await root.getByRole("combobox", { name: "Curve" }).selectOption("learning_rate");
  await root.locator(".tb-title").getByText("learning rate").waitFor();
  await root.getByRole("combobox", { name: "Curve" }).selectOption("loss");
  assert.equal(await root.locator(".tb-plot .tb-line:not(.tb-raw)").count(), 2);
  await root.locator(".tb-legend").getByRole("button", { name: "slow" }).click();
  await until(async () => (await root.locator(".tb-plot .tb-line:not(.tb-raw)").count()) === 1, "the line stays");
  const smoothing = root.getByRole("slider", { name: "Smoothing" });
  await smoothing.fill("0");
  await until(async () => (await root.locator(".tb-plot .tb-raw").count()) === 0, "it is still smoothed");
  await session.close();
});

test("ten thousand steps stay smooth", async () => {
  const session = await open();
  const { kernel, page } = session;
  await kernel.other("demo");
  await kernel.other("lora");
  const record = (step: number): StepRecord => {
    const loss = 3 * Math.exp(-step / 3000) + Math.abs(Math.sin(step)) / 4;
    return { step, loss, learning_rate: 1e-4, grad_norm: 1, epoch: step / 1000, tokens: step * 100, elapsed: step / 10 };
  };
  const LENGTH = 10_000;
  kernel.curves.default = { steps: Array.from({ length: LENGTH }, (_, index) => record(index + 1)), evaluations: [] };
  kernel.training = { adapter: "default", running: true, stopping: false, stopped: false, step: LENGTH, last_step: 20_000, total_steps: 20_000 };
  kernel.tell(kernel.state());
  const root = panel(page);
  await tab(root, "Training");
  await root.locator(".tb-plot svg[aria-label*='10000 steps']").waitFor();
  const drawn = (await root.locator(".tb-plot .tb-line").first().getAttribute("d"))!;
  assert.ok(drawn.length < 60_000, `a path of ${drawn.length} characters`);
  // A hundred steps a second for two seconds: for how long do they keep scripts and layout busy?
  const devtools = await session.context.newCDPSession(page);
  await devtools.send("Performance.enable");
  const busy = async () => {
    const { metrics } = await devtools.send("Performance.getMetrics");
    const value = (name: string) => metrics.find((metric) => metric.name === name)?.value ?? 0;
    return { work: value("ScriptDuration") + value("LayoutDuration") + value("RecalcStyleDuration"), at: value("Timestamp") };
  };
  const before = await busy();
  for (let step = LENGTH + 1; step <= LENGTH + 200; step += 1) {
    kernel.tell({ type: "micro_batch", step, last_step: 20_000, total_steps: 20_000, done: 1, total: 2, elapsed: step / 10 });
    kernel.tell({ type: "step", adapter: "default", record: record(step) });
    if (step % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await root.locator(".tb-plot svg[aria-label*='10200 steps']").waitFor();
  const now = await busy();
  const [work, wall] = [now.work - before.work, now.at - before.at];
  console.log(`200 steps behind 10,000: ${(1000 * work).toFixed(0)} ms of work in ${(1000 * wall).toFixed(0)} ms`);
  assert.ok(work < wall / 2, `${work} of ${wall} seconds`);
  await session.close();
});
