// Decodes files, within the limits of the service; what the browser cannot decode is decoded by the service.

import * as engine from "./engine/server.js";
import { baseName, jpegOf, modelOptions, problemOf, tell } from "./page.js";

const MIN_SIDE = 16; // pixels
export const UNSUPPORTED = /\.(heic|heif|avif|tiff?)$/i; // formats that browsers may not decode; the service does

/** The content of an example, by its file's name. */
export async function photographOf(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw problemOf("The photograph of this example is not installed with this service.");
  return answer.blob();
}

/** `{file, id, width, height, image, note}`; rejects if neither browser nor service can decode it. @returns {Promise<any>} */
export async function opened(file) {
  const name = file.name || "That";
  if (!file.size) throw problemOf(`${name} is empty.`);
  const image = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  if (image) return within(file, image);
  if (!UNSUPPORTED.test(name)) throw problemOf(`${name} is not a picture that this browser can open.`);
  return shownByService(file).catch((problem) => Promise.reject(Object.assign(problem, { message: `${name}: ${problem.message}` })));
}

async function within(file, image) {
  const [maxBytes, maxPixels] = [Number(document.body.dataset.maxBytes), Number(document.body.dataset.maxPixels)];
  const { width, height } = image;
  if (Math.min(width, height) < MIN_SIDE) throw problemOf(`${file.name} has ${width} x ${height} pixels; the service takes sides of at least ${MIN_SIDE}.`);
  for (let factor = Math.min(1, Math.sqrt(maxPixels / (width * height))); ; factor *= 0.75) {
    const [across, down] = [Math.floor(width * factor), Math.floor(height * factor)];
    if (Math.min(across, down) < MIN_SIDE) throw problemOf(`${file.name} does not fit into the ${maxBytes.toLocaleString("en")} bytes that the service takes.`);
    if (factor === 1 && file.size <= maxBytes) return { file, id: null, width, height, image };
    const smaller = await jpegOf(image, across, down, `${baseName(file.name)}.jpg`);
    if (smaller.file.size > maxBytes) continue;
    const limit = file.size > maxBytes ? `${maxBytes.toLocaleString("en")} bytes` : `${maxPixels / 1e6} megapixels`;
    const read = engine.remote ? "that the service takes: it is sent" : "that fit into a browser: it is read";
    const note = `${file.name} was larger than the ${limit} ${read} at ${across} x ${down} pixels.`;
    return { ...smaller, image: smaller.image.transferToImageBitmap(), note };
  }
}

/** The picture as the service decodes it: the overlay of an answer without segments, at most 1,280 pixels, scaled up. */
async function shownByService(file) {
  tell(`This browser cannot open ${file.name}: asking the service…`);
  const picture = { file, id: null };
  const nothing = { classes: ["picture"], threshold: 1, mask: "none", overlay: true, ...modelOptions() };
  const { overlay, size: [height, width] } = await engine.segment(picture, nothing);
  const bytes = Uint8Array.from(atob(overlay), (one) => one.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes]), { resizeWidth: width, resizeHeight: height });
  return { ...picture, width, height, image };
}
