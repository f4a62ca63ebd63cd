// Bundles the page into ../dist, which is committed: the kernel's crate includes its files and needs no Node.js. Another
// folder can be named, to see whether what is committed is what this makes.
import { copyFileSync, statSync } from "node:fs";
import { build } from "esbuild";

const LARGEST = 120_000;
const outdir = process.argv[2] ?? "../dist";

await build({
  entryPoints: { panel: "src/index.tsx" },
  bundle: true,
  minify: true,
  format: "esm",
  charset: "utf8",
  target: ["es2022"],
  legalComments: "none",
  outdir,
});
// Without a target, so that `light-dark()` stays what it is.
await build({ entryPoints: { panel: "src/panel.css" }, bundle: true, minify: true, outdir });
copyFileSync("index.html", `${outdir}/index.html`);

const size = statSync(`${outdir}/panel.js`).size;
console.log(`panel.js has ${size} bytes`);
if (size > LARGEST) throw new Error(`that is more than ${LARGEST}`);
