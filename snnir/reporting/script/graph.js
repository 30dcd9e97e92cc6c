// The drawing, its tools and its details put together.

const FAMILIES = { port: "inputs and outputs", synapse: "synapses", neuron: "neurons", learning: "learning synapses", time: "delays", structure: "structure", other: "other" };

class GraphView {
  constructor(host, data) {
    this.model = new Model(data);
    const count = this.model.nodes.length;
    this.canvas = new Canvas(this.model, `Graph of ${grouped(count)} nodes. Arrow keys follow the edges, Enter opens a node.`);
    this.stage = html("div", { class: "graph-stage" }, this.canvas.root);
    this.panel = new Panel(this.model, (id) => this.select(id, true), () => this.close());
    this.finder = new Finder(this.model, (id) => this.select(id, true), (ids) => this.mark(ids));
    this.camera = new Camera(this.stage, () => this.draw());
    host.append(this.tools(), html("div", { class: "graph-body" }, this.stage, this.panel.root), this.legend());
    this.host = host;
    this.arrange();
    this.stage.style.height = `${Math.round(Math.max(300, Math.min(innerHeight * 0.74, this.camera.height * 1.05 + 70)))}px`;
    this.camera.fit(false);
    this.listen();
  }

  arrange() {
    const placed = arrange(this.model);
    Object.assign(this.camera, { width: placed.width, height: placed.height });
    this.canvas.take(placed);
    this.fold?.forEach(([control, isDone]) => { control.disabled = isDone(); });
  }

  draw() {
    this.canvas.draw(this.camera);
    this.level.textContent = `${Math.round(this.camera.scale * 100)} %`;
  }

  tools() {
    this.level = html("output", { class: "level", "aria-label": "Zoom" });
    const model = this.model, zoom = (factor) => () => this.camera.zoom(factor);
    const group = [
      button("−", "Zoom out (-)", zoom(1 / 1.3)), this.level, button("+", "Zoom in (+)", zoom(1.3)),
      button("Fit", "Show the whole graph (0)", () => this.camera.fit()),
      button("Enlarge", "Use the whole window", (event) => this.enlarge(event.currentTarget), { "aria-pressed": "false" }),
    ];
    const bar = html("div", { class: "graph-bar", role: "group", "aria-label": "Graph" }, this.finder.root);
    if (model.canFold) {
      const fold = button("Fold all", "Fold every scope", () => this.refold(() => model.foldAll()));
      const unfold = button("Unfold all", "Unfold every scope", () => this.refold(() => model.openAll()));
      this.fold = [[fold, () => model.open.size === 1], [unfold, () => model.open.size === model.scopes.length]];
      bar.append(html("span", { class: "group" }, fold, unfold));
    }
    bar.append(html("span", { class: "group" }, ...group));
    return bar;
  }

  legend() {
    const used = new Set(this.model.nodes.map((node) => node.family).concat(this.model.outputs.length ? ["port"] : []));
    const boxes = Object.entries(FAMILIES).filter(([family]) => used.has(family)).map(([family, told]) =>
      html("li", {}, svg("svg", { width: 16, height: 14, "aria-hidden": "true", class: `family-${family}` }, svg("rect", { class: "swatch", x: 1, y: 1, width: 14, height: 12, rx: 3 })), told));
    const kinds = new Set(), marks = new Set();
    for (const scope of this.model.scopes) for (const [mark, , source, result] of scope.links) {
      if (mark & FEEDBACK) marks.add("feedback");
      else if (mark & LATE) marks.add("late");
      else kinds.add(this.model.kindOf(source, result));
    }
    const told = { spikes: "spikes", counts: "counts", analog: "analog values", late: "taken in when the step ends", feedback: "recurrent: seen in the next step" };
    const lines = [...["spikes", "counts", "analog"].filter((kind) => kinds.has(kind)), ...["late", "feedback"].filter((mark) => marks.has(mark))].map((name) =>
      html("li", {}, svg("svg", { width: 34, height: 14, "aria-hidden": "true" }, svg("g", { class: `line ${name}` }, svg("path", { class: "stroke", d: "M1 7h24" }), svg("path", { class: "head", d: "M33 7l-8 -4v8z" }))), told[name]));
    return html("div", { class: "graph-foot" }, html("ul", { class: "legend", "aria-label": "Legend" }, ...boxes, ...lines),
      html("p", { class: "muted keys" }, "Drag to move, turn the wheel to zoom. Keys: arrows follow the edges, Enter opens or unfolds, F folds the scope around, + − 0 zoom, / finds, Escape closes."));
  }

  listen() {
    const root = this.canvas.root;
    root.addEventListener("click", (event) => this.click(event));
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("focusin", (event) => {
      const id = event.target.dataset?.id ?? event.target.closest?.("[data-id]")?.dataset.id;
      if (id && id !== this.canvas.focus) { this.canvas.focus = id; this.canvas.marks(); }
    });
    this.host.addEventListener("keydown", (event) => { if (event.key === "Escape" && !event.defaultPrevented) this.escape(); });
    new ResizeObserver(() => (this.camera.moved ? this.draw() : this.camera.fit(false))).observe(this.stage);
    addEventListener("beforeprint", () => this.camera.fit(false));
  }

