// Evaluate: loss on what was held out, and answers with scores.

import { line, option, word } from "../lines";
import { Action } from "../parts/action";
import { useDatasets } from "../parts/datasets";
import { JobView } from "../parts/job_view";
import { Fields, MoreSettings } from "../parts/settings_form";
import { useDraft, useSay, useStore, useUnique } from "../store";

const WHERE = "evaluate";
const MAIN = ["max_new_tokens", "temperature", "top_p", "per_device_eval_batch_size", "output_dir"];
/** How many of the last results are kept in sight. */
const MOST = 6;

export function EvaluateTab() {
  const store = useStore();
  const say = useSay();
  const session = store.known.session;
  const names = useUnique();
  const datasets = useDatasets();
  const [dataset, setDataset] = useDraft("evaluate.dataset");
  const [adapter, setAdapter] = useDraft("evaluate.adapter");
  const [most, setMost] = useDraft("evaluate.max_samples");
  const isNumber = most.trim() === "" || /^[1-9]\d*$/.test(most.trim());
  const lineOf = (verb: string) =>
    isNumber
      ? line(
          verb,
          dataset.trim() && word(dataset.trim()),
          most.trim() && option("max_samples", most.trim()),
          adapter && option("adapter", adapter),
        )
      : null;
  const why = !session?.model ? say("needModel") : dataset === "" && !session.data?.eval ? say("needData") : null;
  const adapters = session?.adapters ?? [];
  const active = adapters.find((one) => one.active)?.name ?? say("base");
  const isOff = store.link !== "open";
  const jobs = store.jobsOf(WHERE).slice(-MOST).reverse();
  return (
    <div class="tb-columns">
      <section class="tb-card">
        <h3>{say("evaluate")}</h3>
        <div class="tb-fields">
          <label class="tb-field">
            <span class="tb-label">{say("evalOn")}</span>
            <input
              type="text"
              value={dataset}
              placeholder={say("heldOut")}
              spellcheck={false}
              autocomplete="off"
              list={names}
              disabled={isOff}
              onInput={(event) => setDataset(event.currentTarget.value)}
            />
            <datalist id={names}>
              {datasets?.names.map((name) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          </label>
          <label class="tb-field">
            <span class="tb-label">{say("withAdapter")}</span>
            <select value={adapter} disabled={isOff} onChange={(event) => setAdapter(event.currentTarget.value)}>
              <option value="">{say("active", active)}</option>
              <option value="base">{say("base")}</option>
              {adapters.map(({ name }) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <label class="tb-field">
            <span class="tb-label">{say("maxSamples")}</span>
            <input
              type="text"
              inputMode="numeric"
              value={most}
              placeholder={say("all")}
              aria-invalid={!isNumber}
              disabled={isOff}
              onInput={(event) => setMost(event.currentTarget.value)}
            />
          </label>
        </div>
        <Fields names={MAIN} />
        <div class="tb-actions">
          <Action line={lineOf("evaluate")} where={WHERE} kind="primary" why={why} help={say("evaluateHelp")}>
            {say("evaluateLoss")}
          </Action>
          <Action line={lineOf("predict")} where={WHERE} why={why} help={say("predictHelp")}>
            {say("predict")}
          </Action>
        </div>
        <MoreSettings tab="evaluate" shown={MAIN} />
      </section>
      <section class="tb-card tb-results">
        <h3>{say("results")}</h3>
        {jobs.length === 0 && <p class="tb-muted">{say("noResults")}</p>}
        {jobs.map((job) => (
          <JobView key={job.id} job={job} withLine />
        ))}
      </section>
    </div>
  );
}
