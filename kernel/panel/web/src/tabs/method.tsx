// Method: what trains, and the adapters that there are.

import { count } from "../format";
import { line, word } from "../lines";
import { Action, LineInput } from "../parts/action";
import { JobView } from "../parts/job_view";
import { Fields, MoreSettings } from "../parts/settings_form";
import { useDraft, useSay, useStore } from "../store";

const WHERE = "method";
const METHODS = ["lora", "freeze", "full"] as const;
type Method = (typeof METHODS)[number];

const FROZEN = ["freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model"];
const MAIN: Record<Method, string[]> = {
  lora: ["lora_rank", "lora_alpha", "lora_dropout", "lora_target", "loraplus_lr_ratio", "additional_target", "use_rslora", "use_dora", "pissa_init", "freeze_vision_tower"],
  freeze: ["freeze_trainable_layers", "freeze_trainable_modules", "freeze_extra_modules", ...FROZEN.slice(0, 2)],
  full: FROZEN,
};
const NAMES: Record<Method, string> = { lora: "LoRA", freeze: "Freeze", full: "Full" };

export function MethodTab() {
  const store = useStore();
  const say = useSay();
  const session = store.known.session;
  const [chosen, choose] = useDraft("method", "lora");
  const method = METHODS.find((one) => one === chosen) ?? "lora";
  const [name, setName] = useDraft("method.name");
  const [path, setPath] = useDraft("method.path");
  const create = line(method, name.trim() && word(name.trim()));
  const load = path.trim() === "" ? null : line("adapter load", word(path.trim()));
  const why = session?.model ? null : say("needModel");
  const adapters = session?.adapters ?? [];
  const helps = { lora: "loraHelp", freeze: "freezeHelp", full: "fullHelp" } as const;
  return (
    <div class="tb-columns">
      <section class="tb-card">
        <h3>{say("finetuningMethod")}</h3>
        <div class="tb-choice" role="radiogroup" aria-label={say("finetuningMethod")}>
          {METHODS.map((one) => (
            <label key={one} class={one === method ? "tb-chosen" : ""}>
              <input type="radio" name={`method-${store.panelId}`} checked={one === method} onChange={() => choose(one)} />
              <strong>{NAMES[one]}</strong>
              <span class="tb-muted">{say(helps[one])}</span>
            </label>
          ))}
        </div>
        <Fields key={method} names={MAIN[method]} />
        <MoreSettings tab="method" shown={MAIN[method]} />
      </section>
      <section class="tb-card">
        <h3>{say("newAdapter")}</h3>
        <div class="tb-lineform">
          <LineInput label={say("adapterName")} text={name} onText={setName} line={create} where={WHERE} placeholder="default" />
          <Action line={create} where={WHERE} kind="primary" why={why} onSent={() => setName("")}>
            {say("newAdapter")}
          </Action>
        </div>
        <h3 class="tb-second">{say("adapters")}</h3>
        {adapters.length === 0 ? (
          <p class="tb-muted">{say("noAdapters")}</p>
        ) : (
          <table class="tb-table">
            <thead>
              <tr>
                <th scope="col">{say("name")}</th>
                <th scope="col">{say("method")}</th>
                <th scope="col" class="tb-right">{say("trainable")}</th>
                <th scope="col" class="tb-right">{say("steps")}</th>
                <th />
              </tr>
            </thead>
            <tbody>
              {adapters.map((adapter) => (
                <tr key={adapter.name} class={adapter.active ? "tb-isactive" : ""}>
                  <th scope="row">{adapter.name}</th>
                  <td>{adapter.method}</td>
                  <td class="tb-right tb-number">{count(adapter.trainable)}</td>
                  <td class="tb-right tb-number">{count(adapter.step)}</td>
                  <td class="tb-rowactions">
                    {adapter.active ? (
                      <span class="tb-muted">{say("inUse")}</span>
                    ) : (
                      <Action line={line("adapter use", word(adapter.name))} where={WHERE} kind="quiet">
                        {say("use")}
                      </Action>
                    )}
                    <Action line={line("adapter drop", word(adapter.name))} where={WHERE} kind="quiet">
                      {say("dropAdapter")}
                    </Action>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {adapters.some((adapter) => adapter.active) && (
          <div class="tb-actions">
            <Action line="adapter off" where={WHERE}>
              {say("off")}
            </Action>
          </div>
        )}
        <div class="tb-lineform">
          <LineInput label={say("adapterPath")} text={path} onText={setPath} line={load} where={WHERE} />
          <Action line={load} where={WHERE} why={why} help={load === null ? say("needText") : ""}>
            {say("loadAdapter")}
          </Action>
        </div>
        <JobView job={store.lastJob(WHERE)} withLine />
      </section>
    </div>
  );
}

