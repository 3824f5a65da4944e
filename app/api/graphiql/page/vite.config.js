import { readFileSync, readdirSync } from "node:fs";
import { defineConfig } from "vite";

const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));

/** The licence and the notices of every package that may have a part in the bundle. */
function writeLicenses() {
  const folders = Object.keys(packages).filter((folder) => folder && !packages[folder].dev);
  const notices = folders.map((folder) => {
    const name = folder.replace(/^.*node_modules\//, "");
    const { version, license } = packages[folder];
    const texts = readdirSync(folder)
      .filter((file) => /^(licen[cs]e|notice|copying|thirdpartynotices)/i.test(file))
      .sort()
      .map((file) => readFileSync(`${folder}/${file}`, "utf8").replace(/\r\n?/g, "\n").trim());
    return [`${name} ${version}, ${license}`, ...texts].join("\n\n");
  });
  const head =
    "GraphiQL's page in this folder is built from the following packages.\n" +
    "The icon font that comes with monaco-editor, Codicons, is Microsoft's, under CC-BY-4.0.";
  return {
    name: "write-licenses",
    generateBundle() {
      const source = `${[head, ...notices].join(`\n\n${"=".repeat(80)}\n\n`)}\n`;
      this.emitFile({ type: "asset", fileName: "LICENSES.txt", source });
    },
  };
}

export default defineConfig({
  base: "/graphiql/assets/",
  plugins: [writeLicenses()],
  build: {
    assetsDir: "",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 3000,
    modulePreload: { polyfill: false },
    target: "es2022",
    rollupOptions: {
      // GraphiQL makes the titles of its icons out of its functions' names.
      output: { keepNames: true },
      onwarn(warning, show) {
        if (warning.code !== "MODULE_LEVEL_DIRECTIVE") show(warning);
      },
    },
  },
});
