// The conversation: pictures come and go, answers are stopped, messages have several lines, and a reload keeps them.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Locator } from "playwright-core";
import { picture } from "../pictures";
import { click, open, panel, stop, tab, until } from "./support";

after(stop);

const message = (root: Locator) => root.getByRole("textbox", { name: "Message" });

test("pictures are pasted, refused and removed", async () => {
  const session = await open();
  const { kernel, page } = session;
  await kernel.other("demo");
  const root = panel(page);
  await tab(root, "Chat");
  await message(root).evaluate((element, data) => {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
    element.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }, picture(2).toString("base64"));
  await root.locator(".tb-attached").getByText("pasted.png", { exact: true }).waitFor();
  await root.locator('input[type="file"]').setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("x") });
  await root.getByRole("alert").getByText("notes.txt is no picture.").waitFor();
  await root.getByRole("button", { name: "Remove pasted.png" }).click();
  await root.locator(".tb-attached").waitFor({ state: "detached" });
  await message(root).fill("Hello!");
  await message(root).press("Enter");
  await until(() => kernel.lines.at(-1) === "chat Hello!", "it is not sent, or with the picture");
  await session.close();
});

test("an answer is stopped, and a message of several lines is a cell by itself", async () => {
  const session = await open({ width: 1400 });
  const { kernel, page } = session;
  kernel.answers.base = "word ".repeat(2000);
  await kernel.other("demo");
  const root = panel(page);
  await tab(root, "Chat");
  await message(root).fill("Tell me\nall of it");
  await message(root).press("Enter");
  await root.locator(".tb-byassistant").getByText("word").waitFor();
  await root.getByRole("button", { name: "Stop", exact: true }).click();
  await root.getByRole("button", { name: "Stop", exact: true }).waitFor({ state: "detached" });
  assert.ok((await root.locator(".tb-byassistant").textContent())!.length < kernel.answers.base.length);
  assert.equal(kernel.lines.at(-1), "%%chat\nTell me\nall of it");
  await session.close();
});

test("a reload keeps the conversation, until it is cleared", async () => {
  const session = await open();
  const { kernel, page } = session;
  await kernel.other("demo");
  let root = panel(page);
  await tab(root, "Chat");
  await message(root).fill("What's this?");
  await click(root, "Submit");
  await root.locator(".tb-byassistant").getByText(kernel.answers.base!, { exact: true }).waitFor();
  await page.reload();
  root = panel(page);
  await root.locator(".tb-byuser").getByText("What's this?").waitFor();
  await root.locator(".tb-byassistant").getByText(kernel.answers.base!, { exact: true }).waitFor();
  await click(root, "Clear history");
  await root.getByText("Ask the model about a picture.").waitFor();
  await session.close();
});
