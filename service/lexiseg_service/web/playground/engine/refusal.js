// What the engine in the browser cannot do, in words for the page.

export class Refusal extends Error {
  constructor(type, detail) {
    super(detail);
    this.type = type;
  }
}
