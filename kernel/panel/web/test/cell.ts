// A page like a notebook's: two cells, each with a widget whose model speaks with the mock over a WebSocket.

type Listener = (...given: unknown[]) => void;

class FakeModel {
  private readonly listeners = new Map<string, Set<Listener>>();
  private readonly socket: WebSocket;
  private readonly waiting: string[] = [];

  constructor(private readonly el: HTMLElement) {
    this.socket = new WebSocket(`ws://${location.host}/comm`);
    this.socket.onopen = () => this.waiting.splice(0).forEach((text) => this.socket.send(text));
    this.socket.onmessage = (event) => this.trigger("msg:custom", JSON.parse(event.data as string), []);
    this.socket.onclose = () => this.die();
  }

  get = () => undefined;

  set = () => undefined;

  send = (message: unknown) => {
    const text = JSON.stringify(message);
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text);
    else this.waiting.push(text);
  };

  on = (name: string, listener: Listener) => {
    this.listeners.set(name, (this.listeners.get(name) ?? new Set()).add(listener));
  };

  off = (name: string, listener: Listener) => {
    this.listeners.get(name)?.delete(listener);
  };

  count(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }

  /** As JupyterLab does when the kernel is restarted. */
  die(): void {
    this.el.classList.add("jupyter-widgets-disconnected");
    this.trigger("comm_live_update");
  }

  private trigger(name: string, ...given: unknown[]): void {
    for (const listener of this.listeners.get(name) ?? []) listener(...given);
  }
}

declare global {
  interface Window {
    models: FakeModel[];
    cleanups: (() => void)[];
  }
}

const query = new URLSearchParams(location.search);
document.body.dataset.jpThemeLight = String(query.get("theme") !== "dark");
// As anywidget loads it: from a blob, without an address of its own.
const source = await (await fetch("panel.js")).text();
const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
const { default: widget } = (await import(address)) as {
  default: { render(view: { model: unknown; el: HTMLElement }): () => void };
};
window.models = [];
window.cleanups = [];
for (const name of query.get("cells") === "1" ? ["first"] : ["first", "second"]) {
  const el = document.getElementById(name)!;
  const model = new FakeModel(el);
  window.models.push(model);
  window.cleanups.push(widget.render({ model, el }));
}
export {};
