// The settings of a tab: the important ones as a form, all others behind a search.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Setting } from "../protocol";
import { useLang, useSay, useStore, useUnique } from "../store";
import { label } from "../labels";
import { Field } from "./field";

/** The groups of settings that each tab has; a group that is in none of them is with the training. */
const GROUPS: Record<string, string[]> = {
  model: ["model", "pictures"],
  data: ["data", "prompt"],
  method: ["lora", "freeze", "method"],
  training: ["training", "output", "evaluation"],
  evaluate: ["evaluation", "generation"],
  chat: ["generation", "prompt"],
  export: ["export"],
};

/** Settings that the page sets by other means, or that only a recipe has. */
const ELSEWHERE = ["dataset", "finetuning_type", "adapter_name_or_path", "resume_from_checkpoint"];

/** The fields of these settings, as far as there are such. */
export function Fields({ names, isWide = false, children }: { names: string[]; isWide?: boolean; children?: ComponentChildren }) {
  const settings = useStore().known.session?.settings ?? [];
  return (
    <div class={isWide ? "tb-fields tb-wide" : "tb-fields"}>
      {names.map((name) => {
        const setting = settings.find((one) => one.name === name);
        return setting && <Field key={name} setting={setting} />;
      })}
      {children}
    </div>
  );
}

/** All settings of the tab but `shown`, which it shows itself. */
export function MoreSettings({ tab, shown }: { tab: string; shown: string[] }) {
  const store = useStore();
  const say = useSay();
  const lang = useLang();
  const id = useUnique();
  const [isOpen, setOpen] = useState(false);
  const [query, setQuery] = useState("");
  const session = store.known.session;
  if (!session) return null;
  const placed = Object.values(GROUPS).flat();
  const isOfTab = (group: string) => GROUPS[tab]?.includes(group) || (tab === "training" && !placed.includes(group));
  const all = session.settings.filter(
    ({ name, group }) => isOfTab(group) && !shown.includes(name) && !ELSEWHERE.includes(name),
  );
  if (all.length === 0) return null;
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = all.filter((setting) => words.every((word) => textOf(setting, lang).includes(word)));
  return (
    <details class="tb-more" open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {say("more")} <span class="tb-muted tb-number">{all.length}</span>
      </summary>
      {isOpen && (
        <>
          <label class="tb-search" for={id}>
            <span class="tb-hidden">{say("searchSettings")}</span>
            <input
              id={id}
              type="search"
              placeholder={say("searchSettings")}
              value={query}
              onInput={(event) => setQuery(event.currentTarget.value)}
            />
          </label>
          {found.length === 0 && <p class="tb-muted">{say("noSetting")}</p>}
          {session.groups.map(({ name, title }) => {
            const settings = found.filter((setting) => setting.group === name);
            return (
              settings.length > 0 && (
                <section key={name} class="tb-group">
                  <h3>{title}</h3>
                  {settings.map((setting) => (
                    <Field key={setting.name} setting={setting} isRow />
                  ))}
                </section>
              )
            );
          })}
        </>
      )}
    </details>
  );
}

function textOf(setting: Setting, lang: "en" | "zh"): string {
  return [setting.name, ...setting.aliases, label(setting.name, lang), setting.help].join(" ").toLowerCase();
}
