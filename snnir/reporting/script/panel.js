// What is said of a thing when it is opened.

class Panel {
  /** @param jump Called with the id of a thing to go to. @param close Called to close it. */
  constructor(model, jump, close) {
    Object.assign(this, { model, jump, close });
    this.root = html("aside", { class: "graph-panel", "aria-label": "Details", "aria-live": "polite" });
    this.overview();
  }

  show(id) {
    const index = Number(id.slice(1));
    if (id[0] === "n") this.node(index);
    else if (id[0] === "s") this.scope(index);
    else this.output(index);
    this.root.scrollTop = 0;
  }

  fill(name, badges, ...parts) {
    const head = html("div", { class: "panel-head" },
      html("h3", { dir: "auto" }, name),
      button("×", "Close the details (Escape)", () => this.close(), { class: "plain close" }));
    this.root.replaceChildren(head, html("p", { class: "badges" }, ...badges), ...parts.flat().filter(Boolean));
  }

  /** Say what the graph is as long as nothing is opened. */
  overview() {
    const counts = new Map();
    for (const node of this.model.nodes) counts.set(node.op, (counts.get(node.op) ?? 0) + 1);
    const sorted = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    const loops = this.model.nodes.reduce((sum, node) => sum + (node.reads ?? []).filter((read) => read[2] & FEEDBACK).length, 0);
    const edges = this.model.nodes.reduce((sum, node) => sum + (node.reads ?? []).length, 0);
    const facts = [["nodes", grouped(this.model.nodes.length)], ["edges", grouped(edges)], ["of them recurrent", grouped(loops)]];
    if (this.model.canFold) facts.push(["scopes", grouped(this.model.scopes.length - 1)]);
    this.root.replaceChildren(
      html("h3", {}, "This graph"), pairs(facts),
      html("h4", {}, "Ops"), pairs(sorted.slice(0, 16).map(([op, count]) => [op, grouped(count)])),
      html("p", { class: "muted" }, "Click a node, or press Enter on it, to see its parameters, how it is stepped, and what it is linked with."));
  }

  node(index) {
    const node = this.model.nodes[index];
    const badges = [html("span", { class: `badge family-${node.family}` }, node.op)];
    if (node.kind !== node.op) badges.push(html("span", { class: "badge" }, node.kind));
    if (node.mark) badges.push(html("span", { class: `badge marked-${node.mark[0]}` }, node.mark[1]));
    const reads = (node.reads ?? []).map(([source, result, marks]) => [`n${source}`, this.model.typeOf(source, result), marks]);
    const feeds = this.model.feeds[index].map(([target, result, marks]) => [target < 0 ? `o${-1 - target}` : `n${target}`, this.model.typeOf(index, result), marks]);
    this.fill(node.name, badges,
      pairs([["type", (node.types ?? []).join(", ")], ...this.place(`n${index}`)]),
      node.params && [html("h4", {}, "Parameters"), parameters(node.params)],
      node.attributes && [html("h4", {}, "Attributes"), pairs(Object.entries(node.attributes))],
      node.rules && [html("h4", {}, "Stepping"), pairs(Object.entries(node.rules))],
      ...(node.equations ?? []).map((key) => [html("h4", {}, "Equations: ", key), html("pre", { tabindex: 0 }, this.model.equations[key])]),
      this.links("Reads from", reads), this.links("Feeds", feeds),
      node.metadata && [html("h4", {}, "Metadata"), pairs(Object.entries(node.metadata))]);
  }

  scope(at) {
    const scope = this.model.scopes[at], members = this.model.members(at), counts = new Map();
    for (const node of members) counts.set(this.model.nodes[node].kind, (counts.get(this.model.nodes[node].kind) ?? 0) + 1);
    const ids = (way) => this.model.beside(`s${at}`, way).map((id) => [id, "", 0]);
    this.fill(scope.path, [html("span", { class: "badge" }, "scope")],
      pairs([["nodes", grouped(members.length)], ...this.place(`s${at}`), ...[...counts].map(([kind, count]) => [kind, grouped(count)])]),
      this.links("Holds", members.slice(0, 100).map((node) => [`n${node}`, this.model.nodes[node].brief, 0])),
      this.links("Reads from", ids(-1)), this.links("Feeds", ids(1)));
  }

  output(index) {
    const output = this.model.outputs[index];
    this.fill(output.name, [html("span", { class: "badge family-port" }, "output")],
      pairs([["type", output.type]]), this.links("Reads from", [[`n${output.reads[0]}`, output.type, 0]]));
  }

  place(id) {
    const around = this.model.around(id);
    return around.length ? [["scope", this.link(`s${around[0]}`)]] : [];
  }

  link(id) {
    return html("button", { type: "button", class: "link", dir: "auto", onclick: () => this.jump(id) }, this.model.name(id));
  }

  links(title, ends) {
    if (!ends.length) return null;
    const rows = ends.slice(0, 200).map(([id, type, marks]) => html("li", {}, this.link(id),
      type ? html("span", { class: "muted" }, ` ${type}`) : null,
      marks & FEEDBACK ? html("span", { class: "badge feedback" }, "feedback") : marks & LATE ? html("span", { class: "badge late" }, "late") : null));
    if (ends.length > 200) rows.push(html("li", {}, `and ${grouped(ends.length - 200)} more`));
    return [html("h4", {}, title), html("ul", { class: "ends" }, ...rows)];
  }
}

function grouped(count) { return count.toLocaleString("en"); }

function pairs(entries) {
  const shown = entries.filter(([, value]) => value !== "");
  return html("dl", {}, ...shown.flatMap(([key, value]) => [html("dt", {}, key), html("dd", { dir: "auto" }, value)]));
}

/** Return how the values of a tensor are spread between the least and the largest, as bars. */
function spread(param) {
  const bars = Array.from(param.shares).map((digit) => parseInt(digit, 36));
  const d = bars.map((height, at) => (height ? `M${at * 5} 30v${-near((height / 35) * 28)}h4V30z` : "")).join("");
  const zeros = param.zeros ? `, ${param.zeros} zeros` : "";
  return svg("svg", { class: "spread", width: bars.length * 5, height: 31, role: "img", "aria-label": `How its values are spread from ${param.low} to ${param.high}${zeros}` },
    svg("title", {}, `${param.low} … ${param.high}${zeros}`),
    svg("path", { class: "axis", d: `M0 30.5h${bars.length * 5}` }), svg("path", { d }));
}

function parameters(params) {
  const row = (param) => html("tr", {},
    html("th", { scope: "row" }, param.name),
    html("td", {}, param.shape ?? "", html("span", { class: "muted" }, ` ${param.type ?? ""}`)),
    html("td", {}, param.value ?? (param.low ? `${param.low} … ${param.high}` : ""), param.shares ? spread(param) : null));
  return html("div", { class: "scroll" }, html("table", { class: "parameters" },
    html("thead", {}, html("tr", {}, ...["name", "shape", "value or range"].map((name) => html("th", { scope: "col" }, name)))),
    html("tbody", {}, ...params.map(row))));
}
