// The settings as the engine declares them and its documentation lists them, so that the mock has the real ones.

import { readFileSync } from "node:fs";
import type { Kind, Setting } from "../src/protocol";

/** From where npm runs scripts. */
const ROOT = "../../..";

export interface Declared extends Omit<Setting, "help" | "value"> {
  help: { en: string; zh: string };
}

/** Of each setting its group and its help in Chinese are in the declarations, all else is in the table. */
export function declared(): Declared[] {
  const table = readFileSync(`${ROOT}/repl/docs/settings.md`, "utf8").matchAll(
    /^\| `(\w+)` \| (?:`(\w+)`)? ?\| (.*?) \| (.*?) \| (.*) \|$/gm,
  );
  const source = readFileSync(`${ROOT}/kernel/engine/src/settings/mod.rs`, "utf8");
  return [...table].map(([, name = "", alias, value = "", takes = "", en = ""]) => {
    const at = source.search(new RegExp(`^ {8}${name}( / \\w+)*: `, "m"));
    const before = source.slice(0, at);
    const zh = [...before.matchAll(/^ {8}\/\/\/ (.*)$/gm)].at(-1)?.[1] ?? "";
    const group = [...before.matchAll(/^ {4}(\w+) \{$/gm)].at(-1)?.[1]?.toLowerCase() ?? "";
    const optional = /, or none$/.test(takes);
    const { kind, choices } = kindOf(takes.replace(/, or none$/, ""));
    const range = /from (\S+) to (\S+)/.exec(takes);
    const least = /at least (-?[\d.e-]+)/.exec(takes);
    const below = /below (\S+)/.exec(takes);
    return {
      name,
      aliases: alias ? [alias] : [],
      group,
      help: { en: en.replaceAll("\\|", "|"), zh },
      kind,
      choices,
      min: range ? Number(range[1]) : least ? Number(least[1]) : null,
      max: range ? Number(range[2]!.replace(",", "")) : null,
      below: below ? Number(below[1]!.replace(",", "")) : null,
      optional,
      default: value,
    };
  });
}

function kindOf(takes: string): { kind: Kind; choices: string[] } {
  const kinds: [RegExp, Kind][] = [
    [/^an integer/, "integer"],
    [/^a number/, "number"],
    [/^text/, "text"],
    [/^a path/, "path"],
    [/^names/, "list"],
    [/^numbers/, "numbers"],
    [/^name:value/, "mapping"],
  ];
  const kind = kinds.find(([pattern]) => pattern.test(takes))?.[1];
  if (kind) return { kind, choices: [] };
  const choices = takes.split(", ");
  return { kind: choices.join() === "true,false" ? "bool" : "choice", choices };
}
