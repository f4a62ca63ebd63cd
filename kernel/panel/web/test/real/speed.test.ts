// What a panel costs a training: tokens per second and processor time without one, with a client that only reads, and with a
// page that draws. Where other programs take turns, processor time tells more; that of the browser is told beside it.
//
//     NODE_OPTIONS=--experimental-websocket PAIRS=7 npm run real -- speed

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { launch, panel, tab } from "../pages/support";
import { TUNEBOOK } from "./host";

const PAIRS = Number(process.env.PAIRS ?? 5);
// A multiple of eval_steps: each training has as many evaluations.
const STEPS = Number(process.env.STEPS ?? 200);

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
  const measure = async () => {
    const [own, browser, start] = [cpu(program.pid!), cpu(process.pid), performance.now()];
    say(`train ${STEPS}`);
    const tokens = Number((await find(/([\d,.]+) tokens\/s/))[1]!.replaceAll(",", ""));
    const seconds = (performance.now() - start) / 1000;
    return { tokens, cpu: cpu(program.pid!) - own, browser: (cpu(process.pid) - browser - (cpu(program.pid!) - own)) / seconds };
  };
  await measure();

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
    const ratios: Record<"tokens" | "cpu", number[]> = { tokens: [], cpu: [] };
    for (let pair = 0; pair < PAIRS; pair += 1) {
      const measured = async () => {
        const close = await open();
        const beside = await measure();
        await close();
        return beside;
      };
      // Each is the first one in every second pair.
      const first = pair % 2 ? await measured() : null;
      const without = await measure();
      const beside = first ?? (await measured());
      for (const of of ["tokens", "cpu"] as const) ratios[of].push(100 * (beside[of] / without[of] - 1));
      const told = [without, beside].map((one) => `${one.tokens} tokens/s, ${one.cpu.toFixed(2)} s of processor`);
      console.log(`${name}: ${told.join("; beside it ")}, and ${(100 * beside.browser).toFixed(1)} % of one for the page`);
    }
    for (const [of, all] of Object.entries(ratios)) {
      console.log(`${name}: median of ${of} ${all.sort((a, b) => a - b)[Math.floor((PAIRS - 1) / 2)]!.toFixed(1)} %`);
    }
  }
  program.stdin.end("quit\n");
});

/** Seconds of processor that a process and its children that live have taken. */
function cpu(root: number): number {
  let total = 0;
  for (const name of readdirSync("/proc").filter((one) => /^\d+$/.test(one))) {
    if (isBelow(Number(name), root)) total += stat(Number(name)).seconds;
  }
  return total;
}

function isBelow(pid: number, root: number): boolean {
  return pid === root || (pid > 1 && isBelow(stat(pid).parent, root));
}

function stat(pid: number): { parent: number; seconds: number } {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
    return { parent: Number(fields[1]), seconds: (Number(fields[11]) + Number(fields[12])) / 100 };
  } catch {
    return { parent: 0, seconds: 0 };
  }
}
