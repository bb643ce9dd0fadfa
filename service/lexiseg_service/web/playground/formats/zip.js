// Zip files.

import { packed } from "./png.js";

const END = 22; // bytes of the record that ends a zip

// gzip writes, after a header of ten bytes, what a zip needs: the deflated content, its CRC and its size.
/** A zip of `[name, content]`, behind the files of another zip; the function `content` returns a text or a blob. One file is in memory at a time. */
export async function zip(files, other = null) {
  const [parts, central] = [[], []];
  const [shorts, longs] = [Uint16Array, Uint32Array].map((Kind) => (...values) => Kind.from(values)); // little-endian, as the format
  let [offset, count] = [0, 0];
  if (other) {
    const end = new DataView(await other.slice(-END).arrayBuffer());
    [count, offset] = [end.getUint16(10, true), end.getUint32(16, true)];
    parts.push(other.slice(0, offset));
    central.push(other.slice(offset, -END));
  }
  for (const [name, content] of files) {
    const path = new TextEncoder().encode(name);
    const zipped = await packed(await content(), "gzip").blob();
    const deflated = zipped.slice(10, -8);
    const shared = [shorts(20, 0x0800, 8, 0, 0x21), zipped.slice(-8, -4), longs(deflated.size), zipped.slice(-4), shorts(path.length, 0)];
    const local = new Blob([longs(0x04034b50), ...shared, path, deflated]);
    parts.push(local);
    central.push(longs(0x02014b50), shorts(20), ...shared, shorts(0, 0, 0), longs(0, offset), path);
    offset += local.size;
    count += 1;
  }
  const list = new Blob(central);
  const end = [longs(0x06054b50), shorts(0, 0, count, count), longs(list.size, offset), shorts(0)];
  return new Blob([...parts, list, ...end], { type: "application/zip" });
}
