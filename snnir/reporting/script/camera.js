// What part of the drawing is seen, and how large.

const NEAREST = 2.5;

class Camera {
  /** @param stage The element with the drawing. @param changed Called after every change. */
  constructor(stage, changed) {
    Object.assign(this, { stage, changed, scale: 1, x: 0, y: 0, width: 0, height: 0, moved: false });
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.drag();
    // A page that is being scrolled goes on scrolling when the pointer comes over the drawing.
    this.scrolled = -Infinity;
    addEventListener("wheel", (event) => { if (!stage.contains(event.target)) this.scrolled = event.timeStamp; }, { passive: true });
  }

  get farthest() { return Math.min(1, this.whole().scale) * 0.6; }

  /** Return the view in which everything is seen. */
  whole() {
    const { clientWidth: w, clientHeight: h } = this.stage, margin = 28;
    const scale = Math.min((w - 2 * margin) / this.width, (h - 2 * margin) / this.height, 1.15);
    const kept = Math.max(scale, 1e-3);
    return { scale: kept, x: (w - this.width * kept) / 2, y: (h - this.height * kept) / 2 };
  }

  fit(smoothly = true) { this.moved = false; this.go(this.whole(), smoothly); }

  zoom(factor, at = null) {
    const [x, y] = at ?? [this.stage.clientWidth / 2, this.stage.clientHeight / 2];
    const scale = Math.min(NEAREST, Math.max(this.farthest, this.scale * factor));
    const kept = scale / this.scale;
    this.moved = true;
    this.go({ scale, x: x - (x - this.x) * kept, y: y - (y - this.y) * kept }, at === null);
  }

  /** Bring a box into view, readably large. */
  show(box) {
    const { clientWidth: w, clientHeight: h } = this.stage;
    const scale = Math.max(this.scale, Math.min(0.85, NEAREST));
    const x = this.x + (box.x + box.w / 2) * this.scale, y = this.y + (box.y + box.h / 2) * this.scale;
    const inside = x > 60 && x < w - 60 && y > 40 && y < h - 40;
    if (inside && this.scale > 0.5) return;
    this.moved = true;
    this.go({ scale, x: w / 2 - (box.x + box.w / 2) * scale, y: h / 2 - (box.y + Math.min(box.h, h / scale) / 2) * scale }, true);
  }

  go(view, smoothly) {
    cancelAnimationFrame(this.moving);
    const from = { scale: this.scale, x: this.x, y: this.y }, start = performance.now();
    const length = smoothly && !this.still.matches && document.visibilityState === "visible" ? 180 : 0;
    const step = () => {
      const part = length ? Math.min(1, (performance.now() - start) / length) : 1;
      const eased = 1 - (1 - part) ** 3;
      for (const key of ["scale", "x", "y"]) this[key] = from[key] + (view[key] - from[key]) * eased;
      this.changed();
      if (part < 1) this.moving = requestAnimationFrame(step);
    };
    step();
  }

  /** Return the place in the drawing under a pointer. */
  at(event) {
    const frame = this.stage.getBoundingClientRect();
    return [(event.clientX - frame.left - this.x) / this.scale, (event.clientY - frame.top - this.y) / this.scale];
  }

  wheel(event) {
    if (!event.ctrlKey && event.timeStamp - this.scrolled < 400) { this.scrolled = event.timeStamp; return; }
    event.preventDefault();
    const frame = this.stage.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 18 : 1;
    const turn = Math.max(-240, Math.min(240, event.deltaY * lines * (event.ctrlKey ? 4 : 1)));
    this.zoom(2 ** (-turn / 300), [event.clientX - frame.left, event.clientY - frame.top]);
  }

  /** Move with one pointer, zoom with two. */
  drag() {
    const down = new Map();
    this.dragged = false;
    this.stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      if (!down.size) this.dragged = false;
      down.set(event.pointerId, event);
    });
    addEventListener("pointermove", (event) => {
      const before = down.get(event.pointerId);
      if (!before) return;
      const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
      if (!this.dragged && Math.hypot(dx, dy) < 4) return;
      if (!this.dragged) this.stage.classList.add("dragged");
      this.dragged = this.moved = true;
      down.set(event.pointerId, event);
      const other = [...down.values()].find((each) => each.pointerId !== event.pointerId);
      if (other) this.pinch(before, event, other);
      else this.go({ scale: this.scale, x: this.x + dx, y: this.y + dy }, false);
    });
    const up = (event) => { down.delete(event.pointerId); if (!down.size) this.stage.classList.remove("dragged"); };
    addEventListener("pointerup", up);
    addEventListener("pointercancel", up);
  }

  pinch(before, after, other) {
    const far = (event) => Math.hypot(event.clientX - other.clientX, event.clientY - other.clientY);
    const frame = this.stage.getBoundingClientRect();
    const middle = [(after.clientX + other.clientX) / 2 - frame.left, (after.clientY + other.clientY) / 2 - frame.top];
    if (far(before) > 0) this.zoom(far(after) / far(before), middle);
  }
}
