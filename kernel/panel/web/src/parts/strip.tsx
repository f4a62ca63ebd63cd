// The strip at the bottom: the line that a click would send, or the last one that was sent, and the prompt.

import { useStore, useChanges, useSay } from "../store";
import { Prompt } from "./prompt";

export function Strip({ isOpen, onToggle, onSent }: { isOpen: boolean; onToggle: () => void; onSent: () => void }) {
  const store = useStore();
  const say = useSay();
  return (
    <div class="tb-strip">
      <HintLine />
      <div class="tb-striprow">
        <Prompt onSent={onSent} />
        <button type="button" class="tb-button" aria-expanded={isOpen} onClick={onToggle}>
          {say("history")} <span class="tb-number tb-muted">{store.known.history.length}</span>
        </button>
      </div>
    </div>
  );
}

/** Draws itself alone as the pointer wanders. A button has the same in its title, so this is not read aloud. */
function HintLine() {
  const store = useStore();
  const say = useSay();
  useChanges((listener) => store.subscribeHint(listener));
  const { hint } = store;
  const last = store.known.history.at(-1);
  if (!hint) {
    return (
      <p class="tb-hint">
        {last ? (
          <code class={`tb-code ${last.ok === false ? "tb-failure" : "tb-muted"}`}>{last.line.split("\n")[0]}</code>
        ) : (
          <span class="tb-muted">{say("noHistory")}</span>
        )}
      </p>
    );
  }
  return (
    <p class="tb-hint">
      {hint.line && <code class="tb-code tb-next">{hint.line.split("\n")[0]}</code>}
      <span class="tb-muted">{hint.help}</span>
    </p>
  );
}
