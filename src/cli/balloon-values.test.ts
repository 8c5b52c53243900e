import { describe, expect, it } from "vitest";
import { parseBalloon } from "./balloon-values.ts";

describe("--balloon", () => {
  it.each([
    ["off", false],
    ["on", {}],
    ["64M", { size: 64 * 2 ** 20 }],
    ["64", { size: 64 * 2 ** 20 }],
    ["0", { size: 0 }],
    ["on,no-reporting", { reporting: false }],
    ["1G,no-deflate-on-oom,stats=5s", { size: 2 ** 30, deflateOnOom: false, statsInterval: 5 }],
    ["on,stats=500ms", { statsInterval: 0.5 }],
    ["on,stats=0", { statsInterval: 0 }],
  ])("%s", (text, balloon) => {
    expect(parseBalloon(text)).toEqual(balloon);
  });

  it.each([
    ["", '--balloon: "" is not a size'],
    ["yes", '--balloon: "yes" is not a size'],
    ["off,no-reporting", '--balloon: "off,no-reporting": off takes no properties'],
    ["on,reporting", '--balloon: unknown property "reporting"'],
    ["on,", '--balloon: unknown property ""'],
    ["on,no-reporting=1", "--balloon: no-reporting takes no value"],
    ["on,stats", '--balloon: stats: "" is not a time'],
    ["on,stats=1s,stats=2s", '--balloon: "stats" is given twice'],
  ])("%s is refused", (text, message) => {
    expect(() => parseBalloon(text)).toThrow(message);
  });
});
