// COCO JSON of a whole set.

import { jsonList, rounded } from "./set.js";

export function* coco({ pictures, categories }) {
  yield ["annotations/instances_default.json", () => {
    const images = pictures.map(({ name, size: [height, width], reviewed }, index) => ({ id: index + 1, file_name: name, height, width, reviewed }));
    const all = pictures.flatMap(({ segments }, picture) => segments.map((one) => ({ one, picture })));
    const annotations = all.map(({ one, picture }, index) => ({
      id: index + 1,
      image_id: picture + 1,
      category_id: one.category + 1,
      segmentation: { size: one.mask.size, counts: one.mask.counts },
      area: one.area,
      bbox: one.bbox,
      iscrowd: 0,
      score: rounded(one.score),
      ...(one.track_id != null && { track_id: one.track_id }),
    }));
    const named = JSON.stringify(categories.map((name, index) => ({ id: index + 1, name })));
    return `{\n"info":{"description":"lexiseg"},\n"categories":${named},\n"images":${jsonList(images)},\n"annotations":${jsonList(annotations)}\n}\n`;
  }];
}
