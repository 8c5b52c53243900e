/**
 * Runs GRUB's configuration as far as it takes to know the menu and what an entry loads. Commands for devices, fonts and the like
 * do nothing and succeed. Everything is bounded: the configuration comes from the image.
 */
import { BootConfigError } from "../errors.ts";
import { compareLikeGrub, isForeign, parseLoaderEntry } from "../loader-entry.ts";
import type { FileReference } from "../candidate.ts";
import type { ReadableVolume, Search } from "../search.ts";
import { deviceName, splitPath, volumeOf } from "./devices.ts";
import { parseGrubenv } from "./grubenv.ts";
import { parseScript } from "./parser.ts";
import type { Statement, Word } from "./syntax.ts";
import { evaluateTest } from "./test-command.ts";

const MAX_STEPS = 200_000;
const MAX_DEPTH = 60;
/** Of all files that are read, in characters. */
const MAX_SCRIPT_LENGTH = 4 * 1024 * 1024;
const MAX_VALUE_LENGTH = 32 * 1024;
const MAX_VARIABLES = 2000;
/** Of one command, in characters and words. */
const MAX_COMMAND_LENGTH = 256 * 1024;
const MAX_WORDS = 10_000;
const MAX_ENTRIES = 5000;

/** An item of the menu. */
export interface MenuItem {
  readonly title: string;
  readonly id: string | undefined;
  readonly submenu: boolean;
  /** What is done when it is chosen. */
  run(): Chosen;
}

/** What choosing an item leads to: a kernel, a further menu, or neither (another loader, a reboot). */
export interface Chosen {
  readonly kernel: FileReference | undefined;
  readonly initrds: readonly FileReference[];
  readonly commandLine: string;
  readonly menu: Menu | undefined;
  /** Why there is no kernel. */
  readonly problem: string | undefined;
}

export interface Menu {
  readonly items: readonly MenuItem[];
  /** The variables `default` and `fallback`. */
  readonly default: string;
  readonly fallback: string;
}

/** How a list of statements ended. */
type Outcome = "normal" | "return" | "break" | "continue";

/** State that a menu entry changes without effect on others. */
interface Loaded {
  kernel: FileReference | undefined;
  initrds: FileReference[];
  commandLine: string;
  problem: string | undefined;
}

/** Runs a configuration file. @throws {BootConfigError} if it makes no sense. */
export function runGrubConfig(search: Search, place: ReadableVolume, path: string, script: string): Menu {
  const budget: Budget = { steps: MAX_STEPS, entries: MAX_ENTRIES, characters: MAX_SCRIPT_LENGTH };
  const interpreter = new Interpreter(search, budget);
  interpreter.setHome(place, path);
  interpreter.runConfig(script);
  return interpreter.menu();
}

interface Budget {
  steps: number;
  entries: number;
  characters: number;
}

class Interpreter {
  readonly #search: Search;
  readonly #budget: Budget;
  readonly #variables = new Map<string, string>();
  readonly #functions = new Map<string, readonly Statement[]>();
  #arguments: readonly string[] = [];
  #items: MenuItem[] = [];
  #status = true;
  #depth = 0;
  readonly #loaded: Loaded = { kernel: undefined, initrds: [], commandLine: "", problem: undefined };

  constructor(search: Search, budget: Budget) {
    this.#search = search;
    this.#budget = budget;
    for (const feature of FEATURES) this.#variables.set(`feature_${feature}`, "y");
    this.#variables.set("grub_cpu", "x86_64");
    this.#variables.set("grub_platform", "pc");
  }

  /** As GRUB starts with the configuration at this place. */
  setHome(place: ReadableVolume, path: string): void {
    const device = deviceName(place, this.#search.image.table.scheme);
    this.#variables.set("root", device);
    this.#variables.set("prefix", `(${device})${path.replace(/\/[^/]*$/, "")}`);
    this.#variables.set("config_file", `(${device})${path}`);
  }

  runConfig(script: string): void {
    this.#run(this.#parse(script));
  }

  #parse(script: string): Statement[] {
    this.#budget.characters -= script.length;
    if (this.#budget.characters < 0) throw new BootConfigError("it reads files without end");
    return parseScript(script);
  }

  menu(): Menu {
    return {
      items: this.#items,
      default: this.#get("default"),
      fallback: this.#get("fallback"),
    };
  }

  #get(name: string): string {
    return this.#variables.get(name) ?? "";
  }

