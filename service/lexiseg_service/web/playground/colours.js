// Colours of classes, and a pattern beside each: hue alone tells nothing to one in twelve men.

const GOLDEN_ANGLE = 137.508;

/** [r, g, b] of 0..255 for the class or prompt of that number. */
export function colourOf(index) {
  const hue = (210 + index * GOLDEN_ANGLE) % 360;
  const light = [0.55, 0.68, 0.44][index % 3];
  return fromHsl(hue, 0.72, light);
}

/** 0: plain, 1: stripes, 2: dots. */
export function patternOf(index) {
  return index % 3;
}

export function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

function fromHsl(hue, saturation, light) {
  const spread = saturation * Math.min(light, 1 - light);
  return [0, 8, 4].map((step) => {
    const place = (step + hue / 30) % 12;
    return Math.round(255 * (light - spread * Math.max(-1, Math.min(place - 3, 9 - place, 1))));
  });
}
