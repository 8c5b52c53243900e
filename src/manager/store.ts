/** All VMs of a state directory. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { VmDefinition } from "../definition/definition.ts";
import { directoryError, ManagerError } from "./errors.ts";
import { appendEvent } from "./events.ts";
import { tryLock } from "./file-lock.ts";
import { syncDirectory } from "./json-file.ts";
import { checkVmName, isVmName, unknownVm } from "./names.ts";
import { checkCreatable, makePrivateDirectory, managerPaths, type ManagerPaths } from "./paths.ts";
import type { StoredDefinition } from "./record.ts";
import { Vm } from "./vm.ts";

export interface DefineOptions {
  /** The file that it comes from. */
  readonly source?: string | undefined;
  /** Another definition of the same name gives way; one that runs goes on as it is until its next start. */
  readonly replace?: boolean | undefined;
}

/** `unchanged`: the same definition was there already. */
export type Defined = "defined" | "replaced" | "unchanged";

export class VmStore {
  readonly paths: ManagerPaths;

  constructor(paths: ManagerPaths = managerPaths()) {
    this.paths = paths;
  }

  get #vms(): string {
    return join(this.paths.state, "vms");
  }

  /** In alphabetical order. */
  names(): string[] {
    return this.#entries().filter(isVmName).sort();
  }

  all(): Vm[] {
    return this.names().map((name) => this.#vm(name));
  }

  /** Throws a ManagerError with the nearest name if there is no such VM. */
  get(name: string): Vm {
    const vm = this.find(name);
    if (vm === undefined) throw unknownVm(name, this.names());
    return vm;
  }

  find(name: string): Vm | undefined {
    if (!isVmName(name)) return undefined;
    const vm = this.#vm(name);
    return vm.exists() ? vm : undefined;
  }

  /** Throws what {@link define} would throw for one of them, without doing anything. */
  checkDefinable(definitions: readonly VmDefinition[], { replace = false }: DefineOptions = {}): void {
    for (const definition of definitions) {
      checkVmName(definition.name);
      const vm = this.find(definition.name);
      if (vm !== undefined) this.#compare(vm, definition, replace);
    }
  }

  /** Throws a ManagerError where another definition has the name already. */
  async define(definition: VmDefinition, { source, replace = false }: DefineOptions = {}): Promise<Defined> {
    checkVmName(definition.name);
    this.prepare();
    const vm = this.find(definition.name);
    if (vm === undefined) {
      if (this.#create(definition, source)) {
        this.#tell(definition.name, "define");
        return "defined";
      }
      // Another tsvm was quicker.
      return this.define(definition, { source, replace });
    }
    const lock = await vm.lock();
    try {
      const { same, stored } = this.#compare(vm, definition, replace);
      if (same) return "unchanged";
      vm.writeDefinition(content(definition, source, stored?.id ?? newId()));
      this.#tell(vm.name, "define");
      return "replaced";
    } finally {
      lock.release();
    }
  }

  /** Throws a ManagerError if it runs. */
  async remove(vm: Vm): Promise<void> {
    const lock = await vm.lock();
    try {
      vm.remove(this.#vms);
    } finally {
      lock.release();
    }
    this.#tell(vm.name, "remove");
  }

  /** Makes the state directory, and clears away what commands have left behind that were killed half-way. */
  prepare(): void {
    makePrivateDirectory(this.paths.state);
    makePrivateDirectory(this.#vms);
    for (const name of this.#entries()) {
      if (!name.startsWith(".")) continue;
      const path = join(this.#vms, name);
      const lockPath = join(path, "lock");
      // Whoever still works on it holds its lock; one without a lock is from someone who died before making it.
      const lock = tryLock(lockPath);
      if (lock === undefined && !isOldEnough(name)) continue;
      rmSync(path, { recursive: true, force: true });
      lock?.release();
    }
  }

  /** Throws a ManagerError where they differ and it must not be replaced. */
  #compare(
    vm: Vm,
    definition: VmDefinition,
    replace: boolean,
  ): { same: boolean; stored: StoredDefinition | undefined } {
    const stored = replace ? readableDefinition(vm) : vm.readDefinition();
    // As it comes back from a file: without what is undefined.
    const wanted = JSON.parse(JSON.stringify(definition)) as VmDefinition;
    const same = stored !== undefined && isDeepStrictEqual(stored.definition, wanted);
    if (!same && !replace) throw alreadyDefined(vm.name, stored?.source);
    return { same, stored };
  }

  #vm(name: string): Vm {
    return new Vm(name, join(this.#vms, name));
  }

  #entries(): string[] {
    try {
      return readdirSync(this.#vms);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") {
        checkCreatable(this.#vms);
        return [];
      }
      throw directoryError("cannot be read", this.#vms, error);
    }
  }

  /** In one step, so that nobody ever sees half of a VM. False if there is one of that name. */
  #create(definition: VmDefinition, source: string | undefined): boolean {
    const path = join(this.#vms, `.new-${Date.now()}-${process.pid}-${newId()}`);
    try {
      mkdirSync(path, { mode: 0o700 });
      const vm = new Vm(definition.name, path);
      for (const file of [vm.commandLockPath, vm.monitorLockPath]) writeFileSync(file, "", { mode: 0o600 });
      const lock = tryLock(vm.commandLockPath);
      try {
        vm.writeDefinition(content(definition, source, newId()));
        renameSync(path, join(this.#vms, definition.name));
      } finally {
        lock?.release();
      }
      syncDirectory(this.#vms);
      return true;
    } catch (error) {
      rmSync(path, { recursive: true, force: true });
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOTEMPTY" || code === "EEXIST") return false;
      // Nobody knows the directory that it was to be made in.
      throw directoryError("cannot be written", this.#vms, (error as Error).cause ?? error);
    }
  }

  #tell(vm: string, event: "define" | "remove"): void {
    appendEvent(this.paths.state, { vm, event });
  }
}

const ABANDONED_MS = 60_000;

/** Of a directory that is being made or removed, and has the time in its name: whether nobody can be working on it any more. */
function isOldEnough(name: string): boolean {
  const made = Number(/^\.(?:new|gone)-(\d+)-/.exec(name)?.[1] ?? 0);
  return Date.now() - made > ABANDONED_MS;
}

function content(definition: VmDefinition, source: string | undefined, id: string): StoredDefinition {
  return { id, definedAt: Date.now(), ...(source === undefined ? {} : { source }), definition };
}

function newId(): string {
  return randomBytes(6).toString("hex");
}

/** Undefined for a damaged one, which may be replaced; one of a newer version may not. */
function readableDefinition(vm: Vm): StoredDefinition | undefined {
  try {
    return vm.readDefinition();
  } catch (error) {
    if (error instanceof ManagerError && error.code === "ERR_STATE_DAMAGED") return undefined;
    throw error;
  }
}

function alreadyDefined(name: string, source: string | undefined): ManagerError {
  const origin = source === undefined ? "" : `, from ${source}`;
  return new ManagerError(
    "ERR_VM_EXISTS",
    `there is a VM ${name} already${origin}`,
    `--replace gives it the new definition; or remove it first: tsvm rm ${name}`,
  );
}
