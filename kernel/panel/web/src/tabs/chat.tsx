// Chat: the conversation with the model, streamed, with pictures; or one question to base and adapters side by side.

import { useEffect, useRef, useState } from "preact/hooks";
import { inOrder, type Turn } from "../conversation";
import { differences } from "../differences";
import * as lines from "../lines";
import type { Exchange } from "../protocol";
import { Action } from "../parts/action";
import { FailureView } from "../parts/job_view";
import { Fields, MoreSettings } from "../parts/settings_form";
import { useDraft, useHint, useSay, useStore } from "../store";
import { read, type Attached } from "./attach";
import { Picture } from "./gallery";

/** Whose the answer without an adapter is, in a comparison. */
const BASE = "base";
const MAIN = ["default_system", "max_new_tokens", "temperature", "top_p"];

export function ChatTab() {
  const store = useStore();
  const say = useSay();
  const session = store.known.session;
  const [text, setText] = useDraft("chat.text");
  const [beside, setBeside] = useDraft("chat.compare");
  const [attached, setAttached] = useState<Attached[]>([]);
  const [problem, setProblem] = useState<string | null>(null);
  const [isOver, setOver] = useState(false);
  const files = useRef<HTMLInputElement>(null);
  const adapters = session?.adapters ?? [];
  const isCompare = beside === "yes" && adapters.length > 0;
  const isOff = store.link !== "open";

  const uploads = attached.some((picture) => picture.path === null);
  const options = attached.map(({ path, name }) => lines.option("image", path ?? name));
  const isEmpty = text.trim() === "";
  const line = isEmpty ? null : isCompare ? lines.compare(options, text) : lines.chat(options, text);
  const why = !session?.model ? say("needModel") : isEmpty || uploads ? say("needText") : null;
  const current = store.turns.at(-1)?.job;
  const isAnswering = current !== undefined && !current.isDone;

  const add = async (found: Iterable<File>) => {
    setProblem(null);
    for (const file of found) {
      const picture = await read(file);
      if ("problem" in picture) {
        setProblem(say(picture.problem, file.name || "?", picture.limit));
        continue;
      }
      setAttached((now) => [...now, picture]);
      store.request({ type: "upload", name: picture.name, data: picture.data }).then(
        ({ path }) => setAttached((now) => now.map((one) => (one.key === picture.key ? { ...one, path } : one))),
        (error: Error) => {
          setProblem(error.message);
          setAttached((now) => now.filter((one) => one.key !== picture.key));
        },
      );
    }
  };
  const send = () => {
    if (line === null || why !== null || isOff) return;
    store.ask(line, { text: text.trim(), pictures: attached.map((picture) => picture.address), isCompare });
    setText("");
    setAttached([]);
  };
  const textHint = useHint(line ?? "", why ?? say("messageHint"));
  const sendHint = useHint(line ?? "", why ?? "");
  return (
    <div class="tb-chat">
      <section
        class={`tb-card tb-talk${isOver ? " tb-isover" : ""}`}
        onDragOver={(event) => {
          if (!event.dataTransfer?.types.includes("Files") || isOff) return;
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={(event) => {
          if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
        }}
        onDrop={(event) => {
          setOver(false);
          if (isOff || !event.dataTransfer?.files.length) return;
          event.preventDefault();
          event.stopPropagation();
          void add([...event.dataTransfer.files]);
        }}
      >
        <Turns isAnswering={isAnswering} />
        {isOver && <p class="tb-dropnote">{say("dropHere")}</p>}
        {attached.length > 0 && (
          <ul class="tb-attached" aria-label={say("attached")}>
            {attached.map((picture) => (
              <li key={picture.key}>
                <Picture address={picture.address} alt={picture.name} />
                <span class="tb-muted">{picture.path === null ? say("uploading", picture.name) : picture.name}</span>
                <button
                  type="button"
                  class="tb-button tb-quiet"
                  aria-label={say("removePicture", picture.name)}
                  onClick={() => setAttached(attached.filter((one) => one.key !== picture.key))}
                >
                  ×
                </button>
              </li>
            ))}
          </ul>
        )}
        {problem && (
          <p class="tb-failure" role="alert">
            {problem}
          </p>
        )}
        <div class="tb-composer">
          <textarea
            rows={2}
            aria-label={say("message")}
            placeholder={say("messageHint")}
            value={text}
            disabled={isOff}
            onInput={(event) => setText(event.currentTarget.value)}
            onPaste={(event) => {
              const pasted = [...(event.clipboardData?.files ?? [])];
              if (pasted.length === 0) return;
              event.preventDefault();
              void add(pasted);
            }}
            onKeyDown={(event) => {
              if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
              event.preventDefault();
              send();
            }}
            {...textHint}
          />
          <div class="tb-actions">
            <input
              ref={files}
              type="file"
              accept="image/*"
              multiple
              hidden
              aria-label={say("addPicture")}
              onChange={(event) => {
                void add([...(event.currentTarget.files ?? [])]);
                event.currentTarget.value = "";
              }}
            />
            <button type="button" class="tb-button" disabled={isOff} onClick={() => files.current?.click()}>
              {say("addPicture")}
            </button>
            <span class="tb-space" />
            <Action line="chat clear" where="chat:clear">
              {say("clear")}
            </Action>
            {isAnswering && (
              <button type="button" class="tb-button" disabled={isOff} title={say("stopLineHelp")} onClick={() => store.interrupt()}>
                {say("stopAnswer")}
              </button>
            )}
            <button
              type="button"
              class="tb-button tb-primary"
              aria-disabled={line === null || why !== null || isOff}
              title={line ?? ""}
              {...sendHint}
              onClick={send}
            >
              {say("send")}
            </button>
          </div>
        </div>
      </section>
      <section class="tb-card tb-options">
        <h3>{say("answersFrom")}</h3>
        <ul class="tb-answerers">
          <li>
            <Action line="adapter off" where="chat:adapter" pressed={!adapters.some((one) => one.active)}>
              {say("base")}
            </Action>
          </li>
          {adapters.map(({ name, active }) => (
            <li key={name}>
              <Action line={lines.line("adapter use", lines.word(name))} where="chat:adapter" pressed={active}>
                {name}
              </Action>
            </li>
          ))}
        </ul>
        <label class="tb-check">
          <input
            type="checkbox"
            checked={isCompare}
            disabled={adapters.length === 0}
            onChange={(event) => setBeside(event.currentTarget.checked ? "yes" : "")}
          />
          <span>{say("sideBySide")}</span>
        </label>
        <h3 class="tb-second">{say("generation")}</h3>
        <Fields names={MAIN} />
        <MoreSettings tab="chat" shown={MAIN} />
      </section>
    </div>
  );
}

/** An answer with what the base model does not say set off. */
function Differing({ base, text }: { base: string; text: string }) {
  return differences(base, text).map((piece, index) =>
    piece.isOther ? <ins key={index}>{piece.text}</ins> : <span key={index}>{piece.text}</span>,
  );
}

function Turns({ isAnswering }: { isAnswering: boolean }) {
  const store = useStore();
  const say = useSay();
  const box = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const conversation = inOrder(store.known.chat, store.turns);
  // Follows the answer as it grows, unless somebody reads further up.
  useEffect(() => {
    if (isAtEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  });
  return (
    <div
      class="tb-turns"
      ref={box}
      role="log"
      tabIndex={0}
      aria-label={say("conversation")}
      aria-busy={isAnswering}
      onScroll={({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
        isAtEnd.current = scrollTop + clientHeight > scrollHeight - 24;
      }}
    >
      {conversation.length === 0 && <p class="tb-muted tb-empty">{say("askSomething")}</p>}
      {conversation.map((one, index) =>
        "job" in one ? <TurnView key={one.job.id} turn={one} /> : <ExchangeView key={index} exchange={one} />,
      )}
    </div>
  );
}

function Question({ text, pictures }: { text: string; pictures: string[] }) {
  const say = useSay();
  return (
    <div class="tb-message tb-byuser">
      {pictures.length > 0 && (
        <div class="tb-pictures">
          {pictures.map((address, index) => (
            <Picture key={index} address={address} alt={say("attached")} />
          ))}
        </div>
      )}
      <p>{text}</p>
    </div>
  );
}

function ExchangeView({ exchange: { text, pictures, answer } }: { exchange: Exchange }) {
  return (
    <>
      <Question text={text} pictures={pictures} />
      <div class="tb-message tb-byassistant">
        <p>{answer}</p>
      </div>
    </>
  );
}

function TurnView({ turn: { job, text, pictures, isCompare } }: { turn: Turn }) {
  const say = useSay();
  const answers = [...job.answers];
  // What was not streamed is there in whole.
  if (answers.length === 0 && job.isDone) {
    for (const output of job.outputs) answers.push(["", output.text]);
  }
  const base = job.answers.get(BASE) ?? "";
  const isPending = !job.isDone && answers.length === 0;
  return (
    <>
      <Question text={text} pictures={pictures} />
      <div class={isCompare ? "tb-side" : undefined}>
        {answers.map(([name, answer]) => (
          <div key={name} class="tb-message tb-byassistant">
            {isCompare && <strong>{name === BASE ? say("base") : name}</strong>}
            <p>{job.isDone && isCompare && name !== BASE ? <Differing base={base} text={answer} /> : answer}</p>
          </div>
        ))}
      </div>
      {isPending && <p class="tb-muted">{job.progress?.text ?? say("working")}</p>}
      {job.failure && <FailureView failure={job.failure} />}
      {job.isLost && <p class="tb-note">{say("lostTrack")}</p>}
    </>
  );
}
