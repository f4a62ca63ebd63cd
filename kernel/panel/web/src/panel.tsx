// The panel: heading, tabs, and the strip of commands.

import { useEffect, useRef, useState } from "preact/hooks";
import type { FunctionComponent } from "preact";
import { parameters } from "./format";
import { Action } from "./parts/action";
import { History } from "./parts/history";
import { Strip } from "./parts/strip";
import { running } from "./reducer";
import { StoreContext, useChanges, useDraft, useLang, useSay, useStore, useUnique, type Link, type Store } from "./store";
import { ChatTab } from "./tabs/chat";
import { DataTab } from "./tabs/data";
import { EvaluateTab } from "./tabs/evaluate";
import { ExportTab } from "./tabs/export";
import { MethodTab } from "./tabs/method";
import { ModelTab } from "./tabs/model";
import { TrainingTab } from "./tabs/training";
import type { Word } from "./words";

const TABS = {
  model: ModelTab,
  data: DataTab,
  method: MethodTab,
  training: TrainingTab,
  evaluate: EvaluateTab,
  chat: ChatTab,
  export: ExportTab,
} satisfies Partial<Record<Word, FunctionComponent>>;
type Tab = keyof typeof TABS;
const NAMES = Object.keys(TABS) as Tab[];

/** From this width on, in pixels, there is room for the history beside the tabs. */
const WIDE = 1280;

export function Panel({ store, tab, onTab }: { store: Store; tab?: string | undefined; onTab?: ((tab: string) => void) | undefined }) {
  useChanges((listener) => store.subscribe(listener));
  return (
    <StoreContext.Provider value={store}>
      <Page first={NAMES.find((name) => name === tab) ?? "model"} onTab={onTab} />
    </StoreContext.Provider>
  );
}

function Page({ first, onTab }: { first: Tab; onTab?: ((tab: string) => void) | undefined }) {
  const store = useStore();
  const say = useSay();
  const lang = useLang();
  const id = useUnique();
  const page = useRef<HTMLDivElement>(null);
  const [current, setCurrent] = useDraft("tab", first);
  const [isOpen, setOpen] = useState(false);
  useEffect(() => setOpen((page.current?.clientWidth ?? 0) >= WIDE), []);
  const tab = NAMES.find((name) => name === current) ?? first;
  const Content = TABS[tab];
  const select = (name: Tab) => {
    setCurrent(name);
    onTab?.(name);
  };
  const onKey = (event: KeyboardEvent) => {
    const at = NAMES.indexOf(tab);
    const keys: Record<string, number> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: NAMES.length - 1 };
    const to = keys[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const name = NAMES[(to + NAMES.length) % NAMES.length]!;
    select(name);
    page.current?.querySelector<HTMLElement>(`#${CSS.escape(`${id}-${name}`)}`)?.focus();
  };
  return (
    <div class={`tb-page${isOpen ? " tb-withhistory" : ""}`} ref={page} lang={lang === "zh" ? "zh-Hans" : "en"}>
      <Heading />
      <Banner link={store.link} />
      <div class="tb-tabs" role="tablist" aria-label={say("tabs")} onKeyDown={onKey}>
        {NAMES.map((name) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`${id}-${name}`}
            aria-selected={name === tab}
            aria-controls={`${id}-panel`}
            tabIndex={name === tab ? 0 : -1}
            onClick={() => select(name)}
          >
            {say(name)}
          </button>
        ))}
      </div>
      <div class="tb-content" role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${tab}`} tabIndex={0} key={tab}>
        <Content />
      </div>
      {isOpen && <History />}
      <Strip isOpen={isOpen} onToggle={() => setOpen(!isOpen)} onSent={() => setOpen(true)} />
    </div>
  );
}

function Heading() {
  const store = useStore();
  const say = useSay();
  const lang = useLang();
  const { known } = store;
  const session = known.session;
  const model = session?.model;
  const active = session?.adapters.find((adapter) => adapter.active);
  const training = session?.training;
  const busy = running(known) ?? [...known.jobs.values()].find((job) => !job.isDone) ?? null;
  return (
    <div class="tb-heading">
      <h2>tunebook</h2>
      <span class={model ? "tb-chip" : "tb-chip tb-muted"} title={model?.path}>
        {model ? `${model.name} · ${parameters(model.parameters)} · ${model.quantized ? say("bits", model.quantized) : model.dtype}` : say("noModel")}
      </span>
      <span class={session?.data ? "tb-chip" : "tb-chip tb-muted"}>{session?.data?.names.join(", ") || say("noData")}</span>
      <span class={active ? "tb-chip" : "tb-chip tb-muted"}>{active?.name ?? (model ? say("base") : say("noAdapter"))}</span>
      {training?.running && (
        <span class="tb-chip tb-live tb-number">
          {say("stepOf", training.step, training.total_steps)}
        </span>
      )}
      <span class="tb-space" />
      {busy && (
        <>
          <code class="tb-code tb-muted tb-busy">{busy.line.split("\n")[0]}</code>
          <button
            type="button"
            class="tb-button"
            disabled={store.link !== "open"}
            title={say("stopLineHelp")}
            onClick={() => store.interrupt()}
          >
            {say("stopLine")}
          </button>
        </>
      )}
      <span class="tb-languages" role="group" aria-label={say("language")}>
        <Action line="lang en" where="lang" kind="quiet" pressed={lang === "en"}>
          EN
        </Action>
        <Action line="lang zh" where="lang" kind="quiet" pressed={lang === "zh"}>
          中文
        </Action>
      </span>
    </div>
  );
}

const LINKS: Record<Exclude<Link, "open">, Word> = {
  waiting: "connecting",
  absent: "noKernel",
  lost: "lost",
  closed: "closed",
  ended: "ended",
};

function Banner({ link }: { link: Link }) {
  const say = useSay();
  return (
    <div class="tb-banner" role="status" hidden={link === "open"} data-link={link}>
      {link !== "open" && say(LINKS[link])}
    </div>
  );
}
