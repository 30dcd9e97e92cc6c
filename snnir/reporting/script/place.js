// From ranks and orders to coordinates. Every scope is placed for itself, the inner ones first.

const NAME_FONT = "600 13px system-ui, sans-serif", BRIEF_FONT = "12px system-ui, sans-serif";
const BOX = { height: 46, least: 104, most: 232, side: 16 };
const GAP = { across: 22, down: 30, lane: 12, border: 16, title: 30 };
const SHEET = { width: 800, height: 680, scale: 0.8, inner: 0.5 }; // what is seen at once, and how small it may get
const LANES = 10;
const WIDEST = 6000; // wider ranks are set in rows
const STRAIGHT = 6; // how much more a line without forks wants to be straight

/** Place everything that is seen; return boxes, lines and the size of the whole. */
function arrange(model) {
  const placed = { boxes: [], lines: [], width: 0, height: 0 };
  const root = placedScope(model, 0);
  emit(model, root, 0, 0, placed);
  placed.width = root.width;
  placed.height = root.height;
  return placed;
}

/** Return one scope with its items at coordinates from its own corner. */
function placedScope(model, at) {
  const scope = model.scopes[at];
  const drawn = { at, scope, items: scope.items.map((item) => sized(model, item)), rank: [] };
  scope.layers.forEach((layer, rank) => layer.forEach((item) => { drawn.rank[item] = rank; }));
  const steps = flowSteps(drawn, model);
  slide(drawn, steps);
  stack(drawn);
  return drawn;
}

function sized(model, [kind, index, result = 0]) {
  const item = { kind, index, result, x: 0, y: 0, w: 2, h: 0 };
  if (kind === NODE) {
    const node = model.nodes[index];
    const text = Math.max(textWidth(node.label, NAME_FONT), textWidth(node.mark?.[1] ?? node.brief, BRIEF_FONT));
    Object.assign(item, { w: rounded(text + 2 * BOX.side), h: BOX.height });
  } else if (kind === OUTPUT) {
    Object.assign(item, { w: rounded(textWidth(model.outputs[index].name, NAME_FONT) + 30), h: 30 });
  } else if (kind === SCOPE && model.open.has(index)) {
    item.inner = placedScope(model, index);
    Object.assign(item, { w: item.inner.width, h: item.inner.height });
  } else if (kind === SCOPE) {
    const text = Math.max(textWidth(model.scopes[index].label, NAME_FONT), textWidth(model.brief(index), BRIEF_FONT)) + 10;
    Object.assign(item, { w: rounded(Math.max(text, 90) + 2 * BOX.side), h: BOX.height });
  } else if (kind === POINT) item.w = 6;
  return item;
}

function rounded(width) { return Math.ceil(Math.min(Math.max(width, BOX.least), BOX.most) / 8) * 8; }

/** Return [upper item, its offset, lower item, its offset] for each piece of line between ranks. */
function flowSteps(drawn) {
  const steps = [];
  for (const [marks, , source, result, path] of drawn.scope.links) {
    if ((marks & FAR) || drawn.rank[path[0]] >= drawn.rank[path[path.length - 1]]) continue;
    for (let at = 1; at < path.length; at++) {
      const upper = drawn.items[path[at - 1]], lower = drawn.items[path[at]];
      steps.push([path[at - 1], portOffset(upper, OUT, source, result), path[at], portOffset(lower, IN, source, result)]);
    }
  }
  return steps;
}

/** Return how far from a box's middle a value enters or leaves it. */
function portOffset(item, kind, source, result) {
  if (!item.inner) return 0;
  const port = portOf(item.inner, kind, source, result);
  return port ? port.x - item.w / 2 : 0;
}

function portOf(inner, kind, source, result) {
  if (!inner.ports) {
    inner.ports = new Map();
    for (const item of inner.items) if (item.kind === IN || item.kind === OUT) inner.ports.set(`${item.kind} ${item.index} ${item.result}`, item);
  }
  return inner.ports.get(`${kind} ${source} ${result}`);
}