  click(event) {
    if (this.camera.dragged) return;
    const id = event.target.closest("[data-id]")?.dataset.id ?? this.canvas.at(this.camera.at(event));
    const box = this.canvas.byId.get(id);
    if (!box) { this.close(); return; }
    if (box.kind === SCOPE && box.open && !event.target.closest(".handle")) { this.close(); return; }
    if (box.kind === SCOPE) this.toggle(id);
    else this.select(id, false);
    this.focus(this.canvas.focus);
  }

  /** Fold or unfold a scope; it stays where it is on the screen. */
  toggle(id) {
    const at = Number(id.slice(1)), open = this.model.open;
    this.canvas.focus = this.canvas.selected = id;
    this.refold(() => (open.has(at) ? open.delete(at) : open.add(at)), id);
    this.panel.show(id);
  }

  refold(change, id = null) {
    const before = this.canvas.byId.get(id), moved = this.camera.moved;
    change();
    if (this.canvas.focus) this.canvas.focus = this.model.seen(this.canvas.focus);
    if (this.canvas.selected) this.canvas.selected = this.model.seen(this.canvas.selected);
    this.arrange();
    const after = this.canvas.byId.get(id);
    if (!before || !after || !moved) { this.camera.fit(false); return; }
    this.camera.x += (before.x - after.x) * this.camera.scale;
    this.camera.y += (before.y - after.y) * this.camera.scale;
    this.draw();
  }

  /** Open the details of a thing; unfold what hides it and go there if wanted. */
  select(id, go) {
    if (this.model.uncover(id)) this.arrange();
    this.canvas.selected = this.canvas.focus = id;
    this.draw();
    this.panel.show(id);
    this.host.classList.add("opened");
    if (!go) return;
    this.camera.show(this.canvas.byId.get(id));
    this.focus(id);
  }

  close() {
    this.canvas.selected = null;
    this.host.classList.remove("opened");
    this.panel.overview();
    this.draw();
  }

  escape() {
    if (this.canvas.selected !== null) {
      this.close();
      this.focus(this.canvas.focus);
    } else if (this.host.classList.contains("enlarged")) this.enlarge(this.host.querySelector("[aria-pressed=true]"));
  }

  focus(id) {
    if (id === null) return;
    this.canvas.focus = id;
    this.draw();
    this.canvas.elementOf(id)?.focus({ preventScroll: true });
  }

  mark(ids) {
    this.canvas.found = new Set([...ids].map((id) => this.model.seen(id)));
    this.draw();
  }

  enlarge(control) {
    const large = this.host.classList.toggle("enlarged");
    control.setAttribute("aria-pressed", String(large));
    control.textContent = large ? "Reduce" : "Enlarge";
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = this.action(event.key, this.canvas.focus);
    if (!act) return;
    event.preventDefault();
    act();
  }

  action(key, id) {
    const step = { ArrowDown: [1, 0, 1], ArrowUp: [-1, 0, -1], ArrowRight: [0, 1, 0], ArrowLeft: [0, -1, 0] }[key];
    if (step) return () => this.step(id, step);
    const zooms = { "+": 1.3, "=": 1.3, "-": 1 / 1.3 };
    if (zooms[key]) return () => this.camera.zoom(zooms[key]);
    const isScope = id?.[0] === "s";
    return {
      Enter: () => (isScope ? this.toggle(id) : this.select(id, false), this.focus(this.canvas.focus)),
      " ": () => (isScope ? this.toggle(id) : this.select(id, false), this.focus(this.canvas.focus)),
      0: () => this.camera.fit(),
      "/": () => this.finder.field.focus(),
      Home: () => this.go(this.canvas.placed.boxes[0].id),
      End: () => this.go(this.canvas.placed.boxes[this.canvas.placed.boxes.length - 1].id),
      f: () => { const around = this.model.around(id)[0]; if (around) { this.toggle(`s${around}`); this.focus(`s${around}`); } },
    }[key];
  }

  /** Go along an edge, or to what stands beside. */
  step(id, [down, right]) {
    const here = this.canvas.byId.get(id);
    let next = null;
    if (down) {
      const ids = this.model.beside(id, down).filter((each) => this.canvas.byId.has(each));
      const ahead = ids.filter((each) => (this.canvas.byId.get(each).y - here.y) * down > 0);
      next = nearest(here, (ahead.length ? ahead : ids).map((each) => this.canvas.byId.get(each)));
    }
    next ??= towards(here, this.canvas.placed.boxes, right, down);
    if (next) this.go(next.id);
  }

  go(id) {
    this.canvas.focus = id;
    this.camera.show(this.canvas.byId.get(id));
    this.focus(id);
  }
}

function middle(box) { return [box.x + box.w / 2, box.y + box.h / 2]; }

function nearest(here, boxes) {
  const [x, y] = middle(here);
  const far = (box) => Math.hypot(middle(box)[0] - x, middle(box)[1] - y);
  return boxes.reduce((best, box) => (best === null || far(box) < far(best) ? box : best), null);
}

/** Return the box that is seen first when looking from one to a side. */
function towards(here, boxes, right, down) {
  const [x, y] = middle(here);
  let best = null, least = Infinity;
  for (const box of boxes) {
    if (box === here) continue;
    const [bx, by] = middle(box);
    const ahead = right ? (bx - x) * right : (by - y) * down, aside = right ? Math.abs(by - y) : Math.abs(bx - x);
    if (ahead < 4 || aside > 2 * ahead) continue;
    if (ahead + 3 * aside < least) { least = ahead + 3 * aside; best = box; }
  }
  return best;
}
