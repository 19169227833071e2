// Heat maps of gates: units from bottom to top, steps from left to right, one canvas pixel a cell.

export function element(name, { dataset, style, ...properties } = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  Object.assign(made.dataset, dataset);
  for (const [key, value] of Object.entries(style ?? {})) made.style.setProperty(key, value);
  made.append(...children); // strings become text nodes, never markup
  return made;
}

const bytes = (base64) => Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const short = (value) => (value === null ? "∞" : String(Number(value.toPrecision(3))));

function paint(canvas, width, height, colour) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) image.data.set([...colour(x, y), 255], 4 * (y * width + x));
  }
  context.putImageData(image, 0, 0);
}

export class HeatMaps {
  // container: where they are drawn; tell: (text) what is at the cell pointed at; choose: (step) a column was chosen
  constructor(container, unit, tell, choose) {
    Object.assign(this, { container, unit, tell, choose, maps: [], steps: [], drawn: [], chosen: -1 });
    new ResizeObserver(() => this.layOut()).observe(container);
  }

  show(maps, steps, only) {
    this.steps = steps;
    this.maps = maps.filter((map) => !only || map.name === only);
    this.drawn = this.maps.map((map) => this.draw(map, this.maps.length > 1));
    this.labels = element("div", { className: "field", ariaHidden: "true" });
    const cut = steps.map((step) => (step.length > 14 ? `${step.slice(0, 13)}…` : step));
    this.longest = Math.max(...cut.map((label) => label.length));
    this.labels.append(...cut.map((label, at) => element("span", { title: steps[at] }, label)));
    this.labels.style.setProperty("--long", this.longest);
    const below = element("div", { className: "labels" }, element("div", { className: "units" }), this.labels);
    this.container.replaceChildren(...this.drawn.map((one) => one.figure), below);
    if (!maps.length) this.clear("This cell has no gates to show.");
    this.layOut();
    this.select(this.chosen);
  }

  clear(message) {
    this.drawn = [];
    this.labels = null;
    this.container.replaceChildren(element("p", { className: "hint" }, message));
  }

  draw(map, small) {
    const values = bytes(map.cells);
    const palette = bytes(map.palette);
    const [height, width] = [map.units.length, this.steps.length];
    const at = (step, row) => values[row * width + step];
    const canvas = element("canvas", { tabIndex: 0, role: "img" });
    canvas.setAttribute("aria-label", `${map.title}, ${height} units by ${width} ${this.unit}; arrow keys read cells`);
    const colour = (byte) => palette.subarray(3 * byte, 3 * byte + 3);
    paint(canvas, width, height, (x, y) => colour(at(x, height - 1 - y)));
    const strip = element("canvas", { ariaHidden: "true" });
    paint(strip, 256, 1, (x) => colour(x));
    const middle = (map.low + map.high) / 2;
    const scale = element("span", { className: "scale" }, short(map.low), strip, short(map.high));
    scale.title = `${short(middle)} in the middle`;
    const name = element("span", {}, map.title);
    const ends = map.scale ? ["long", "short"] : [`unit ${map.units.at(-1)}`, `${map.units[0]}`];
    const units = element("div", { className: "units" }, ...ends.map((end) => element("span", {}, end)));
    const column = element("div", { className: "column", hidden: true });
    const cell = element("div", { className: "cell", hidden: true });
    const field = element("div", { className: "field" }, canvas, column, cell);
    const row = element("div", { className: "row" }, units, field);
    const figure = element("figure", { className: "map" }, element("figcaption", {}, name, scale), row);
    const one = { map, at, canvas, field, figure, column, cell, height, step: 0, unit: height - 1, small };
    canvas.addEventListener("mousemove", (event) => this.point(one, ...this.under(one, event), false));
    canvas.addEventListener("mouseleave", () => (cell.hidden = true));
    canvas.addEventListener("click", (event) => this.choose(this.under(one, event)[0]));
    canvas.addEventListener("keydown", (event) => this.key(one, event));
    canvas.addEventListener("blur", () => (cell.hidden = true));
    return one;
  }

  under(one, event) {
    const box = one.canvas.getBoundingClientRect();
    const step = Math.floor(((event.clientX - box.left) / box.width) * this.steps.length);
    const unit = Math.floor((1 - (event.clientY - box.top) / box.height) * one.height);
    return [clamp(step, 0, this.steps.length - 1), clamp(unit, 0, one.height - 1)];
  }

  key(one, event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key === "Enter") this.choose(one.step);
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [step, unit] = moves[event.key];
    this.point(one, clamp(one.step + step, 0, this.steps.length - 1), clamp(one.unit + unit, 0, one.height - 1), true);
  }

  point(one, step, unit, reveal) {
    Object.assign(one, { step, unit });
    const { map, cell } = one;
    const byte = one.at(step, unit);
    const value = map.low + (byte / 255) * (map.high - map.low);
    // The scale of a state leaves out its few largest values: those are only known to lie beyond.
    const bound = map.low < 0 && map.name !== "g" ? { 0: "≤ ", 255: "≥ " }[byte] ?? "" : "";
    const long = map.scale ? `, remembers ${short(map.scale[unit])} ${this.unit}` : "";
    this.tell(`${map.title} at “${this.steps[step]}”: ${bound}${value.toFixed(2)} (unit ${map.units[unit]} of ${map.of}${long})`);
    cell.hidden = false;
    const high = one.rowHeight;
    cell.style.cssText = `left:${step * this.width}px;top:${(one.height - 1 - unit) * high}px;width:${this.width}px;height:${high}px`;
    if (reveal) this.reveal(step);
  }

  reveal(step) {
    if (!this.drawn.length) return;
    const left = step * this.width;
    const room = this.container.clientWidth - this.axis;
    if (left < this.container.scrollLeft) this.container.scrollLeft = left;
    if (left + this.width > this.container.scrollLeft + room) this.container.scrollLeft = left + this.width - room;
  }

  layOut() {
    if (!this.drawn.length) return;
    this.axis = this.drawn[0].figure.querySelector(".units").offsetWidth;
    const room = this.container.clientWidth - this.axis - 2;
    this.width = clamp(room / this.steps.length, 15, 110);
    const across = `${this.width * this.steps.length}px`;
    for (const one of this.drawn) {
      one.rowHeight = one.small ? clamp(Math.round(128 / one.height), 2, 14) : clamp(Math.round(384 / one.height), 4, 22);
      one.field.style.width = across;
      one.field.style.height = `${one.rowHeight * one.height}px`;
      one.cell.hidden = true;
    }
    this.labels.style.width = across;
    this.labels.classList.toggle("flat", 8 * this.longest + 4 <= this.width); // room to stand upright
    [...this.labels.children].forEach((label, step) => {
      label.style.left = `${step * this.width}px`;
      label.style.width = `${this.width}px`;
    });
    this.select(this.chosen);
  }

  // step: the column to mark; -1: none
  select(step) {
    this.chosen = step;
    const shown = step >= 0 && step < this.steps.length;
    for (const { column } of this.drawn) {
      column.hidden = !shown;
      column.style.left = `${step * this.width - 1}px`;
      column.style.width = `${this.width + 2}px`;
    }
    [...(this.labels?.children ?? [])].forEach((label, at) => label.classList.toggle("chosen", shown && at === step));
    this.reveal(shown ? step : this.steps.length - 1); // what was typed last is what a person looks for
  }
}
