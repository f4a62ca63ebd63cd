// Pictures of the page to be looked at, in the folder that SHOTS names: `SHOTS=/tmp/shots npm run pages -- shots`.

import { mkdirSync } from "node:fs";
import { after, test } from "node:test";
import type { Locator, Page } from "playwright-core";
import { picture } from "../pictures";
import { click, open, panel, set, stop, tab, until, type Given, type Session } from "./support";

const FOLDER = process.env.SHOTS ?? "test/build/shots";
mkdirSync(FOLDER, { recursive: true });
after(stop);

const ENGLISH = ["Model", "Data", "Method", "Training", "Evaluate", "Chat", "Export"];
const CHINESE = ["模型", "数据", "微调方法", "训练", "评估与预测", "对话", "导出"];

/** A session in which everything has something to show. */
async function play({ kernel, page }: Session, root: Locator, lang: "en" | "zh"): Promise<void> {
  kernel.answers.tuned = lang === "en" ? kernel.answers.tuned! : "这是水团团，一只水系小精灵。它有圆滚滚的蓝色身体，长着圆耳朵和蓬松的尾巴，性格温柔。";
  kernel.answers.base = lang === "en" ? kernel.answers.base! : "这是一只蓝色的小精灵。它的身体是蓝色的，圆滚滚，有圆耳朵和大尾巴。";
  for (const line of ["demo", "worst 30", "lora", "train &"]) await kernel.other(line);
  await until(() => kernel.training?.running === false, "the training does not end");
  await kernel.other("lora slow");
  await kernel.other("set learning_rate=2e-4");
  await kernel.other("train 45 &");
  await until(() => kernel.training?.running === false, "the training does not end");
  await kernel.other("adapter use default");
  const names = lang === "en" ? ENGLISH : CHINESE;
  await tab(root, names[5]!);
  const ask = async (text: string, isCompare: boolean) => {
    await root.locator('input[type="file"]').setInputFiles({ name: "creature.png", mimeType: "image/png", buffer: picture(1) });
    await root.getByRole("checkbox").setChecked(isCompare);
    await root.locator("textarea").fill(text);
    await until(async () => (await root.locator(".tb-attached").textContent())?.includes("creature.png") ?? false, "no picture");
    await page.waitForTimeout(100);
    await root.locator("textarea").press("Enter");
    await page.waitForTimeout(500);
  };
  await ask(lang === "en" ? "Describe this creature." : "请介绍一下图中的小精灵。", false);
  await ask(lang === "en" ? "Which type is it, and how can you tell?" : "它是什么属性？怎么看出来的？", true);
  await tab(root, names[4]!);
  await click(root, lang === "en" ? "Evaluate" : "评估");
  await click(root, lang === "en" ? "Predict" : "预测");
  await page.waitForTimeout(600);
  await tab(root, names[6]!);
  await click(root, lang === "en" ? "Preview command" : "预览命令");
}

async function shoot(name: string, given: Given, tabs = [0, 1, 2, 3, 4, 5, 6]): Promise<void> {
  const lang = given.lang ?? "en";
  const session = await open({ stepTime: 8, ...given });
  const root = panel(session.page);
  await root.getByRole("tab").first().waitFor();
  await play(session, root, lang);
  for (const index of tabs) {
    await tab(root, (lang === "en" ? ENGLISH : CHINESE)[index]!);
    await session.page.waitForTimeout(250);
    await detail(session.page, root, index, lang);
    await session.page.screenshot({ path: `${FOLDER}/${name}-${ENGLISH[index]!.toLowerCase()}.png` });
  }
  await session.close();
}

/** Something that is pointed at. */
async function detail(page: Page, root: Locator, index: number, lang: "en" | "zh"): Promise<void> {
  if (index === 1) await root.locator(".tb-sample button").nth(2).click();
  if (index === 3) {
    const box = (await root.locator(".tb-catch").boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.4, box.y + box.height / 2);
  }
  if (index === 6) {
    await root.locator("input[type=text]").first().fill(lang === "en" ? "saves/creatures" : "saves/小精灵");
  }
  await page.waitForTimeout(150);
}

test("1280 light English", () => shoot("1280-light-en", {}));
test("1280 dark Chinese", () => shoot("1280-dark-zh", { theme: "dark", lang: "zh" }));
test("1920 light Chinese", () => shoot("1920-light-zh", { width: 1920, height: 1080, lang: "zh" }));
test("1920 dark English", () => shoot("1920-dark-en", { width: 1920, height: 1080, theme: "dark" }));
test("a cell of 700", () => shoot("700-cell-light-en", { width: 732, height: 900, where: "onecell" }));
test("a cell of 700, dark, Chinese", () => shoot("700-cell-dark-zh", { width: 732, height: 900, where: "onecell", theme: "dark", lang: "zh" }));
test("a cell of 500", () => shoot("500-cell-light-en", { width: 532, height: 900, where: "onecell" }));
test("more settings, errors, history and completion", async () => {
  const session = await open({ stepTime: 60, width: 1280 });
  const { page, kernel } = session;
  const root = panel(page);
  await page.screenshot({ path: `${FOLDER}/1280-empty.png` });
  await tab(root, "Model");
  await click(root, "Load demo");
  await until(() => kernel.model !== null, "no model");
  await tab(root, "Method");
  await click(root, "New adapter");
  await tab(root, "Training");
  await click(root, "Start");
  await root.getByText("More settings").click();
  await root.getByPlaceholder("Search settings").fill("steps");
  await set(root, "learning_rate", "fast");
  await set(root, "num_train_epochs", "-1");
  await root.getByRole("combobox", { name: "Command" }).fill("st");
  await page.waitForTimeout(600);
  await page.screenshot({ path: `${FOLDER}/1280-training-live.png` });
  await session.cut();
  await page.waitForTimeout(300);
  await page.screenshot({ path: `${FOLDER}/1280-lost.png` });
  await session.close();
});
