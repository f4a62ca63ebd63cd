// Reloads, lost connections, other panels, a kernel that is gone.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { click, open, panel, tab, stop, until } from "./support";

after(stop);

const LINES = ["demo", "lora", "train &"];

test("a reload in the middle of a training loses nothing", async () => {
  const session = await open({ stepTime: 40 });
  const { kernel, page } = session;
  for (const line of LINES) await kernel.other(line);
  await tab(panel(page), "Training");
  await until(() => (kernel.training?.step ?? 0) >= 10, "no steps");
  await page.reload();
  const root = panel(page);
  await root.getByRole("tab", { name: "Training", selected: true }).waitFor();
  const label = async () => (await root.locator(".tb-plot svg").first().getAttribute("aria-label")) ?? "";
  await until(async () => /loss over (1\d|2\d) steps, from 5\./.test(await label()), "the curve does not begin with step 1");
  await click(root, "Pause");
  await until(() => kernel.training?.running === false, "it does not pause");
  await until(async () => (await label()).includes(`over ${kernel.training!.step} steps`), "the curve is not the whole one");
  await root.getByText("lora", { exact: true }).first().waitFor();
  await session.close();
});

test("two panels and the prompt stay in step", async () => {
  const session = await open({ where: "cell", stepTime: 30 });
  const { kernel, page } = session;
  const [first, second] = [panel(page, 0), panel(page, 1)];
  await click(first, "Load demo");
  await second.getByText("Qwen2_5_VLForConditionalGeneration").waitFor();
  await kernel.other("lora red");
  for (const root of [first, second]) await root.locator(".tb-heading").getByText("red", { exact: true }).waitFor();
  for (const root of [first, second]) await tab(root, "Training");
  const ids = await page.locator("[id]").evaluateAll((elements) => elements.map(({ id }) => id));
  assert.equal(new Set(ids).size, ids.length);
  await click(first, "Start");
  await until(() => (kernel.training?.step ?? 0) >= 5, "no steps");
  await second.getByRole("button", { name: "Pause", exact: true }).click();
  await first.getByText("paused").waitFor();
  await second.getByRole("button", { name: /^History/ }).click();
  assert.deepEqual(await second.locator(".tb-entry > .tb-entryline > code").allTextContents(), ["demo", "lora red", "train &", "stop"]);
  await first.getByRole("spinbutton").or(first.getByLabel("Steps to undo")).fill("2");
  await first.getByRole("button", { name: "Undo", exact: true }).click();
  const steps = async () => second.locator(".tb-plot svg").first().getAttribute("aria-label");
  await until(async () => ((await steps()) ?? "").includes(`over ${kernel.training!.step} steps`), "the other panel keeps what was undone");
  await session.close();
});

test("a lost connection is told, and found again", async () => {
  const session = await open({ stepTime: 40 });
  const { kernel, page } = session;
  for (const line of LINES) await kernel.other(line);
  const root = panel(page);
  await tab(root, "Training");
  await until(() => (kernel.training?.step ?? 0) >= 5, "no steps");
  await session.cut();
  await root.getByText("The connection is lost; trying again.").waitFor();
  const pause = root.getByRole("button", { name: "Pause", exact: true });
  assert.equal(await pause.getAttribute("aria-disabled"), "true");
  assert.ok(await root.locator('[data-setting="learning_rate"] input').isDisabled());
  assert.match((await root.locator(".tb-plot svg").first().getAttribute("aria-label"))!, /steps, from/);
  await session.cut(false);
  await root.locator(".tb-banner").waitFor({ state: "hidden" });
  assert.equal(await pause.getAttribute("aria-disabled"), "false");
  await until(
    async () => ((await root.locator(".tb-plot svg").first().getAttribute("aria-label")) ?? "").includes("over 60 steps"),
    "the steps in between are missing",
  );
  await session.close();
});

test("a line that the connection was lost under is not waited for", async () => {
  const session = await open();
  const { page, kernel } = session;
  await kernel.other("demo");
  const root = panel(page);
  await tab(root, "Evaluate");
  await click(root, "Predict");
  await session.cut();
  await new Promise((resolve) => setTimeout(resolve, 500));
  await session.cut(false);
  await root.getByText("The connection was lost before this ended", { exact: false }).waitFor();
  assert.equal(await root.getByRole("button", { name: "Predict", exact: true }).getAttribute("aria-disabled"), "false");
  await session.close();
});

test("a kernel that was restarted leaves what was shown, without controls", async () => {
  const session = await open({ where: "cell" });
  const { kernel, page } = session;
  await kernel.other("demo");
  const root = panel(page);
  await root.getByText("Qwen2_5_VLForConditionalGeneration").waitFor();
  await page.evaluate(() => window.models[0]!.die());
  await root.getByText("This panel has no kernel any more", { exact: false }).waitFor();
  await root.getByText("Qwen2_5_VLForConditionalGeneration").waitFor();
  await root.getByRole("button", { name: "Unload model" }).dispatchEvent("click");
  await tab(root, "Data");
  assert.deepEqual(kernel.lines, ["demo"]);
  await session.close();
});

test("without a kernel the page says so", async () => {
  const session = await open({ where: "onecell" });
  const { page } = session;
  await panel(page).getByRole("tab").first().waitFor();
  await page.evaluate(async () => {
    window.cleanups[0]!();
    const { default: widget } = (await import(new URL("panel.js", location.href).href)) as {
      default: { render(view: { model: unknown; el: HTMLElement }): () => void };
    };
    const model = { get: () => undefined, set: () => {}, send: () => {}, on: () => {}, off: () => {} };
    widget.render({ model, el: document.getElementById("first")! });
  });
  await panel(page).getByText("No kernel answers.", { exact: false }).waitFor();
  await session.close();
});

test("a panel that is taken away leaves nothing behind", async () => {
  const session = await open({ where: "cell", stepTime: 20 });
  const { page, kernel } = session;
  for (const line of LINES) await kernel.other(line);
  await panel(page, 1).waitFor();
  const left = await page.evaluate(async () => {
    window.cleanups[0]!();
    await new Promise((resolve) => setTimeout(resolve, 200));
    return [window.models[0]!.count(), document.getElementById("first")!.childNodes.length];
  });
  assert.deepEqual(left, [0, 0]);
  await tab(panel(page), "Training");
  await panel(page).getByText(/^step \d+ of 60$/).first().waitFor();
  await session.close();
});
