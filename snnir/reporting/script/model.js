// The graph as data: who feeds whom, which scope holds what, which scopes are open.

const LATE = 1, FEEDBACK = 2, FAR = 4;
const NODE = 0, SCOPE = 1, IN = 2, OUT = 3, OUTPUT = 4, POINT = 5;
const OPEN_AT_FIRST = 60; // so many things are seen before the reader opens more

class Model {
  constructor(data) {
    Object.assign(this, data);
    for (const sort of this.alike) if (sort.params) sort.params = sort.params.map(([name, at]) => ({ name, ...this.tensors[at] }));
    this.nodes = this.nodes.map((node) => ({ label: node.name, ...this.alike[node.is], ...node }));
    this.home = new Array(this.nodes.length).fill(0);
    for (const scope of this.scopes) Object.assign(scope, { nodes: [], inner: [], size: 0 });
    this.scopes.forEach((scope, at) => {
      for (const [kind, index] of scope.items) {
        if (kind === NODE) { this.home[index] = at; scope.nodes.push(index); }
        if (kind === SCOPE) scope.inner.push(index);
      }
    });
    for (let at = this.scopes.length - 1; at >= 0; at--) { // inner scopes come after outer ones
      const scope = this.scopes[at];
      scope.size = scope.nodes.length + scope.inner.reduce((sum, s) => sum + this.scopes[s].size, 0);
    }
    this.feeds = this.nodes.map(() => []);
    this.nodes.forEach((node, at) => {
      for (const [source, result, marks] of node.reads ?? []) this.feeds[source].push([at, result, marks]);
    });
    this.outputs.forEach((output, at) => this.feeds[output.reads[0]].push([-1 - at, output.reads[1], 0]));
    this.open = this.openedAtFirst();
  }

  /** Open scopes from the outside in, all of one depth or none, while the drawing stays small. */
  openedAtFirst() {
    const open = new Set([0]);
    let level = this.scopes[0].inner, seen = this.scopes[0].nodes.length + level.length;
    while (level.length) {
      seen += level.reduce((sum, at) => sum + this.scopes[at].nodes.length + this.scopes[at].inner.length, 0);
      if (seen > OPEN_AT_FIRST) break;
      level.forEach((at) => open.add(at));
      level = level.flatMap((at) => this.scopes[at].inner);
    }
    return open;
  }

  openAll() { this.open = new Set(this.scopes.keys()); }
  foldAll() { this.open = new Set([0]); }
  get canFold() { return this.scopes.length > 1; }

  /** Return the scopes around a node or a scope, the innermost first, the graph left out. */
  around(id) {
    const found = [], index = Number(id.slice(1));
    let at = id[0] === "n" ? this.home[index] : id[0] === "s" ? this.scopes[index].parent : 0;
    for (; at > 0; at = this.scopes[at].parent) found.push(at);
    return found;
  }

  /** Return what is seen of a thing: itself, or the outermost folded scope around it. */
  seen(id) {
    let found = id;
    for (const at of this.around(id)) if (!this.open.has(at)) found = `s${at}`;
    return found;
  }

  /** Open every scope around a thing; return whether any was folded. */
  uncover(id) {
    const folded = this.around(id).filter((at) => !this.open.has(at));
    folded.forEach((at) => this.open.add(at));
    return folded.length > 0;
  }

  /** Return the nodes in a scope and in the scopes within it. */
  members(at) {
    const found = [], waiting = [at];
    while (waiting.length) {
      const scope = this.scopes[waiting.pop()];
      found.push(...scope.nodes);
      waiting.push(...scope.inner);
    }
    return found.sort((a, b) => a - b);
  }

  nodesOf(id) {
    const index = Number(id.slice(1));
    return id[0] === "n" ? [index] : id[0] === "s" ? this.members(index) : [];
  }

  /** Return the things that are seen before (-1) or after (1) a thing along the edges. */
  beside(id, way) {
    const own = this.nodesOf(id), inside = new Set(own), found = new Set();
    if (id[0] === "o" && way < 0) found.add(this.seen(`n${this.outputs[Number(id.slice(1))].reads[0]}`));
    for (const node of own) {
      const ends = way < 0 ? (this.nodes[node].reads ?? []) : this.feeds[node];
      for (const [other] of ends) {
        if (other < 0) found.add(`o${-1 - other}`);
        else if (id[0] === "n" || !inside.has(other)) found.add(this.seen(`n${other}`));
      }
    }
    found.delete(id);
    return [...found];
  }

  name(id) {
    const index = Number(id.slice(1));
    if (id[0] === "n") return this.nodes[index].name;
    return id[0] === "s" ? this.scopes[index].path : this.outputs[index].name;
  }

  kindOf(source, result) {
    const type = this.nodes[source].types?.[result] ?? "";
    return type.split("<")[0] || "unknown";
  }

  typeOf(source, result) { return this.nodes[source].types?.[result] ?? ""; }

  /** Return what a folded scope says of itself. */
  brief(at) {
    const scope = this.scopes[at];
    scope.brief ??= `${scope.size} nodes${this.hasFeedback(at) ? ", recurrent" : ""}`;
    return scope.brief;
  }

  hasFeedback(at) { return this.members(at).some((n) => (this.nodes[n].reads ?? []).some(([, , marks]) => marks & FEEDBACK)); }
}
