// The canvas: zoom, pan, overlays, and pointer and keyboard input in pixels of the picture.

import { $, emit, page, prompted, state } from "./page.js";

const NEAR = 6; // screen pixels; a shorter drag is a click
const MAX_ZOOM = 32;
const ZOOM_STEP = 1.5; // factor of one key press
const LONG_PRESS = 500; // milliseconds of a touch
const STEPS_PER_SIDE = 1000; // the brush's slider counts in this share of the longer side
const signs = $("tools").elements.sign; // radio buttons
const MAX_DRAWN = 2560; // pixels; width of the copy that is drawn at low zoom
const DARK = "rgb(0 0 0 / .72)";

class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.pointers = new Map();
    this.image = null;
    this.clear();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    canvas.addEventListener("pointerleave", () => {
      this.at = null; // pixel under the pointer
      emit("hover", null);
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    const acts = { pointerdown: this.#down, pointermove: this.#move, pointerup: this.#up, pointercancel: this.#up, wheel: this.#wheel, keydown: this.#key };
    for (const [name, act] of Object.entries(acts)) canvas.addEventListener(name, (event) => this.image && act.call(this, event), { passive: false });
  }

  get adding() {
    return ["add", "brush"].includes(signs.value);
  }

  /** The radius of the brush in pixels of the picture; 0 where a click is a point. */
  get brush() {
    if (state.mode !== "picture" || !["brush", "eraser"].includes(signs.value)) return 0;
    return Math.max(0.5, ($("radius").valueAsNumber / STEPS_PER_SIDE) * Math.max(this.image.width, this.image.height));
  }

  show(image) {
    // copy: reduced image; cross: keyboard cursor; corner: first corner of a box begun by a key or a drag; stroke: points of the brush.
    Object.assign(this, { image, copy: null, cross: null, corner: null, stroke: null });
    this.outline = null; // SVG path of the preview
    this.clear();
    this.canvas.style.setProperty("--shape", String(image.width / image.height)); // saves space on small screens
    this.fit();
    if (!(image instanceof ImageBitmap) || image.width <= MAX_DRAWN) return;
    createImageBitmap(image, { resizeWidth: MAX_DRAWN, resizeQuality: "medium" }).then((copy) => (this.copy = this.image === image ? copy : this.copy));
  }

  clear() {
    this.fills = null;
    this.lines = null;
    this.names = []; // {x, y, text, colour}
    this.draw();
  }

  /** Keeps zoom and middle, as where a tool takes a line of its own. */
  #resize() {
    if (!this.image) return;
    const middle = this.#pixel({ x: this.canvas.width / 2, y: this.canvas.height / 2 });
    this.fit(this.zoom / this.#least(), middle);
  }

  /** Shows the whole image, or `closer` times as large around a pixel. */
  fit(closer = 1, { x, y } = { x: 0, y: 0 }) {
    const ratio = window.devicePixelRatio;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.zoom = closer * this.#least();
    this.#put(this.canvas.width / 2 - x * this.zoom, this.canvas.height / 2 - y * this.zoom);
    this.draw();
  }

  draw() {
    this.queued ??= requestAnimationFrame(() => this.#drawNow());
  }

  #drawNow() {
    const context = this.canvas.getContext("2d");
    const { image, zoom } = this;
    this.queued = null;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!image) return;
    context.setTransform(zoom, 0, 0, zoom, this.left, this.top);
    context.imageSmoothingEnabled = zoom < 3;
    const enough = this.copy?.width >= zoom * image.width;
    this.paint(context, enough ? this.copy : image, image.width, image.height);
    this.#drawMarks(context, 1.5 / zoom);
  }

  paint(context, image, width, height) {
    context.drawImage(image, 0, 0, width, height);
    if (!this.fills) return;
    context.globalAlpha = $("opacity").valueAsNumber;
    context.drawImage(this.fills, 0, 0, width, height);
    context.globalAlpha = 1;
    context.drawImage(this.lines, 0, 0, width, height);
  }

  /** Draws prompts, names and the unfinished box; `thin`: line width in pixels of the image. */
  #drawMarks(context, thin) {
    const frame = (/** @type {number[]} */ [x0, y0, x1, y1]) => this.#line(context, `M${x0} ${y0}H${x1}V${y1}H${x0}Z`, thin);
    if (this.outline) this.#line(context, this.outline, thin / 1.5); // thinner, to show the edge below
    const pending = state.pending.filter(({ picture }) => picture === state.picture);
    for (const prompt of state.mode === "picture" ? [...prompted().map((one) => one.prompt), ...pending] : []) {
      if (prompt.box) frame(prompt.box);
      for (const point of prompt.points ?? []) this.#dot(context, point, thin);
    }
    this.#writeNames(context);
    const from = this.corner;
    const to = this.cross ?? this.dragged;
    if (from && to) frame(boxOf(from, to));
    if (this.brush) this.#drawBrush(context, thin);
    if (this.cross) this.#line(context, `M0 ${this.cross.y}H${this.image.width}M${this.cross.x} 0V${this.image.height}`, thin);
  }

  #drawBrush(context, thin) {
    const { brush: radius, stroke } = this;
    const { x, y } = this.cross ?? this.at ?? { x: NaN, y: NaN };
    if (x >= 0) this.#line(context, `M${x - radius} ${y}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0`, thin / 1.5);
    if (!stroke) return;
    Object.assign(context, { strokeStyle: stroke.adds ? "rgb(255 255 255 / .6)" : "rgb(0 0 0 / .6)", lineWidth: 2 * radius, lineCap: "round", lineJoin: "round" });
    context.stroke(new Path2D(`M${[stroke.points[0], ...stroke.points].map((one) => `${one.x} ${one.y}`).join("L")}`));
  }

  #line(context, path, thin) {
    for (const [colour, width] of [["#000", 3 * thin], ["#fff", thin]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: width });
      context.stroke(new Path2D(path));
    }
  }

  #dot(context, { x, y, positive }, thin) {
    const r = 4 * thin;
    const circle = `M${x - r} ${y}a${r} ${r} 0 1 1 ${2 * r} 0a${r} ${r} 0 1 1 ${-2 * r} 0`;
    const dot = new Path2D(`${circle}M${x - 2.5 * thin} ${y}h${5 * thin}` + (positive ? `M${x} ${y - 2.5 * thin}v${5 * thin}` : ""));
    Object.assign(context, { fillStyle: positive ? "#16a34a" : "#dc2626", strokeStyle: "#fff", lineWidth: thin });
    context.fill(dot);
    context.stroke(dot);
  }

  /** Writes names at a constant size inside the canvas; a name that would overlap others in every row is left out. */
  #writeNames(context) {
    const high = 13 * window.devicePixelRatio;
    const tall = 1.6 * high;
    const taken = []; // {left, top, right}
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.font = `600 ${high}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (const { text, colour, ...place } of this.names) {
      const wide = context.measureText(text).width + 1.9 * high;
      const { x: centre, y: middle } = this.#onCanvas(place);
      if (centre < 0 || middle < 0 || centre > this.canvas.width || middle > this.canvas.height) continue;
      const left = within(centre - wide / 2, this.canvas.width - wide);
      const isFree = (top) => taken.every((one) => left >= one.right || left + wide <= one.left || Math.abs(top - one.top) >= tall);
      const rows = [0, 1, -1, 2, -2].map((row) => within(middle + (row - 0.5) * tall, this.canvas.height - tall));
      const top = rows.find(isFree);
      if (top === undefined) continue;
      taken.push({ left, top, right: left + wide });
      for (const [ink, at, side, size] of [[DARK, 0, wide, tall], [colour, 0.45 * high, 0.6 * high, 0.6 * high]]) {
        context.fillStyle = ink;
        context.beginPath();
        context.roundRect(left + at, top + (tall - size) / 2, side, size, size / 2);
        context.fill();
      }
      context.fillStyle = "#fff";
      context.fillText(text, left + 1.3 * high, top + 0.85 * high);
    }
    context.restore();
  }

  #least() {
    return Math.min(this.canvas.width / this.image.width, this.canvas.height / this.image.height);
  }

  #onCanvas({ x, y }) {
    return { x: this.left + x * this.zoom, y: this.top + y * this.zoom };
  }

  #pixel({ x, y }) {
    const { image, zoom } = this;
    return { x: within((x - this.left) / zoom, image.width), y: within((y - this.top) / zoom, image.height) };
  }

  #down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, (this.began = placeOf(event)));
    emit("hover", null);
    Object.assign(this, { cross: null, dragged: null });
    this.pans = event.button === 1 || event.altKey || this.pointers.size === 2;
    const pixel = this.#pixel(this.began);
    this.corner = this.pans || this.brush ? null : pixel;
    this.stroke = this.brush && !this.pans ? { points: [pixel], radius: this.brush, adds: this.#adds(event) } : null;
    clearTimeout(this.pressing);
    if (!this.corner || event.pointerType !== "touch") return;
    this.pressing = setTimeout(() => { // a long touch is a click with the opposite sign
      if (!this.corner || this.dragged) return;
      emit("shown", { ...this.corner, positive: !this.adding });
      this.corner = null;
      navigator.vibrate?.(20);
      this.draw();
    }, LONG_PRESS);
  }

  #move(event) {
    const place = placeOf(event);
    const pixel = this.#pixel(place);
    const before = this.pointers.get(event.pointerId);
    this.at = event.pointerType === "touch" ? null : pixel;
    if (this.brush) this.draw();
    if (!before) return event.pointerType !== "touch" && emit("hover", pixel);
    if (this.pointers.size === 2) this.#pinch(event.pointerId, before, place);
    else if (this.pans) this.#put(this.left + place.x - before.x, this.top + place.y - before.y);
    else if (this.stroke) this.stroke.points.push(pixel);
    else if (this.corner && distance(place, this.began) > NEAR) this.dragged = pixel;
    this.pointers.set(event.pointerId, place);
    this.draw();
  }

  #up(event) {
    clearTimeout(this.pressing);
    if (!this.pointers.delete(event.pointerId)) return;
    const { corner, dragged, stroke } = this;
    const positive = this.#adds(event);
    Object.assign(this, { corner: null, dragged: null, stroke: null });
    if (event.type === "pointerup" && stroke) emit("stroke", stroke);
    if (event.type === "pointerup" && corner) {
      if (dragged) this.#box(corner, dragged, positive);
      else emit("shown", { ...corner, positive });
    }
    this.draw();
  }

  /** Whether a click, a stroke or a key adds: Shift and the right button do the opposite. */
  #adds(event) {
    return this.adding !== (event.shiftKey || event.button === 2);
  }

  #box(from, to, positive = this.adding) {
    const box = boxOf(from, to);
    const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    if (box[2] > box[0] && box[3] > box[1]) emit("shown", { x, y, positive, box });
  }

  /** Moves the image's corner, within the canvas; a side smaller than the canvas is centred. */
  #put(left, top) {
    const bounded = (value, room) => (room > 0 ? room / 2 : -within(-value, -room));
    this.left = bounded(left, this.canvas.width - this.image.width * this.zoom);
    this.top = bounded(top, this.canvas.height - this.image.height * this.zoom);
  }

  #pinch(moving, before, now) {
    const other = [...this.pointers].find(([id]) => id !== moving)[1];
    const apart = (place) => Math.max(1, distance(place, other));
    this.#scale(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    this.#put(this.left + (now.x - before.x) / 2, this.top + (now.y - before.y) / 2);
  }

  #wheel(event) {
    event.preventDefault();
    this.#scale(Math.exp(-event.deltaY / 400), placeOf(event));
    this.draw();
  }

  #scale(factor, around) {
    const least = this.#least();
    const zoom = Math.min(Math.max(this.zoom * factor, least), Math.max(MAX_ZOOM, least));
    const left = around.x - ((around.x - this.left) * zoom) / this.zoom;
    const top = around.y - ((around.y - this.top) * zoom) / this.zoom;
    this.zoom = zoom;
    this.#put(left, top);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? 1 : (Math.max(this.image.width, this.image.height) / 40) * (this.#least() / this.zoom); // a fortieth of what is visible
    const actions = {
      ArrowLeft: () => this.#step(-step, 0),
      ArrowRight: () => this.#step(step, 0),
      ArrowUp: () => this.#step(0, -step),
      ArrowDown: () => this.#step(0, step),
      "+": () => this.#zoomBy(ZOOM_STEP),
      "=": () => this.#zoomBy(ZOOM_STEP),
      "-": () => this.#zoomBy(1 / ZOOM_STEP),
      0: () => this.fit(),
      n: () => emit("next"),
      escape: () => {
        Object.assign(this, { corner: null, cross: null });
        emit("clear");
      },
      backspace: () => emit("undo"),
      ...(this.cross && {
        enter: () => {
          const positive = this.#adds(event);
          if (this.brush) emit("stroke", { points: [{ ...this.cross }], radius: this.brush, adds: positive });
          else emit("shown", { ...this.cross, positive });
        },
        b: () => {
          if (this.corner) this.#box(this.corner, this.cross);
          this.corner = this.corner ? null : { ...this.cross };
        },
      }),
    };
    const act = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!act) return;
    act();
    event.preventDefault();
    this.draw();
  }

  #step(x, y) {
    const at = this.cross ?? { x: this.image.width / 2, y: this.image.height / 2 };
    this.cross = { x: within(at.x + x, this.image.width), y: within(at.y + y, this.image.height) };
    const seen = this.#onCanvas(this.cross); // scrolls just enough to keep it visible
    const beyond = (place, size) => Math.min(place, 0) + Math.max(place - size, 0);
    this.#put(this.left - beyond(seen.x, this.canvas.width), this.top - beyond(seen.y, this.canvas.height));
    emit("hover", this.cross);
  }

  #zoomBy(factor) {
    const middle = { x: this.canvas.width / 2, y: this.canvas.height / 2 };
    this.#scale(factor, this.cross ? this.#onCanvas(this.cross) : middle);
  }
}

export const view = /** @type {any} */ (new View($("canvas")));
page.addEventListener("changed", () => view.draw());
page.addEventListener("turned", () => state.mode === "picture" && state.picture && view.show(state.picture.image));
$("opacity").addEventListener("input", () => view.draw());

const within = (value, most) => Math.max(Math.min(value, most), 0);
const placeOf = ({ offsetX, offsetY }) => ({ x: offsetX * window.devicePixelRatio, y: offsetY * window.devicePixelRatio });
const distance = (one, other) => Math.hypot(one.x - other.x, one.y - other.y);
const boxOf = (from, to) => [Math.min(from.x, to.x), Math.min(from.y, to.y), Math.max(from.x, to.x), Math.max(from.y, to.y)];
