// A busy service says when to come again: that is told, waited for or cut short by a button, and asked again.

import { Problem } from "/playground/api.js";
import { $, tell } from "/playground/page.js";

const TRIES = 8;
const LONGEST = 60; // seconds that are waited for without being told to

/** What `act` gives; a refusal that names a time is tried again then. */
export async function patiently(act, signal) {
  for (let tries = 1; ; tries++) {
    try {
      return await act();
    } catch (problem) {
      const seconds = problem instanceof Problem ? problem.after : null;
      if (!seconds || seconds > LONGEST || tries === TRIES) throw problem;
      tell(`The service is busy: ${problem.message}. Asking again in ${seconds} s.`);
      await pause(seconds, signal);
      tell("Asking again…");
    }
  }
}

/** What is told of a refusal in the end; with the button where asking again may help. */
export function wordsOf(problem, again) {
  if (problem.after || !problem.status) offerAgain(again);
  if (!problem.after) return problem.message;
  return `The service is busy: ${problem.message}. It may be asked again in ${timeOf(problem.after)}.`;
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
