// The page in a notebook's cell, as anywidget asks for it, and by itself for `tunebook panel`.

import { render as draw } from "preact";
import { Panel } from "./panel";
import type { State } from "./protocol";
import { Store } from "./store";
import { socketAddress, socketTransport, widgetTransport, type Transport, type WidgetModel } from "./transport";

interface Options {
  /** What the session was when the notebook was saved. */
  snapshot?: State | undefined;
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
  // JupyterLab's shortcuts are for cells, not for what is typed here.
  root.dataset.lmSuppressShortcuts = "true";
  const keep = (event: Event) => event.stopPropagation();
  root.addEventListener("keydown", keep);
  el.append(root);
  const store = new Store(transport, options.snapshot);
  draw(<Panel store={store} tab={options.tab} onTab={options.onTab} />, root);
  return () => {
    draw(null, root);
    store.dispose();
    root.removeEventListener("keydown", keep);
    root.remove();
  };
}

function render({ model, el }: { model: WidgetModel; el: HTMLElement }): () => void {
  const snapshot = model.get("snapshot") as State | null | undefined;
  return mount(el, widgetTransport(model, el), { snapshot: snapshot ?? undefined });
}

export { socketTransport, widgetTransport };
export default { render };

const page = document.getElementById("tunebook-page");
if (page) {
  const tab = location.hash.slice(1);
  const onTab = (name: string) => history.replaceState(null, "", `#${name}`);
  mount(page, socketTransport(socketAddress(location)), { tab, onTab, isPage: true });
}
