// No caption, name, file, answer or error becomes HTML.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { picture } from "../pictures";
import { open, panel, stop, tab, until } from "./support";

after(stop);

const EVIL = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
const TABS = ["Model", "Data", "Method", "Training", "Evaluate", "Chat", "Export"];

test("text stays text wherever it comes from", async () => {
  const session = await open({ caption: EVIL, width: 1600 });
  const { kernel, page } = session;
  for (const line of ["demo", "lora", "train 5 &"]) await kernel.other(line);
  await until(() => kernel.training?.running === false, "it does not end");
  const root = panel(page);
  await kernel.other("worst 30");
  // Names of everything that has one.
  kernel.model = { ...kernel.model!, name: EVIL, path: EVIL, architecture: EVIL, dtype: EVIL };
  kernel.data = { ...kernel.data!, names: [EVIL] };
  kernel.adapters[0]!.name = EVIL;
  kernel.curves = { [EVIL]: kernel.curves.default! };
  kernel.training = { ...kernel.training!, adapter: EVIL };
  kernel.settings.set("default_system", EVIL);
  kernel.answers.base = kernel.answers.tuned = EVIL;
  const state = kernel.state();
  state.groups.forEach((group) => (group.title = EVIL));
  state.settings.forEach((setting) => (setting.help = EVIL));
  kernel.tell(state);
  kernel.tell({ type: "note", id: null, text: EVIL });
  kernel.tell({ type: "progress", id: null, text: EVIL, part: 0.5 });
  kernel.tell({ type: "recorded", number: 99, id: null, line: EVIL, ok: true, step: 0, training: null });

  const shown = async (what: string) => {
    await until(async () => (await root.textContent())!.includes(EVIL), `${what} is not shown as text`);
  };
  for (const name of TABS) {
    await tab(root, name);
    await shown(name);
    for (const more of await root.locator(".tb-more > summary").all()) await more.click();
  }
  await tab(root, "Data");
  await root.locator(".tb-sample button").first().click();
  await root.getByRole("region", { name: /^Sample/ }).getByText(EVIL).first().waitFor();
  await tab(root, "Chat");
  await root.locator('input[type="file"]').setInputFiles({ name: `${EVIL.replaceAll("/", "")}.png`, mimeType: "image/png", buffer: picture(1) });
  await root.locator(".tb-attached li").waitFor();
  await root.locator("textarea").fill(EVIL);
  await root.locator("textarea").press("Enter");
  await root.locator(".tb-byassistant").getByText(EVIL).first().waitFor();
  const prompt = root.getByRole("combobox", { name: "Command" });
  await prompt.fill(`print ${EVIL}`);
  await prompt.press("Enter");
  await root.locator("pre").getByText(EVIL).waitFor();
  await prompt.fill(EVIL);
  await prompt.press("Enter");
  await root.getByRole("alert").getByText("there is no command", { exact: false }).waitFor();

  assert.equal(await page.locator('img[src="x"], .tunebook-panel script').count(), 0);
  assert.equal(await page.locator("img:not([src^='data:image/']):not([src^='blob:'])").count(), 0);
  await session.close();
});
