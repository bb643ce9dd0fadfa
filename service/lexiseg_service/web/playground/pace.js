// How fast answers to a clip's frames come.

const KEPT = 12; // answers that a rate is of

export class Pace {
  reset() {
    this.times = [];
  }

  /** A line on the answer that took `milliseconds`, and whose frame was `late` seconds old when it came. */
  after(milliseconds, answer, late) {
    this.times = [...(this.times ?? []), performance.now()].slice(-KEPT);
    const [first, last] = [this.times[0], this.times.at(-1)];
    const rate = last > first ? ` ${((1000 * (this.times.length - 1)) / (last - first)).toFixed(1)} frames a second;` : "";
    const inside = answer.timings_ms.total.toFixed(0);
    return `${answer.model}:${rate} ${milliseconds.toFixed(0)} ms a frame, ${inside} ms of them in the service; ${late.toFixed(2)} s behind`;
  }
}