/** Move the items of each rank below and above what they are linked with. */
function slide(drawn, steps) {
  const above = drawn.items.map(() => []), below = drawn.items.map(() => []);
  const out = new Map(), into = new Map();
  for (const [upper, , lower] of steps) { out.set(upper, (out.get(upper) ?? 0) + 1); into.set(lower, (into.get(lower) ?? 0) + 1); }
  for (const [upper, leaves, lower, enters] of steps) {
    const weight = out.get(upper) === 1 && into.get(lower) === 1 ? STRAIGHT : 1;
    above[lower].push([upper, leaves - enters, weight]);
    below[upper].push([lower, enters - leaves, weight]);
  }
  drawn.rows = drawn.scope.layers.map((layer) => rowsOf(drawn.items, layer));
  for (const row of drawn.rows.flat()) {
    let x = 0;
    for (const at of row) { drawn.items[at].x = x + drawn.items[at].w / 2; x += drawn.items[at].w + GAP.across; }
    for (const at of row) drawn.items[at].x -= (x - GAP.across) / 2;
  }
  const layers = drawn.scope.layers.filter((_, rank) => drawn.rows[rank].length === 1), back = [...layers].reverse();
  for (let turn = 0; turn < 4; turn++) {
    layers.forEach((layer) => settle(drawn.items, layer, (at) => above[at]));
    back.forEach((layer) => settle(drawn.items, layer, (at) => below[at]));
  }
  layers.forEach((layer) => settle(drawn.items, layer, (at) => [...above[at], ...below[at]]));
  // What follows one thing and nothing else stands straight below it.
  layers.forEach((layer) => settle(drawn.items, layer, (at) => above[at].filter((other) => other[2] === STRAIGHT)));
}

/** Return a rank in rows: one, or several if it is so wide that nobody would see it whole. */
function rowsOf(items, layer) {
  const width = layer.reduce((sum, at) => sum + items[at].w + GAP.across, 0);
  if (width < WIDEST) return [layer];
  const height = layer.reduce((most, at) => Math.max(most, items[at].h), 0) + GAP.down;
  const most = Math.max(WIDEST / 2, Math.sqrt(width * height * 1.3)), rows = [[]];
  let used = 0;
  for (const at of layer) {
    if (used > most) { rows.push([]); used = 0; }
    rows[rows.length - 1].push(at);
    used += items[at].w + GAP.across;
  }
  return rows;
}

function rowHeight(items, row) { return row.reduce((most, at) => Math.max(most, items[at].h), 0); }

/** Put a rank as near to its wishes as its order allows: least squares by pooling neighbours. */
function settle(items, layer, towards) {
  const pools = [];
  let shift = 0;
  layer.forEach((at, place) => {
    if (place) shift += (items[layer[place - 1]].w + items[at].w) / 2 + GAP.across;
    const others = towards(at);
    const weights = others.reduce((sum, other) => sum + other[2], 0);
    const wish = weights ? others.reduce((sum, [o, by, weight]) => sum + (items[o].x + by) * weight, 0) / weights : items[at].x;
    const weight = weights ? (items[at].kind === POINT ? STRAIGHT : Math.max(...others.map((other) => other[2]))) : 0.1;
    let pool = { sum: (wish - shift) * weight, weight, members: [[at, shift]] };
    while (pools.length && pools[pools.length - 1].sum / pools[pools.length - 1].weight > pool.sum / pool.weight) pool = joined(pools.pop(), pool);
    pools.push(pool);
  });
  for (const pool of pools) for (const [at, by] of pool.members) items[at].x = pool.sum / pool.weight + by;
}

function joined(one, other) {
  const [large, small] = one.members.length < other.members.length ? [other, one] : [one, other];
  for (const member of small.members) large.members.push(member);
  return { sum: one.sum + other.sum, weight: one.weight + other.weight, members: large.members };
}

