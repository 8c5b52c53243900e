/** on_poweroff, on_reboot, on_crash. https://libvirt.org/formatdomain.html#events-configuration */
import type { RestartPolicy } from "../definition.ts";
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

const EVENTS = ["on_poweroff", "on_reboot", "on_crash"] as const;

/**
 * The restart policy that comes nearest. A machine of tsvm ends when its guest powers off or crashes; when it reboots, the manager
 * boots it again.
 */
export function readRestart(domain: XmlElement, problems: Problems): RestartPolicy | undefined {
  const actions = Object.fromEntries(
    EVENTS.map((event) => {
      const element = domain.one(event);
      return [event, { element, action: element?.text() ?? "" }];
    }),
  ) as Record<(typeof EVENTS)[number], { element: XmlElement | undefined; action: string }>;
  for (const { element, action } of Object.values(actions)) {
    if (element === undefined || action === "destroy" || action === "restart") continue;
    problems.lacking(
      `<${element.name}>: tsvm cannot ${action === "" ? "do nothing" : action}`,
      element.place,
      "ends the VM",
    );
  }
  const failure = domain.one("on_lockfailure");
  if (failure !== undefined) {
    failure.text();
    problems.warning("<on_lockfailure>: a VM whose disk is in use does not start", failure.place);
  }
  const { on_poweroff, on_reboot, on_crash } = actions;
  if (on_poweroff.action === "restart") return { policy: "always" };
  if (on_reboot.action === "destroy") {
    problems.warning(
      "<on_reboot>: a background VM of tsvm boots again when its guest reboots",
      on_reboot.element!.place,
      "with tsvm boot, it ends",
    );
  }
  return on_crash.action === "restart" ? { policy: "on-failure" } : undefined;
}
