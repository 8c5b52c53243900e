/** The commands `tsvm image …`; what they do is loaded when one of them is run. */
import { Option, type Command } from "commander";
import { COMPRESSIONS, IMAGE_FORMATS, PREALLOCATIONS, REPAIRS } from "../choices.ts";
import { addHelpCommand } from "../help-command.ts";

type Done = (status: number) => void;

const EXAMPLES = `
Examples:
  tsvm image create disk.qcow2 20G
  tsvm image convert vm.vmdk vm.qcow2    any format that qemu-img reads
  tsvm image overlay base.qcow2 a.qcow2  what a writes does not touch base
  tsvm image ls debian.qcow2:3 /boot     a directory of the third partition`;

/** Adds the group `image` to `program`; `done` hears the exit status of commands that have one of their own. */
export function addImageCommands(program: Command, done: Done): void {
  const image = program
    .command("image")
    .description("make, change and look into disk images")
    .addHelpText("after", EXAMPLES);
  addLooking(image, done);
  addMaking(image, done);
  addChanging(image, done);
  addHelpCommand(image, { hidden: true });
}

function addLooking(image: Command, done: Done): void {
  image
    .command("ls <image> [path]")
    .description("list a directory, or the partitions; IMAGE:2 is its second partition")
    .addOption(json())
    .addOption(debug())
    .action(async (reference: string, path: string | undefined, options: { json?: boolean }) => {
      (await import("./ls.ts")).imageLsCommand(reference, path, options);
    });
  image
    .command("cat <image> <path>")
    .description("print a file; IMAGE:2 is the second partition of IMAGE")
    .addOption(debug())
    .action(async (reference: string, path: string) => {
      await (await import("./cat.ts")).imageCatCommand(reference, path);
    });
  image
    .command("kernels <image>")
    .description("list what the image can boot, the default first")
    .addOption(json())
    .addOption(debug())
    .action(async (file: string, options: { json?: boolean }) => {
      (await import("./kernels.ts")).imageKernelsCommand(file, options);
    });
  image
    .command("info <image>")
    .description("say what an image is, and what it is based on; also while it is in use")
    .addOption(format("--format <format>", "what the image is in (default: what it looks like)"))
    .addOption(json())
    .addOption(debug())
    .action(async (file: string, options: object) => {
      done((await import("./info.ts")).imageInfoCommand(file, options));
    });
}

function addMaking(image: Command, done: Done): void {
  image
    .command("create <new> <size>")
    .description("make an empty image of SIZE, for example 20G")
    .addOption(format("-f, --format <format>", "format (default: raw for *.raw and *.img, else qcow2)"))
    .addOption(clusterSize())
    .addOption(preallocation("how much of it takes its space at once"))
    .addOption(force())
    .addOption(json())
    .addOption(debug())
    .action(async (file: string, size: string, options: object) => {
      done(await (await import("./create.ts")).imageCreateCommand(file, size, options));
    });
  image
    .command("convert <source> <new>")
    .description("copy an image, with all it is based on, into one of another format")
    .option("--from <format>", "format of SOURCE, as qemu-img calls it (default: what it looks like)")
    .addOption(
      format("-f, --format <format>", "format of NEW (default: raw for *.raw and *.img, else qcow2)"),
    )
    .addOption(new Option("-c, --compression <type>", "compress it (qcow2)").choices(COMPRESSIONS))
    .addOption(clusterSize())
    .addOption(preallocation("how much of it takes its space at once"))
    .addOption(force())
    .addOption(json())
    .addOption(debug())
    .action(async (source: string, file: string, options: object) => {
      done(await (await import("./convert.ts")).imageConvertCommand(source, file, options));
    });
  image
    .command("overlay <base> <new> [size]")
    .description("make a qcow2 image that holds what differs from BASE, which stays as it is")
    .addOption(
      new Option("-f, --format <format>", "format of NEW: an overlay is always qcow2").choices(["qcow2"]),
    )
    .addOption(format("--base-format <format>", "format of BASE (default: what it looks like)"))
    .option("--shrink", "SIZE may be smaller than BASE")
    .addOption(clusterSize())
    .addOption(force())
    .addOption(json())
    .addOption(debug())
    .action(async (base: string, file: string, size: string | undefined, options: object) => {
      done(await (await import("./overlay.ts")).imageOverlayCommand(base, file, size, options));
    });
}

function addChanging(image: Command, done: Done): void {
  image
    .command("resize <image> <size>")
    .description("change the size to SIZE, by +SIZE or, after --, by -SIZE")
    .addOption(format("--format <format>", "what the image is in (default: what it looks like)"))
    .option("--shrink", "it may become smaller; what lies behind its new end is lost")
    .addOption(preallocation("how much of what is added takes its space at once"))
    .addOption(json())
    .addOption(debug())
    .action(async (file: string, size: string, options: object) => {
      done(await (await import("./resize.ts")).imageResizeCommand(file, size, options));
    });
  image
    .command("check <image>")
    .description("look for errors in an image's tables: status 0 clean, 3 leaks, 4 corrupt, 125 not checked")
    .option("--format <format>", "what the image is in, as qemu-img calls it (default: what it looks like)")
    .addOption(
      new Option("--repair <what>", "give leaked clusters back, or mend all that can be").choices(REPAIRS),
    )
    .addOption(json())
    .addOption(debug())
    .action(async (file: string, options: object) => {
      done(await (await import("./check.ts")).imageCheckCommand(file, options));
    });
  image
    .command("add-agent <image>")
    .description(
      "install the agent in the system on an image, for tsvm exec and tsvm cp; IMAGE:2 is a partition",
    )
    .addOption(format("--format <format>", "what the image is in (default: what it looks like)"))
    .addOption(debug())
    .action(async (reference: string, options: object) => {
      done(await (await import("./add-agent.ts")).imageAddAgentCommand(reference, options));
    });
  const snapshot = image.command("snapshot").description("snapshots inside of a qcow2 image");
  addSnapshots(snapshot, done);
  addHelpCommand(snapshot, { hidden: true });
}

function addSnapshots(snapshot: Command, done: Done): void {
  const load = (): Promise<typeof import("./snapshot.ts")> => import("./snapshot.ts");
  snapshot
    .command("list <image>")
    .description("list the snapshots; also while the image is in use")
    .addOption(json())
    .addOption(debug())
    .action(async (file: string, options: object) => {
      (await load()).snapshotListCommand(file, options);
    });
  const verbs = [
    ["create", "<name>", "keep the disk as it is now, under a name"],
    ["apply", "<snapshot>", "make the disk what it was; what it is now is lost"],
    ["delete", "<snapshot>", "forget a snapshot; the disk stays as it is"],
  ] as const;
  for (const [verb, argument, description] of verbs) {
    snapshot
      .command(`${verb} <image> ${argument}`)
      .description(description)
      .addOption(json())
      .addOption(debug())
      .action(async (file: string, name: string, options: object) => {
        done(await (await load()).snapshotChangeCommand(verb, file, name, options));
      });
  }
}

function format(flags: string, description: string): Option {
  return new Option(flags, description).choices(IMAGE_FORMATS);
}

function clusterSize(): Option {
  return new Option("--cluster-size <size>", "of a qcow2 image, 512B to 2M (default: 64K)");
}

function preallocation(description: string): Option {
  return new Option("--preallocation <how>", description).choices(PREALLOCATIONS);
}

function force(): Option {
  return new Option("--force", "replace NEW if it exists");
}

function json(): Option {
  return new Option("--json", "print a JSON document");
}

function debug(): Option {
  return new Option("--debug", "show stack traces of errors");
}
