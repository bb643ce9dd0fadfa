// Jobs of a service that offers them: it asks about the project's pictures in the background.

import { download, remove, request } from "../engine/server.js";
import { save } from "./export.js";
import { distinct } from "../formats/set.js";
import { zip } from "../formats/zip.js";
import { $, button, element, page, refill, refuse, state, tell, timeOf, wordsQuestion } from "../page.js";
import { all, fileOf, later } from "./project.js";

const POLL = 2000; // milliseconds
const FORMATS = { coco: "coco.json", yolo: "yolo.zip", jsonl: "answers.jsonl" };
let waiting = 0;

/** Shows the jobs, again and again while one runs; nothing where the service offers none to this key. */
async function list() {
  clearTimeout(waiting);
  const { jobs } = state.features.includes("jobs") ? await request("GET", "/v1/jobs").catch(() => ({})) : {};
  $("jobs").hidden = !jobs;
  if (!jobs) return;
  refill("jobs-list", jobs.map((one) => element("li", {}, ...line(one))));
  if ($("jobs").open && jobs.some((one) => ["waiting", "running"].includes(one.state))) waiting = setTimeout(list, POLL);
}

function line({ id, total, done, failed, seconds_left: left, detail }) {
  const saved = (to) => download(`/v1/jobs/${id}/results?to=${to}`).then((content) => save(content, FORMATS[to]), (problem) => refuse(problem, () => saved(to)));
  const formats = Object.keys(FORMATS).map((to) => button(to, () => saved(to), { name: `${to} ${id}` }));
  const rest = left ? `; about ${timeOf(Math.ceil(left))} left` : "";
  const textContent = `${done} of ${total} pictures${failed ? `, ${failed} failed` : ""}${rest}${detail ? `: ${detail}` : ""}`;
  const last = button("Delete", () => remove(`/v1/jobs/${id}`).then(list), { ariaLabel: `Delete the job of ${total} pictures`, name: `delete ${id}` });
  return [element("p", { className: "hint", textContent }), element("div", { className: "row" }, ...formats, last)];
}

async function create(files, query) {
  const form = new FormData();
  form.append("archive", await zip(files), "pictures.zip");
  form.append("request", JSON.stringify(query));
  const made = await request("POST", "/v1/jobs", form).catch((problem) => refuse(problem, () => create(files, query)));
  if (made) tell(`The service asks about ${files.length} pictures; this page may be closed meanwhile.`);
  await list();
}

$("run-job").addEventListener("click", () => later("The job", () => {
  const [question, pictures] = [wordsQuestion(), all()];
  if (!question || !pictures.length) return tell("Choose pictures first, and type the words or choose everything.", true);
  const names = distinct(pictures.map(({ name }) => name));
  return create(pictures.map((picture, index) => [names[index], () => fileOf(picture)]), { question, to: "coco" });
}));
$("jobs").addEventListener("toggle", list);
page.addEventListener("offered", list);
list();
