// Export: the adapter, the merged model, the recipe.

import { line, option, word } from "../lines";
import { Action, LineInput } from "../parts/action";
import { JobView } from "../parts/job_view";
import { Fields, MoreSettings } from "../parts/settings_form";
import { useDraft, useSay, useStore } from "../store";

const MAIN = ["export_size"];
const FORMATS = ["safetensors", "gguf"];
/** The types of weights of llama.cpp's files. */
const TYPES = ["f16", "bf16", "q8_0", "q4_0", "q4_k"];

export function ExportTab() {
  const store = useStore();
  const say = useSay();
  const session = store.known.session;
  const [saveTo, setSaveTo] = useDraft("export.save");
  const [exportTo, setExportTo] = useDraft("export.folder");
  const [format, setFormat] = useDraft("export.format", FORMATS[0]);
  const [type, setType] = useDraft("export.type", TYPES[0]);
  const [hub, setHub] = useDraft("export.hub");
  const [recipe, setRecipe] = useDraft("export.recipe");
  const isOff = store.link !== "open";
  const whyModel = session?.model ? null : say("needModel");
  const why = whyModel ?? (session?.adapters.some((one) => one.active) ? null : say("needAdapter"));
  const given = (text: string, make: (text: string) => string) => (text.trim() === "" ? null : make(word(text.trim())));
  const save = given(saveTo, (folder) => line("save", folder));
  const write = given(exportTo, (folder) =>
    line("export", folder, format !== FORMATS[0] && option("format", format), format === "gguf" && option("type", type)),
  );
  const push = given(hub, (name) => line("push", name));
  const saveRecipe = given(recipe, (file) => line("recipe save", file));
  const needText = (made: string | null) => (made === null ? say("needText") : "");
  return (
    <div class="tb-columns">
      <section class="tb-card">
        <h3>{say("saveAdapter")}</h3>
        <p class="tb-muted">{say("saveAdapterHelp")}</p>
        <div class="tb-lineform">
          <LineInput label={say("folder")} text={saveTo} onText={setSaveTo} line={save} where="save" />
          <Action line={save} where="save" kind="primary" why={why} help={needText(save)}>
            {say("save")}
          </Action>
        </div>
        <JobView job={store.lastJob("save")} withLine />
      </section>
      <section class="tb-card">
        <h3>{say("exportModel")}</h3>
        <p class="tb-muted">{say("exportHelp")}</p>
        <div class="tb-lineform">
          <LineInput
            label={say("exportDir")}
            text={exportTo}
            onText={setExportTo}
            line={write}
            where="export"
          />
          <Action line={write} where="export" kind="primary" why={whyModel} help={needText(write)}>
            {say("startExport")}
          </Action>
        </div>
        <div class="tb-fields">
          <label class="tb-field">
            <span class="tb-label">{say("format")}</span>
            <select value={format} disabled={isOff} onChange={(event) => setFormat(event.currentTarget.value)}>
              {FORMATS.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
          {format === "gguf" && (
            <label class="tb-field">
              <span class="tb-label">{say("type")}</span>
              <select value={type} disabled={isOff} onChange={(event) => setType(event.currentTarget.value)}>
                {TYPES.map((one) => (
                  <option key={one}>{one}</option>
                ))}
              </select>
            </label>
          )}
        </div>
        <Fields names={MAIN} />
        <MoreSettings tab="export" shown={MAIN} />
        <JobView job={store.lastJob("export")} withLine />
      </section>
      <section class="tb-card">
        <h3>{say("push")}</h3>
        <p class="tb-muted">{say("pushHelp")}</p>
        <div class="tb-lineform">
          <LineInput label={say("hubName")} text={hub} onText={setHub} line={push} where="push" />
          <Action line={push} where="push" why={why} help={needText(push)}>
            {say("push")}
          </Action>
        </div>
        <JobView job={store.lastJob("push")} withLine />
      </section>
      <section class="tb-card">
        <h3>{say("recipe")}</h3>
        <p class="tb-muted">{say("recipeHelp")}</p>
        <div class="tb-lineform">
          <LineInput label={say("recipeFile")} text={recipe} onText={setRecipe} line={saveRecipe} where="recipe" placeholder="recipe.yaml" />
          <Action line={saveRecipe} where="recipe" why={whyModel} help={needText(saveRecipe)}>
            {say("saveRecipe")}
          </Action>
        </div>
        <div class="tb-actions">
          <Action line="recipe show" where="recipe">
            {say("previewCommand")}
          </Action>
        </div>
        <JobView job={store.lastJob("recipe")} withLine />
      </section>
    </div>
  );
}