/** Give ranks their heights, in columns if they are many, and the scope its size. */
function stack(drawn) {
  drawn.heights = drawn.rows.map((rows) => rows.reduce((sum, row) => sum + rowHeight(drawn.items, row) + GAP.down, -GAP.down));
  drawn.total = drawn.heights.reduce((sum, height) => sum + height + GAP.down, 0);
  const before = drawn.items.map((item) => item.x), count = columnCount(drawn);
  setColumns(drawn, count);
  const off = (drawn.width / drawn.height) / (SHEET.width / SHEET.height);
  const better = Math.max(1, Math.round(count / Math.sqrt(off)));
  if (count > 2 && better !== count) {
    drawn.items.forEach((item, at) => { item.x = before[at]; });
    setColumns(drawn, better);
  }
  setPorts(drawn);
}

/** Return in how many columns the ranks are readable at once, or most nearly so. */
function columnCount({ at, heights, total, rows, items }) {
  const width = ([row]) => row.reduce((sum, item) => sum + items[item].w + GAP.across, 0);
  const wide = heights.reduce((sum, height, rank) => sum + width(rows[rank]) * (height + GAP.down), 0) / Math.max(total, 1) + 60;
  const scale = (columns) => Math.min(SHEET.width / (columns * wide), (SHEET.height * columns) / total);
  let count = 1;
  const least = at ? SHEET.inner : SHEET.scale;
  while (scale(count) < least && scale(count + 1) > scale(count) && count * 6 < heights.length) count++;
  return count;
}

/** Return the ranks at which columns start, the first left out: near equal shares, where few lines are cut. */
function columnStarts(drawn, count) {
  const { heights, total, scope, rank } = drawn, change = new Array(heights.length + 1).fill(0), starts = [];
  for (const [, , , , path] of count > 1 ? scope.links : []) {
    const from = rank[path[0]], to = rank[path[path.length - 1]], weight = from < to ? 1 : 4;
    change[Math.min(from, to) + 1] += weight;
    change[Math.max(from, to) + 1] -= weight;
  }
  const share = total / count;
  let cut = 0, passed = 0, best = null;
  heights.forEach((height, at) => {
    cut += change[at];
    const off = Math.abs(passed - share * (starts.length + 1)) / share;
    if (at && off < 0.3 && starts.length < count - 1) {
      const cost = cut + 6 * off;
      if (best === null || cost < best.cost) best = { at, cost };
    } else if (best !== null) {
      starts.push(best.at);
      best = null;
    }
    passed += height + GAP.down;
  });
  if (best !== null) starts.push(best.at);
  return starts;
}

function setColumns(drawn, count) {
  const starts = columnStarts(drawn, count);
  let column = 0;
  drawn.column = drawn.heights.map((_, rank) => (rank === starts[column] ? ++column : column));
  Object.assign(drawn, { columns: [], top: [], bottom: [], lane: new Map(), gutter: new Map() });
  const enters = drawn.items.some((item) => item.kind === IN), leaves = drawn.items.some((item) => item.kind === OUT);
  const top = drawn.at ? (enters ? 8 : GAP.title + 4) : 0;
  const shift = count > 1 ? GAP.down : 0; // room for what comes from the column before
  let left = drawn.at ? GAP.border : 0, y = top + shift, lowest = top;
  drawn.scope.layers.forEach((_, rank) => {
    if (rank && drawn.column[rank] !== drawn.column[rank - 1]) y = top + shift;
    drawn.top[rank] = y;
    drawn.bottom[rank] = y + drawn.heights[rank];
    for (const row of drawn.rows[rank]) {
      const height = rowHeight(drawn.items, row);
      for (const at of row) drawn.items[at].y = y + (height - drawn.items[at].h) / 2;
      y += height + GAP.down;
    }
    lowest = Math.max(lowest, drawn.bottom[rank]);
    y = drawn.bottom[rank] + GAP.down;
  });
  for (let column = 0; column <= (drawn.column[drawn.column.length - 1] ?? 0); column++) left = setColumn(drawn, column, left);
  drawn.width = left + (drawn.at ? GAP.border : 0);
  drawn.height = lowest + (drawn.columns.length > 1 ? GAP.down : 0) + (drawn.at && !leaves ? GAP.border : 0);
  if (drawn.at) widen(drawn, textWidth(drawn.scope.label, NAME_FONT) + 60);
}

