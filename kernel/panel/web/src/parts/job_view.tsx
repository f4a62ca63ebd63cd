// What comes of a line: how far it is, what it says, its result or what went wrong.

import type { Failure, Output } from "../protocol";
import type { Job } from "../reducer";
import { useSay } from "../store";

export function JobView({ job, withOutputs = true, withLine = false }: { job: Job | null; withOutputs?: boolean; withLine?: boolean }) {
  const say = useSay();
  if (!job) return null;
  const hasOutputs = withOutputs && job.outputs.length > 0;
  if (job.isDone && !hasOutputs && job.notes.length === 0 && !job.failure && !job.isLost) return null;
  return (
    <div class="tb-job" aria-busy={!job.isDone}>
      {withLine && <code class="tb-code tb-jobline">{job.line}</code>}
      {!job.isDone && <ProgressLine progress={job.progress} otherwise={say("working")} />}
      {job.notes.map((note, index) => (
        <p key={index} class="tb-note">
          {note}
        </p>
      ))}
      {withOutputs && job.outputs.map((output, index) => <OutputView key={index} output={output} />)}
      {job.failure && <FailureView failure={job.failure} />}
      {job.isLost && <p class="tb-note">{say("lostTrack")}</p>}
    </div>
  );
}

export function ProgressLine({ progress, otherwise = "" }: { progress: Job["progress"]; otherwise?: string }) {
  const text = progress?.text ?? otherwise;
  return (
    <div class="tb-progressline">
      <progress class="tb-progress" aria-label={text} {...(progress ? { value: progress.part } : {})} />
      <span class="tb-muted tb-number">{text}</span>
    </div>
  );
}

export function FailureView({ failure, id }: { failure: Failure; id?: string }) {
  const say = useSay();
  return (
    <p class="tb-failure" role="alert" id={id}>
      {failure.remedy ? say("remedy", failure.cause, failure.remedy) : failure.cause}
    </p>
  );
}

export function OutputView({ output }: { output: Output }) {
  const say = useSay();
  // Reachable by keyboard, since it scrolls.
  const scrolls = { tabIndex: 0, role: "group", "aria-label": say("output") } as const;
  // The kernel has made its HTML out of escaped parts. All else is text.
  if (output.html !== null) return <div class="tb-html" {...scrolls} dangerouslySetInnerHTML={{ __html: output.html }} />;
  return (
    <pre class={output.kind === "error" ? "tb-text tb-failure" : "tb-text"} {...scrolls}>
      {output.text}
    </pre>
  );
}
