// Finding a node by its name.

const SHOWN = 8;

class Finder {
  /** @param jump Called with the id of what was chosen. @param mark Called with the ids that match. */
  constructor(model, jump, mark) {
    Object.assign(this, { model, jump, mark, matches: [], at: -1 });
    this.names = [
      ...model.nodes.map((node, at) => [`n${at}`, node.name.toLowerCase(), node.name, node.brief]),
      ...model.scopes.slice(1).map((scope, at) => [`s${at + 1}`, scope.path.toLowerCase(), scope.path, `${scope.size} nodes`]),
    ];
    this.field = html("input", { type: "search", placeholder: "Find a node", "aria-label": "Find a node by its name", role: "combobox",
      "aria-expanded": "false", "aria-controls": "graph-found", "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false",
      oninput: () => this.search(), onkeydown: (event) => this.key(event), onblur: () => this.close() });
    this.list = html("ul", { id: "graph-found", role: "listbox", "aria-label": "Nodes found", hidden: true });
    this.told = html("span", { class: "told", role: "status" });
    this.root = html("div", { class: "graph-find" }, this.field, this.list, this.told);
  }

  search() {
    const wanted = this.field.value.trim().toLowerCase();
    this.matches = wanted ? this.names.filter(([, name]) => name.includes(wanted)) : [];
    const rank = ([, name]) => (name === wanted ? 0 : name.endsWith(wanted) ? 1 : name.startsWith(wanted) ? 2 : 3);
    this.matches.sort((a, b) => rank(a) - rank(b));
    this.at = -1;
    this.told.textContent = wanted ? `${grouped(this.matches.length)} found` : "";
    this.mark(new Set(this.matches.map(([id]) => id)));
    this.list.replaceChildren(...this.matches.slice(0, SHOWN).map((match, at) => this.row(match, at)));
    this.list.hidden = !this.matches.length;
    this.field.setAttribute("aria-expanded", String(!this.list.hidden));
  }

  row([id, , name, brief], at) {
    // The press, not the click: the field would lose the focus and close the list first.
    return html("li", { id: `graph-found-${at}`, role: "option", "aria-selected": "false", onpointerdown: (event) => { event.preventDefault(); this.choose(id); } },
      html("bdi", {}, name), html("span", { class: "muted" }, ` ${brief}`));
  }

  key(event) {
    const count = Math.min(this.matches.length, SHOWN);
    if (event.key === "Escape") { this.field.value = ""; this.search(); event.stopPropagation(); }
    else if (event.key === "Enter" && count) this.choose(this.matches[Math.max(this.at, 0)][0]);
    else if (count && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      this.at = (this.at + (event.key === "ArrowDown" ? 1 : count - (this.at < 0 ? 0 : 1))) % count;
      [...this.list.children].forEach((row, at) => row.setAttribute("aria-selected", String(at === this.at)));
      this.field.setAttribute("aria-activedescendant", `graph-found-${this.at}`);
      event.preventDefault();
    }
  }

  choose(id) { this.close(); this.jump(id); }

  close() {
    this.list.hidden = true;
    this.field.setAttribute("aria-expanded", "false");
    this.field.removeAttribute("aria-activedescendant");
  }
}
