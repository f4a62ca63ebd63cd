// A button that stands for a command: it shows the line before it is sent.

import type { ComponentChildren } from "preact";
import { useHint, useSay, useStore } from "../store";

interface Given {
  /** The line; nothing where something is missing. */
  line: string | null;
  /** The part of the page that shows what comes of it. */
  where: string;
  /** What is missing, or what the button does. */
  why?: string | null;
  help?: string;
  kind?: "primary" | "plain" | "quiet";
  label?: string;
  pressed?: boolean;
  isOff?: boolean;
  onSent?: () => void;
  children: ComponentChildren;
}

export function Action({ line, where, why, help, kind = "plain", label, pressed, isOff, onSent, children }: Given) {
  const store = useStore();
  const job = store.lastJob(where);
  const isPending = line !== null && job !== null && !job.isDone && job.line === line;
  const isDisabled = store.link !== "open" || line === null || why != null || isOff === true || isPending;
  const explained = why ?? help ?? "";
  const hint = useHint(line ?? "", explained);
  // `aria-disabled` keeps it in reach of the keyboard, which can read why it is off.
  return (
    <button
      type="button"
      class={`tb-button tb-${kind}`}
      aria-disabled={isDisabled}
      aria-label={label}
      aria-pressed={pressed}
      title={[line, explained].filter(Boolean).join("\n")}
      {...hint}
      onClick={() => {
        if (isDisabled || line === null) return;
        store.run(line, where);
        onSent?.();
      }}
    >
      {children}
    </button>
  );
}

/** A field whose text becomes part of a line, which is shown while it is typed. */
export function LineInput(given: {
  label: string;
  text: string;
  onText: (text: string) => void;
  line: string | null;
  where: string;
  help?: string;
  placeholder?: string;
}) {
  const store = useStore();
  const say = useSay();
  const { label, text, onText, line, where, help = "" } = given;
  const hint = useHint(line ?? "", line === null ? say("needText") : help);
  return (
    <label class="tb-field">
      <span class="tb-label">{label}</span>
      <input
        type="text"
        value={text}
        placeholder={given.placeholder}
        spellcheck={false}
        autocomplete="off"
        disabled={store.link !== "open"}
        onInput={(event) => onText(event.currentTarget.value)}
        {...hint}
        onKeyDown={(event) => {
          if (event.key === "Enter" && line !== null && !event.isComposing) store.run(line, where);
        }}
      />
    </label>
  );
}
