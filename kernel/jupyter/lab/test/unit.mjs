// Bundles the unit tests, which Node.js 20 cannot read as TypeScript, and runs them.
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

await build({
  entryPoints: ["test/commands.test.ts"],
  bundle: true,
  platform: "node",
  format: "esm",
  outfile: "test/build/commands.test.mjs",
});
process.exit(spawnSync(process.execPath, ["--test", "test/build/commands.test.mjs"], { stdio: "inherit" }).status ?? 1);
