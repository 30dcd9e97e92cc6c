// The drawing itself. Near enough to read, what is in view is drawn thing by thing; from afar,
// everything is a handful of paths, so that large graphs are as quick as small ones.

const READABLE = 0.34, SPARE = 200;

class Canvas {
  constructor(model, label) {
    this.model = model;
    this.lines = svg("g", { class: "lines" });
    this.boxes = svg("g", { class: "boxes" });
    this.scopes = svg("g", { class: "boxes" }); // open ones, the outer before the inner
    this.far = svg("g", { class: "far", "aria-hidden": "true" });
    this.world = svg("g", {}, this.far, this.lines, this.scopes, this.boxes);
    this.root = svg("svg", { class: "graph-svg", role: "application", "aria-label": label, "aria-roledescription": "graph" }, this.world);
    this.shapes = new Map();
    this.focus = null;
    this.selected = null;
    this.found = new Set();
  }

  /** Take a new arrangement. */
  take(placed) {
    this.placed = placed;
    this.byId = new Map(placed.boxes.map((box) => [box.id, box]));
    placed.boxes.forEach((box, order) => { box.order = order; });
    for (const shape of this.shapes.values()) shape.remove();
    this.shapes.clear();
    this.far.replaceChildren();
    this.farIsDrawn = false;
    if (!this.byId.has(this.focus)) this.focus = placed.boxes[0]?.id ?? null;
  }

  /** Draw what a camera sees. */
  draw(camera) {
    this.world.setAttribute("transform", `translate(${near(camera.x)} ${near(camera.y)}) scale(${camera.scale})`);
    const readable = camera.scale >= READABLE;
    this.root.classList.toggle("afar", !readable);
    if (!readable && !this.farIsDrawn) this.drawFar();
    const seen = this.view(camera);
    const boxes = readable ? this.placed.boxes.filter((box) => meets(box, seen)) : [];
    for (const id of [this.focus, this.selected]) {
      const box = this.byId.get(id);
      if (box && !boxes.includes(box)) boxes.push(box);
    }
    if (!readable) for (const id of this.found) if (this.byId.has(id) && !boxes.includes(this.byId.get(id))) boxes.push(this.byId.get(id));
    const lines = this.placed.lines.filter((line) => (readable ? meets(line, seen) : this.isLit(line)));
    this.keep(new Set([...boxes, ...lines]));
    for (const line of lines) this.show(line, this.lines, () => lineShape(this.model, line));
    for (const box of boxes) this.show(box, box.open ? this.scopes : this.boxes, () => boxShape(this.model, box));
    this.marks();
  }

  view(camera) {
    const { clientWidth: w, clientHeight: h } = camera.stage;
    return { x: (-camera.x - SPARE) / camera.scale, y: (-camera.y - SPARE) / camera.scale, w: (w + 2 * SPARE) / camera.scale, h: (h + 2 * SPARE) / camera.scale };
  }

  keep(wanted) {
    for (const [thing, shape] of this.shapes) if (!wanted.has(thing)) { shape.remove(); this.shapes.delete(thing); }
  }

  /** Draw a thing if it is not drawn; what an open scope holds stands above it. */
  show(thing, layer, make) {
    if (this.shapes.has(thing)) return;
    const shape = make();
    this.shapes.set(thing, shape);
    const above = thing.open ? [...layer.children].find((other) => Number(other.dataset.order) > thing.order) : null;
    if (thing.open) shape.dataset.order = thing.order;
    layer.insertBefore(shape, above ?? null);
  }

  isLit(line) { return this.selected !== null && (line.from === this.selected || line.to === this.selected); }

  /** Mark what has the focus, is selected, found, or linked with what is selected. */
  marks() {
    for (const [thing, shape] of this.shapes) {
      if (thing.id) {
        shape.setAttribute("tabindex", thing.id === this.focus ? 0 : -1);
        shape.classList.toggle("selected", thing.id === this.selected);
        shape.classList.toggle("found", this.found.has(thing.id));
        shape.setAttribute("aria-pressed", thing.id === this.selected);
      } else shape.classList.toggle("lit", this.isLit(thing));
    }
  }

  elementOf(id) { return this.shapes.get(this.byId.get(id)); }

  /** Return the id of the box at a place, the innermost one. */
  at([x, y]) {
    let found = null;
    for (const box of this.placed.boxes) if (x >= box.x && x <= box.x + box.w && y >= box.y && y <= box.y + box.h) found = box.id;
    return found;
  }

  drawFar() {
    const paths = new Map();
    const add = (name, d) => paths.set(name, (paths.get(name) ?? []).concat(d));
    const open = [], closed = new Map(), lines = new Map();
    for (const box of this.placed.boxes) {
      const d = `M${near(box.x)} ${near(box.y)}h${box.w}v${near(box.h)}h${-box.w}z`;
      if (box.open) open.push(d);
      else into(closed, `box family-${familyOf(this.model, box)}`, d);
    }
    for (const line of this.placed.lines) into(lines, lineClass(line), pathOf(line.points));
    add("box scope open", open);
    const all = [...paths, ...lines, ...closed];
    this.far.replaceChildren(...all.map(([name, parts]) => svg("path", { class: name, d: parts.join("") })));
    this.farIsDrawn = true;
  }
}

function into(map, key, value) {
  if (!map.has(key)) map.set(key, []);
  map.get(key).push(value);
}

