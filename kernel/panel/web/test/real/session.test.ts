// The panel beside other pages and cells, and after a reload: it shows the session as it is.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Locator } from "playwright-core";
import { click, panel, tab, until } from "../pages/support";
import { PATIENCE, PLACES, open, runCell, type Host } from "./host";

/** Types lines at the panel's prompt, and waits until each is done. */
async function lines(root: Locator, ...texts: string[]): Promise<void> {
  if ((await root.locator(".tb-history").count()) === 0) await root.getByRole("button", { name: /^History/ }).click();
  const prompt = root.getByRole("combobox", { name: "Command" });
  for (const text of texts) {
    const count = await root.locator(".tb-entry").count();
    await prompt.fill(text);
    await prompt.press("Enter");
    await root.locator(".tb-entry").nth(count).waitFor();
    await root.locator(".tb-busy").waitFor({ state: "hidden" });
  }
}

const label = async (root: Locator) => (await root.locator(".tb-plot svg").first().getAttribute("aria-label")) ?? "";
const made = async (root: Locator) => Number(/over (\d+) steps/.exec(await label(root))?.[1] ?? 0);
const first = async (root: Locator) => /from ([\d.]+) to/.exec(await label(root))?.[1];

/** Has a notebook keep what it shows. */
async function save(host: Host): Promise<void> {
  if (host.where === "page") return;
  await host.page.keyboard.press("Control+s");
  await host.page.waitForTimeout(1500);
}

for (const where of PLACES) {
  test(`a reload in the middle of a training, and a second page, in a ${where}`, async (context) => {
    const host = await open(context, where);
    const { page } = host;
    let root = host.panel();
    await lines(root, "demo", "chat What is this?", "lora", "set num_train_epochs=20");
    await save(host);
    await tab(root, "Training");
    await click(root, "Start");
    await until(async () => (await made(root)) >= 10, "no steps", PATIENCE);
    const begin = await first(root);

    await page.reload();
    root = host.panel();
    await tab(root, "Training");
    await until(async () => (await made(root)) >= 20, "no curve after the reload", PATIENCE);
    assert.equal(await first(root), begin);
    await root.locator(".tb-heading").getByText(/^step \d+ of 1200$/).waitFor();
    await tab(root, "Chat");
    await root.locator(".tb-byuser").getByText("What is this?").waitFor();
    assert.ok((await root.locator(".tb-byassistant").textContent())!.length > 5);

    const other = panel(await host.another());
    await tab(other, "Training");
    await until(async () => (await made(other)) > 20, "no curve in the other page", PATIENCE);
    assert.equal(await first(other), begin);
    await tab(root, "Training");
    await click(root, "Pause");
    for (const one of [root, other]) await one.getByText("paused").waitFor();
    await other.getByLabel("Steps to undo").fill("3");
    const steps = await made(root);
    await click(other, "Undo");
    await until(async () => (await made(root)) === steps - 3, "what was undone stays on the first page", PATIENCE);
    await root.locator(".tb-state").getByText(`step ${steps - 3} of 1200`).waitFor();
    // What another page and the page before its reload have done is in the script, at its step.
    await lines(root, "lora second");
    await root.getByRole("button", { name: /^Copy as/ }).click();
    const script = await page.evaluate(() => navigator.clipboard.readText());
    assert.deepEqual(script.split("\n"), [
      "demo",
      "chat What is this?",
      "lora",
      "set num_train_epochs=20",
      `train ${steps}`,
      "undo 3",
      "lora second",
    ]);
    await lines(root, "lang zh");
    await other.getByRole("tab", { name: "训练" }).waitFor();
    await other.locator('[data-setting="learning_rate"] .tb-default').getByText("默认 5e-5").waitFor({ state: "attached" });
    assert.match((await other.locator('[data-setting="learning_rate"] label').getAttribute("title"))!, /\p{Script=Han}/u);
    assert.deepEqual(host.errors, []);
  });
}

test("a session that ends leaves what was shown", async (context) => {
  const host = await open(context, "page");
  const root = host.panel();
  await lines(root, "demo");
  await host.end();
  await root.getByText("The session has ended.", { exact: false }).waitFor();
  await root.getByText("Qwen2_5_VLForConditionalGeneration", { exact: true }).waitFor();
  assert.ok(await root.getByRole("textbox", { name: "Model path" }).isDisabled());
});

test("cells and a kernel that is restarted, in a lab", { skip: !PLACES.includes("lab") }, async (context) => {
  const host = await open(context, "lab", { cells: ["panel", "demo\nlora red"] });
  const { page } = host;
  await runCell(page, 1);
  await host.panel().locator(".tb-heading").getByText("red", { exact: true }).waitFor();
  await host.panel().getByText("Qwen2_5_VLForConditionalGeneration", { exact: true }).waitFor();
  await host.restart();
  await host.panel().getByText("This panel has no kernel any more", { exact: false }).waitFor();
  await host.panel().getByText("Qwen2_5_VLForConditionalGeneration", { exact: true }).waitFor();
  await runCell(page, 0);
  await host.panel().getByText("No model is loaded.").waitFor();
  await click(host.panel(), "Load demo");
  await host.panel().getByText("Qwen2_5_VLForConditionalGeneration", { exact: true }).waitFor();
});

test("a saved notebook without its kernel, in a lab", { skip: !PLACES.includes("lab") }, async (context) => {
  const host = await open(context, "lab");
  const { page } = host;
  const choose = async (menu: string, item: RegExp) => {
    await page.getByRole("menuitem", { name: menu, exact: true }).click();
    await page.getByRole("menuitem", { name: item }).first().click();
  };
  await choose("Settings", /^Save Widget State Automatically/);
  await lines(host.panel(), "demo", "lora", "train 12", "chat Who is this?");
  await tab(host.panel(), "Training");
  await until(async () => (await made(host.panel())) === 12, "no steps", PATIENCE);
  await save(host);
  await choose("Kernel", /^Shut Down Kernel/);
  await host.panel().getByText("The session has ended.", { exact: false }).waitFor();
  await page.reload();
  const root = host.panel();
  await root.locator(".tb-banner").getByText(/kernel/).waitFor();
  await root.getByText("Qwen2_5_VLForConditionalGeneration", { exact: true }).waitFor();
  await tab(root, "Training");
  await until(async () => (await made(root)) === 12, "the curve is not kept", PATIENCE);
  assert.equal(await root.getByRole("button", { name: "Continue", exact: true }).getAttribute("aria-disabled"), "true");
  await tab(root, "Chat");
  await root.locator(".tb-byuser").getByText("Who is this?").waitFor();
});
