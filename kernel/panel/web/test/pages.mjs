// Bundles the tests that drive the built page in a browser, and runs them: all, or those that are named, as in
// `npm run pages -- tutorial`. CHROMIUM is the browser's program.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { build } from "esbuild";

const site = "test/build/site";
mkdirSync(site, { recursive: true });
for (const name of ["cell.html", "cell.css"]) copyFileSync(`test/${name}`, `${site}/${name}`);
for (const name of ["index.html", "panel.js", "panel.css"]) copyFileSync(`../dist/${name}`, `${site}/${name}`);
await build({ entryPoints: ["test/cell.ts"], bundle: true, format: "esm", target: "es2022", outdir: site });

const named = process.argv.slice(2);
const all = readdirSync("test/pages").filter((name) => name.endsWith(".test.ts"));
const names = all.filter((name) => (named.length === 0 ? !name.startsWith("shots") : named.some((one) => name.startsWith(one))));
await build({
  entryPoints: names.map((name) => `test/pages/${name}`),
  bundle: true,
  platform: "node",
  format: "esm",
  external: ["playwright-core"],
  outdir: "test/build/pages",
  outExtension: { ".js": ".mjs" },
});
const files = names.map((name) => `test/build/pages/${name.replace(/ts$/, "mjs")}`);
const flags = ["--test", "--test-concurrency=1", "--test-reporter=spec"];
process.exit(spawnSync(process.execPath, [...flags, ...files], { stdio: "inherit" }).status ?? 1);
