// A busy service says when to come again: that is told, waited for or cut short by a button, and asked again.

import { key, Problem } from "/playground/api.js";
import { $, tell } from "/playground/page.js";
import { state } from "/playground/state.js";

const TRIES = 8; // at least,
const PATIENCE = 60_000; // and as many milliseconds: a model may take longer to load than it says
const LONGEST = 60; // seconds that are waited for without being told to
const SHOWN = 24; // characters of a word that is refused

/** What `act` gives; a refusal that names a time is tried again then. */
export async function patiently(act, signal) {
  const began = performance.now();
  for (let tries = 1; ; tries++) {
    try {
      return await act();
    } catch (problem) {
      const seconds = problem instanceof Problem ? problem.after : null;
      const enough = tries >= TRIES && performance.now() - began > PATIENCE;
      if (!seconds || seconds > LONGEST || enough) throw problem;
      tell(`${why(problem)}. Asking again in ${seconds} s.`);
      await pause(seconds, signal);
      tell("Asking again…");
    }
  }
}

/** What is told of a refusal in the end; with the button where asking again may help. */
export function wordsOf(problem, again) {
  if (problem.after || !problem.status) offerAgain(again);
  if (problem.status === 401) return key() ? "The service does not know this API key." : "The service asks for an API key: enter it under More.";
  if (!problem.after) return named(problem.message);
  return `${why(problem)}. It may be asked again in ${timeOf(problem.after)}.`;
}

function why({ status, message }) {
  return `The service is ${status === 503 ? "not ready" : "busy"}: ${message}`;
}

/** `classes.0: ...` counts words, where the page shows them. */
function named(message) {
  return message.replace(/^classes\.(\d+)[^:]*/, (place, index) => {
    const name = state.words[index]?.name;
    if (!name) return place;
    return name.length > SHOWN ? `${name.slice(0, SHOWN)}…` : name;
  });
}

/** Says what the service refuses, where nothing waits for an answer. */
export function refusal(problem) {
  if (!(problem instanceof Problem)) throw problem;
  tell(problem.message, true);
}

export function withdraw() {
  $("again").hidden = true;
  $("again").onclick = null;
}

function offerAgain(act) {
  $("again").hidden = false;
  $("again").onclick = () => {
    withdraw();
    act();
  };
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      withdraw();
      resolve();
    };
    const timer = setTimeout(done, 1000 * seconds);
    offerAgain(done);
    const left = () => {
      clearTimeout(timer);
      withdraw();
      reject(new DOMException("", "AbortError"));
    };
    signal.addEventListener("abort", left, { once: true });
  });
}

function timeOf(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.ceil(seconds / 60)} minutes` : `${Math.ceil(seconds / 3600)} hours`;
}