  #set(name: string, value: string): void {
    if (value.length > MAX_VALUE_LENGTH || this.#variables.size > MAX_VARIABLES) {
      throw new BootConfigError("variables grow beyond all bounds");
    }
    this.#variables.set(name, value);
  }

  /** A copy, in which an item is run: each is chosen for the first time. */
  #fork(args: readonly string[]): Interpreter {
    const copy = new Interpreter(this.#search, this.#budget);
    copy.#variables.clear();
    for (const [name, value] of this.#variables) copy.#variables.set(name, value);
    for (const [name, body] of this.#functions) copy.#functions.set(name, body);
    copy.#arguments = args;
    copy.#depth = this.#depth;
    return copy;
  }

  #run(statements: readonly Statement[]): Outcome {
    if (++this.#depth > MAX_DEPTH) throw new BootConfigError("it calls itself without end");
    try {
      for (const statement of statements) {
        if (this.#budget.steps-- <= 0) throw new BootConfigError("it runs without end");
        const outcome = this.#runOne(statement);
        if (outcome !== "normal") return outcome;
      }
      return "normal";
    } finally {
      this.#depth--;
    }
  }

  #runOne(statement: Statement): Outcome {
    switch (statement.kind) {
      case "command":
        return this.#runCommand(statement.words, statement.body);
      case "if": {
        for (const { condition, body } of statement.branches) {
          const outcome = this.#run(condition);
          if (outcome !== "normal") return outcome;
          if (this.#status) return this.#run(body);
        }
        return this.#run(statement.otherwise);
      }
      case "while":
        for (;;) {
          const outcome = this.#run(statement.condition);
          if (outcome !== "normal") return outcome;
          if (this.#status !== statement.as) return "normal";
          const end = this.#run(statement.body);
          if (end === "break") return "normal";
          if (end === "return") return end;
          if (this.#budget.steps-- <= 0) throw new BootConfigError("it runs without end");
        }
      case "for":
        for (const value of this.#expand(statement.words)) {
          this.#set(statement.variable, value);
          const end = this.#run(statement.body);
          if (end === "break") break;
          if (end === "return") return end;
        }
        return "normal";
      case "function":
        this.#functions.set(statement.name, statement.body);
        return "normal";
    }
  }

  #runCommand(words: readonly Word[], body: readonly Statement[] | undefined): Outcome {
    const args = this.#expand(words);
    const name = args.shift();
    if (name === undefined) return "normal";
    const assignment = /^([A-Za-z_]\w*)=(.*)$/s.exec(name);
    if (assignment !== null && args.length === 0) {
      this.#set(assignment[1]!, assignment[2]!);
      this.#status = true;
      return "normal";
    }
    if (name === "menuentry" || name === "submenu") {
      this.#addItem(name === "submenu", args, body ?? []);
      return "normal";
    }
    const definition = this.#functions.get(name);
    if (definition !== undefined) {
      const saved = this.#arguments;
      this.#arguments = args;
      const outcome = this.#run(definition);
      this.#arguments = saved;
      return outcome === "return" ? "normal" : outcome;
    }
    return this.#builtin(name, args);
  }

  #builtin(name: string, args: string[]): Outcome {
    this.#status = true;
    switch (name) {
      case "set":
        for (const argument of args) {
          const equals = argument.indexOf("=");
          if (equals > 0) this.#set(argument.slice(0, equals), argument.slice(equals + 1));
        }
        break;
      case "unset":
        for (const argument of args) this.#variables.delete(argument);
        break;
      case "[":
        this.#status = evaluateTest(args.at(-1) === "]" ? args.slice(0, -1) : args, this.#fileTests());
        break;
      case "test":
        this.#status = evaluateTest(args, this.#fileTests());
        break;
      case "!":
        this.#builtin(args.shift() ?? "true", args);
        this.#status = !this.#status;
        break;
      case "false":
      // No key is held down.
      case "keystatus":
        this.#status = false;
        break;
      case "search":
      case "search.file":
      case "search.fs_label":
      case "search.fs_uuid":
        this.#searchDevice(name, args);
        break;
      case "probe":
        this.#probe(args);
        break;
      case "load_env":
        this.#loadEnvironment(args);
        break;
      case "source":
      case ".":
        this.#include(args[0] ?? "", false);
        break;
      case "configfile":
      case "normal":
        if (args[0] !== undefined) this.#include(args[0], true);
        break;
      case "eval":
        return this.#run(this.#parse(args.join(" ")));
      case "linux":
      case "linux16":
      case "linuxefi":
        this.#linux(args);
        break;
      case "initrd":
      case "initrd16":
      case "initrdefi":
        // `initrd --nounzip FILE` is an old form.
        for (const path of args.filter((argument) => !argument.startsWith("-"))) {
          const file = this.#file(path.replace(/^newc:[^:]*:/, ""));
          if (file !== undefined) this.#loaded.initrds.push(file);
        }
        break;
      case "multiboot":
      case "multiboot2":
      case "xen_hypervisor":
        this.#loaded.problem ??= "starts a multiboot kernel, such as Xen";
        break;
      case "chainloader":
        this.#loaded.problem ??= `starts another boot loader (${args.at(-1) ?? ""})`;
        break;
      case "blscfg":
        this.#loaderEntries();
        break;
      case "setparams":
        this.#arguments = args;
        break;
      case "shift":
        this.#arguments = this.#arguments.slice(1);
        break;
      case "return":
        this.#status = (args[0] ?? "0") === "0";
        return "return";
      case "break":
        return "break";
      case "continue":
        return "continue";
      default:
        // Devices, screens, fonts, modules, messages: of no consequence here.
        break;
    }
    return "normal";
  }

  #expand(words: readonly Word[]): string[] {
    const result: string[] = [];
    let length = 0;
    for (const word of words) {
      let current: string | undefined;
      for (const part of word) {
        const value = part.kind === "text" ? part.text : this.#value(part.name);
        length += value.length;
        if (length > MAX_COMMAND_LENGTH || result.length > MAX_WORDS) {
          throw new BootConfigError("commands grow beyond all bounds");
        }
        if (part.kind === "text" || part.quoted) {
          current = (current ?? "") + value;
          continue;
        }
        // Unquoted, blanks in the value separate words, and nothing is no word.
        const [first = "", ...fields] = value.split(/[ \t\n]+/);
        if (first !== "") current = (current ?? "") + first;
        for (const field of fields) {
          if (current !== undefined) result.push(current);
          current = field === "" ? undefined : field;
        }
      }
      if (current !== undefined) result.push(current);
    }
    return result;
  }

  #value(name: string): string {
    if (name === "@" || name === "*") return this.#arguments.join(" ");
    if (name === "#") return String(this.#arguments.length);
    if (name === "?") return this.#status ? "0" : "1";
    if (/^\d+$/.test(name)) return this.#arguments[Number(name) - 1] ?? "";
    return this.#get(name);
  }

  #addItem(submenu: boolean, args: readonly string[], body: readonly Statement[]): void {
    if (this.#budget.entries-- <= 0) throw new BootConfigError("it has too many entries");
    const positional: string[] = [];
    let id: string | undefined;
    for (let index = 0; index < args.length; index++) {
      const argument = args[index]!;
      const [option, value] =
        /^(--(?:class|users|hotkey|source|id))(?:=(.*))?$/s.exec(argument)?.slice(1) ?? [];
      if (option !== undefined) {
        const taken = value ?? args[++index] ?? "";
        if (option === "--id") id = taken;
      } else if (!argument.startsWith("--")) {
        positional.push(argument);
      }
    }
    this.#pushItem({ title: positional[0] ?? "", id, submenu }, (copy) => copy.#run(body), positional);
  }

  #pushItem(
    item: { readonly title: string; readonly id: string | undefined; readonly submenu: boolean },
    action: (copy: Interpreter) => void,
    args: readonly string[],
  ): void {
    this.#items.push({
      ...item,
      run: () => {
        const copy = this.#fork(args);
        // Of the menu that it is in; a menu below has a default of its own.
        copy.#variables.delete("default");
        action(copy);
        const { kernel, initrds, commandLine, problem } = copy.#loaded;
        const menu = copy.#items.length > 0 ? copy.menu() : undefined;
        return { kernel, initrds, commandLine, menu, problem };
      },
    });
  }

  #linux(args: readonly string[]): void {
    const [path, ...parameters] = args;
    if (path === undefined) return;
    this.#loaded.initrds = [];
    this.#loaded.kernel = this.#file(path);
    this.#loaded.commandLine = parameters.map(quoteParameter).join(" ");
  }

  #file(path: string): FileReference | undefined {
    const place = this.#resolve(path);
    if (place === undefined) {
      const device = splitPath(path).device ?? this.#get("root");
      this.#loaded.problem ??= `"${path}" is on (${device}), which is not a partition that can be read`;
    }
    return place;
  }

  /** A path of GRUB: with a device, or on that of `root`. */
  #resolve(path: string): FileReference | undefined {
    const split = splitPath(path);
    const place = volumeOf(this.#search, split.device ?? this.#get("root"));
    return place && { place, path: split.path };
  }

  #fileTests(): { stat(path: string): { directory: boolean; size: number } | undefined } {
    return {
      stat: (path) => {
        const file = this.#resolve(path);
        const node = file && this.#search.node(file.place, file.path);
        return node && { directory: node.type === "directory", size: node.size };
      },
    };
  }

  #searchDevice(name: string, args: readonly string[]): void {
    let by = { "search.fs_label": "label", "search.fs_uuid": "uuid" }[name] ?? "file";
    let variable: string | undefined;
    let wanted: string | undefined;
    const plain = name !== "search";
    for (let index = 0; index < args.length; index++) {
      const argument = args[index]!;
      if (argument === "--fs-uuid" || argument === "-u") by = "uuid";
      else if (["--label", "--fs-label", "-l"].includes(argument)) by = "label";
      else if (argument === "--file" || argument === "-f") by = "file";
      else if (argument.startsWith("--set=")) variable = argument.slice("--set=".length);
      else if (argument === "--set" || argument === "-s") {
        // The name may be left out: --set --fs-uuid UUID.
        const next = args[index + 1];
        if (next !== undefined && !next.startsWith("-") && args.length > index + 2) variable = args[++index];
        else variable = "root";
      } else if (argument === "--hint") index++;
      else if (argument.startsWith("-")) continue;
      else if (wanted === undefined) wanted = argument;
      // search.fs_uuid UUID VARIABLE HINTS
      else if (plain && variable === undefined) variable = argument;
    }
    this.#status = false;
    if (wanted === undefined) return;
    const target = wanted;
    const place = this.#search.volumes.find((volume) => {
      if (by === "uuid") return volume.fs.uuid?.toLowerCase() === target.toLowerCase();
      if (by === "label") return volume.fs.label === target;
      return this.#search.node(volume, target) !== undefined;
    });
    if (place === undefined) return;
    this.#set(variable ?? "root", deviceName(place, this.#search.image.table.scheme));
    this.#status = true;
  }

  /** `probe --set=VARIABLE --fs-uuid DEVICE`. */
  #probe(args: readonly string[]): void {
    const what = args.find((argument) => /^(-u|-l|--fs-uuid|--label|--part-uuid)$/.test(argument));
    const variable = args.find((argument) => argument.startsWith("--set="))?.slice("--set=".length);
    const device = args.at(-1)?.replace(/^\((.*)\)$/, "$1") ?? "";
    const place = volumeOf(this.#search, device);
    const byKind: Record<string, string | undefined> = {
      "-u": place?.fs.uuid,
      "--fs-uuid": place?.fs.uuid,
      "-l": place?.fs.label,
      "--label": place?.fs.label,
      "--part-uuid": place?.volume.partition?.uuid,
    };
    const value = byKind[what ?? ""];
    this.#status = value !== undefined;
    if (value !== undefined && variable !== undefined) this.#set(variable, value);
  }

  #loadEnvironment(args: readonly string[]): void {
    let path = `${this.#get("prefix")}/grubenv`;
    const names: string[] = [];
    for (let index = 0; index < args.length; index++) {
      const argument = args[index]!;
      if (argument === "-f" || argument === "--file") path = args[++index] ?? path;
      else if (argument.startsWith("--file=")) path = argument.slice("--file=".length);
      else if (!argument.startsWith("-")) names.push(argument);
    }
    const text = this.#read(path);
    this.#status = text !== undefined;
    for (const [name, value] of parseGrubenv(text ?? "")) {
      if (names.length === 0 || names.includes(name)) this.#set(name, value);
    }
  }

  /** @param fresh With a menu of its own. */
  #include(path: string, fresh: boolean): void {
    const text = this.#read(path);
    this.#status = text !== undefined;
    if (text === undefined) return;
    if (fresh) {
      this.#items = [];
      this.#set("config_file", path);
    }
    this.#run(this.#parse(text));
  }

  #read(path: string): string | undefined {
    const file = this.#resolve(path);
    return file && this.#search.text(file.place, file.path);
  }

  /** What Fedora and its kin have instead of entries in grub.cfg. */
  #loaderEntries(): void {
    const home = volumeOf(this.#search, this.#get("boot")) ?? volumeOf(this.#search, this.#get("root"));
    if (home === undefined) return;
    const blsdir = this.#get("blsdir");
    const directories = [
      ...(blsdir === "" ? [] : [splitPath(blsdir).path]),
      "/loader/entries",
      "/boot/loader/entries",
    ];
    const directory = directories.find((path) => this.#search.node(home, path)?.type === "directory");
    if (directory === undefined) return;
    const entries = this.#search
      .names(home, directory)
      .filter((name) => name.endsWith(".conf"))
      .map((name) => parseLoaderEntry(name, this.#search.text(home, `${directory}/${name}`) ?? ""))
      .filter((entry) => entry.linux !== undefined && !isForeign(entry))
      .sort(compareLikeGrub);
    for (const { id, title, linux, initrds, options } of entries) {
      if (this.#budget.entries-- <= 0) throw new BootConfigError("it has too many entries");
      this.#pushItem(
        { title, id, submenu: false },
        (copy) => {
          copy.#set("root", deviceName(home, this.#search.image.table.scheme));
          copy.#loaded.kernel = copy.#file(linux!);
          copy.#loaded.commandLine = copy.#expandText(options);
          for (const path of initrds.flatMap((initrd) => copy.#expandText(initrd).split(/\s+/))) {
            const file = path === "" ? undefined : copy.#file(path);
            if (file !== undefined) copy.#loaded.initrds.push(file);
          }
        },
        [],
      );
    }
  }

  /** Variables in a loader entry: the rest of it is plain text. */
  #expandText(text: string): string {
    const expanded = text.replaceAll(/\$(?:\{(\w+)\}|(\w+))/g, (_, braced?: string, bare?: string) =>
      this.#get(braced ?? bare ?? ""),
    );
    if (expanded.length > MAX_VALUE_LENGTH)
      throw new BootConfigError("a command line grows beyond all bounds");
    return expanded.trim();
  }
}

/** As GRUB puts words back together for the kernel. */
function quoteParameter(parameter: string): string {
  const escaped = parameter.replaceAll(/['"\\]/g, (char, at: number) =>
    char === "\\" && /^\\x[0-9a-f]{2}/i.test(parameter.slice(at)) ? char : `\\${char}`,
  );
  return escaped.includes(" ") ? `"${escaped}"` : escaped;
}

/** What scripts by grub-mkconfig ask for. */
const FEATURES = [
  "200_final",
  "all_video_module",
  "chainloader_bpb",
  "default_font_path",
  "menuentry_id",
  "menuentry_options",
  "nativedisk_cmd",
  "ntldr",
  "platform_search_hint",
  "timeout_style",
];
