// The whole tutorial by clicks on the demo; then what was copied from the panel is run in a new session, and makes the same
// adapter, bit for bit, though the training was paused in the middle and its rate was changed while it ran.

import assert from "node:assert/strict";
import { readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { click, drop, set, tab, until } from "../pages/support";
import { PATIENCE, PLACES, creature, open } from "./host";

for (const where of PLACES) {
  test(`the tutorial by clicks, and what was clicked as a script, in a ${where}`, async (context) => {
    const host = await open(context, where);
    const { page } = host;
    const root = host.panel();
    const step = async () => Number(/step (\d+)/.exec((await root.locator(".tb-state dd").textContent())!)?.[1]);

    await tab(root, "Model");
    await click(root, "Load demo");
    await root.getByRole("tabpanel").getByText("Qwen2_5_VLForConditionalGeneration", { exact: true }).waitFor();

    await tab(root, "Data");
    await set(root, "val_size", "0.1");
    await click(root, "Load data");
    await root.getByText("creatures: 432 samples to train on, 48 to evaluate on", { exact: false }).first().waitFor();
    await root.locator(".tb-sample img").nth(23).waitFor();

    await tab(root, "Method");
    await set(root, "lora_rank", "8");
    await click(root, "New adapter");
    await root.getByRole("rowheader", { name: "default" }).waitFor();

    await tab(root, "Training");
    await set(root, "num_train_epochs", "3");
    await set(root, "eval_steps", "40");
    await click(root, "Start");
    await until(async () => (await step()) >= 10, "no steps are made", PATIENCE);
    await click(root, "Pause");
    await root.getByText("paused").waitFor();
    const pausedAt = await step();
    await set(root, "learning_rate", "2e-3");
    await click(root, "Continue");
    await until(async () => (await step()) >= pausedAt + 10, "it does not go on", PATIENCE);
    await set(root, "learning_rate", "1e-3");
    await root.getByText("finished").waitFor();
    assert.match((await root.locator(".tb-plot svg").first().getAttribute("aria-label"))!, /default: loss over 162 steps/);
    await root.getByText(/^best /).waitFor();

    await tab(root, "Evaluate");
    await click(root, "Evaluate");
    await root.locator(".tb-results").getByText("eval_loss").first().waitFor();
    await root.getByRole("textbox", { name: "Max samples" }).fill("4");
    await click(root, "Predict");
    await root.locator(".tb-results").getByText(/rouge/i).first().waitFor();

    await tab(root, "Chat");
    await drop(page, root.locator(".tb-talk"), "my creature.png", readFileSync(creature(host)));
    await root.locator(".tb-attached").getByText("my creature.png", { exact: true }).waitFor();
    const message = root.getByRole("textbox", { name: "Message" });
    await message.fill("Describe this creature.");
    await click(root, "Submit");
    await until(async () => /creature/.test((await root.locator(".tb-byassistant").textContent()) ?? ""), "no answer", PATIENCE);
    await root.getByRole("checkbox", { name: "Base and adapters side by side" }).check();
    await drop(page, root.locator(".tb-talk"), "my creature.png", readFileSync(creature(host)));
    await root.locator(".tb-attached").getByText("my creature.png", { exact: true }).waitFor();
    await message.fill("Describe this creature.");
    await message.press("Enter");
    await root.locator(".tb-side ins").first().waitFor();

    await tab(root, "Export");
    await root.getByRole("textbox", { name: "Folder" }).fill("my creatures");
    await click(root, "Save");
    await root.getByRole("tabpanel").getByText("adapter_model.safetensors", { exact: false }).first().waitFor();
    await root.getByRole("textbox", { name: "Export dir" }).fill("merged");
    await click(root, "Export");
    await root.locator(".tb-busy").waitFor({ state: "visible" });
    await root.locator(".tb-busy").waitFor({ state: "hidden" });

    if ((await root.locator(".tb-history").count()) === 0) await root.getByRole("button", { name: /^History/ }).click();
    await root.getByRole("button", { name: "Copy as cell", exact: true }).click();
    await root.getByRole("button", { name: "Copied", exact: true }).waitFor();
    const script = await page.evaluate(() => navigator.clipboard.readText());
    const lines = script.split("\n");
    const shown = lines.map((line) => line.replace(/image=\S+/, "image=X"));
    const changedAt = Number(/^train (\d+)$/.exec(lines[8]!)?.[1]);
    assert.deepEqual(shown, [
      "demo",
      "data creatures val_size=0.1",
      "set lora_rank=8",
      "lora",
      "set num_train_epochs=3",
      "set eval_steps=40",
      `train ${pausedAt}`,
      "set learning_rate=2e-3",
      `train ${changedAt}`,
      "set learning_rate=1e-3",
      "train",
      "evaluate",
      "predict max_samples=4",
      "chat image=X Describe this creature.",
      "compare image=X Describe this creature.",
      'save "my creatures"',
      "export merged",
    ]);
    assert.deepEqual(host.errors, []);

    // Again, without any page.
    for (const folder of ["my creatures", "merged"]) renameSync(join(host.folder, folder), join(host.folder, `${folder} clicked`));
    await host.run(script.split("\n\n"));
    for (const file of ["adapter_model.safetensors", "trainer_log.jsonl"]) {
      const [clicked, copied] = ["my creatures clicked", "my creatures"].map((folder) => {
        const bytes = readFileSync(join(host.folder, folder, file));
        // Times differ.
        return file.endsWith("jsonl") ? withoutTimes(bytes.toString()) : bytes;
      });
      assert.deepEqual(copied, clicked, file);
    }
    const models = ["merged clicked", "merged"].map((folder) => readFileSync(join(host.folder, folder, "model.safetensors")));
    assert.ok(models[0]!.equals(models[1]!), "the exported models differ");
  });
}

function withoutTimes(log: string): string {
  return log.replace(/"(elapsed_time|remaining_time|throughput|total_tokens)": ?("[^"]*"|[\d.]+)/g, "");
}
