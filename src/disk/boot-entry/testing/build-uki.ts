/** A unified kernel image as far as its sections go. Microsoft PE/COFF specification. */
export function buildUki(sections: Readonly<Record<string, string | Uint8Array>>): Uint8Array {
  const PE = 0x80;
  const OPTIONAL_HEADER_SIZE = 112;
  const SECTION_HEADER_SIZE = 40;
  const FILE_ALIGNMENT = 512;
  const align = (value: number): number => Math.ceil(value / FILE_ALIGNMENT) * FILE_ALIGNMENT;
  const contents = Object.entries(sections).map(([name, content]) => ({
    name,
    bytes: typeof content === "string" ? new TextEncoder().encode(content) : content,
  }));
  const table = PE + 24 + OPTIONAL_HEADER_SIZE;
  let offset = align(table + contents.length * SECTION_HEADER_SIZE);
  const image = new Uint8Array(offset + contents.reduce((sum, { bytes }) => sum + align(bytes.length), 0));
  const view = new DataView(image.buffer);
  image.set(new TextEncoder().encode("MZ"));
  view.setUint32(0x3c, PE, true);
  image.set(new TextEncoder().encode("PE\0\0"), PE);
  view.setUint16(PE + 4, 0x8664, true);
  view.setUint16(PE + 6, contents.length, true);
  view.setUint16(PE + 20, OPTIONAL_HEADER_SIZE, true);
  for (const [index, { name, bytes }] of contents.entries()) {
    const header = table + index * SECTION_HEADER_SIZE;
    image.set(new TextEncoder().encode(name), header);
    view.setUint32(header + 8, bytes.length, true);
    view.setUint32(header + 16, align(bytes.length), true);
    view.setUint32(header + 20, offset, true);
    image.set(bytes, offset);
    offset += align(bytes.length);
  }
  return image;
}
