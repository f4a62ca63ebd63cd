// The extension as JupyterLab 4 and Notebook 7 load it: a script that leaves a container of webpack's module federation in
// `_JUPYTERLAB`. Such a container has two functions; with them alone, without webpack, it is a few kilobytes.
import type { StreamParser } from "@codemirror/streamparser";
import { commands } from "./commands";

/** Modules that JupyterLab shares, by name and version. */
type Shared = Record<string, Record<string, { get(): Promise<() => unknown> }>>;

interface Language {
  name: string;
  displayName: string;
  mime: string;
  extensions: string[];
  load(): Promise<unknown>;
}

interface Registry {
  addLanguage(language: Language): void;
}

/** `@codemirror/language`, as far as it is used. */
interface CodeMirror {
  StreamLanguage: { define(parser: StreamParser<never>): unknown };
  LanguageSupport: new (language: unknown) => unknown;
}

let shared: Shared = {};

/** JupyterLab's own copy of a module. */
async function ask<T>(name: string): Promise<T> {
  const [module] = Object.values(shared[name] ?? {});
  if (!module) throw new Error(`JupyterLab does not share ${name}`);
  return (await module.get())() as T;
}

/** What `get` gives for `./extension`: a plugin that registers the language. */
async function extension() {
  const { IEditorLanguageRegistry } = await ask<{ IEditorLanguageRegistry: unknown }>("@jupyterlab/codemirror");
  const plugin = {
    id: "tunebook:language",
    description: "Colours the commands and the Rust of tunebook's cells.",
    autoStart: true,
    requires: [IEditorLanguageRegistry],
    activate(_: unknown, languages: Registry) {
      languages.addLanguage({
        // What the kernel calls its mode.
        name: "tunebook",
        displayName: "tunebook",
        mime: "text/x-tunebook",
        extensions: ["tune"],
        async load() {
          const { StreamLanguage, LanguageSupport } = await ask<CodeMirror>("@codemirror/language");
          return new LanguageSupport(StreamLanguage.define(commands as StreamParser<never>));
        },
      });
    },
  };
  return { __esModule: true, default: plugin };
}

const container = {
  init(scope: Shared) {
    shared = scope;
  },
  async get(module: string): Promise<() => unknown> {
    if (module !== "./extension") throw new Error(`there is no module ${module}`);
    const made = await extension();
    return () => made;
  },
};

const page = globalThis as unknown as { _JUPYTERLAB?: Record<string, unknown> };
page._JUPYTERLAB = { ...page._JUPYTERLAB, tunebook: container };
