// The line at the bottom where any command can be typed, with completion and the lines before.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Completions } from "../protocol";
import { useSay, useStore, useUnique } from "../store";

/** Milliseconds without a key before suggestions are asked for. */
const PAUSE = 120;
const MOST = 12;

export function Prompt({ onSent }: { onSent: () => void }) {
  const store = useStore();
  const say = useSay();
  const id = useUnique();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState("");
  const [found, setFound] = useState<Completions | null>(null);
  const [chosen, setChosen] = useState(-1);
  /** How many lines back in the history; 0 is what is typed. */
  const [back, setBack] = useState(0);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);

  const close = () => {
    clearTimeout(timer.current);
    setFound(null);
    setChosen(-1);
  };
  const complete = async (line: string, position: number) => {
    // The kernel counts characters, the browser UTF-16's units.
    const cursor = [...line.slice(0, position)].length;
    const reply = await store.request({ type: "complete", line, cursor }).catch(() => null);
    if (input.current?.value !== line || !reply || reply.candidates.length === 0) return;
    setFound({ ...reply, candidates: reply.candidates.slice(0, MOST) });
    setChosen(-1);
  };
  const type = (line: string) => {
    setText(line);
    setBack(0);
    close();
    if (line.trim() !== "") {
      timer.current = setTimeout(() => void complete(line, input.current?.selectionStart ?? line.length), PAUSE);
    }
  };
  const accept = (index: number) => {
    const candidate = found?.candidates[index];
    if (!found || !candidate) return;
    const characters = [...text];
    const cursor = [...text.slice(0, input.current?.selectionStart ?? text.length)].length;
    const before = characters.slice(0, found.start).join("") + candidate.text;
    setText(before + characters.slice(cursor).join(""));
    close();
    requestAnimationFrame(() => input.current?.setSelectionRange(before.length, before.length));
  };
  const send = () => {
    if (text.trim() === "" || store.link !== "open") return;
    store.run(text.trim(), "prompt");
    setText("");
    setBack(0);
    close();
    onSent();
  };
  const recall = (by: number) => {
    const lines = store.known.history.map((entry) => entry.line).filter((line) => !line.includes("\n"));
    const to = Math.min(lines.length, Math.max(0, back + by));
    setBack(to);
    setText(to === 0 ? "" : (lines[lines.length - to] ?? ""));
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    const count = found?.candidates.length ?? 0;
    const isPlain = !event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey;
    if (event.key === "Enter") chosen >= 0 ? accept(chosen) : send();
    else if (event.key === "Tab" && isPlain && count > 0) accept(Math.max(0, chosen));
    else if (event.key === "Escape" && count > 0) close();
    else if (event.key === "ArrowDown") count > 0 ? setChosen((chosen + 1) % count) : recall(-1);
    else if (event.key === "ArrowUp") count > 0 ? setChosen(chosen <= 0 ? count - 1 : chosen - 1) : recall(1);
    else return;
    event.preventDefault();
  };
  return (
    <div class="tb-prompt">
      <span class="tb-sign" aria-hidden="true">
        ›
      </span>
      <input
        ref={input}
        type="text"
        role="combobox"
        aria-label={say("prompt")}
        aria-expanded={found !== null}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={chosen >= 0 ? `${id}-${chosen}` : undefined}
        placeholder={say("promptHint")}
        value={text}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="off"
        disabled={store.link !== "open"}
        onInput={(event) => type(event.currentTarget.value)}
        onKeyDown={onKey}
        onBlur={close}
      />
      <ul id={`${id}-list`} class="tb-candidates" role="listbox" aria-label={say("suggestions")} hidden={!found}>
        {found?.candidates.map((candidate, index) => (
          <li
            key={candidate.text}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === chosen}
            onMouseDown={(event) => {
              event.preventDefault();
              accept(index);
            }}
          >
            <code>{candidate.text}</code>
            <span class="tb-muted">{candidate.description}</span>
          </li>
        ))}
      </ul>
      <button type="button" class="tb-button" aria-disabled={text.trim() === "" || store.link !== "open"} onClick={send}>
        {say("run")}
      </button>
    </div>
  );
}
