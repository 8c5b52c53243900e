/**
 * `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?message}`, `${VAR?message}` and `$$` in the texts of a definition, with
 * the meaning they have in a shell. A `$` before anything else stands for itself.
 */
import type { Place, Problems } from "./problems.ts";
import { nearest } from "../suggestion.ts";

export type Variables = Readonly<Record<string, string | undefined>>;

const PATTERN = /\$\$|\$\{([^{}]*)\}|\$\{/g;
const EXPRESSION = /^([A-Za-z_]\w*)(?:(:?[-?])([^]*))?$/;

/** A function that replaces the variables of one text; what is wrong goes to `problems`. */
export function interpolator(
  variables: Variables,
  problems: Problems,
): (text: string, place: Place) => string {
  // Names such as _ and IFS are close to everything.
  const known = (): string[] => Object.keys(variables).filter((name) => name.length > 3);
  return (text, place) => {
    if (!text.includes("$")) return text;
    return text.replaceAll(PATTERN, (match, inner: string | undefined) => {
      if (match === "$$") return "$";
      const parts = inner === undefined ? null : EXPRESSION.exec(inner);
      if (parts === null) {
        problems.error(
          `"${inner === undefined ? text : match}": this is no variable`,
          place,
          "write ${NAME} or ${NAME:-default}, and $$ for a $ of your own",
        );
        return "";
      }
      const [, name = "", operator, operand = ""] = parts;
      const value = variables[name];
      const present =
        operator?.startsWith(":") === true ? value !== undefined && value !== "" : value !== undefined;
      if (present) return value!;
      if (operator?.endsWith("-") === true) return operand;
      const reason = operand === "" ? `the variable ${name} is not set` : `${name}: ${operand}`;
      const close = nearest(name, known(), name.length < 8 ? 1 : 2);
      problems.error(
        operator === undefined ? `the variable ${name} is not set` : reason,
        place,
        close === undefined
          ? `set it (${name}=… tsvm …), or give a default: \${${name}:-…}`
          : `did you mean ${close}?`,
      );
      return "";
    });
  };
}

/** Writes a text so that reading it gives it back. */
export function escapeVariables(text: string): string {
  return text.replaceAll(/\$(?=[${])/g, "$$$$");
}
