// Copying: to the clipboard, or where the browser refuses, out of a text field.

import { useState } from "preact/hooks";
import { useSay } from "../store";

export function CopyButton({ text, label, children }: { text: () => string; label?: string; children: string }) {
  const say = useSay();
  const [state, setState] = useState<"idle" | "copied" | "refused">("idle");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      setState("copied");
      setTimeout(() => setState("idle"), 1500);
    } catch {
      setState("refused");
    }
  };
  return (
    <>
      <button type="button" class="tb-button tb-quiet" aria-label={label} onClick={copy}>
        {state === "copied" ? say("copied") : children}
      </button>
      {state === "refused" && (
        <div class="tb-byhand" role="group" aria-label={say("copyByHand")}>
          <p>{say("copyByHand")}</p>
          <textarea
            readOnly
            rows={Math.min(12, text().split("\n").length + 1)}
            value={text()}
            aria-label={say("copyByHand")}
            ref={(element) => element?.select()}
          />
          <button type="button" class="tb-button" onClick={() => setState("idle")}>
            {say("close")}
          </button>
        </div>
      )}
    </>
  );
}
