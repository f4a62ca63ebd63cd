// The page in a notebook's cell, as anywidget asks for it, and by itself for `tunebook panel`.

import { render as draw } from "preact";
import { Panel } from "./panel";
import type { Snapshot } from "./protocol";
import { Store } from "./store";
import { socketAddress, socketTransport, widgetTransport, type Transport, type WidgetModel } from "./transport";

/** What a notebook keeps of a panel, when it is saved with the state of its widgets. */
interface Kept {
  readonly now: Snapshot | null;
}

interface Options {
  /** What the session was when the notebook was saved. */
  snapshot?: Snapshot | undefined;
  /** Is given what tells the session as it is, at any time. */
  keep?: (kept: Kept) => void;
  /** Which tab is open at first. */
  tab?: string | undefined;
  onTab?: (tab: string) => void;
  /** Whether it fills a page of its own. */
  isPage?: boolean;
}

/** Draws a panel into `el`; the result takes it away again. */
export function mount(el: HTMLElement, transport: Transport, options: Options = {}): () => void {
  const root = document.createElement("div");
  root.className = `tunebook-panel ${options.isPage ? "tb-ownpage" : "tb-incell"}`;
  // JupyterLab's shortcuts are for cells, not for what is typed here; but the notebook can be saved from here too.
  root.dataset.lmSuppressShortcuts = "true";
  const onKey = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (options.isPage || event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    el.dispatchEvent(new KeyboardEvent("keydown", event));
  };
  root.addEventListener("keydown", onKey);
  el.append(root);
  const store = new Store(transport, options.snapshot);
  options.keep?.({
    get now() {
      return store.snapshot();
    },
  });
  draw(<Panel store={store} tab={options.tab} onTab={options.onTab} />, root);
  return () => {
    draw(null, root);
    store.dispose();
    root.removeEventListener("keydown", onKey);
    root.remove();
  };
}

function render({ model, el }: { model: WidgetModel; el: HTMLElement }): () => void {
  // The kernel's own is from when the panel was opened.
  const kept = model.get("snapshot") as Snapshot | Kept | null | undefined;
  const snapshot = (kept && "now" in kept ? kept.now : kept) ?? undefined;
  return mount(el, widgetTransport(model, el), { snapshot, keep: (one) => model.set("snapshot", one) });
}

export { socketTransport, widgetTransport };
export default { render };

const page = document.getElementById("tunebook-page");
if (page) {
  const tab = location.hash.slice(1);
  const onTab = (name: string) => history.replaceState(null, "", `#${name}`);
  mount(page, socketTransport(socketAddress(location)), { tab, onTab, isPage: true });
}
