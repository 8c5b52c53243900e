// Stores one built file in images/ and writes down in images/manifest.json what it is and where it came from.
//
//   node scripts/update-manifest.mjs NAME BUILT_FILE key=value…
//
// A NAME that ends in .br is compressed with brotli at its best. Keys become fields of the manifest's entry.
import { createHash } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";

const images = fileURLToPath(new URL("../images/", import.meta.url));
const [name, builtFile, ...fields] = process.argv.slice(2);
if (name === undefined || builtFile === undefined) {
  console.error("usage: node scripts/update-manifest.mjs NAME BUILT_FILE key=value…");
  process.exit(2);
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const built = readFileSync(builtFile);
const compress = name.endsWith(".br");
const stored = compress
  ? brotliCompressSync(built, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: 11,
        [constants.BROTLI_PARAM_LGWIN]: 24,
        [constants.BROTLI_PARAM_SIZE_HINT]: built.length,
      },
    })
  : built;

const manifestFile = `${images}manifest.json`;
let manifest = {};
try {
  manifest = JSON.parse(readFileSync(manifestFile, "utf8"));
} catch (error) {
  if (error.code !== "ENOENT") throw error;
}

const entry = { size: built.length, sha256: sha256(built) };
if (compress) entry.compressed = { format: "brotli", size: stored.length, sha256: sha256(stored) };
for (const field of fields) {
  const at = field.indexOf("=");
  entry[field.slice(0, at)] = field.slice(at + 1);
}
manifest[name] = entry;
const sorted = Object.fromEntries(Object.entries(manifest).sort(([a], [b]) => (a < b ? -1 : 1)));

/** Nobody ever sees half a file. */
function replace(file, content, mode) {
  writeFileSync(`${file}.new`, content, { mode });
  renameSync(`${file}.new`, file);
}
replace(`${images}${name}`, stored, compress ? 0o644 : 0o755);
replace(manifestFile, `${JSON.stringify(sorted, null, 2)}\n`, 0o644);
console.log(`images/${name}: ${built.length} bytes, ${stored.length} stored`);
