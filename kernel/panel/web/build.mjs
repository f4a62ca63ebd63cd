// Bundles the page into ../dist, which is committed: the kernel's crate includes its files and needs no Node.js.
import { copyFileSync, statSync } from "node:fs";
import { build } from "esbuild";

const LARGEST = 120_000;

await build({
  entryPoints: { panel: "src/index.tsx" },
  bundle: true,
  minify: true,
  format: "esm",
  charset: "utf8",
  target: ["es2022"],
  legalComments: "none",
  outdir: "../dist",
});
// Without a target, so that `light-dark()` stays what it is.
await build({ entryPoints: { panel: "src/panel.css" }, bundle: true, minify: true, outdir: "../dist" });
copyFileSync("index.html", "../dist/index.html");

const size = statSync("../dist/panel.js").size;
console.log(`dist/panel.js has ${size} bytes`);
if (size > LARGEST) throw new Error(`that is more than ${LARGEST}`);
