/** GRUB's script language as a tree. GRUB manual, "The GRUB configuration file: Shell-like scripting". */

/** A piece of a word. What is quoted stays one word, however it expands. */
export type WordPart =
  | { readonly kind: "text"; readonly text: string; readonly quoted: boolean }
  | { readonly kind: "variable"; readonly name: string; readonly quoted: boolean };

export type Word = readonly WordPart[];

export type Statement =
  /** `body`: the block that menuentry and submenu end with. */
  | {
      readonly kind: "command";
      readonly words: readonly Word[];
      readonly body: readonly Statement[] | undefined;
    }
  | {
      readonly kind: "if";
      readonly branches: readonly {
        readonly condition: readonly Statement[];
        readonly body: readonly Statement[];
      }[];
      readonly otherwise: readonly Statement[];
    }
  | {
      readonly kind: "while";
      /** `until` if false. */
      readonly as: boolean;
      readonly condition: readonly Statement[];
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: "for";
      readonly variable: string;
      readonly words: readonly Word[];
      readonly body: readonly Statement[];
    }
  | { readonly kind: "function"; readonly name: string; readonly body: readonly Statement[] };
