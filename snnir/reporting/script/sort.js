// Tables that a click on a column's name sorts: <table data-sort> with a head and a body.

/** Return a cell as a number, or as text where it is none; what is empty comes last. */
function sortKey(row, column) {
  const told = row.cells[column].textContent.trim();
  const number = Number(told.replaceAll(",", ""));
  return told === "" || told === "–" ? null : Number.isNaN(number) ? told : number;
}

/** Compare two keys: numbers by size before texts by letter, nothing last in either direction. */
function compareKeys(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return direction * (typeof a === "number" ? a - b : a.localeCompare(b));
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const first = [...body.rows];
  heads.forEach((head, column) => {
    const name = head.textContent;
    const sort = () => {
      // Once up, once down, then as it was.
      const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      for (const each of heads) each.removeAttribute("aria-sort");
      if (order === null) return body.append(...first);
      head.setAttribute("aria-sort", order);
      const direction = order === "ascending" ? 1 : -1;
      const keyed = first.map((row) => [sortKey(row, column), row]);
      keyed.sort(([a], [b]) => compareKeys(a, b, direction));
      body.append(...keyed.map(([, row]) => row));
    };
    head.replaceChildren(button(name, `Sort by ${name}`, sort, { class: "link", "aria-label": null }));
  });
}

for (const table of document.querySelectorAll("table[data-sort]")) sortable(table);
