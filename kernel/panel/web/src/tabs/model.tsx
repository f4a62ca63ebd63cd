// Model: a folder or a name on the hub is loaded, and what is loaded is shown.

import { count } from "../format";
import { line, word } from "../lines";
import { Action, LineInput } from "../parts/action";
import { JobView } from "../parts/job_view";
import { Fields, MoreSettings } from "../parts/settings_form";
import { useDraft, useSay, useStore } from "../store";

const WHERE = "model";
const MAIN = ["dtype", "device", "quantization_bit", "hub"];

export function ModelTab() {
  const store = useStore();
  const say = useSay();
  const model = store.known.session?.model ?? null;
  const [path, setPath] = useDraft("model.path");
  const load = path.trim() === "" ? null : line("load", word(path.trim()));
  return (
    <div class="tb-columns">
      <section class="tb-card">
        <h3>{say("load")}</h3>
        <div class="tb-lineform">
          <LineInput
            label={say("modelPath")}
            text={path}
            onText={setPath}
            line={load}
            where={WHERE}
            help={say("modelPathHelp")}
            placeholder={say("modelPathHelp")}
          />
          <Action line={load} where={WHERE} kind="primary" help={load === null ? say("needText") : ""}>
            {say("load")}
          </Action>
        </div>
        <div class="tb-actions">
          <Action line="demo" where={WHERE} help={say("demoHelp")}>
            {say("demo")}
          </Action>
          <span class="tb-muted">{say("demoHelp")}</span>
        </div>
        <Fields names={MAIN} />
        <MoreSettings tab="model" shown={MAIN} />
      </section>
      <section class="tb-card">
        <h3>{say("loaded")}</h3>
        {model ? (
          <>
            <dl class="tb-facts">
              <Fact name={say("name")} value={model.name} />
              <Fact name={say("path")} value={model.path} isCode />
              <Fact name={say("architecture")} value={model.architecture} isCode />
              <Fact name={say("parameters")} value={count(model.parameters)} />
              <Fact name={say("precision")} value={model.dtype} isCode />
              {model.device && <Fact name={say("device")} value={model.device} isCode />}
              {model.quantized && <Fact name={say("quantized")} value={say("bits", model.quantized)} />}
            </dl>
            <div class="tb-actions">
              <Action line="unload" where={WHERE}>
                {say("unload")}
              </Action>
            </div>
          </>
        ) : (
          <p class="tb-muted">{say("notLoaded")}</p>
        )}
        <JobView job={store.lastJob(WHERE)} withLine />
      </section>
    </div>
  );
}

function Fact({ name, value, isCode = false }: { name: string; value: string; isCode?: boolean }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{isCode ? <code class="tb-code">{value}</code> : value}</dd>
    </>
  );
}
