// What a value of a setting must look like, before it is sent.

import type { Setting } from "./protocol";

/** What is wrong with a value. */
export type Problem =
  | { kind: "empty" }
  | { kind: "number" }
  | { kind: "integer" }
  | { kind: "range"; min: number | null; max: number | null; below: number | null }
  | { kind: "choice"; choices: string[] };

/** Whether none is a value, written `none`. */
const NONE = "none";

/** The value to set for what was typed: an empty field of an optional setting is `none`. */
export function normalized(setting: Setting, typed: string): string {
  const text = typed.trim();
  return text === "" && setting.optional ? NONE : text;
}

/** The first thing wrong with `value`; nothing where it can be sent. What only the kernel can know, it says itself. */
export function problem(setting: Setting, value: string): Problem | null {
  if (setting.optional && value === NONE) return null;
  switch (setting.kind) {
    case "number":
      return outOfRange(setting, isFinite(number(value)) ? number(value) : null, { kind: "number" });
    case "integer":
      return outOfRange(setting, integer(value), { kind: "integer" });
    case "numbers":
      return value.split(",").every((part) => isFinite(number(part))) ? null : { kind: "number" };
    case "choice":
    case "bool":
      return setting.choices.includes(value) ? null : { kind: "choice", choices: setting.choices };
    case "text":
      // An empty text is a value of its own where `none` is another.
      return value === "" ? { kind: "empty" } : null;
    case "list":
    case "path":
    case "mapping":
      return value === "" ? { kind: "empty" } : null;
  }
}

function outOfRange(setting: Setting, value: number | null, otherwise: Problem): Problem | null {
  if (value === null) return otherwise;
  const { min, max, below } = setting;
  const isWithin = (min === null || value >= min) && (max === null || value <= max) && (below === null || value < below);
  return isWithin ? null : { kind: "range", min, max, below };
}

function number(text: string): number {
  return text.trim() === "" ? NaN : Number(text);
}

/** A product such as `768*768` is a number too. */
function integer(text: string): number | null {
  const factors = text.split("*").map((factor) => factor.trim());
  if (!factors.every((factor) => /^[-+]?\d+$/.test(factor))) return null;
  return factors.reduce((product, factor) => product * Number(factor), 1);
}
