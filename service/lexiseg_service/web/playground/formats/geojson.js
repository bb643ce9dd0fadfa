// GeoJSON with one feature for each segment, in pixels.

import { polygonsOf } from "../masks/kernel.js";
import { rounded } from "./set.js";

export function* geojson({ pictures }) {
  for (const { base, segments } of pictures) {
    yield [`geojson/${base}.geojson`, () => `${JSON.stringify({ type: "FeatureCollection", features: segments.map(featureOf) })}\n`];
  }
}

function featureOf({ id, label = null, category, score, area, mask, track_id }) {
  const parts = polygonsOf(mask).map((rings) => rings.map((ring) => [...ring, ring[0]]));
  const geometry = parts.length === 1 ? { type: "Polygon", coordinates: parts[0] } : { type: "MultiPolygon", coordinates: parts };
  const class_index = label === null ? null : category;
  return { type: "Feature", id, geometry, properties: { label, class_index, score: rounded(score), area, ...(track_id != null && { track_id }) } };
}
