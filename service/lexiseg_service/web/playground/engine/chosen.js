// The engine that answers this page; `lexiseg site` writes the browser's own in its place.

export * from "./server.js";
