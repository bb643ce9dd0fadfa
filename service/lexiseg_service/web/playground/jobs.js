// Jobs and trainings of a service that offers them: it asks about the project's pictures, or tunes a model on them.

import { flat } from "./document.js";
import { download, remove, request } from "./engine/server.js";
import { projectFiles, save } from "./export.js";
import { distinct } from "./formats/set.js";
import { zip } from "./formats/zip.js";
import { $, button, element, emit, page, refill, refuse, state, tell, timeOf, wordsQuestion } from "./page.js";
import { all, fileOf, later } from "./project.js";

const POLL = 2000; // milliseconds
const FORMATS = { coco: "coco.json", yolo: "yolo.zip", jsonl: "answers.jsonl" };
const TRAINED_ON = /^(images|annotations)\//; // files of the project
const LINES = { jobs: lineOfJob, trainings: lineOfTraining };
const waiting = {};
const running = new Set(); // ids of trainings that run, or whose model is not in the list yet
const isOpen = ({ state: stage }) => ["waiting", "running"].includes(stage);

/** Shows the jobs or trainings, again and again while one runs; nothing where the service offers none to this key. */
async function list(kind) {
  clearTimeout(waiting[kind]);
  const some = state.features.includes(kind) && (await request("GET", `/v1/${kind}`).catch(() => ({})))[kind];
  $(kind).hidden = !some;
  if (!some) return;
  refill(`${kind}-list`, some.map((one) => element("li", {}, ...LINES[kind](one))));
  if ($(kind).open && some.some((one) => isOpen(one) || running.has(one.id))) waiting[kind] = setTimeout(list, POLL, kind);
}

const text = (textContent) => element("p", { className: "hint", textContent });
const end = (kind, id, what) =>
  button("Delete", () => remove(`/v1/${kind}/${id}`).then(() => list(kind)), { ariaLabel: `Delete the ${what}`, name: `delete ${id}` });

function lineOfJob({ id, total, done, failed, seconds_left: left, detail }) {
  const saved = async (to) => save(await download(`/v1/jobs/${id}/results?to=${to}`), FORMATS[to]);
  const formats = Object.keys(FORMATS).map((to) => button(to, () => saved(to), { name: `${to} ${id}` }));
  const rest = left ? `; about ${timeOf(Math.ceil(left))} left` : "";
  const line = `${done} of ${total} pictures${failed ? `, ${failed} failed` : ""}${rest}${detail ? `: ${detail}` : ""}`;
  return [text(line), element("div", { className: "row" }, ...formats, end("jobs", id, `job of ${total} pictures`))];
}

function lineOfTraining(training) {
  const { id, name, state: stage, detail, found, figures } = training;
  if (isOpen(training)) running.add(id);
  else if (stage !== "done" || state.models.some((one) => one.name === name)) running.delete(id);
  else if (running.has(id)) emit("models"); // workers load it some seconds later
  const cells = (values) => element("tr", {}, ...values.map((value) => element("td", { textContent: value ?? "" })));
  const rows = (figures?.changes ?? []).map(({ measure, ...one }) => {
    const [before, after, low, high] = [one.before, one.after, one.low, one.high].map((value) => value?.toFixed(1));
    return [measure, before, after, low && `${low} to ${high}`];
  });
  if (rows.length) rows.unshift(["%", "before", "after", "change, 95 %"]);
  const log = button("Log", async () => save(await download(`/v1/trainings/${id}/log`), `${name}.log`), { name: `log ${id}` });
  const row = element("div", { className: "row" }, log, end("trainings", id, `training of ${name}`));
  const holds = found ? ` Pictures: ${found.classes.map((one) => `${one.name} on ${one.pictures}`).join(", ")}; ${found.left_out} left out.` : "";
  return [text(`${name}: ${stage}${detail ? `. ${detail}` : ""}${holds}`), element("table", {}, ...rows.map(cells)), row];
}

/** Sends an archive of `files` with a question, and shows the list. */
async function create(kind, files, query, taken) {
  const form = new FormData();
  form.append("archive", await zip(files), "pictures.zip");
  form.append("request", JSON.stringify(query));
  const made = await request("POST", `/v1/${kind}`, form).catch((problem) => refuse(problem, () => create(kind, files, query, taken)));
  if (made) tell(taken);
  await list(kind);
}

$("run-job").addEventListener("click", () => later("The job", () => {
  const [question, pictures] = [wordsQuestion(), all()];
  if (!question || !pictures.length) return tell("Choose pictures first, and type the words or choose everything.", true);
  const names = distinct(pictures.map(({ name }) => name));
  const files = pictures.map((picture, index) => [names[index], () => fileOf(picture)]);
  return create("jobs", files, { question, to: "coco" }, `The service asks about ${pictures.length} pictures; this page may be closed meanwhile.`);
}));
$("train").addEventListener("submit", ({ submitter }) => later("The training", () => {
  const files = projectFiles(all(), flat); // a trainer puts the smaller of two objects above
  const query = { name: $("new-model").value.trim(), ...($("model").value && { start: $("model").value }), dry_run: submitter?.id === "check" };
  if (files) create("trainings", [...files].filter(([path]) => TRAINED_ON.test(path)), query, "The service works on them; this page may be closed meanwhile.");
}));
for (const kind of Object.keys(LINES)) {
  $(kind).addEventListener("toggle", () => list(kind));
  page.addEventListener("offered", () => list(kind));
  list(kind);
}
