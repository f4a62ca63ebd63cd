// A session by clicking as cells that give the same again.

import type { Recorded } from "./protocol";
import { line as joined, verbOf } from "./lines";

/** A training in the background that the script has not caught up with. */
interface Open {
  /** What stood behind `train`, without the number of steps and the `&`. */
  options: string;
  /** Steps of the adapter when it began, and those that the script has it make so far. */
  begin: number;
  made: number;
  /** How many steps it was to make; nothing for all. */
  limit: number | null;
}

/**
 * The lines of `recorded` that this page sent and that worked, as cells: consecutive commands are one cell, a message of
 * several lines is one by itself.
 *
 * A training in the background becomes one that is waited for, in as many parts as other lines came in between: what
 * was set at step 23 is set at step 23 again, whatever the other machine's speed. A training has the same bits however
 * it is parted.
 */
export function cells(recorded: Recorded[]): string[] {
  const found: string[][] = [[]];
  const push = (text: string) => {
    if (text.startsWith("%%")) found.push([text], []);
    else found[found.length - 1]?.push(text);
  };
  for (const text of lines(recorded)) push(text);
  return found.filter((cell) => cell.length > 0).map((cell) => cell.join("\n"));
}

function lines(recorded: Recorded[]): string[] {
  const found: string[] = [];
  let open: Open | null = null;
  const make = (training: Open, steps: number | null) => {
    if (steps !== null && steps <= 0) return;
    found.push(joined("train", steps === null ? "" : String(steps), training.made === 0 && training.options));
    training.made += steps ?? 0;
  };
  const finish = (training: Open) => make(training, training.limit === null ? null : training.limit - training.made);

  for (const { line, ok, from, step, running } of recorded) {
    if (!ok || from !== "panel" || isOfThePage(line)) continue;
    if (open) {
      if (running) make(open, (step ?? 0) - open.begin - open.made);
      else finish(open);
      if (!running || verbOf(line) === "stop") open = null;
    }
    const background = inBackground(line);
    if (background) open = { ...background, begin: step ?? 0, made: 0 };
    else if (verbOf(line) !== "stop") found.push(line);
  }
  if (open) finish(open);
  return found;
}

/** Lines that only look, or are about the page itself. */
function isOfThePage(line: string): boolean {
  return ["panel", "lang", "watch", "wait", "jobs"].includes(verbOf(line));
}

/** What a `train … &` is to do. */
function inBackground(line: string): { options: string; limit: number | null } | null {
  const match = /^%?\s*train\b(.*?)\s*&\s*$/.exec(line);
  if (!match) return null;
  const words = (match[1] ?? "").trim().split(/\s+/);
  const limit = words.find((one) => /^\d+$/.test(one));
  return {
    limit: limit === undefined ? null : Number(limit),
    options: words.filter((one) => one !== limit).join(" "),
  };
}
