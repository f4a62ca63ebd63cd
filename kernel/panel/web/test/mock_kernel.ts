// A session that speaks the panel's protocol without a model: a scripted demo whose loss falls.

import type { Adapter, Curve, Data, Exchange, FromKernel, Model, Recorded, Setting, Standing, State, ToKernel, Training } from "../src/protocol";
import { declared, type Declared } from "./declared";
import { BASE_ANSWER, DEMO, GROUPS, MODEL, TUNED_ANSWER, evaluationRecord, samples, stepRecord, type Sample } from "./mock_data";
import { address } from "./pictures";

type Lang = "en" | "zh";
type Hear = (message: FromKernel) => void;

class Refused extends Error {
  constructor(
    cause: string,
    readonly remedy: string | null = null,
  ) {
    super(cause);
  }
}

export interface Options {
  /** Milliseconds of an optimizer step. */
  stepTime?: number;
  lang?: Lang;
  /** What stands in captions. */
  caption?: string;
}

export class MockKernel {
  readonly lines: string[] = [];
  readonly settings = new Map<string, string>();
  readonly uploads: { name: string; size: number }[] = [];
  model: Model | null = null;
  data: Data | null = null;
  adapters: Adapter[] = [];
  curves: Record<string, Curve> = {};
  training: Training | null = null;
  recorded: Recorded[] = [];
  lang: Lang;
  samples: Sample[] = [];
  readonly answers: { [name: string]: string } = { base: BASE_ANSWER, tuned: TUNED_ANSWER };

