// What axe finds, and what the keyboard reaches.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { picture } from "../pictures";
import { faults } from "./axe";
import { click, open, panel, set, stop, tab, until } from "./support";

after(stop);

const TABS = {
  en: ["Model", "Data", "Method", "Training", "Evaluate", "Chat", "Export"],
  zh: ["模型", "数据", "微调方法", "训练", "评估与预测", "对话", "导出"],
};

for (const [theme, lang, where, width] of [
  ["light", "en", "page", 1400],
  ["dark", "zh", "page", 1400],
  ["light", "zh", "onecell", 700],
  ["dark", "en", "onecell", 700],
] as const) {
  test(`axe finds no fault in ${theme}, ${lang}, ${width} wide`, async () => {
    const session = await open({ theme, lang, where, width, stepTime: 5 });
    const { page, kernel } = session;
    for (const line of ["demo", "worst 30", "data drop 0", "lora", "train 30 &"]) await kernel.other(line);
    await until(() => kernel.training?.running === false, "it does not end");
    const root = panel(page);
    const names = TABS[lang];
    for (const [index, name] of names.entries()) {
      await tab(root, name);
      if (index === 1) await root.locator(".tb-sample button").nth(1).click();
      if (index === 3) await set(root, "learning_rate", "x");
      if (index === 4) await click(root, lang === "en" ? "Predict" : "预测");
      if (index === 5) {
        await root.locator('input[type="file"]').setInputFiles({ name: "a.png", mimeType: "image/png", buffer: picture(2) });
        await root.locator("textarea").fill("?");
        await root.locator("textarea").press("Enter");
      }
      for (const more of await root.locator(".tb-more > summary").all()) await more.click();
      if (index === 6) {
        await root.getByRole("combobox", { name: lang === "en" ? "Command" : "命令" }).pressSequentially("sta");
        await root.getByRole("listbox").getByRole("option").first().waitFor();
      }
      await page.waitForTimeout(300);
      assert.deepEqual(await faults(page), [], name);
    }
    await session.cut();
    await page.waitForTimeout(300);
    assert.deepEqual(await faults(page), [], "without a connection");
    await session.close();
  });
}

test("a training by keyboard alone", async () => {
  const session = await open({ stepTime: 10, width: 1000 });
  const { page, kernel } = session;
  const root = panel(page);
  await root.getByRole("tab", { name: "Model" }).focus();
  const focus = () => page.evaluate(() => document.activeElement?.textContent ?? "");
  const reach = async (name: string) => {
    for (let presses = 0; presses < 60; presses += 1) {
      if ((await focus()) === name) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`Tab does not reach ${name}`);
  };
  await reach("Load demo");
  assert.match((await root.locator(".tb-hint").textContent())!, /^demo/);
  await page.keyboard.press("Enter");
  await until(() => kernel.model !== null, "no model");
  await root.getByRole("tab", { name: "Model" }).focus();
  for (const _ of [1, 2]) await page.keyboard.press("ArrowRight");
  assert.equal(await focus(), "Method");
  await reach("New adapter");
  await page.keyboard.press("Enter");
  await until(() => kernel.adapters.length === 1, "no adapter");
  await root.getByRole("tab", { name: "Method" }).focus();
  await page.keyboard.press("ArrowRight");
  await reach("Start");
  await page.keyboard.press("Space");
  await until(() => kernel.training?.running === false, "it does not train");
  const slider = root.getByRole("slider", { name: /^loss/ });
  await slider.focus();
  await page.keyboard.press("Home");
  await until(async () => /^step 1: default/.test((await slider.getAttribute("aria-valuetext"))!), "no value at step 1");
  await page.keyboard.press("ArrowRight");
  await until(async () => /^step 2: default/.test((await slider.getAttribute("aria-valuetext"))!), "no value at step 2");
  await page.keyboard.press("End");
  await page.keyboard.press("+");
  await until(async () => Number(await slider.getAttribute("aria-valuemin")) > 20, "it is not zoomed");
  await page.keyboard.press("Escape");
  await until(async () => (await slider.getAttribute("aria-valuemin")) === "1", "the zoom stays");
  await session.close();
});
