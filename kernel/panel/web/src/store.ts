// One panel's knowledge, its way to the kernel, and who is told when something has changed.

import { createContext } from "preact";
import { useContext, useEffect, useId, useReducer, useRef } from "preact/hooks";
import type { FromKernel, Reply, Request, Snapshot } from "./protocol";
import type { Transport } from "./transport";
import { isOnItsWay, type Turn } from "./conversation";
import { loseJobs, newJob, nothing, reduce, type Job, type Knowledge } from "./reducer";
import { verbOf } from "./lines";
import { say, type Lang, type Word } from "./words";

/** `waiting`: nothing was heard yet. `absent`: nothing was heard for long. */
export type Link = "waiting" | "absent" | "open" | "lost" | "closed" | "ended";

/** What the strip of commands tells while something is pointed at. */
export interface Hint {
  line: string;
  help: string;
}

/** Verbs that end the conversation along with the model. */
const NEW_MODEL = ["load", "unload", "demo"];

/** Milliseconds between two drawings of what the kernel tells. */
const GAP = 66;
/**
 * The same of how a training goes, which may compute on the same cores: at least, and at most. In between, drawing takes one
 * in so many.
 */
const [TRAINING_GAP, LONGEST_GAP, SHARE] = [1000, 3000, 100];
const OF_TRAINING = ["step", "evaluation", "micro_batch", "progress"];

/** How long the kernel may be silent at first, in milliseconds. */
const PATIENCE = 5000;

type Answer<T extends Request["type"]> = Extract<
  Reply,
  { type: T extends "upload" ? "uploaded" : T extends "complete" ? "completions" : T }
>;

export class Store {
  readonly known: Knowledge = nothing();
  link: Link = "waiting";
  hint: Hint | null = null;
  /** The questions that this page has sent and that the conversation does not have. */
  turns: Turn[] = [];
  /** Which tab is open, and what is typed in fields that are no settings. */
  readonly drafts = new Map<string, string>();

