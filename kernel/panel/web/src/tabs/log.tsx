// The last lines of the training's log, as the Trainer's table has them.

import { useMemo } from "preact/hooks";
import type { Curve, EvaluationRecord, StepRecord } from "../protocol";
import { fixed, number, rate } from "../format";
import { useSay, useStore } from "../store";
import { shownAdapter } from "./status";

const MOST = 60;

interface Row {
  step: number;
  record: StepRecord | null;
  evaluation: EvaluationRecord | null;
}

export function Log() {
  const { known } = useStore();
  const say = useSay();
  const session = known.session;
  const adapter = shownAdapter(session) ?? "";
  const curve = known.curves[adapter];
  const every = Number(session?.settings.find((one) => one.name === "logging_steps")?.value ?? 1) || 1;
  const found = useMemo(() => (curve ? rows(curve, every) : []), [curve, known.curvesVersion, every]);
  return (
    <details class="tb-log" open>
      <summary>{say("log")}</summary>
      {found.length === 0 ? (
        <p class="tb-muted">{say("noSteps")}</p>
      ) : (
        <div class="tb-scroll" tabIndex={0} role="group" aria-label={say("log")}>
          <table class="tb-table tb-number">
            <thead>
              <tr>
                <th scope="col">{say("stepAxis")}</th>
                <th scope="col">{say("loss")}</th>
                <th scope="col">{say("evalLoss")}</th>
                <th scope="col">{say("learningRate")}</th>
                <th scope="col">{say("gradNorm")}</th>
                <th scope="col">{say("epoch")}</th>
              </tr>
            </thead>
            <tbody>
              {found.map(({ step, record, evaluation }) => (
                <tr key={step}>
                  <th scope="row">{step}</th>
                  <td>{record && fixed(record.loss)}</td>
                  <td>{evaluation && fixed(evaluation.loss)}</td>
                  <td>{record && rate(record.learning_rate)}</td>
                  <td>{record && number(record.grad_norm)}</td>
                  <td>{record?.epoch.toFixed(2)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

/** The last steps that are logged or evaluated, the newest first. */
function rows({ steps, evaluations }: Curve, every: number): Row[] {
  const found: Row[] = [];
  let at = evaluations.length - 1;
  for (let index = steps.length - 1; index >= 0 && found.length < MOST; index -= 1) {
    const record = steps[index]!;
    while (at >= 0 && evaluations[at]!.step > record.step) at -= 1;
    const evaluation = at >= 0 && evaluations[at]!.step === record.step ? evaluations[at]! : null;
    const isLast = index === steps.length - 1;
    if (record.step % every === 0 || evaluation || isLast) found.push({ step: record.step, record, evaluation });
  }
  return found;
}
