// How far the training is: the bar, and the numbers of the last step.

import type { MicroBatch, State, StepRecord } from "../protocol";
import { bytes, duration, fixed, number, rate } from "../format";
import { ProgressLine } from "../parts/job_view";
import { useSay, useStore } from "../store";

/** Over how many steps the speed is taken. */
const RECENT = 10;

export function Status() {
  const { known } = useStore();
  const say = useSay();
  const session = known.session;
  const active = shownAdapter(session);
  const training = session?.training?.running ? session.training : null;
  const curve = active === undefined ? undefined : known.curves[active];
  const last = curve?.steps.at(-1);
  const evaluation = curve?.evaluations.at(-1);
  const micro = training ? known.micro : null;
  const adapter = session?.adapters.find(({ name }) => name === active);
  const step = training?.step ?? adapter?.step ?? 0;
  const total = training?.total_steps ?? adapter?.total_steps ?? 0;
  const speed = curve && recent(curve.steps);
  const left = micro ? timeLeft(micro, speed?.secondsPerStep) : null;
  const part = total > 0 ? partOf(step, total, micro) : 0;
  const state = training
    ? training.stopping
      ? "pausing"
      : "running"
    : step === 0
      ? "notStarted"
      : total > 0 && step >= total
        ? "finished"
        : "paused";
  const facts: [name: string, value: string][] = [];
  if (last) {
    facts.push([say("loss"), fixed(last.loss)]);
    if (evaluation) facts.push([say("evalLoss"), fixed(evaluation.loss)]);
    facts.push([say("learningRate"), rate(last.learning_rate)], [say("gradNorm"), number(last.grad_norm)], [say("epoch"), last.epoch.toFixed(2)]);
    if (speed) facts.push([say("tokensPerSecond"), Math.round(speed.tokensPerSecond).toLocaleString("en-US")]);
    facts.push([say("elapsed"), duration(last.elapsed)]);
  }
  if (left !== null) facts.push([say("left"), duration(left)]);
  if (session?.memory) facts.push([say("memoryInUse"), bytes(session.memory.resident)]);
  return (
    <div class="tb-status">
      <div class="tb-bar" hidden={total === 0} role="progressbar" aria-label={say("progress")} aria-valuemin={0} aria-valuemax={Math.max(total, step, 1)} aria-valuenow={step} aria-valuetext={`${say("stepOf", step, total)}, ${say(state)}`}>
        <div class="tb-barfill" style={{ transform: `scaleX(${part.toFixed(4)})` }} />
        {training && training.last_step < total && (
          <div class="tb-barmark" style={{ left: `${((100 * training.last_step) / total).toFixed(2)}%` }} />
        )}
      </div>
      <dl class="tb-numbers">
        <div class="tb-state">
          <dt>{say(state)}</dt>
          <dd class="tb-number">{total > 0 ? say("stepOf", step, total) : say("atStep", step)}</dd>
        </div>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd class="tb-number">{value}</dd>
          </div>
        ))}
      </dl>
      {known.progress && <ProgressLine progress={known.progress} />}
    </div>
  );
}

/** The adapter that trains, or else the one in use. */
export function shownAdapter(session: State | null): string | undefined {
  const active = session?.adapters.find((adapter) => adapter.active)?.name;
  return session?.training?.running ? session.training.adapter : (active ?? session?.training?.adapter);
}

/** Which part of the whole training is made. */
function partOf(step: number, total: number, micro: MicroBatch | null): number {
  const fraction = micro && micro.step === step + 1 ? micro.done / Math.max(1, micro.total) : 0;
  return Math.min(1, (step + fraction) / total);
}

interface Speed {
  secondsPerStep: number;
  tokensPerSecond: number;
}

/** The speed of the last steps; nothing before there are two. */
export function recent(steps: StepRecord[]): Speed | null {
  const last = steps.at(-1);
  const first = steps.at(-1 - RECENT) ?? steps[0];
  if (!first || !last || last.step <= first.step || last.elapsed <= first.elapsed) return null;
  const seconds = last.elapsed - first.elapsed;
  return {
    secondsPerStep: seconds / (last.step - first.step),
    tokensPerSecond: (last.tokens - first.tokens) / seconds,
  };
}

/** Seconds to the end of this call, by the speed of the last steps. */
function timeLeft(micro: MicroBatch, secondsPerStep: number | undefined): number | null {
  if (secondsPerStep === undefined) return null;
  return (micro.last_step - micro.step + 1 - micro.done / Math.max(1, micro.total)) * secondsPerStep;
}
