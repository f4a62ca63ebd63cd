// Bundles the unit tests, which Node.js 20 cannot read as TypeScript, and runs them.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { build } from "esbuild";

const names = readdirSync("test/unit").filter((name) => name.endsWith(".test.ts"));
await build({
  entryPoints: names.map((name) => `test/unit/${name}`),
  bundle: true,
  platform: "node",
  format: "esm",
  outdir: "test/build/unit",
  outExtension: { ".js": ".mjs" },
});
const files = names.map((name) => `test/build/unit/${name.replace(/ts$/, "mjs")}`);
process.exit(spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" }).status ?? 1);
