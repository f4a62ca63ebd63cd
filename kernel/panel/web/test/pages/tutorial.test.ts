// The whole tutorial by clicks alone, in the page of `tunebook panel` and in a notebook's cell.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { picture } from "../pictures";
import { click, drop, open, panel, set, stop, tab, until, type Given } from "./support";

after(stop);

for (const where of ["page", "cell"] as const satisfies Given["where"][]) {
  test(`the tutorial by clicks, in a ${where}`, async () => {
    const session = await open({ where, stepTime: 30 });
    const { kernel, page, context } = session;
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const root = panel(page);

    await tab(root, "Model");
    await click(root, "Load demo");
    await root.getByRole("tabpanel").getByText("Qwen2_5_VLForConditionalGeneration").waitFor();

    await tab(root, "Data");
    assert.ok(await root.getByRole("checkbox", { name: "creatures", exact: true }).isChecked());
    await set(root, "val_size", "0.1");
    await click(root, "Load data");
    await root.getByText("creatures: 432 samples to train on, 48 to evaluate on", { exact: false }).first().waitFor();
    assert.equal(await root.locator(".tb-sample img").count(), 24);

    await tab(root, "Method");
    await set(root, "lora_rank", "64");
    await click(root, "New adapter");
    await root.getByRole("rowheader", { name: "default" }).waitFor();

    await tab(root, "Training");
    await root.getByRole("button", { name: "Start", exact: true }).hover();
    assert.match((await root.locator(".tb-hint").textContent())!, /^train &/);
    await click(root, "Start");
    await until(() => (kernel.training?.step ?? 0) >= 8, "no steps are made");
    await click(root, "Pause");
    await until(() => kernel.training?.running === false, "it does not pause");
    await root.getByText("paused").waitFor();
    const pausedAt = kernel.training!.step;
    await set(root, "learning_rate", "1e-3");
    await until(() => kernel.settings.get("learning_rate") === "1e-3", "the rate does not change");
    await click(root, "Continue");
    await until(() => (kernel.training?.step ?? 0) >= pausedAt + 5, "it does not go on");
    await set(root, "learning_rate", "5e-4");
    await until(() => kernel.training?.running === false, "it does not end");
    await root.getByText("finished").waitFor();
    assert.match((await root.locator(".tb-plot svg").first().getAttribute("aria-label"))!, /default: loss over 60 steps/);
    await root.getByText(/^best 0\./).waitFor();

    await tab(root, "Evaluate");
    await click(root, "Evaluate");
    await root.getByRole("cell", { name: "0.0512" }).waitFor();
    await click(root, "Predict");
    await root.getByRole("cell", { name: "96.6410" }).waitFor();

    await tab(root, "Chat");
    await drop(page, root.locator(".tb-talk"), "my creature.png", picture(1));
    await root.locator(".tb-attached").getByText("my creature.png", { exact: true }).waitFor();
    assert.equal(kernel.uploads[0]?.size, picture(1).length);
    await root.getByRole("textbox", { name: "Message" }).fill("Describe this creature.");
    await click(root, "Submit");
    await root.locator(".tb-byassistant").getByText(kernel.answers.tuned!, { exact: true }).waitFor();
    await root.getByRole("checkbox", { name: "Base and adapters side by side" }).check();
    await root.getByRole("textbox", { name: "Message" }).fill("What's its type?");
    await root.getByRole("textbox", { name: "Message" }).press("Enter");
    await until(
      async () => (await root.locator(".tb-side .tb-message p").nth(1).textContent()) === kernel.answers.tuned,
      "no answer of the adapter beside the base's",
    );
    assert.match((await root.locator(".tb-side .tb-message").nth(1).locator("ins").first().textContent())!, /^Marmobo/);

    await tab(root, "Export");
    await root.getByRole("textbox", { name: "Folder" }).fill("saves/my creatures");
    await click(root, "Save");
    await root.getByRole("tabpanel").getByText(/^saved to/).waitFor();
    await root.getByRole("textbox", { name: "Export dir" }).fill("models/creatures");
    await root.getByRole("combobox", { name: "Format" }).selectOption("gguf");
    await root.getByRole("combobox", { name: "Type" }).selectOption("q8_0");
    await click(root, "Export");
    await root.getByRole("tabpanel").getByText(/^7 MiB in/).waitFor();

    const picturePath = '"/tmp/tunebook uploads/my creature.png"';
    assert.deepEqual(kernel.lines, [
      "demo",
      "data creatures val_size=0.1",
      "set lora_rank=64",
      "lora",
      "train &",
      "stop",
      "set learning_rate=1e-3",
      "train &",
      "set learning_rate=5e-4",
      "evaluate",
      "predict",
      `chat image=${picturePath} Describe this creature.`,
      "compare What's its type?",
      'save "saves/my creatures"',
      "export models/creatures format=gguf type=q8_0",
    ]);
    // A script of the same: what was set while it trained is set at the same step.
    const { step } = kernel.recorded[8]!;
    await root.getByRole("button", { name: "History 15" }).waitFor();
    if ((await root.locator(".tb-history").count()) === 0) await root.getByRole("button", { name: /^History/ }).click();
    await root.getByRole("button", { name: "Copy as cell", exact: true }).click();
    await root.getByRole("button", { name: "Copied", exact: true }).waitFor();
    assert.deepEqual((await page.evaluate(() => navigator.clipboard.readText())).split("\n"), [
      "demo",
      "data creatures val_size=0.1",
      "set lora_rank=64",
      "lora",
      `train ${pausedAt}`,
      "set learning_rate=1e-3",
      `train ${step! - pausedAt}`,
      "set learning_rate=5e-4",
      "train",
      "evaluate",
      "predict",
      `chat image=${picturePath} Describe this creature.`,
      "compare What's its type?",
      'save "saves/my creatures"',
      "export models/creatures format=gguf type=q8_0",
    ]);
    await session.close();
  });
}

