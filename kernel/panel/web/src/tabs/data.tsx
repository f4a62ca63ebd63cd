// Data: which datasets are trained on, and a look at their samples.

import { useState } from "preact/hooks";
import { count } from "../format";
import { line, option, word } from "../lines";
import { Action } from "../parts/action";
import { Field } from "../parts/field";
import { JobView } from "../parts/job_view";
import { useDatasets } from "../parts/datasets";
import { Fields, MoreSettings } from "../parts/settings_form";
import { useDraft, useSay, useStore } from "../store";
import { Gallery } from "./gallery";

const WHERE = "data";
const MAIN = ["cutoff_len", "max_samples", "mix_strategy"];
/** Of these the one that is given along with `data` takes the place of the other, so they are not set by themselves. */
const HELD_OUT = ["val_size", "eval_dataset"];

export function DataTab() {
  const store = useStore();
  const say = useSay();
  const session = store.known.session;
  const valueOf = (name: string) => session?.settings.find((one) => one.name === name)?.value ?? "";
  const names = useDatasets();
  const [chosen, choose] = useState<string[] | null>(null);
  const [valSize, setValSize] = useDraft("data.val_size", "");
  const [evalDataset, setEvalDataset] = useDraft("data.eval_dataset", "");
  const kept: Record<string, [string, (value: string) => void]> = {
    val_size: [valSize, setValSize],
    eval_dataset: [evalDataset, setEvalDataset],
  };

  const inUse = session?.data?.names ?? [];
  const ticked = chosen ?? inUse;
  const options = HELD_OUT.flatMap((name) => (kept[name]![0] === "" ? [] : [option(name, kept[name]![0])]));
  const load = ticked.length === 0 ? null : line("data", word(ticked.join(",")), ...options);
  const why = session?.model ? null : say("needModel");
  const listed = [...(names?.names ?? []), ...ticked.filter((name) => !names?.names.includes(name))];
  const data = session?.data;
  const clear = () => {
    choose(null);
    setValSize("");
    setEvalDataset("");
  };
  return (
    <>
      <div class="tb-columns">
        <section class="tb-card">
          <h3>{say("datasets")}</h3>
          <Fields names={["dataset_dir"]} isWide />
          <fieldset class="tb-checks" disabled={store.link !== "open"}>
            <legend class="tb-hidden">{say("datasetsOf", names?.folder ?? valueOf("dataset_dir"))}</legend>
            {listed.map((name) => (
              <label key={name} class="tb-check">
                <input
                  type="checkbox"
                  checked={ticked.includes(name)}
                  onChange={(event) =>
                    choose(event.currentTarget.checked ? [...ticked, name] : ticked.filter((one) => one !== name))
                  }
                />
                <span>{name}</span>
              </label>
            ))}
            {listed.length === 0 && <p class="tb-muted">{say("noDatasets")}</p>}
          </fieldset>
          <div class="tb-actions">
            <Action line={load} where={WHERE} kind="primary" why={why} onSent={clear}>
              {say("loadData")}
            </Action>
            {data && data.skipped > 0 && (
              <Action line="data skipped" where={WHERE}>
                {say("showSkipped")}
              </Action>
            )}
          </div>
          {data && (
            <p>
              {say("dataInUse", data.names.join(", "), count(data.train), count(data.eval))}
              {data.skipped > 0 && ` · ${say("skipped", count(data.skipped))}`}
            </p>
          )}
          <JobView job={store.lastJob(WHERE)} withLine />
        </section>
        <section class="tb-card">
          <h3>{say("dataSettings")}</h3>
          <Fields names={MAIN}>
            {HELD_OUT.map((name) => {
              const setting = session?.settings.find((one) => one.name === name);
              const [value, onValue] = kept[name]!;
              const lineOf = (text: string) =>
                line("data", word(ticked.join(",") || "NAME"), ...(text ? [option(name, text)] : []));
              return (
                setting && <Field key={name} setting={setting} kept={{ value: value || null, onValue, line: lineOf }} />
              );
            })}
          </Fields>
          <MoreSettings tab="data" shown={["dataset_dir", ...MAIN, ...HELD_OUT]} />
        </section>
      </div>
      {data && <Gallery />}
    </>
  );
}
