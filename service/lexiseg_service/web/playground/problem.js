// Refusals of an engine: a busy one is asked again, the others are told in words.

import { $, state, tell } from "./page.js";

const MIN_TRIES = 8;
const MAX_RETRY_TIME = 60_000; // milliseconds; a model may take longer to load than Retry-After says
const MAX_WAIT = 60; // seconds that are waited for without a click on the button
const MAX_SHOWN = 24; // characters of a refused word

export class Problem extends Error {
  /** `after`: seconds after which a busy service may be asked again, or null. */
  constructor(status, type, detail, after = null) {
    super(detail);
    this.status = status;
    this.type = type;
    this.after = after;
  }
}

/** The result of `act`; a refusal that names a time is retried then. */
export async function patiently(act, signal) {
  const began = performance.now();
  for (let tries = 1; ; tries++) {
    try {
      return await act();
    } catch (problem) {
      const seconds = problem instanceof Problem ? problem.after : null;
      const enough = tries >= MIN_TRIES && performance.now() - began > MAX_RETRY_TIME;
      if (!seconds || seconds > MAX_WAIT || enough) throw problem;
      tell(`${why(problem)}. Asking again in ${seconds} s.`);
      await pause(seconds, signal);
      tell("Asking again…");
    }
  }
}

/** The text of a final refusal; shows the button where a retry may help. */
export function wordsOf(problem, retry) {
  if (problem.after || !problem.status) offerRetry(retry);
  if (problem.status === 401) return $("key").value ? "The service does not know this API key." : "The service asks for an API key: enter it under More.";
  if (!problem.after) return named(problem.message);
  return `${why(problem)}. It may be asked again in ${timeOf(problem.after)}.`;
}

function why({ status, message }) {
  return `The service is ${status === 503 ? "not ready" : "busy"}: ${message}`;
}

/** `classes.0: ...` with the word in place of its index. */
function named(message) {
  return message.replace(/^classes\.(\d+)[^:]*/, (place, index) => {
    const name = state.words[index]?.name;
    if (!name) return place;
    return name.length > MAX_SHOWN ? `${name.slice(0, MAX_SHOWN)}…` : name;
  });
}

/** Shows a refusal where no answer is awaited. */
export function refusal(problem) {
  if (!(problem instanceof Problem)) throw problem;
  tell(problem.message, true);
}

export function withdraw() {
  $("again").hidden = true;
  $("again").onclick = null;
}

function offerRetry(act) {
  $("again").hidden = false;
  $("again").onclick = () => {
    withdraw();
    act();
  };
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, 1000 * seconds);
    offerRetry(resolve);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  }).finally(withdraw);
}

function timeOf(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.ceil(seconds / 60)} minutes` : `${Math.ceil(seconds / 3600)} hours`;
}
