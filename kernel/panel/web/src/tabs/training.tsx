// Training: start, pause, step, undo; the curve and the numbers as it runs.

import { line, word } from "../lines";
import { Chart } from "../curve/chart";
import { Action, LineInput } from "../parts/action";
import { JobView } from "../parts/job_view";
import { Fields, MoreSettings } from "../parts/settings_form";
import { useDraft, useSay, useStore } from "../store";
import { Log } from "./log";
import { Status } from "./status";

const WHERE = "training";
const MAIN = [
  "learning_rate",
  "num_train_epochs",
  "per_device_train_batch_size",
  "gradient_accumulation_steps",
  "lr_scheduler_type",
  "warmup_steps",
  "max_grad_norm",
  "logging_steps",
  "eval_steps",
  "output_dir",
];

export function TrainingTab() {
  const store = useStore();
  const say = useSay();
  const { known } = store;
  const session = known.session;
  const training = session?.training ?? null;
  const isRunning = training?.running ?? false;
  const [steps, setSteps] = useDraft("training.steps", "10");
  const [back, setBack] = useDraft("training.undo", "1");
  const [folder, setFolder] = useDraft("training.resume");
  const active = session?.adapters.find((adapter) => adapter.active) ?? null;
  const missing = !session?.model
    ? say("needModel")
    : !session.data
      ? say("needData")
      : !active
        ? say("needAdapter")
        : null;
  const why = missing ?? (isRunning ? say("isTraining") : null);
  const made = active?.step ?? 0;
  const resume = folder.trim() === "" ? "resume latest" : line("resume", word(folder.trim()));
  return (
    <div class="tb-training">
      <section class="tb-card tb-controls">
        <div class="tb-actions">
          {isRunning ? (
            <Action line="stop" where={WHERE} kind="primary" isOff={training?.stopping === true}>
              {say(training?.stopping ? "pausing" : "pause")}
            </Action>
          ) : (
            <Action line="train &" where={WHERE} kind="primary" why={why}>
              {say(made > 0 ? "goOn" : "start")}
            </Action>
          )}
          <Counted word="step" label={say("stepsToMake")} text={steps} onText={setSteps} lineOf={(n) => `train ${n} &`} why={why} />
          <Counted
            word="undo"
            label={say("stepsToUndo")}
            text={back}
            onText={setBack}
            lineOf={(n) => `undo ${n}`}
            why={why ?? (made === 0 ? say("noSteps") : null)}
          />
          <Action line="redo" where={WHERE} why={why}>
            {say("redo")}
          </Action>
        </div>
        <Status />
      </section>
      <section class="tb-card tb-curve">
        <Chart curves={known.curves} version={known.curvesVersion} />
        {known.notes.length > 0 && (
          <ul class="tb-notes">
            {known.notes.slice(-3).map((note, index) => (
              <li key={index} class="tb-note">
                {note}
              </li>
            ))}
          </ul>
        )}
        <JobView job={store.lastJob(WHERE)} withLine />
        <Log />
      </section>
      <section class="tb-card tb-form">
        <Fields names={MAIN} />
        <MoreSettings tab="training" shown={MAIN} />
        <div class="tb-lineform">
          <LineInput label={say("checkpoint")} text={folder} onText={setFolder} line={resume} where={WHERE} placeholder="latest" />
          <Action line={resume} where={WHERE} why={session?.model ? (isRunning ? say("isTraining") : null) : say("needModel")}>
            {say("resume")}
          </Action>
        </div>
      </section>
    </div>
  );
}

/** A button with a number of steps in it. */
function Counted(given: {
  word: "step" | "undo";
  label: string;
  text: string;
  onText: (text: string) => void;
  lineOf: (steps: string) => string;
  why: string | null;
}) {
  const store = useStore();
  const say = useSay();
  const number = /^\d+$/.test(given.text.trim()) && Number(given.text) > 0 ? given.text.trim() : null;
  return (
    <span class="tb-counted">
      <Action line={number === null ? null : given.lineOf(number)} where={WHERE} why={given.why} help={number === null ? say("mustBeInteger") : ""}>
        {say(given.word)}
      </Action>
      <input
        type="text"
        inputMode="numeric"
        aria-label={given.label}
        aria-invalid={number === null}
        value={given.text}
        disabled={store.link !== "open"}
        onInput={(event) => given.onText(event.currentTarget.value)}
      />
    </span>
  );
}

