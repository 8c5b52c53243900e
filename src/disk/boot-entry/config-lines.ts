/** Lines of the form `key value`, without empty ones and comments. No regular expression here takes longer than the text. */
export function* configLines(text: string): Generator<{ key: string; value: string }> {
  for (const line of text.split("\n")) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const end = trimmed.search(/\s/);
    if (end === -1) yield { key: trimmed, value: "" };
    else yield { key: trimmed.slice(0, end), value: trimmed.slice(end).trimStart() };
  }
}
