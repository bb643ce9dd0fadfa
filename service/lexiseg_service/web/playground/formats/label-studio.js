// Label Studio tasks with the segments as predictions, of reviewed pictures as annotations, as brushes: run lengths of the mask's RGBA bytes, packed as bits.

import { jsonList, rounded } from "./set.js";
import { brushed } from "../masks/kernel.js";
import { pixelsOf } from "../masks/runs.js";

const LOCAL_FILES = "/data/local-files/?d="; // from where Label Studio serves files of its own machine
const quoted = (path) => encodeURIComponent(path).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`).replaceAll("%2F", "/");

export function* labelStudio({ pictures }) {
  yield ["label-studio.json", () => jsonList(pictures.map(taskOf))];
}

function taskOf({ segments, size: [height, width], name, model, reviewed }) {
  const result = segments.map((one) => ({
    id: `segment-${one.id}`,
    type: "brushlabels",
    from_name: "label",
    to_name: "image",
    original_width: width,
    original_height: height,
    image_rotation: 0,
    score: rounded(one.score),
    value: { format: "rle", rle: brushed(pixelsOf(one.mask).cells), brushlabels: [one.name] },
  }));
  const score = result.length ? rounded(result.reduce((sum, one) => sum + one.score, 0) / result.length) : 0;
  const made = reviewed ? { annotations: [{ result }] } : { predictions: [{ model_version: model, score, result }] };
  return { data: { image: LOCAL_FILES + quoted(name) }, ...made };
}
