// The samples as a wall of pictures: searched, ranked by loss, dropped and taken back.

import { Fragment } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { SampleRow, Samples } from "../protocol";
import { fixed } from "../format";
import { line } from "../lines";
import { Action } from "../parts/action";
import { JobView } from "../parts/job_view";
import { useSay, useStore } from "../store";

const PAGE = 24;
/** Of how many samples the losses are shown: those of several pages. */
const RANKED = 30;
/** Milliseconds without a key before the search is made. */
const PAUSE = 250;

type Split = "train" | "eval";
type Order = "file" | "loss";

export function Gallery() {
  const store = useStore();
  const say = useSay();
  const [split, setSplit] = useState<Split>("train");
  const [order, setOrder] = useState<Order>("file");
  const [typed, setTyped] = useState("");
  const [query, setQuery] = useState("");
  const [from, setFrom] = useState(0);
  const [found, setFound] = useState<Samples | null>(null);
  const [selected, setSelected] = useState<ReadonlySet<number>>(new Set());
  const [open, setOpen] = useState<number | null>(null);

  useEffect(() => {
    const timer = setTimeout(() => {
      setQuery(typed.trim());
      setFrom(0);
    }, PAUSE);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => {
    let isCurrent = true;
    store.request({ type: "samples", split, from, count: PAGE, query, order }).then(
      (reply) => isCurrent && setFound(reply),
      () => {},
    );
    return () => {
      isCurrent = false;
    };
  }, [split, from, query, order, store.known.samplesVersion, store.link]);

  const rows = found?.rows ?? [];
  const total = found?.total ?? 0;
  const isTrain = split === "train";
  const numbers = [...selected].sort((a, b) => a - b).join(",");
  const ofSplit = (...parts: string[]) => line(...parts, !isTrain && "split=eval");
  const unselect = () => setSelected(new Set());
  const turn = (to: number) => {
    setFrom(to);
    setOpen(null);
  };
  return (
    <section class="tb-card tb-gallery">
      <header>
        <h3>{say("preview")}</h3>
        <label class="tb-inline">
          <span>{say("split")}</span>
          <select
            value={split}
            onChange={(event) => {
              setSplit(event.currentTarget.value as Split);
              unselect();
              turn(0);
            }}
          >
            <option value="train">{say("trainSplit")}</option>
            <option value="eval">{say("evalSplit")}</option>
          </select>
        </label>
        <label class="tb-inline">
          <span>{say("order")}</span>
          <select
            value={order}
            onChange={(event) => {
              setOrder(event.currentTarget.value as Order);
              turn(0);
            }}
          >
            <option value="file">{say("fileOrder")}</option>
            <option value="loss">{say("lossOrder")}</option>
          </select>
        </label>
        <Action line={ofSplit("worst", String(RANKED))} where="worst" onSent={() => (setOrder("loss"), turn(0))}>
          {say("rank")}
        </Action>
        <label class="tb-search">
          <span class="tb-hidden">{say("searchSamples")}</span>
          <input
            type="search"
            placeholder={say("searchSamples")}
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </label>
        <span class="tb-pages">
          <span class="tb-number tb-muted">
            {total === 0 ? say("noSamples") : say("samplesShown", from + 1, from + rows.length, total)}
          </span>
          <button type="button" class="tb-button" disabled={from === 0} onClick={() => turn(Math.max(0, from - PAGE))}>
            {say("previous")}
          </button>
          <button type="button" class="tb-button" disabled={from + PAGE >= total} onClick={() => turn(from + PAGE)}>
            {say("next")}
          </button>
        </span>
      </header>
      {selected.size > 0 && isTrain && (
        <div class="tb-actions tb-selection">
          <span>{say("selected", selected.size)}</span>
          <Action line={line("data drop", numbers)} where="drop" onSent={unselect}>
            {say("drop")}
          </Action>
          <Action line={line("data undrop", numbers)} where="drop" onSent={unselect}>
            {say("undrop")}
          </Action>
          <button type="button" class="tb-button tb-quiet" onClick={unselect}>
            {say("clearSelection")}
          </button>
        </div>
      )}
      <JobView job={store.lastJob("worst")} withOutputs={false} />
      <JobView job={store.lastJob("drop")} withOutputs={false} />
      <ul class="tb-samples">
        {rows.map((row) => (
          <Fragment key={row.index}>
            <Card
              row={row}
              isOpen={row.index === open}
              isSelected={selected.has(row.index)}
              onOpen={() => setOpen(row.index === open ? null : row.index)}
              onSelect={isTrain ? (on) => setSelected(changed(selected, row.index, on)) : null}
            />
            {row.index === open && (
              <li class="tb-detail">
                <Detail
                  row={row}
                  line={ofSplit("sample", String(row.index))}
                  isTrain={isTrain}
                  onClose={() => setOpen(null)}
                />
              </li>
            )}
          </Fragment>
        ))}
      </ul>
    </section>
  );
}

function changed(selected: ReadonlySet<number>, index: number, isOn: boolean): Set<number> {
  const now = new Set(selected);
  if (isOn) now.add(index);
  else now.delete(index);
  return now;
}

interface CardGiven {
  row: SampleRow;
  isOpen: boolean;
  isSelected: boolean;
  onOpen: () => void;
  onSelect: ((on: boolean) => void) | null;
}

function Card({ row, isOpen, isSelected, onOpen, onSelect }: CardGiven) {
  const say = useSay();
  const question = row.messages.find((message) => message.role === "user")?.text ?? "";
  const answer = row.messages.find((message) => message.role === "assistant")?.text ?? "";
  return (
    <li class={`tb-sample${row.dropped ? " tb-isdropped" : ""}${isOpen ? " tb-isopen" : ""}`}>
      <button type="button" class="tb-cardbutton" aria-expanded={isOpen} onClick={onOpen}>
        <Picture address={row.pictures[0]} alt={say("pictureOf", row.index)} />
        <span class="tb-question">{question.replaceAll("<image>", "").trim()}</span>
        <span class="tb-answer">{answer}</span>
      </button>
      <div class="tb-cardfoot tb-number tb-muted">
        {onSelect ? (
          <label>
            <input
              type="checkbox"
              checked={isSelected}
              aria-label={say("select", row.index)}
              onChange={(event) => onSelect(event.currentTarget.checked)}
            />
            {row.index}
          </label>
        ) : (
          <span>{row.index}</span>
        )}
        {row.dropped && <span>{say("dropped")}</span>}
        {row.loss !== null && <span>{`${say("loss")} ${fixed(row.loss)}`}</span>}
      </div>
    </li>
  );
}

function Detail({ row, line: show, isTrain, onClose }: { row: SampleRow; line: string; isTrain: boolean; onClose: () => void }) {
  const store = useStore();
  const say = useSay();
  const element = useRef<HTMLElement>(null);
  const where = `sample:${show}`;
  useEffect(() => element.current?.scrollIntoView({ block: "nearest" }), [row.index]);
  const roles: Record<string, string> = { system: say("system"), user: say("user"), assistant: say("assistant") };
  return (
    <section aria-label={say("sample", row.index)} ref={element}>
      <header>
        <h4>{say("sample", row.index)}</h4>
        <Action line={show} where={where}>
          {say("showSample")}
        </Action>
        {isTrain && (
          <Action line={`data ${row.dropped ? "undrop" : "drop"} ${row.index}`} where="drop">
            {say(row.dropped ? "undrop" : "drop")}
          </Action>
        )}
        <button type="button" class="tb-button tb-quiet" onClick={onClose}>
          {say("close")}
        </button>
      </header>
      <div class="tb-detailbody">
        <div class="tb-pictures">
          {row.pictures.map((address, index) => (
            <Picture key={index} address={address} alt={say("pictureOf", row.index)} />
          ))}
        </div>
        <div class="tb-messages">
          {row.messages.map((message, index) => (
            <div key={index} class="tb-message">
              <span class="tb-muted">{roles[message.role] ?? message.role}</span>
              <p>{message.text}</p>
            </div>
          ))}
        </div>
      </div>
      <JobView job={store.lastJob(where)} />
    </section>
  );
}

/** Pictures come with the message; no address is followed. */
export function Picture({ address, alt }: { address: string | undefined; alt: string }) {
  if (!address || !/^(data:image\/|blob:)/.test(address)) return <span class="tb-picture tb-nopicture" aria-hidden="true" />;
  return <img class="tb-picture" src={address} alt={alt} loading="lazy" />;
}
