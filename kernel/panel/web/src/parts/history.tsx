// The lines that were carried out, whoever sent them, with what came of those that were sent from here.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Entry, Job } from "../reducer";
import { useSay, useStore } from "../store";
import { cells } from "../script";
import { CopyButton } from "./copy";
import { JobView } from "./job_view";

/** Cells as one text: with an empty line between them. */
const BETWEEN = "\n\n";

export function History() {
  const { known } = useStore();
  const say = useSay();
  const lines = useRef<HTMLDivElement>(null);
  const recorded = new Set(known.history.map((entry) => entry.job));
  const pending = [...known.jobs.values()].filter((job) => !recorded.has(job) && (!job.isDone || job.failure));
  const length = known.history.length + pending.length;
  // The newest is in sight, without moving the notebook.
  useEffect(() => lines.current?.scrollTo(0, lines.current.scrollHeight), [length]);
  const { session } = known;
  const step = session?.adapters.find((adapter) => adapter.active)?.step ?? 0;
  const script = cells(known.history, { step, training: session?.training ?? null });
  return (
    <section class="tb-history" aria-label={say("history")}>
      <header>
        <h3>{say("history")}</h3>
        {script.length > 0 && (
          <CopyButton text={() => script.join(BETWEEN)}>
            {script.length === 1 ? say("copyCell") : say("copyCells", script.length)}
          </CopyButton>
        )}
      </header>
      {/* Reachable by keyboard, since it scrolls. */}
      <div class="tb-lines" ref={lines} tabIndex={0} role="group" aria-label={say("commands")}>
        {length === 0 && <p class="tb-muted">{say("noHistory")}</p>}
        {known.history.map((entry) => (
          <Line key={entry.number} line={entry.line} entry={entry} job={entry.job} />
        ))}
        {pending.map((job) => (
          <Line key={job.id} line={job.line} entry={null} job={job} />
        ))}
      </div>
    </section>
  );
}

function Line({ line, entry, job }: { line: string; entry: Entry | null; job: Job | null }) {
  const say = useSay();
  const [isOpen, setOpen] = useState(false);
  const isFailed = entry ? entry.ok === false : job?.failure != null;
  const isOther = entry !== null && entry.id === null;
  const hasMore = job !== null && (job.outputs.length > 0 || job.notes.length > 0 || job.failure !== null || !job.isDone);
  return (
    <div class={`tb-entry${isFailed ? " tb-isfailed" : ""}${isOther ? " tb-isother" : ""}`}>
      <div class="tb-entryline" title={isOther ? say("fromElsewhere") : undefined}>
        <code class="tb-code">{line}</code>
        {isFailed && <span class="tb-failure">{say("failed")}</span>}
        {isOther && <span class="tb-hidden">{say("fromElsewhere")}</span>}
        <CopyButton text={() => line} label={say("copyLine", line)}>
          {say("copy")}
        </CopyButton>
      </div>
      {hasMore &&
        (job.where === "prompt" || !job.isDone || job.failure ? (
          <JobView job={job} />
        ) : (
          <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
            <summary class="tb-muted">{say("output")}</summary>
            {isOpen && <JobView job={job} />}
          </details>
        ))}
    </div>
  );
}
