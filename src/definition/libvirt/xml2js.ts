import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** The XML library, loaded when it is first needed: a start from another format is sooner without it. */
export function xml2js(): typeof import("xml2js") {
  return require("xml2js") as typeof import("xml2js");
}
