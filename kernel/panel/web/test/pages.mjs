// Bundles the tests that drive the page in a browser, and runs them: all of a folder, or those that are named, as in
// `npm run pages -- tutorial`. CHROMIUM is the browser's program.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { build } from "esbuild";

const [folder, ...named] = process.argv.slice(2);
if (folder === "pages") {
  const site = "test/build/site";
  mkdirSync(site, { recursive: true });
  for (const name of ["cell.html", "cell.css"]) copyFileSync(`test/${name}`, `${site}/${name}`);
  for (const name of ["index.html", "panel.js", "panel.css"]) copyFileSync(`../dist/${name}`, `${site}/${name}`);
  await build({ entryPoints: ["test/cell.ts"], bundle: true, format: "esm", target: "es2022", outdir: site });
}

/** Those that look or measure, for who asks for them. */
const ASKED_FOR = ["shots", "speed"];
const all = readdirSync(`test/${folder}`).filter((name) => name.endsWith(".test.ts"));
const isOne = (name, of) => of.some((one) => name.startsWith(one));
const names = all.filter((name) => (named.length === 0 ? !isOne(name, ASKED_FOR) : isOne(name, named)));
await build({
  entryPoints: names.map((name) => `test/${folder}/${name}`),
  bundle: true,
  platform: "node",
  format: "esm",
  external: ["playwright-core"],
  outdir: `test/build/${folder}`,
  outExtension: { ".js": ".mjs" },
});
const files = names.map((name) => `test/build/${folder}/${name.replace(/ts$/, "mjs")}`);
const flags = ["--test", "--test-concurrency=1", "--test-reporter=spec"];
process.exit(spawnSync(process.execPath, [...flags, ...files], { stdio: "inherit" }).status ?? 1);
