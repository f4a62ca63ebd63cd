// A browser, a server of the built page, and the mock behind its WebSockets.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { chromium, type Browser, type BrowserContext, type Locator, type Page } from "playwright-core";
import { MockKernel, type Options } from "../mock_kernel";
import type { ToKernel } from "../../src/protocol";

const SITE = "test/build/site";
const TYPES: Record<string, string> = { html: "text/html", js: "text/javascript", css: "text/css" };
/** What a careful server sends along; widgets come from blobs. */
const POLICY = "default-src 'none'; script-src 'self' blob:; style-src 'self' 'unsafe-inline'; img-src data: blob:; connect-src 'self' ws:";

let browser: Browser | undefined;
let server: Server | undefined;

/** CHROMIUM is its program. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

async function start(): Promise<[Browser, string]> {
  browser ??= await launch();
  if (!server) {
    server = createServer((request, response) => {
      const name = new URL(request.url ?? "/", "http://localhost").pathname.slice(1) || "index.html";
      const type = TYPES[name.split(".").at(-1) ?? ""];
      if (!type || name.includes("..")) {
        response.writeHead(404).end();
        return;
      }
      response.writeHead(200, { "content-type": type, "content-security-policy": POLICY }).end(readFileSync(`${SITE}/${name}`));
    });
    await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  }
  return [browser, `http://127.0.0.1:${(server.address() as AddressInfo).port}`];
}

export async function stop(): Promise<void> {
  await browser?.close();
  server?.close();
  [browser, server] = [undefined, undefined];
}

export interface Session {
  kernel: MockKernel;
  context: BrowserContext;
  page: Page;
  /** Cuts all connections; new ones are refused until it is called with false. */
  cut(isOff?: boolean): Promise<void>;
  close(): Promise<void>;
}

export interface Given extends Options {
  /** `page`: that of `tunebook panel`. `cell`: two widgets in a notebook's page. */
  where?: "page" | "cell" | "onecell";
  theme?: "light" | "dark";
  width?: number;
  height?: number;
}

/** A browser's page with a panel, or two, on a new mock. Whatever the page logs as an error fails the test. */
export async function open(given: Given = {}): Promise<Session> {
  const { where = "page", theme = "light", width = 1280, height = 900, ...options } = given;
  const [driver, address] = await start();
  const kernel = new MockKernel(options);
  const context = await driver.newContext({ viewport: { width, height }, colorScheme: theme });
  context.setDefaultTimeout(8000);
  let isOff = false;
  const sockets = new Set<{ close: () => Promise<void> }>();
  await context.routeWebSocket(/\/(ws|comm)(\?.*)?$/, (socket) => {
    if (isOff) {
      void socket.close();
      return;
    }
    const panel = kernel.connect((message) => socket.send(JSON.stringify(message)));
    sockets.add(socket);
    socket.onMessage((text) => panel.receive(JSON.parse(String(text)) as ToKernel));
    socket.onClose(() => {
      panel.leave();
      sockets.delete(socket);
    });
  });
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  page.on("dialog", (dialog) => {
    errors.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const query = `theme=${theme}${where === "onecell" ? "&cells=1" : ""}&token=secret`;
  await page.goto(`${address}/${where === "page" ? "" : "cell.html"}?${query}`);
  return {
    kernel,
    context,
    page,
    async cut(off = true) {
      isOff = off;
      if (off) for (const socket of [...sockets]) await socket.close();
    },
    async close() {
      kernel.dispose();
      await context.close();
      const refused = /WebSocket connection|ERR_CONNECTION/;
      assert.deepEqual(errors.filter((error) => !refused.test(error)), []);
    },
  };
}

/** The panel of a page, or one of several. */
export function panel(page: Page, index = 0): Locator {
  return page.locator(".tunebook-panel").nth(index);
}

export async function tab(root: Locator, name: string): Promise<void> {
  await root.getByRole("tab", { name, exact: true }).click();
  await root.getByRole("tab", { name, exact: true, selected: true }).waitFor();
}

export async function click(root: Locator, name: string): Promise<void> {
  await root.getByRole("tabpanel").getByRole("button", { name, exact: true }).first().click();
}

/** Waits until `test` holds, and says `what` did not come if it does not. */
export async function until(test: () => boolean | Promise<boolean>, what: string, patience = 8000): Promise<void> {
  const end = Date.now() + patience;
  while (!(await test())) {
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Types into a setting's field and leaves it. */
export async function set(root: Locator, name: string, value: string): Promise<void> {
  const field = root.locator(`[data-setting="${name}"] :is(input, select)`);
  if ((await field.evaluate((element) => element.tagName)) === "SELECT") {
    await field.selectOption(value);
  } else {
    await field.fill(value);
    await field.press("Tab");
  }
}

/** Drops a file as a desktop would. */
export async function drop(page: Page, target: Locator, name: string, bytes: Buffer): Promise<void> {
  const transfer = await page.evaluateHandle(
    ({ name, data }) => {
      const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
      const given = new DataTransfer();
      given.items.add(new File([bytes], name, { type: "image/png" }));
      return given;
    },
    { name, data: bytes.toString("base64") },
  );
  for (const type of ["dragover", "drop"]) await target.dispatchEvent(type, { dataTransfer: transfer });
}
