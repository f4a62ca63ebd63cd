// What a panel costs a training: tokens per second without one, with a client that only reads, and with a page that draws.
//
//     NODE_OPTIONS=--experimental-websocket PAIRS=7 npm run real -- speed

import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { launch, panel, tab } from "../pages/support";
import { TUNEBOOK } from "./host";

const PAIRS = Number(process.env.PAIRS ?? 5);
const STEPS = Number(process.env.STEPS ?? 150);

test("a training beside an open panel", async () => {
  const cwd = mkdtempSync(join(tmpdir(), "tunebook-speed-"));
  const program = spawn(TUNEBOOK, [], { cwd, env: { ...process.env, LC_ALL: "C.UTF-8" }, stdio: ["pipe", "pipe", "inherit"] });
  const said: string[] = [];
  let heard = () => {};
  createInterface({ input: program.stdout }).on("line", (line) => (said.push(line), heard()));
  const find = async (pattern: RegExp) => {
    for (;;) {
      const line = said.splice(0).find((one) => pattern.test(one));
      if (line) return pattern.exec(line)!;
      await new Promise<void>((resolve) => (heard = resolve));
    }
  };
  const say = (...lines: string[]) => program.stdin.write(lines.map((line) => `${line}\n`).join(""));
  say("demo", "lora", "set num_train_epochs=1000", "panel");
  const address = new URL((await find(/http:\S+/))[0]);
  const speed = async () => {
    say(`train ${STEPS}`);
    return Number((await find(/([\d,.]+) tokens\/s/))[1]!.replaceAll(",", ""));
  };
  await speed();

  const reader = async () => {
    const socket = new WebSocket(`ws://${address.host}/ws${address.search}`);
    await new Promise((resolve) => (socket.onopen = resolve));
    socket.send('{"type":"hello"}');
    return () => Promise.resolve(socket.close());
  };
  const page = async () => {
    const browser = await launch();
    const shown = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await shown.goto(address.href);
    await tab(panel(shown), "Training");
    await shown.waitForTimeout(2000);
    return () => browser.close();
  };
  for (const [name, open] of Object.entries({ reader, page })) {
    const ratios: number[] = [];
    for (let pair = 0; pair < PAIRS; pair += 1) {
      const without = await speed();
      const close = await open();
      const beside = await speed();
      await close();
      ratios.push(beside / without);
      console.log(`${name}: ${without} without, ${beside} with, ${(100 * (beside / without - 1)).toFixed(1)} %`);
    }
    const median = ratios.sort((a, b) => a - b)[Math.floor(PAIRS / 2)]!;
    console.log(`${name}: median ${(100 * (median - 1)).toFixed(1)} %`);
  }
  program.stdin.end("quit\n");
});
