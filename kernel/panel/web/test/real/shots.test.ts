// Pictures of the panel after a training of the demo, to be looked at, in the folder that SHOTS names; and what axe says.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { test, type TestContext } from "node:test";
import type { Locator } from "playwright-core";
import { faults } from "../pages/axe";
import { click, tab, until } from "../pages/support";
import { PATIENCE, PLACES, creature, open, type Given, type Where } from "./host";

const FOLDER = process.env.SHOTS ?? "test/build/shots";
mkdirSync(FOLDER, { recursive: true });

const NAMES = {
  en: ["Model", "Data", "Method", "Training", "Evaluate", "Chat", "Export"],
  zh: ["模型", "数据", "微调方法", "训练", "评估与预测", "对话", "导出"],
};
const WORDS = {
  en: { evaluate: "Evaluate", predict: "Predict", preview: "Preview command", ask: "Describe this creature." },
  zh: { evaluate: "评估", predict: "预测", preview: "预览命令", ask: "请介绍一下图中的小精灵。" },
};

async function shoot(context: TestContext, where: Where, given: Given): Promise<void> {
  const { lang = "en", theme = "light", width = 1280 } = given;
  const host = await open(context, where, { ...given, lang });
  const { page } = host;
  const root = host.panel();
  const words = WORDS[lang];
  await page.waitForTimeout(500);
  const take = async (name: string) => {
    if (where === "lab") await root.evaluate((element) => element.scrollIntoView({ block: "start" }));
    await page.screenshot({ path: `${FOLDER}/${where}-${width}-${theme}-${lang}-${name}.png` });
  };
  await take("0-empty");
  for (const line of ["demo", "set eval_steps=20", "lora", "train 250", "lora slow", "train 120 lr=2e-4", "adapter use default", "worst 30"]) {
    await run(root, line);
  }
  await tab(root, NAMES[lang][5]!);
  for (const isCompare of [false, true]) {
    await root.locator('input[type="file"]').setInputFiles(creature(host));
    await root.getByRole("checkbox").setChecked(isCompare);
    await root.locator("textarea").fill(words.ask);
    await root.locator(".tb-attached").getByText("creatures_held_out_0001.png", { exact: true }).waitFor();
    await root.locator("textarea").press("Enter");
    await root.locator(isCompare ? ".tb-side > :nth-child(3)" : ".tb-byassistant").first().waitFor();
    await root.locator(".tb-busy").waitFor({ state: "hidden" });
  }
  await tab(root, NAMES[lang][4]!);
  await click(root, words.evaluate);
  await click(root, words.predict);
  await until(async () => (await root.locator(".tb-results .tb-html").count()) >= 2, "no predictions", PATIENCE);
  await tab(root, NAMES[lang][6]!);
  await click(root, words.preview);
  await page.waitForTimeout(500);
  const found: string[] = [];
  for (const [index, name] of NAMES.en.entries()) {
    await tab(root, NAMES[lang][index]!);
    if (index === 1) {
      await root.locator(".tb-sample button").nth(2).click();
      await page.waitForTimeout(500);
    }
    if (index === 3) {
      const box = (await root.locator(".tb-catch").boundingBox())!;
      await page.mouse.move(box.x + box.width * 0.4, box.y + box.height / 2);
    }
    await page.waitForTimeout(400);
    await take(`${index + 1}-${name.toLowerCase()}`);
    found.push(...(await faults(page)).map((fault) => `${name}: ${fault}`));
  }
  assert.deepEqual(found, []);
  assert.deepEqual(host.errors, []);
}

async function run(root: Locator, line: string): Promise<void> {
  const prompt = root.locator(".tb-prompt input");
  if ((await root.locator(".tb-history").count()) === 0) await root.locator(".tb-striprow > .tb-button").click();
  const count = await root.locator(".tb-entry").count();
  await prompt.fill(line);
  await prompt.press("Enter");
  await root.locator(".tb-entry").nth(count).waitFor();
  await root.locator(".tb-busy").waitFor({ state: "hidden", timeout: 3 * PATIENCE });
}

const LOOKS: Given[] = [
  { width: 1280, theme: "light", lang: "en" },
  { width: 1280, theme: "dark", lang: "zh" },
  { width: 1920, height: 1080, theme: "light", lang: "zh" },
  { width: 1920, height: 1080, theme: "dark", lang: "en" },
];
for (const where of PLACES) {
  for (const given of LOOKS) test(`${where} ${Object.values(given).join(" ")}`, (context) => shoot(context, where, given));
}
