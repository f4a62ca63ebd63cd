// How messages come and go: through a widget's model in a notebook, through a WebSocket in a page of its own.

import type { FromKernel, ToKernel } from "./protocol";

/** `open`: messages go through. `lost`: it is being tried again. `closed`: it is over. */
export type Connection = "open" | "lost" | "closed";

export interface Transport {
  send(message: ToKernel): void;
  onMessage(hear: (message: FromKernel) => void): void;
  onState(hear: (state: Connection) => void): void;
  close(): void;
}

/** What anywidget gives a view of its model. */
export interface WidgetModel {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  send(content: unknown): void;
  on(name: string, callback: (...given: never[]) => void): void;
  off(name: string, callback: (...given: never[]) => void): void;
}

/** The class that Jupyter's widgets have while no kernel stands behind them. */
const DISCONNECTED = ".jupyter-widgets-disconnected";

/** The custom messages of the widget that is shown in `el`. */
export function widgetTransport(model: WidgetModel, el: HTMLElement): Transport {
  let hearMessage = (_: FromKernel) => {};
  let hearState = (_: Connection) => {};
  const onCustom = (message: FromKernel) => hearMessage(message);
  const onLive = () => hearState(el.closest(DISCONNECTED) ? "closed" : "open");
  const onClose = () => hearState("closed");
  const listeners = [
    ["msg:custom", onCustom],
    ["comm_live_update", onLive],
    ["comm:close", onClose],
    ["destroy", onClose],
  ] as const;
  for (const [name, listener] of listeners) model.on(name, listener);
  return {
    send(message) {
      try {
        model.send(message);
      } catch {
        hearState("closed");
      }
    },
    onMessage(hear) {
      hearMessage = hear;
    },
    onState(hear) {
      hearState = hear;
      // The view gets its class when it is shown, which is after it was made.
      queueMicrotask(onLive);
    },
    close() {
      for (const [name, listener] of listeners) model.off(name, listener);
      hearMessage = () => {};
      hearState = () => {};
    },
  };
}

/** Milliseconds to wait before the first new attempt, and at most. */
const [FIRST_WAIT, LONGEST_WAIT] = [500, 8000];

/** A WebSocket at `url` that connects again whenever it is lost. */
export function socketTransport(url: string): Transport {
  let hearMessage = (_: FromKernel) => {};
  let hearState = (_: Connection) => {};
  let socket: WebSocket | null = null;
  let wait = FIRST_WAIT;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isOver = false;

  const connect = () => {
    const opened = new WebSocket(url);
    socket = opened;
    opened.onopen = () => {
      wait = FIRST_WAIT;
      hearState("open");
    };
    opened.onmessage = (event: MessageEvent<string>) => hearMessage(JSON.parse(event.data) as FromKernel);
    opened.onclose = () => {
      if (isOver) return;
      hearState("lost");
      // Panels that were lost together do not all come back in the same moment.
      timer = setTimeout(connect, wait * (0.75 + Math.random() / 2));
      wait = Math.min(wait * 2, LONGEST_WAIT);
    };
  };

  return {
    send(message) {
      if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    },
    onMessage(hear) {
      hearMessage = hear;
    },
    onState(hear) {
      hearState = hear;
      connect();
    },
    close() {
      isOver = true;
      clearTimeout(timer);
      socket?.close();
    },
  };
}

/** The address of the WebSocket beside the page at `location`, with the page's token. */
export function socketAddress(location: Location): string {
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = location.search;
  url.hash = "";
  return url.href;
}
