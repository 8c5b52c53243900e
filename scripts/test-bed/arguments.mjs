/** The command line of kvm-host. */
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { UsageError } from "./errors.mjs";

export const USAGE = `Usage: scripts/kvm-host [OPTION...] -- COMMAND [ARGUMENT...]

Runs COMMAND as root in a QEMU machine with an emulated AMD-V processor, where /dev/kvm is hardware KVM, in a copy of
this checkout (/tsvm), with node, npm and tsvm in PATH. Ends with COMMAND's status.

  --in PATH[:GUESTPATH]    copy a file or directory in, by default to its own name in /tsvm; may be repeated
  --out GUESTPATH[:PATH]   copy a file or directory out at the end, also if COMMAND fails; by default to its own
                           name in the current directory; may be repeated
  --env NAME[=VALUE]       set a variable, by default to its value here; CI is always passed
  --cpus N                 processors of the machine (default 2)
  --memory SIZE            memory of the machine, such as 512M or 4G (default 3G)
  --timeout TIME           limit for all that the machine does, such as 90s, 10m or 1h (default 10m)
  -t, --terminal           run COMMAND on a terminal
  -v, --verbose            show the machine's console, and times
  --prepare                only build what is cached, and run nothing
  -h, --help               show this

A relative GUESTPATH is one in /tsvm, where COMMAND runs. Standard input is passed on if it is a file, a pipe or, with
-t, a terminal. Exit status: COMMAND's; 128+N if signal N ended it; 124 at the time limit; 125 if the test bed fails.
`;

/** Reads the arguments. Throws UsageError. */
export function parseArguments(args) {
  const end = args.indexOf("--");
  const { values, positionals } = parse(end < 0 ? args : args.slice(0, end));
  const command = end < 0 ? [] : args.slice(end + 1);
  if (positionals.length > 0) {
    throw new UsageError(`"${positionals[0]}" is no option; the command comes after --`);
  }
  if (command.length === 0 && !values.prepare && !values.help) {
    throw new UsageError("which command? It comes after --");
  }
  return {
    command,
    inputs: values.in.map(copyIn),
    outputs: values.out.map(copyOut),
    variables: values.env.map(variable).filter((assignment) => assignment !== undefined),
    cpus: count(values.cpus),
    memory: size(values.memory),
    timeout: milliseconds(values.timeout),
    terminal: values.terminal,
    verbose: values.verbose,
    prepare: values.prepare,
    help: values.help,
  };
}

function parse(args) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        in: { type: "string", multiple: true, default: [] },
        out: { type: "string", multiple: true, default: [] },
        env: { type: "string", multiple: true, default: [] },
        cpus: { type: "string", default: "2" },
        memory: { type: "string", default: "3G" },
        timeout: { type: "string", default: "10m" },
        terminal: { type: "boolean", short: "t", default: false },
        verbose: { type: "boolean", short: "v", default: false },
        prepare: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error.message);
  }
}

function copyIn(text) {
  const [path, guestPath] = pair(text, "--in");
  return { path, guestPath: guestPath ?? basename(path) };
}

function copyOut(text) {
  const [guestPath, path] = pair(text, "--out");
  return { guestPath, path: path ?? basename(guestPath) };
}

function pair(text, option) {
  const [first, second, ...more] = text.split(":");
  if (first === "" || second === "" || more.length > 0) {
    throw new UsageError(`${option} takes one or two paths with a colon in between, not "${text}"`);
  }
  return [first, second];
}

/** NAME=VALUE; undefined for a NAME without a value here. */
function variable(text) {
  const [name] = text.split("=", 1);
  if (name === "") throw new UsageError(`--env takes NAME or NAME=VALUE, not "${text}"`);
  if (text !== name) return text;
  return process.env[name] === undefined ? undefined : `${name}=${process.env[name]}`;
}

function count(text) {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 64)
    throw new UsageError(`--cpus takes 1 to 64, not "${text}"`);
  return number;
}

/** MiB. */
function size(text) {
  const match = /^(\d+)([MG])$/.exec(text);
  const mebibytes = match === null ? 0 : Number(match[1]) * (match[2] === "G" ? 1024 : 1);
  if (mebibytes < 256)
    throw new UsageError(`--memory takes a size of 256M or more, such as 3G, not "${text}"`);
  return mebibytes;
}

const UNIT = { "": 1000, s: 1000, m: 60_000, h: 3_600_000 };
/** Node's timers know no longer one. */
const LONGEST = 2 ** 31 - 1;

function milliseconds(text) {
  const match = /^(\d+(?:\.\d+)?)([smh]?)$/.exec(text);
  const time = match === null ? 0 : Number(match[1]) * UNIT[match[2]];
  if (time < 1 || time > LONGEST) {
    throw new UsageError(`--timeout takes a time up to 500h, such as 90s or 10m, not "${text}"`);
  }
  return time;
}