  /** Tells the panels of a page, and all others of the session, apart. */
  readonly panelId = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36);

  private readonly lastJobs = new Map<string, Job>();
  private nextId = 0;
  private frame = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer draws, and when the page was drawn last. */
  private due = 0;
  private lastDrawn = 0;
  /** How long that took, layout and painting included. */
  private took = 0;
  private wasLost = false;
  private patience: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly hintListeners = new Set<() => void>();
  private readonly requests = new Map<string, { resolve: (reply: Reply) => void; reject: (cause: Error) => void }>();

  constructor(private readonly transport: Transport, snapshot?: Snapshot) {
    if (snapshot) {
      const { curves, chat, ...state } = snapshot;
      reduce(this.known, state);
      reduce(this.known, { type: "changed", ...(curves && { curves }), ...(chat && { chat }) });
    }
    transport.onMessage((message) => this.hear(message));
    transport.onState((state) => {
      if (state === "open") this.greet();
      else this.lose(state);
    });
    this.patience = setTimeout(() => {
      if (this.link === "waiting") this.setLink("absent");
    }, PATIENCE);
  }

  /** What the session is now. */
  snapshot(): Snapshot | null {
    const { session, curves, chat, history } = this.known;
    return session && { ...session, curves, chat, recorded: history.map(({ job: _, ...recorded }) => recorded) };
  }

  /** Sends a line; `where` names the part of the page that shows what comes of it. */
  run(line: string, where: string): Job {
    const id = this.newId();
    const job = newJob(id, line, where);
    this.known.jobs.set(id, job);
    this.lastJobs.set(where, job);
    this.transport.send({ type: "run", id, line });
    this.changed();
    return job;
  }

  interrupt(): void {
    this.transport.send({ type: "interrupt" });
  }

  request<T extends Request["type"]>(request: Extract<Request, { type: T }>): Promise<Answer<T>> {
    const id = this.newId();
    return new Promise<Answer<T>>((resolve, reject) => {
      if (this.link !== "open") {
        reject(new Error(this.link));
        return;
      }
      this.requests.set(id, { resolve: (reply) => resolve(reply as Answer<T>), reject });
      this.transport.send({ ...request, id });
    });
  }

  /** The last line that was sent for this part of the page. */
  lastJob(where: string): Job | null {
    return this.lastJobs.get(where) ?? null;
  }

  /** All of them, the last one last. */
  jobsOf(where: string): Job[] {
    return [...this.known.jobs.values()].filter((job) => job.where === where);
  }

  setHint(hint: Hint | null): void {
    this.hint = hint;
    for (const listener of this.hintListeners) listener();
  }

  draft(key: string, text: string): void {
    this.drafts.set(key, text);
    this.changed();
  }

  /** Draws the page anew, once before the next frame. */
  changed(): void {
    if (this.frame) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const began = performance.now();
      this.lastDrawn = began;
      for (const listener of this.listeners) listener();
      setTimeout(() => (this.took = performance.now() - began));
    });
  }

  /** The same for what the kernel tells, of which there may be a lot. */
  private changedByKernel(message: FromKernel): void {
    const ofTraining = Math.min(LONGEST_GAP, Math.max(TRAINING_GAP, SHARE * this.took));
    const due = this.lastDrawn + (OF_TRAINING.includes(message.type) ? ofTraining : GAP);
    if (this.frame || (this.timer !== undefined && this.due <= due)) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => this.changed(), Math.max(0, due - performance.now()));
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  subscribeHint(listener: () => void): () => void {
    this.hintListeners.add(listener);
    return () => this.hintListeners.delete(listener);
  }

  dispose(): void {
    clearTimeout(this.patience);
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    this.listeners.clear();
    this.hintListeners.clear();
    this.rejectRequests("closed");
    this.transport.close();
  }

  private hear(message: FromKernel): void {
    clearTimeout(this.patience);
    if (this.link !== "open" && message.type === "state") {
      this.link = "open";
      if (this.wasLost) {
        reduce(this.known, message);
        loseJobs(this.known);
        this.wasLost = false;
        this.changedByKernel(message);
        return;
      }
    }
    if ("id" in message && message.id !== null) {
      const waiting = this.requests.get(message.id);
      if (waiting) {
        this.requests.delete(message.id);
        if (message.type === "failed") waiting.reject(new Error(message.cause));
        else waiting.resolve(message as Reply);
        return;
      }
    }
    reduce(this.known, message);
    if (message.type === "ended") this.setLink("ended");
    if (message.type === "recorded" && message.ok) {
      const line = message.line.trim();
      if (line === "chat clear" || NEW_MODEL.includes(verbOf(line))) {
        this.turns = this.turns.filter((turn) => !turn.job.isDone).map((turn) => ({ ...turn, at: 0 }));
      }
    }
    this.changedByKernel(message);
  }

  /** Sends a question; it stands behind what the conversation has. */
  ask(line: string, question: Omit<Turn, "job" | "at">): void {
    const at = this.known.chat.length + this.turns.filter(isOnItsWay).length;
    this.turns.push({ ...question, job: this.run(line, "chat"), at });
  }

  private greet(): void {
    this.transport.send({ type: "hello" });
  }

  private lose(state: "lost" | "closed"): void {
    this.wasLost = true;
    this.rejectRequests(state);
    // A session that has ended is not found again.
    this.setLink(this.known.isEnded && state === "lost" ? "ended" : state);
  }

  private setLink(link: Link): void {
    this.link = link;
    this.changed();
  }

  private rejectRequests(why: string): void {
    for (const { reject } of this.requests.values()) reject(new Error(why));
    this.requests.clear();
  }

  private newId(): string {
    this.nextId += 1;
    return `${this.panelId}-${this.nextId}`;
  }
}

export const StoreContext = createContext<Store | null>(null);

/** The panel's store; its state may be read, and nothing is drawn anew by it. */
export function useStore(): Store {
  const store = useContext(StoreContext);
  if (!store) throw new Error("a part of the page stands outside of a panel");
  return store;
}

/** Draws the component anew whenever `subscribe` tells of a change. */
export function useChanges(subscribe: (listener: () => void) => () => void): void {
  const [, draw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => subscribe(() => draw(null as never)), []);
}

export function useLang(): Lang {
  return useStore().known.session?.lang ?? (navigator.language.startsWith("zh") ? "zh" : "en");
}

/** Says words in the session's language. */
export function useSay(): (word: Word, ...given: (string | number)[]) => string {
  const lang = useLang();
  return (word, ...given) => say(lang, word, ...given);
}

/** An id that no other panel of the page has either. */
export function useUnique(): string {
  return `tb-${useStore().panelId}-${useId()}`;
}

/** What an element does to the strip of commands: while it is pointed at or has the focus, its line stands there. */
export function useHint(line: string, help: string): Record<"onFocus" | "onBlur" | "onMouseEnter" | "onMouseLeave", () => void> {
  const store = useStore();
  const isShown = useRef(false);
  const show = () => {
    isShown.current = true;
    store.setHint({ line, help });
  };
  const hide = () => {
    if (isShown.current) store.setHint(null);
    isShown.current = false;
  };
  useEffect(() => {
    if (isShown.current) store.setHint({ line, help });
  }, [line, help]);
  useEffect(() => hide, []);
  return { onFocus: show, onBlur: hide, onMouseEnter: show, onMouseLeave: hide };
}

/** A text that stays when its tab is left. */
export function useDraft(key: string, initial = ""): [string, (text: string) => void] {
  const store = useStore();
  return [store.drafts.get(key) ?? initial, (text) => store.draft(key, text)];
}