function meets(a, b) { return a.x < b.x + b.w && a.x + a.w > b.x && a.y < b.y + b.h && a.y + a.h > b.y; }

function familyOf(model, box) {
  if (box.kind === NODE) return model.nodes[box.index].family;
  return box.kind === OUTPUT ? "port" : "scope";
}

function lineClass(line) {
  const marks = `${line.marks & LATE ? " late" : ""}${line.marks & FEEDBACK ? " feedback" : ""}`;
  return `line ${line.kind}${marks}`;
}

function lineShape(model, line) {
  const many = line.count > 1 ? `, ${line.count} times` : "";
  const how = line.marks & FEEDBACK ? "feedback, seen in the next step: " : line.marks & LATE ? "taken in when the step ends: " : "";
  const told = `${how}${model.nodes[line.source].name} → ${model.name(line.to)}: ${model.typeOf(line.source, line.result)}${many}`;
  return svg("g", { class: lineClass(line) },
    svg("title", {}, told),
    svg("path", { class: "touch", d: pathOf(line.points) }),
    svg("path", { class: "stroke", d: pathOf(line.points) }),
    line.arrow ? svg("path", { class: "head", d: headOf(line.points) }) : null);
}

function boxShape(model, box) {
  const draw = box.kind === NODE ? nodeShape : box.kind === OUTPUT ? outputShape : box.open ? openShape : foldedShape;
  const shape = draw(model, box);
  shape.setAttribute("transform", `translate(${near(box.x)} ${near(box.y)})`);
  shape.dataset.id = box.id;
  return shape;
}

function frame(box, more = {}) { return svg("rect", { class: "frame", width: box.w, height: near(box.h), rx: 8, ...more }); }

function nodeShape(model, box) {
  const node = model.nodes[box.index], room = box.w - 2 * BOX.side + 6;
  const [mark, words] = node.mark ?? [], brief = words ?? node.brief;
  return svg("g", { class: `box family-${node.family}${mark ? ` marked-${mark}` : ""}`, role: "button", "aria-label": `${node.name}: ${brief}` },
    svg("title", {}, `${node.name}: ${brief}`),
    frame(box),
    svg("path", { class: "stripe", d: `M5 0.6A8 8 0 0 0 0 8V${box.h - 8}A8 8 0 0 0 5 ${box.h - 0.6}z` }),
    svg("text", { class: "name", x: BOX.side, y: 20 }, fitted(node.label, NAME_FONT, room)),
    svg("text", { class: "brief", x: BOX.side, y: 36 }, fitted(brief, BRIEF_FONT, room)));
}

function outputShape(model, box) {
  const output = model.outputs[box.index];
  return svg("g", { class: "box output family-port", role: "button", "aria-label": `output ${output.name}: ${output.type}` },
    svg("title", {}, `output ${output.name}: ${output.type}`),
    frame(box, { rx: 15 }),
    svg("text", { class: "name middle", x: box.w / 2, y: 20 }, fitted(output.name, NAME_FONT, box.w - 24)));
}

function foldedShape(model, box) {
  const scope = model.scopes[box.index], brief = model.brief(box.index);
  const first = model.members(box.index).some((at) => model.nodes[at].mark?.[0] === "first");
  return svg("g", { class: `box scope folded${first ? " marked-first" : ""}`, role: "button", "aria-expanded": "false", "aria-label": `${scope.path}: folded, ${brief}` },
    svg("title", {}, `${scope.path}: ${brief}; click to unfold`),
    svg("rect", { class: "shadow", x: 5, y: 5, width: box.w, height: box.h, rx: 8 }),
    frame(box),
    model.hasFeedback(box.index) ? loopShape(box) : null,
    sign(16, 18, false),
    svg("text", { class: "name", x: 30, y: 20 }, fitted(scope.label, NAME_FONT, box.w - 30 - 10)),
    svg("text", { class: "brief", x: 30, y: 36 }, fitted(brief, BRIEF_FONT, box.w - 40)));
}

function openShape(model, box) {
  const scope = model.scopes[box.index];
  return svg("g", { class: "box scope open", role: "button", "aria-expanded": "true", "aria-label": `${scope.path}: unfolded, ${scope.size} nodes` },
    frame(box, { rx: 12 }),
    svg("g", { class: "handle" },
      svg("title", {}, `${scope.path}: click to fold`),
      svg("rect", { class: "tab", x: 6, y: 6, width: Math.min(box.w - 12, textWidth(scope.label, NAME_FONT) + 36), height: 22, rx: 6 }),
      sign(18, 17, true),
      svg("text", { class: "name", x: 30, y: 21.5 }, fitted(scope.label, NAME_FONT, box.w - 44))));
}

/** Return the sign that there is a loop inside. */
function loopShape({ w, h }) {
  return svg("g", { class: "line feedback" },
    svg("path", { class: "stroke", d: `M${w} ${h - 10}c22 0 22 ${20 - h} 7 ${20 - h}` }),
    svg("path", { class: "head", d: `M${w} 10l8 -4.5v9z` }));
}

/** Return a plus, or a minus, in a ring. */
function sign(x, y, minus) {
  return svg("path", { class: "sign", d: `M${x - 7} ${y}a7 7 0 1 0 14 0a7 7 0 1 0 -14 0M${x - 3.5} ${y}h7${minus ? "" : `M${x} ${y - 3.5}v7`}` });
}