  conversation: Exchange[] = [];
  private readonly declarations = declared();
  private readonly panels = new Set<Hear>();
  private queue: Promise<void> = Promise.resolve();
  private isInterrupted = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: Options = {}) {
    this.lang = options.lang ?? "en";
    for (const { name, default: value } of this.declarations) this.settings.set(name, value);
  }

  /** A panel: what it sends is to be given to the result. */
  connect(hear: Hear): { receive: (message: ToKernel) => void; leave: () => void } {
    this.panels.add(hear);
    return { receive: (message) => this.receive(message, hear), leave: () => this.panels.delete(hear) };
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.panels.clear();
  }

  private receive(message: ToKernel, reply: Hear): void {
    switch (message.type) {
      case "hello":
        reply(this.state());
        reply({ type: "changed", curves: structuredClone(this.curves), chat: structuredClone(this.conversation) });
        break;
      case "run":
        this.queue = this.queue.then(() => this.carryOut(message.id, message.line, reply));
        break;
      case "interrupt":
        this.isInterrupted = true;
        break;
      case "upload":
        this.uploads.push({ name: message.name, size: Buffer.from(message.data, "base64").length });
        reply({ type: "uploaded", id: message.id, path: `/tmp/tunebook uploads/${message.name}` });
        break;
      case "complete": {
        const words = ["train", "trainer", "stop", "set", "show", "sample", "save", "status", "undo"];
        const start = message.line.slice(0, message.cursor).lastIndexOf(" ") + 1;
        const begin = message.line.slice(start, message.cursor);
        const candidates = words.filter((word) => begin !== "" && word.startsWith(begin));
        reply({ type: "completions", id: message.id, start, candidates: candidates.map((text) => ({ text, description: `about ${text}` })) });
        break;
      }
      case "datasets":
        reply({ type: "datasets", id: message.id, folder: this.settings.get("dataset_dir")!, names: ["creatures", "creatures_held_out", "shapes"] });
        break;
      case "samples": {
        const all = this.samples.map((sample, index) => ({ ...sample, index }));
        const part = message.split === "train" ? all.slice(0, this.data?.train ?? 0) : all.slice(this.data?.train ?? 0);
        const found = part.filter(({ messages }) => messages.some(({ text }) => text.toLowerCase().includes(message.query.toLowerCase())));
        if (message.order === "loss") found.sort((a, b) => (b.loss ?? -1) - (a.loss ?? -1));
        const rows = found.slice(message.from, message.from + message.count).map(({ index, messages, picture, dropped, loss }) => {
          return { index, messages, pictures: [address(picture)], dropped, loss };
        });
        reply({ type: "samples", id: message.id, total: found.length, rows });
        break;
      }
    }
  }

  state(): State {
    return {
      type: "state",
      version: "0.1.0",
      lang: this.lang,
      model: this.model,
      data: this.data,
      adapters: this.adapters.map((adapter) => ({ ...adapter })),
      groups: GROUPS.map(([name, en, zh]) => ({ name, title: this.lang === "en" ? en : zh })),
      settings: this.declarations.map((one) => this.setting(one)),
      training: this.training,
      recorded: structuredClone(this.recorded),
      memory: { resident: 205 * 2 ** 20 },
    };
  }

  private setting(one: Declared): Setting {
    return { ...one, help: one.help[this.lang], value: this.settings.get(one.name)! };
  }

  tell(message: FromKernel): void {
    for (const hear of this.panels) hear(structuredClone(message));
  }

  /** As a cell or the prompt would. */
  async other(line: string): Promise<void> {
    this.queue = this.queue.then(() => this.carryOut("", line, () => {}));
    await this.queue;
  }

  private async carryOut(id: string, line: string, reply: Hear): Promise<void> {
    this.lines.push(line);
    this.isInterrupted = false;
    const recorded: Recorded = {
      number: this.recorded.length + 1,
      id: id || null,
      line,
      ok: null,
      step: this.active()?.step ?? 0,
      training: this.standing(),
    };
    this.recorded.push(recorded);
    this.tell({ type: "recorded", ...recorded });
    const before = [this.adapters.map(({ name, step }) => `${name} ${step}`).join(), this.conversation.length];
    let error: { cause: string; remedy: string | null } | null = null;
    try {
      await this.obey(line, id, reply);
    } catch (thrown) {
      if (!(thrown instanceof Refused)) throw thrown;
      error = { cause: thrown.message, remedy: thrown.remedy };
    }
    recorded.ok = error === null;
    this.tell({ type: "recorded", ...recorded });
    if (before[0] !== this.adapters.map(({ name, step }) => `${name} ${step}`).join()) {
      this.tell({ type: "changed", curves: this.curves });
    }
    if (before[1] !== this.conversation.length) this.tell({ type: "changed", chat: this.conversation });
    reply({ type: "done", id, error });
  }

  private async obey(line: string, id: string, reply: Hear): Promise<void> {
    const [verb = "", ...rest] = line.split(/\s+/);
    const text = (given: string) => reply({ type: "output", id, kind: "text", text: given, html: null });
    switch (verb) {
      case "demo":
        this.model = MODEL;
        for (const [name, value] of Object.entries(DEMO)) this.settings.set(name, value);
        this.adapters = [];
        this.curves = {};
        this.training = null;
        this.tellValues(Object.keys(DEMO));
        this.choose(["creatures"], 480, 120);
        text(this.say("creatures: 480 samples to train on, 120 to evaluate on", "creatures：训练样本 480 个，验证样本 120 个"));
        break;
      case "load":
        throw new Refused(`${rest[0]} is no folder of a model`, "give a folder with config.json, or OWNER/NAME");
      case "unload":
        [this.model, this.data, this.training, this.adapters, this.curves] = [null, null, null, [], {}];
        this.tell({ type: "changed", model: null, data: null, training: null, adapters: [], curves: {} });
        break;
      case "data":
        this.obeyData(rest, text);
        break;
      case "set":
        for (const given of rest) {
          const [name = "", ...value] = given.split("=");
          if (!this.settings.has(name)) throw new Refused(`there is no setting named \`${name}\``);
          if (name === "learning_rate" && value.join("=") === "7") throw new Refused("`7` would make the loss diverge at once", "take less");
          this.settings.set(name, value.join("=").replaceAll('"', ""));
          this.tellValues([name]);
        }
        break;
      case "lora":
      case "freeze":
      case "full":
        this.adapters.forEach((adapter) => (adapter.active = false));
        this.adapters.push({ name: rest[0] ?? "default", active: true, method: verb, trainable: 271_360, step: 0, total_steps: null });
        this.tellAdapters();
        text(`trainable params: 271,360 || all params: 3,807,680 || trainable%: 7.1266`);
        break;
      case "adapter":
        this.obeyAdapter(rest);
        break;
      case "train":
        this.train(line);
        break;
      case "stop":
        if (!this.training?.running) throw new Refused("no training runs in the background");
        clearTimeout(this.timer);
        this.setTraining({ running: false, stopping: false, stopped: true });
        break;
      case "undo":
        this.undo(Number(rest[0]));
        break;
      case "redo":
        throw new Refused("there is nothing to redo");
      case "evaluate":
      case "predict":
        await this.evaluate(verb, id, reply);
        break;
      case "worst":
        this.samples.forEach((sample, index) => (sample.loss = ((index * 7919) % 1000) / 250));
        text("30 samples");
        break;
      case "sample":
        reply({ type: "output", id, kind: "html", text: `sample ${rest[0]}`, html: `<p>sample <b>${Number(rest[0])}</b>: ⟦tokens⟧</p>` });
        break;
      case "chat":
      case "%%chat":
        if (line === "chat clear") {
          this.conversation = [];
          text("the conversation is cleared");
        } else {
          const answer = await this.answer(id, null, this.active() ? "tuned" : "base", reply);
          const question = line.replace(/^(%%)?chat\s+(image=("[^"]*"|\S+)\s+)*/, "");
          this.conversation.push({ text: question, pictures: line.includes("image=") ? [address(1)] : [], answer });
        }
        break;
      case "compare":
        await this.answer(id, "base", "base", reply);
        for (const { name } of this.adapters) await this.answer(id, name, "tuned", reply);
        break;
      case "lang":
        this.lang = rest[0] as Lang;
        this.tell(this.state());
        break;
      case "save":
        text(`saved to ${rest.join(" ")}: adapter_model.safetensors, adapter_config.json`);
        break;
      case "export":
        reply({ type: "progress", id, text: "writing 12 of 20", part: 0.6 });
        await wait(60);
        text(`7 MiB in ${rest[0]}`);
        break;
      case "recipe":
        text("model_name_or_path: demo\nstage: sft\ndo_train: true\nfinetuning_type: lora\nlora_rank: 16");
        break;
      case "print":
        text(rest.join(" "));
        break;
      case "status":
        text("model     demo\ndata      creatures");
        break;
      default:
        throw new Refused(`there is no command \`${verb}\``, "`help` lists them");
    }
  }

  private obeyData(rest: string[], text: (given: string) => void): void {
    const [first = "", second = ""] = rest;
    if (first === "drop" || first === "undrop") {
      for (const index of second.split(",")) this.samples[Number(index)]!.dropped = first === "drop";
      text(`${second.split(",").length} dropped`);
      return;
    }
    const names = first.split(",");
    const share = rest.find((one) => one.startsWith("val_size="));
    if (share) {
      this.settings.set("val_size", share.slice("val_size=".length));
      this.tellValues(["val_size"]);
    }
    const total = names.length * 480;
    const held = Math.round(total * Number(this.settings.get("val_size")));
    this.choose(names, total - held, held);
    text(`${names.join(", ")}: ${total - held} samples to train on, ${held} to evaluate on`);
  }

  private obeyAdapter([verb, name]: string[]): void {
    if (verb === "drop") {
      this.adapters = this.adapters.filter((adapter) => adapter.name !== name);
      delete this.curves[name!];
    } else if (verb === "load") {
      throw new Refused(`${name} holds no adapter`);
    } else {
      for (const adapter of this.adapters) adapter.active = verb === "use" && adapter.name === name;
    }
    this.tellAdapters();
  }

  private choose(names: string[], train: number, held: number): void {
    this.data = { names, train, eval: held, skipped: 3 };
    this.samples = samples(train + held, this.options.caption);
    this.tell({ type: "changed", model: this.model, data: this.data });
  }

  private standing(): Standing | null {
    if (!this.training) return null;
    const { running, stopped, step } = this.training;
    // The mock's steps take no time but between them, so what is set counts from the next one on.
    return { running, stopped, step, counts_from: step };
  }

  private active(): Adapter | undefined {
    return this.adapters.find((adapter) => adapter.active);
  }

  private train(line: string): void {
    const adapter = this.active();
    if (!adapter) throw new Refused("there is no adapter to train", "`lora` makes one");
    const count = /train (\d+)/.exec(line)?.[1];
    const total = Math.round(60 * Number(this.settings.get("num_train_epochs")));
    const last = count ? Math.min(total, adapter.step + Number(count)) : total;
    adapter.total_steps = total;
    this.training = { adapter: adapter.name, running: true, stopping: false, stopped: false, step: adapter.step, last_step: last, total_steps: total };
    this.curves[adapter.name] ??= { steps: [], evaluations: [] };
    this.tell({ type: "changed", training: this.training });
    if (adapter.step === 0) this.tell({ type: "note", id: null, text: "this takes about 0.3 GB of memory; nothing is recomputed" });
    this.step(adapter, performance.now());
  }

  private step(adapter: Adapter, begun: number): void {
    const training = this.training!;
    if (training.step >= training.last_step) {
      this.setTraining({ running: false });
      return;
    }
    this.timer = setTimeout(() => {
      const step = training.step + 1;
      const record = stepRecord(step, Number(this.settings.get("learning_rate")));
      adapter.step = step;
      this.training = { ...this.training!, step };
      const curve = this.curves[adapter.name]!;
      curve.steps.push(record);
      this.tell({
        type: "micro_batch",
        step,
        last_step: training.last_step,
        total_steps: training.total_steps,
        done: 1,
        total: 1,
        elapsed: (performance.now() - begun) / 1000,
      });
      this.tell({ type: "step", adapter: adapter.name, record });
      if (step % Number(this.settings.get("eval_steps")) === 0) {
        const evaluation = evaluationRecord(step);
        curve.evaluations.push(evaluation);
        this.tell({ type: "evaluation", adapter: adapter.name, record: evaluation });
      }
      this.step(adapter, begun);
    }, this.options.stepTime ?? 20);
  }

  private undo(count: number): void {
    const adapter = this.active();
    if (!adapter || adapter.step < count) throw new Refused(`there are not ${count} steps to undo`);
    adapter.step -= count;
    const curve = this.curves[adapter.name]!;
    curve.steps = curve.steps.filter(({ step }) => step <= adapter.step);
    curve.evaluations = curve.evaluations.filter(({ step }) => step <= adapter.step);
    this.setTraining({ step: adapter.step });
  }

  private setTraining(change: Partial<Training>): void {
    this.training = { ...this.training!, ...change };
    this.tell({ type: "changed", training: this.training, adapters: this.adapters });
  }

  private async evaluate(verb: string, id: string, reply: Hear): Promise<void> {
    const total = 120;
    for (let done = 12; done <= total; done += 12) {
      if (this.isInterrupted) break;
      reply({ type: "progress", id, text: `${verb === "evaluate" ? "evaluating" : "predicting"} ${done} of ${total}`, part: done / total });
      await wait(15);
    }
    const rows = verb === "evaluate" ? [["eval_loss", "0.0512"], ["perplexity", "1.0525"]] : [["bleu-4", "96.6410"], ["rouge-l", "98.4897"]];
    const cells = rows.map(([name, value]) => `<tr><td style="text-align:left">${name}</td><td style="text-align:right">${value}</td></tr>`);
    const html = `<table><caption style="text-align:left">creatures with ${this.active()?.name ?? "base"}</caption><tbody>${cells.join("")}</tbody></table>`;
    reply({ type: "output", id, kind: "table", text: rows.map((row) => row.join(" ")).join("\n"), html });
  }

  private async answer(id: string, name: string | null, whose: string, reply: Hear): Promise<string> {
    let told = "";
    for (const piece of this.answers[whose]!.split(/(?<= )/)) {
      if (this.isInterrupted) break;
      reply({ type: "text", id, answer: name, text: piece });
      told += piece;
      await wait(4);
    }
    return told;
  }

  private tellValues(names: string[]): void {
    this.tell({ type: "changed", values: Object.fromEntries(names.map((name) => [name, this.settings.get(name)!])) });
  }

  private tellAdapters(): void {
    this.tell({ type: "changed", adapters: this.adapters });
  }

  private say(en: string, zh: string): string {
    return this.lang === "en" ? en : zh;
  }
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
