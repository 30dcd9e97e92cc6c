// What makes a page handy: choosing dark or light, where one is, links from tables to the graph.

const SCHEMES = ["auto", "light", "dark"];

/** Add the control for the colour scheme; without it, the page follows the system. */
function schemes() {
  const root = document.documentElement;
  let kept = "auto";
  try { kept = localStorage.getItem("snnir-scheme") ?? "auto"; } catch { /* not allowed from disk */ }
  const set = (scheme) => {
    if (scheme === "auto") delete root.dataset.scheme;
    else root.dataset.scheme = scheme;
    control.textContent = `Scheme: ${scheme}`;
    try { localStorage.setItem("snnir-scheme", scheme); } catch { /* not allowed from disk */ }
  };
  const next = () => SCHEMES[(SCHEMES.indexOf(root.dataset.scheme ?? "auto") + 1) % SCHEMES.length];
  const control = button("", "Change between the system's colours, light and dark", () => set(next()), { class: "scheme" });
  document.querySelector("header").append(control);
  set(SCHEMES.includes(kept) ? kept : "auto");
}

/** Mark the section one reads in the list of sections. */
function whereOneIs() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.isIntersecting ? seen.add(entry.target.id) : seen.delete(entry.target.id);
    const first = [...links.keys()].find((key) => seen.has(key));
    for (const [key, link] of links) key === first ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  }, { rootMargin: "-15% 0px -60% 0px" });
  for (const section of document.querySelectorAll("main > section")) watch.observe(section);
}

const LINKED = 600; // in longer tables, names are followed by the pointer alone

/** Let the first column of a table jump to the node it names. */
function tablesToGraph(view) {
  const ids = new Map(view.model.nodes.map((node, at) => [node.name, `n${at}`]));
  const show = (name) => {
    view.host.closest("section").scrollIntoView();
    view.select(ids.get(name), true);
  };
  const cells = document.querySelectorAll("main td:first-child");
  if (cells.length > LINKED) {
    document.querySelector("main").addEventListener("click", ({ target }) => {
      if (target.matches("td:first-child") && ids.has(target.textContent)) show(target.textContent);
    });
    return;
  }
  for (const cell of cells) {
    const name = cell.textContent;
    if (!ids.has(name) || cell.children.length) continue;
    cell.replaceChildren(button(name, `Show ${name} in the graph`, () => show(name), { class: "link", "aria-label": null }));
  }
}

function start() {
  schemes();
  whereOneIs();
  for (const host of document.querySelectorAll("[data-graph]")) {
    const data = JSON.parse(document.getElementById(host.dataset.graph).textContent);
    if (!data.nodes.length) continue;
    const view = new GraphView(host, data);
    setTimeout(() => tablesToGraph(view)); // once the drawing is seen
  }
}

start();
