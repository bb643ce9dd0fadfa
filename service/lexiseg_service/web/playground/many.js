// Many pictures, asked about one after the other with the words of the page; the answers become one zip.

import * as engine from "./engine/server.js";
import { filesOf, save } from "./export.js";
import { zip } from "./formats.js";
import { $, baseName, patiently, Problem, tell, timeOf, wordsOf, wordsQuestion } from "./page.js";

const MAX_BYTES = 4e9; // of a zip
const OF_A_PICTURE = [413, 415, 422]; // refusals after which others may be taken
const MAX_NAMES = 3; // of pictures that are left out

let control = null;

$("cancel").addEventListener("click", () => control.abort());

/** `opened` gives a file as a picture. */
export async function segmentAll(files, opened) {
  control?.abort();
  const question = wordsQuestion();
  if (!question) return tell("Type the words first, or choose everything.", true);
  if (!files.length) return tell("There are no pictures among these files.", true);
  if (files.reduce((sum, { size }) => sum + size, 0) > MAX_BYTES) return tell("More than 4 GB do not fit into a zip: choose fewer pictures.", true);
  const { signal } = (control = new AbortController());
  const least = Number($("threshold").value);
  const done = []; // run lengths of masks alone stay in memory
  const take = async (file, path) => {
    const { image, ...picture } = await opened(file);
    image.close();
    const { model, size, segments } = await patiently(() => engine.segment(picture, question, signal), signal);
    const shown = segments.filter(({ score }) => score >= least).map((one) => ({ ...one, name: one.label ?? "object" }));
    const name = baseName(path) + picture.file.name.slice(baseName(picture.file.name).length);
    done.push({ name, size, model, segments: shown, file: picture.file });
  };
  $("progress").hidden = false;
  $("progress").scrollIntoView({ block: "nearest" });
  $("done-of").max = files.length;
  tell(`Looking at ${files.length} pictures…`);
  const refused = [];
  const how = await each(files, take, refused, signal);
  if (signal !== control.signal) return; // others were chosen
  $("progress").hidden = true;
  tell(`${how} ${done.length} of ${files.length} pictures are done.${leftOut(refused)}`, how !== "");
  if (done.length) save(await zip(filesOf(done)), "pictures.zip");
}

/** Takes file after file, and adds to `refused` what was and why; returns how it ended, if not by itself. */
async function each(files, take, refused, signal) {
  const began = performance.now();
  try {
    for (const [index, [file, path]] of withPaths(files).entries()) {
      const left = Math.ceil(((performance.now() - began) / 1000 / index) * (files.length - index));
      $("done-of").value = index;
      $("doing").textContent = `${index + 1} of ${files.length}: ${path}${index ? `; about ${timeOf(left)} left` : ""}`;
      signal.throwIfAborted();
      await take(file, path).catch((problem) => {
        if (!OF_A_PICTURE.includes(problem.status)) throw problem;
        refused.push(problem.message.startsWith(file.name) ? problem.message : `${path}: ${problem.message}`);
      });
    }
    return "";
  } catch (problem) {
    if (problem.name === "AbortError") return "Cancelled.";
    if (problem instanceof Problem) return wordsOf(problem, () => null);
    throw problem;
  }
}

function leftOut(refused) {
  const more = refused.length - MAX_NAMES;
  return refused.length ? ` Left out: ${refused.slice(0, MAX_NAMES).join(" ")}${more > 0 ? ` And ${more} more.` : ""}` : "";
}

/** `[file, path]`: of a chosen folder the path inside it; names without their endings are there once. */
function withPaths(files) {
  const seen = new Set();
  return files.map((file) => {
    const path = file.webkitRelativePath.split("/").slice(1).join("/") || file.name;
    let [base, count] = [baseName(path), 1];
    while (seen.has(base)) base = `${baseName(path)}-${(count += 1)}`;
    seen.add(base);
    return [file, base + path.slice(baseName(path).length)];
  });
}
