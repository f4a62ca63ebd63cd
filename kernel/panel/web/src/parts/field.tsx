// A setting as a field, made from its declaration: a changed value is sent as `set name=value`.

import { useEffect, useState } from "preact/hooks";
import type { Setting } from "../protocol";
import { useHint, useLang, useSay, useStore, useUnique } from "../store";
import { option } from "../lines";
import { label as labelOf } from "../labels";
import { normalized, problem, type Problem } from "../settings";

const NONE = "none";

interface Given {
  setting: Setting;
  /** Whether its help stands beside it. */
  isRow?: boolean;
  /** Keeps a changed value here instead of sending it. */
  kept?: { value: string | null; onValue: (value: string) => void; line: (value: string) => string };
}

export function Field({ setting, isRow = false, kept }: Given) {
  const store = useStore();
  const say = useSay();
  const lang = useLang();
  const id = useUnique();
  const [draft, setDraft] = useState<string | null>(null);
  const [wrong, setWrong] = useState<Problem | null>(null);
  const where = `set:${setting.name}`;
  const job = kept ? null : store.lastJob(where);
  useEffect(() => {
    if (job?.isDone && !job.failure) setDraft(null);
  }, [job?.isDone, job]);

  const lineOf = (value: string) => kept?.line(value) ?? `set ${option(setting.name, value)}`;
  const current = kept?.value ?? setting.value;
  const commit = (typed: string) => {
    const value = normalized(setting, typed);
    const found = problem(setting, value);
    setWrong(found);
    if (found) return;
    if (value === current) {
      setDraft(null);
    } else if (kept) {
      kept.onValue(value);
      setDraft(null);
    } else {
      store.run(lineOf(value), where);
    }
  };
  const shown = draft ?? (current === NONE && setting.optional ? "" : current);
  const hint = useHint(lineOf(normalized(setting, shown)), setting.help);
  const failure = wrong ? problemText(wrong, say) : draft !== null && job?.isDone ? job.failure?.cause : undefined;
  const common = {
    id,
    disabled: store.link !== "open",
    "aria-invalid": failure !== undefined,
    "aria-describedby": `${id}-help ${id}-error`,
    ...hint,
  };
  const choose = (value: string) => {
    setDraft(value);
    commit(value);
  };

  const isBox = setting.kind === "bool" && !setting.optional;
  const input = isBox ? (
    <input type="checkbox" checked={shown === "true"} onChange={(event) => choose(String(event.currentTarget.checked))} {...common} />
  ) : setting.choices.length > 0 ? (
    <select value={shown} onChange={(event) => choose(event.currentTarget.value)} {...common}>
      {setting.optional && <option value="">{say("none")}</option>}
      {setting.choices.map((choice) => (
        <option key={choice} value={choice}>
          {choice}
        </option>
      ))}
    </select>
  ) : (
    <input
      type="text"
      value={shown}
      inputMode={setting.kind === "number" ? "decimal" : setting.kind === "integer" && !setting.name.includes("pixels") ? "numeric" : "text"}
      placeholder={setting.optional ? say("none") : ""}
      spellcheck={false}
      autocomplete="off"
      onInput={(event) => setDraft(event.currentTarget.value)}
      onChange={(event) => commit(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || draft === null) return;
        event.stopPropagation();
        setDraft(null);
        setWrong(null);
      }}
      {...common}
    />
  );
  const name = labelOf(setting.name, lang);
  return (
    <div class={`tb-field${isBox ? " tb-box" : ""}${isRow ? " tb-row" : ""}`} data-setting={setting.name}>
      <label class="tb-label" for={id} title={setting.help}>
        <span>{name}</span>
        {name !== setting.name && <code class="tb-name">{setting.name}</code>}
      </label>
      {input}
      <span id={`${id}-help`} class={isRow ? "tb-help" : "tb-hidden"}>
        {setting.help} <span class="tb-default">{say("byDefault", setting.default)}</span>
      </span>
      <span id={`${id}-error`} class="tb-failure tb-fielderror" role={failure === undefined ? undefined : "alert"}>
        {failure}
      </span>
    </div>
  );
}

function problemText(wrong: Problem, say: ReturnType<typeof useSay>): string {
  switch (wrong.kind) {
    case "empty":
      return say("mustBeGiven");
    case "number":
      return say("mustBeNumber");
    case "integer":
      return say("mustBeInteger");
    case "choice":
      return say("mustBeOneOf", wrong.choices.join(", "));
    case "range":
      if (wrong.below !== null) return say("mustBeBelow", wrong.min ?? "", wrong.below);
      return wrong.max === null ? say("mustBeAtLeast", wrong.min ?? "") : say("mustBeBetween", wrong.min ?? "", wrong.max);
  }
}