/** Make a scope wide enough for its name. */
function widen(drawn, least) {
  const more = Math.min(least, BOX.most) - drawn.width;
  if (more <= 0) return;
  drawn.width += more;
  for (const item of drawn.items) item.x += more / 2;
  for (const column of drawn.columns) { column.left += more / 2; column.right += more / 2; }
}

/** Put the ports on the border, in the middle of it if what is inside stands in columns. */
function setPorts(drawn) {
  for (const [kind, y] of [[IN, 0], [OUT, drawn.height]]) {
    const ports = drawn.items.filter((item) => item.kind === kind);
    ports.forEach((port, place) => {
      port.y = y;
      if (drawn.columns.length > 1) port.x = drawn.width / 2 + (place - (ports.length - 1) / 2) * Math.min(14, drawn.width / ports.length);
    });
  }
}

/** Move one column to the right of those before it; return where the next one starts. */
function setColumn(drawn, column, left) {
  const ranks = drawn.scope.layers.map((_, rank) => rank).filter((rank) => drawn.column[rank] === column);
  const inside = ranks.flatMap((rank) => drawn.scope.layers[rank]).map((at) => drawn.items[at]);
  const sides = lanesOf(drawn, ranks);
  let low = Infinity, high = -Infinity;
  for (const item of inside) { low = Math.min(low, item.x - item.w / 2); high = Math.max(high, item.x + item.w / 2); }
  if (low > high) low = high = 0;
  const from = left + sides.left * GAP.lane + (sides.left ? 8 : 0);
  for (const item of inside) item.x += from - low;
  const right = from + high - low;
  drawn.columns[column] = { left: from, right, first: ranks[0], last: ranks[ranks.length - 1] };
  const last = ranks[ranks.length - 1] === drawn.scope.layers.length - 1;
  const crossing = last ? 0 : Math.min(LANES, drawn.scope.layers[ranks[ranks.length - 1]].length + 1);
  return right + (sides.right ? 10 : 0) + sides.right * GAP.lane + (last ? 0 : 30 + crossing * GAP.lane);
}

/** Give the links that are led around a column their lanes; return how many there are. */
function lanesOf(drawn, ranks) {
  const first = ranks[0], last = ranks[ranks.length - 1], count = { left: 0, right: 0 };
  for (const link of drawn.scope.links) {
    const path = link[4], from = drawn.rank[path[0]], to = drawn.rank[path[path.length - 1]];
    const inside = Math.min(from, to) >= first && Math.max(from, to) <= last;
    if (!inside || !((link[0] & FAR) || from >= to)) continue;
    const side = from >= to ? "right" : "left";
    drawn.lane.set(link, count[side] % LANES);
    count[side] += 1;
  }
  return { left: Math.min(count.left, LANES), right: Math.min(count.right, LANES) };
}

/** Collect the boxes and lines of a scope, and of the open scopes in it, at their places. */
function emit(model, drawn, x, y, placed) {
  for (const item of drawn.items) {
    if (item.kind > SCOPE && item.kind !== OUTPUT) continue;
    const box = { kind: item.kind, index: item.index, open: Boolean(item.inner), x: x + item.x - item.w / 2, y: y + item.y, w: item.w, h: item.h };
    box.id = `${"ns--o"[item.kind]}${item.index}`;
    placed.boxes.push(box);
    if (item.inner) emit(model, item.inner, box.x, box.y, placed);
  }
  for (const line of linesOf(model, drawn, x, y)) placed.lines.push(line);
}
