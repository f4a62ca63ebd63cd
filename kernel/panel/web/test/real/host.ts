// The panel of the real program in a browser: in the page of `tunebook panel`, or in a cell of JupyterLab.
//
// TUNEBOOK is the program. LAB is the folder of a virtual environment with JupyterLab, anywidget and the program's kernel.

import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after, type TestContext } from "node:test";
import { promisify } from "node:util";
import type { Browser, BrowserContext, Locator, Page } from "playwright-core";
import { launch } from "../pages/support";

export const TUNEBOOK = resolve(process.env.TUNEBOOK ?? "../../../target/release/tunebook");
export const LAB = process.env.LAB;
export type Where = "page" | "lab";
export const PLACES: Where[] = LAB ? ["page", "lab"] : ["page"];

/** Milliseconds that a model, a training or a server may take. */
export const PATIENCE = 60_000;

let browser: Browser | undefined;
after(() => browser?.close());

export interface Given {
  width?: number;
  height?: number;
  theme?: "light" | "dark";
  lang?: "en" | "zh";
  /** For a notebook: its cells; the first is run. */
  cells?: string[];
}

export interface Host {
  where: Where;
  context: BrowserContext;
  page: Page;
  /** The folder that the session runs in, and the user's. */
  folder: string;
  home: string;
  /** What the page has logged as errors. */
  errors: string[];
  /** The panel, or one of several. */
  panel(index?: number): Locator;
  /** One more page of the same session. */
  another(): Promise<Page>;
  /** Runs cells in a session of its own, in the same folder. */
  run(cells: string[]): Promise<void>;
  /** Starts the kernel of the notebook anew. */
  restart(): Promise<void>;
  /** Ends the session's process. */
  end(): Promise<void>;
}

/** Opens the panel of a new session, which ends with the test. */
export async function open(test: TestContext, where: Where, given: Given = {}): Promise<Host> {
  browser ??= await launch();
  const folder = mkdtempSync(join(tmpdir(), "tunebook-panel-"));
  const home = join(folder, "home");
  const work = join(folder, "work");
  for (const made of [home, work]) mkdirSync(made);
  const { width = 1280, height = 900, theme = "light", lang = "en" } = given;
  const env = {
    ...process.env,
    HOME: home,
    XDG_CACHE_HOME: join(home, "cache"),
    LC_ALL: lang === "zh" ? "zh_CN.UTF-8" : "C.UTF-8",
    JUPYTER_DATA_DIR: join(home, "jupyter"),
    JUPYTER_RUNTIME_DIR: join(home, "runtime"),
    JUPYTER_CONFIG_DIR: join(home, "config"),
    JUPYTERLAB_SETTINGS_DIR: join(home, "settings"),
    JUPYTER_PLATFORM_DIRS: "1",
  };
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
  context.setDefaultTimeout(PATIENCE);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("dialog", (dialog) => {
    // JupyterLab asks before a page is left.
    if (dialog.type() === "beforeunload") return void dialog.accept();
    errors.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const started = where === "page" ? await startPage(work, env) : await startLab(work, env, theme, given.cells ?? ["panel"]);
  const { process: program, address } = started;
  await page.goto(address);
  if (where === "lab") await runCell(page, 0);
  await page.locator(".tunebook-panel [role=tab]").first().waitFor();
  const isOver = new Promise((resolve) => program.once("exit", resolve));
  const end = async () => {
    program.kill("SIGTERM");
    await isOver;
  };
  test.after(async () => {
    await context.close();
    await end();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    where,
    context,
    page,
    folder: work,
    home,
    errors,
    panel: (index = 0) => page.locator(".tunebook-panel").nth(index),
    async another() {
      const one = await context.newPage();
      await one.goto(address);
      return one;
    },
    async run(cells) {
      if (where === "page") {
        writeFileSync(join(work, "copied.tune"), cells.join("\n\n"));
        await promisify(execFile)(TUNEBOOK, ["run", "copied.tune"], { cwd: work, env });
      } else {
        writeFileSync(join(work, "copied.ipynb"), notebook(cells));
        await promisify(execFile)(join(LAB!, "bin", "jupyter"), ["execute", "copied.ipynb"], { cwd: work, env });
      }
    },
    async restart() {
      await page.getByRole("menuitem", { name: "Kernel", exact: true }).click();
      await page.getByRole("menuitem", { name: "Restart Kernel…" }).click();
      await page.locator(".jp-Dialog").getByRole("button", { name: "Confirm Kernel Restart" }).click();
    },
    end,
  };
}

interface Started {
  process: ChildProcess;
  address: string;
}

async function startPage(cwd: string, env: NodeJS.ProcessEnv): Promise<Started> {
  const program = spawn(TUNEBOOK, ["panel"], { cwd, env, stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: program.stdout! });
  const line = await new Promise<string>((resolve) => lines.once("line", resolve));
  return { process: program, address: /http:\S+/.exec(line)![0] };
}

async function startLab(cwd: string, env: NodeJS.ProcessEnv, theme: string, cells: string[]): Promise<Started> {
  writeFileSync(join(cwd, "session.ipynb"), notebook(cells));
  const settings = {
    "notebook-extension/tracker": { windowingMode: "none" },
    "apputils-extension/notification": { fetchNews: "false" },
    "apputils-extension/themes": { theme: theme === "dark" ? "JupyterLab Dark" : "JupyterLab Light" },
  };
  for (const [name, values] of Object.entries(settings)) {
    const [plugin = "", file = ""] = name.split("/");
    const at = join(env.JUPYTERLAB_SETTINGS_DIR!, "@jupyterlab", plugin);
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, `${file}.jupyterlab-settings`), JSON.stringify(values));
  }
  const port = await freePort();
  const flags = [`--port=${port}`, "--no-browser", "--allow-root", "--ip=127.0.0.1", "--IdentityProvider.token=t"];
  const server = spawn(join(LAB!, "bin", "python"), ["-m", "jupyterlab", ...flags], { cwd, env, stdio: "ignore" });
  const address = `http://127.0.0.1:${port}`;
  const end = Date.now() + PATIENCE;
  while (!(await fetch(`${address}/api`).then((answer) => answer.ok, () => false))) {
    assert.ok(Date.now() < end, "JupyterLab does not start");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return { process: server, address: `${address}/doc/tree/session.ipynb?token=t` };
}

function notebook(cells: string[]): string {
  const made = cells.map((source, index) => {
    return { cell_type: "code", id: `cell-${index}`, source, metadata: {}, outputs: [], execution_count: null };
  });
  const kernelspec = { name: "tunebook", display_name: "tunebook", language: "tunebook" };
  return JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata: { kernelspec }, cells: made });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** Runs a cell of the notebook, whose kernel answers. */
export async function runCell(page: Page, index: number): Promise<void> {
  await page.locator(".jp-Notebook .jp-CodeCell").nth(index).locator(".cm-content").click();
  await page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').waitFor();
  await page.keyboard.press("Control+Enter");
}

/** A picture of the demo's that no adapter was trained on. */
export function creature(host: Host): string {
  const cache = join(host.home, "cache", "tunebook");
  const demo = readdirSync(cache).find((name) => name.startsWith("demo-"))!;
  return join(cache, demo, "creatures", "images", "creatures_held_out_0001.png");
}
