// Captions, names of files, data, models and adapters, and what a model says: all of it is text, in every tab and in every
// display that the kernel makes of it.

import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { tab, until } from "../pages/support";
import { picture } from "../pictures";
import { PATIENCE, PLACES, creature, open } from "./host";

const EVIL = ['<img src=x onerror="alert(1)">', "<script>alert(2)</script>", '"><svg onload="alert(3)">'];
const NAME = "<img src=x onerror=alert(4)>";
const TABS = ["Model", "Data", "Method", "Training", "Evaluate", "Chat", "Export"];

for (const where of PLACES) {
  test(`text stays text wherever it comes from, in a ${where}`, async (context) => {
    const host = await open(context, where, { width: 1600 });
    const root = host.panel();
    const prompt = root.getByRole("combobox", { name: "Command" });
    const run = async (line: string) => {
      const count = await root.locator(".tb-entry").count();
      await prompt.fill(line);
      await prompt.press("Enter");
      await root.locator(".tb-entry").nth(count).waitFor();
      await root.locator(".tb-busy").waitFor({ state: "hidden" });
    };
    if ((await root.locator(".tb-history").count()) === 0) await root.getByRole("button", { name: /^History/ }).click();
    await run("demo");
    const model = join(host.folder, NAME);
    cpSync(join(creature(host), "..", "..", "..", "model"), model, { recursive: true });
    write(join(host.folder, "data"));
    await run(`load "${NAME}"`);
    await run(`data "${NAME}" dataset_dir=data val_size=0.25`);
    await run(`lora "red${NAME}" rank=16`);
    await run("set learning_rate=8e-3 per_device_train_batch_size=8 gradient_accumulation_steps=1 warmup_steps=2 max_new_tokens=64");
    await run("set num_train_epochs=30");
    await run(`set default_system="${NAME}"`);
    await run("train");
    await run("probe Describe it.");
    for (const line of ["worst", "sample 0", "sample 0 split=eval", "data", "data skipped", "status", "adapter", "plot", "evaluate", "predict"]) {
      await run(line);
    }
    await run(`chat image=data/0.png Describe it.`);
    await run(`chat image=data/0.png scores=true Describe it.`);
    await run(`compare image=data/0.png Describe it.`);
    await run(`print ${NAME}`);
    await run(NAME);
    await run(`load "no${NAME}"`);
    await run("recipe show");
    const said: string[] = [];
    for (const name of TABS) {
      await tab(root, name);
      if (name === "Data") {
        await root.locator(".tb-sample img").first().waitFor();
        await root.locator(".tb-sample button").first().click();
        const detail = root.getByRole("region", { name: /^Sample/ });
        await detail.getByText(EVIL[0]!).first().waitFor();
        await detail.getByRole("button", { name: "Show tokens" }).click();
        await detail.locator(".tb-job").waitFor();
        await root.getByRole("combobox", { name: "Order" }).selectOption("loss");
      }
      if (name === "Evaluate") {
        await root.getByRole("button", { name: "Predict", exact: true }).click();
        await root.locator(".tb-results .tb-html").first().waitFor();
        await root.locator(".tb-busy").waitFor({ state: "hidden" });
      }
      if (name === "Chat") {
        await root.locator('input[type="file"]').setInputFiles({ name: `${NAME}.png`, mimeType: "image/png", buffer: picture(1) });
        await root.locator(".tb-attached").getByText(`${NAME}.png`, { exact: true }).waitFor();
        await root.locator("textarea").fill(EVIL[1]!);
        await root.locator("textarea").press("Enter");
        await root.locator(".tb-byuser").getByText(EVIL[1]!).waitFor();
        await root.locator(".tb-busy").waitFor({ state: "hidden" });
        said.push(...(await root.locator(".tb-byassistant").allTextContents()));
      }
      // What is unfolded may have more that folds.
      const folded = root.locator("details:not([open]) > summary:visible");
      for (let more = 100; more > 0 && (await folded.count()) > 0; more -= 1) await folded.first().click();
      await host.page.waitForTimeout(300);
    }
    // The model has learned to say it, so it was not only the labels that were shown.
    await until(async () => /<(img|script|svg)/.test((await root.textContent())!), "nothing hostile is shown", PATIENCE);
    assert.ok(said.some((text) => text.includes("<")), `the model says ${said.join(" | ")}`);
    const found = await host.page.locator('img[src="x"], .tunebook-panel script, .jp-OutputArea script, svg[onload], [onerror], [onload]').count();
    assert.equal(found, 0);
    const pictures = await root.locator("img").evaluateAll((all) => all.map((one) => one.getAttribute("src")!.slice(0, 11)));
    assert.ok(pictures.every((source) => /^data:image\/|^blob:/.test(source)), pictures.join());
    assert.deepEqual(host.errors, []);
  });
}

/** A data set in which everything that can be hostile is. */
function write(folder: string): void {
  mkdirSync(folder);
  const columns = { messages: "messages", images: "images" };
  const tags = { role_tag: "role", content_tag: "content", user_tag: "user", assistant_tag: "assistant" };
  const info = { [NAME]: { file_name: "evil.json", formatting: "sharegpt", columns, tags } };
  const file = '"><svg onload="alert(5)">.png';
  const records = Array.from({ length: 16 }, (_, index) => {
    const name = index % 2 === 0 ? "0.png" : file;
    writeFileSync(join(folder, name), picture(index));
    return {
      messages: [
        { role: "user", content: "<image>Describe it." },
        { role: "assistant", content: EVIL.join(" ") },
      ],
      images: [name],
    };
  });
  // One that is skipped, with a reason that names its file.
  records.push({ ...records[0]!, images: [`no${NAME}.png`] });
  writeFileSync(join(folder, "dataset_info.json"), JSON.stringify(info));
  writeFileSync(join(folder, "evil.json"), JSON.stringify(records));
  assert.ok(readFileSync(join(folder, file)).length > 0);
}
