// The page's elements, its one line of results, and who hears of what happens.

/** Tells `changed` (the question), `answered`, `mapped` (whose pixels are whose is known now, too), `pictured` (another
 * picture) and `turned` (another tab). */
export const page = new EventTarget();

export const $ = (id) => document.getElementById(id);

/** `detail` of `changed`: `{atOnce: true}` where a pause would only delay the answer. */
export function happened(name, detail) {
  page.dispatchEvent(new CustomEvent(name, { detail }));
}

export function tell(text, wrong = false) {
  if ($("result").textContent !== text) $("result").textContent = text; // a screen reader says it once
  $("result").classList.toggle("wrong", wrong);
}

export function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
