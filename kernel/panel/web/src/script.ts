// A session by clicking as cells that give the same again.

import type { Recorded, Standing } from "./protocol";
import { line as joined, untimed, verbOf } from "./lines";

/** Where the session stands behind the last line. */
export interface Now {
  /** Optimizer steps of the active adapter. */
  step: number;
  training: Pick<Standing, "stopped" | "step"> | null;
}

/** A training that the script has not caught up with. */
interface Open {
  /** Its line as one that is waited for, with all its steps. */
  whole: string;
  /** What stood behind `train` besides the number of steps. */
  options: string;
  /** How many steps it was to make; nothing for all. */
  limit: number | null;
  /** Steps of the adapter when it began, and those that the script has it make so far. */
  begin: number;
  made: number;
  /** How far it came if it has not come to its own end. */
  stoppedAt: number | null;
}

/**
 * The lines of `recorded` that pages sent and that worked, as cells: consecutive commands are one cell, a message of
 * several lines is one by itself.
 *
 * What was timed is not timed again. A training becomes one that is waited for, in as many parts as other lines came in
 * between: what counted from step 23 on is set at step 23 again, whatever the other machine's speed. A training has the same
 * bits however it is parted.
 */
export function cells(recorded: Recorded[], now: Now): string[] {
  const found: string[][] = [[]];
  for (const text of lines(recorded, now)) {
    if (text.startsWith("%%") || text.includes("\n")) found.push([text], []);
    else found[found.length - 1]?.push(text);
  }
  return found.filter((cell) => cell.length > 0).map((cell) => cell.join("\n"));
}

function lines(recorded: Recorded[], now: Now): string[] {
  const found: string[] = [];
  let open: Open | null = null;
  const make = (training: Open, steps: number) => {
    if (steps <= 0) return;
    found.push(joined("train", String(steps), training.made === 0 && training.options));
    training.made += steps;
  };
  const finish = (training: Open) => {
    const { stoppedAt, begin, made, limit, whole } = training;
    if (stoppedAt !== null) make(training, stoppedAt - begin - made);
    else if (made === 0) found.push(whole);
    else if (limit === null) found.push("train");
    else make(training, limit - made);
  };

  for (const [index, { id, line: asked, ok, step, training }] of recorded.entries()) {
    const line = untimed(asked);
    if (open && !training?.running) {
      finish(open);
      open = null;
    }
    if (id === null || isOfThePage(line)) continue;
    const begun = verbOf(line) === "train" ? parsed(line) : null;
    if (begun) {
      const end = ending(recorded.slice(index + 1), now);
      // One that failed may have made steps before it did.
      const isCut = ok === false || (end.training?.stopped ?? false);
      if (ok === false && end.step <= step) continue;
      open = { ...begun, begin: step, made: 0, stoppedAt: isCut ? (ok === false ? end.step : end.training!.step) : null };
    } else if (ok && verbOf(line) !== "stop") {
      if (open && training) {
        const at = isRead(line) ? training.step : training.counts_from;
        make(open, Math.min(at, open.stoppedAt ?? at) - open.begin - open.made);
      }
      found.push(line);
    }
  }
  if (open) finish(open);
  return found;
}

/** Where the session stood when the training was over that runs while the first of `later` begin. */
function ending(later: Recorded[], now: Now): Now {
  return later.find(({ training }) => !training?.running) ?? now;
}

/** Lines that only look, or are about the page itself. */
function isOfThePage(line: string): boolean {
  return ["panel", "lang", "watch", "wait", "jobs"].includes(verbOf(line));
}

/** Lines that use the adapter as it is and change nothing of its training. */
function isRead(line: string): boolean {
  return ["chat", "compare", "evaluate", "predict", "sample", "worst"].includes(verbOf(line));
}

/** What a `train` is to do. */
function parsed(line: string): Pick<Open, "whole" | "options" | "limit"> {
  const words = line.trim().replace(/^%?\s*train\b/, "").replace(/&\s*$/, "").trim().split(/\s+/).filter(Boolean);
  const limit = words.find((one) => /^\d+$/.test(one));
  return {
    whole: joined("train", ...words),
    options: words.filter((one) => one !== limit).join(" "),
    limit: limit === undefined ? null : Number(limit),
  };
}