test("samples are searched, ranked, shown and dropped", async () => {
  const session = await open();
  const { kernel, page } = session;
  const root = panel(page);
  await kernel.other("demo");
  await tab(root, "Data");
  await root.getByPlaceholder("Search in texts").fill("铁须团");
  await root.getByText("1–24 of 120").waitFor();
  await root.getByPlaceholder("Search in texts").fill("");
  await root.getByText("1–24 of 480").waitFor();
  await click(root, "Next");
  await root.getByText("25–48 of 480").waitFor();
  await click(root, "Compute losses");
  await root.locator(".tb-sample", { hasText: "loss 3.9960" }).first().waitFor();
  assert.match((await root.locator(".tb-sample").first().textContent())!, /loss 3\.99/);
  await root.locator(".tb-sample button").first().click();
  await root.getByRole("region", { name: /^Sample/ }).getByRole("button", { name: "Show tokens" }).click();
  await root.getByRole("region", { name: /^Sample/ }).locator(".tb-html b").waitFor();
  await root.getByRole("checkbox", { name: /^Select sample/ }).nth(1).check();
  await root.getByRole("checkbox", { name: /^Select sample/ }).nth(2).check();
  await root.locator(".tb-selection").getByRole("button", { name: "Drop" }).click();
  await root.locator(".tb-isdropped").nth(1).waitFor();
  assert.match(kernel.lines.at(-1)!, /^data drop \d+,\d+$/);
  await root.locator(".tb-isdropped button").first().click();
  await root.getByRole("region", { name: /^Sample/ }).getByRole("button", { name: "Take back" }).click();
  await until(async () => (await root.locator(".tb-isdropped").count()) === 1, "it is not taken back");
  await root.getByRole("combobox", { name: "Split" }).selectOption("eval");
  await root.getByText("1–24 of 120").waitFor();
  await root.locator(".tb-sample button").first().click();
  await root.getByRole("region", { name: /^Sample/ }).getByRole("button", { name: "Show tokens" }).click();
  await until(() => /^sample \d+ split=eval$/.test(kernel.lines.at(-1)!), "the line lacks its split");
  await session.close();
});

test("a wrong value is told at its field, and is not sent if the page knows", async () => {
  const session = await open();
  const { kernel, page } = session;
  const root = panel(page);
  await tab(root, "Training");
  const field = root.locator('[data-setting="learning_rate"]');
  await set(root, "learning_rate", "fast");
  await field.getByRole("alert").getByText("Must be a number.").waitFor();
  await set(root, "learning_rate", "1000");
  await field.getByText("Must be from 0 to 100.").waitFor();
  assert.deepEqual(kernel.lines, []);
  await set(root, "learning_rate", "7");
  await field.getByText("`7` would make the loss diverge at once").waitFor();
  assert.equal(await field.locator("input").getAttribute("aria-invalid"), "true");
  await set(root, "learning_rate", "1e-3");
  await until(async () => (await field.locator("input").getAttribute("aria-invalid")) === "false", "the error stays");
  assert.deepEqual(kernel.lines, ["set learning_rate=7", "set learning_rate=1e-3"]);
  await root.getByText("More settings").click();
  await root.getByPlaceholder("Search settings").fill("衰减 weight");
  await root.getByText("No setting is called that.").waitFor();
  await root.getByPlaceholder("Search settings").fill("weight decay");
  await set(root, "weight_decay", "0.01");
  await until(() => kernel.settings.get("weight_decay") === "0.01", "it is not set");
  await session.close();
});

test("the line at the bottom completes, runs and remembers, in both languages", async () => {
  const session = await open({ width: 900 });
  const { kernel, page } = session;
  const root = panel(page);
  const prompt = root.getByRole("combobox", { name: "Command" });
  await prompt.pressSequentially("sta");
  await root.getByRole("option", { name: /status/ }).waitFor();
  await prompt.press("Tab");
  assert.equal(await prompt.inputValue(), "status");
  await prompt.press("Enter");
  await root.locator(".tb-history pre").getByText("data      creatures").waitFor();
  await prompt.fill("foo");
  await prompt.press("Enter");
  await root.getByRole("alert").getByText("there is no command `foo` `help` lists them").waitFor();
  await prompt.press("ArrowUp");
  await prompt.press("ArrowUp");
  assert.equal(await prompt.inputValue(), "status");
  await root.getByRole("button", { name: "中文" }).click();
  await root.getByRole("tab", { name: "训练", exact: true }).click();
  await root.locator('[data-setting="learning_rate"]').getByText("学习率", { exact: true }).waitFor();
  assert.equal(kernel.lines.at(-1), "lang zh");
  await session.close();
});
