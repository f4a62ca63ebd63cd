// Bundles the extension into the folder that the wheel and `tunebook kernel install` copy; it is committed, so that building
// the kernel needs no Node.js.
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const LARGEST = 12_000;
const folder = "../wheel/data/share/jupyter/labextensions/tunebook";
const script = "static/remoteEntry.js";

await build({
  entryPoints: ["src/index.ts"],
  bundle: true,
  minify: true,
  format: "iife",
  charset: "utf8",
  target: ["es2022"],
  legalComments: "none",
  outfile: `${folder}/${script}`,
});
const { license } = JSON.parse(readFileSync("package.json", "utf8"));
const extension = {
  name: "tunebook",
  version: "0.1.0",
  description: "Colours the commands and the Rust of tunebook's cells",
  license,
  jupyterlab: { extension: true, _build: { load: script, extension: "./extension" } },
};
mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}/package.json`, `${JSON.stringify(extension, null, 2)}\n`);

const size = statSync(`${folder}/${script}`).size;
console.log(`${script} has ${size} bytes`);
if (size > LARGEST) throw new Error(`that is more than ${LARGEST}`);
