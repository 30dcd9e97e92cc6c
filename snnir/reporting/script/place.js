// From ranks and orders to coordinates. Every scope is placed for itself, the inner ones first.

const NAME_FONT = "600 13px system-ui, sans-serif", BRIEF_FONT = "12px system-ui, sans-serif";
const BOX = { height: 46, least: 104, most: 232, side: 16 };
const GAP = { across: 22, down: 30, lane: 12, border: 16, title: 30 };
const SHEET = { width: 800, height: 680, scale: 0.8 }; // what is seen at once, and how small it may get
const LANES = 10;
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
    const text = Math.max(textWidth(node.label, NAME_FONT), textWidth(node.brief, BRIEF_FONT));
    Object.assign(item, { w: rounded(text + 2 * BOX.side), h: BOX.height });
  } else if (kind === OUTPUT) {
    Object.assign(item, { w: rounded(textWidth(model.outputs[index].name, NAME_FONT) + 30), h: 30 });
  } else if (kind === SCOPE && model.open.has(index)) {
    item.inner = placedScope(model, index);
    Object.assign(item, { w: item.inner.width, h: item.inner.height });
  } else if (kind === SCOPE) {
    const text = textWidth(model.scopes[index].label, NAME_FONT) + 26;
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
  for (const layer of drawn.scope.layers) {
    let x = 0;
    for (const at of layer) { drawn.items[at].x = x + drawn.items[at].w / 2; x += drawn.items[at].w + GAP.across; }
    layer.forEach((at) => { drawn.items[at].x -= (x - GAP.across) / 2; });
  }
  const layers = drawn.scope.layers, back = [...layers].reverse();
  for (let turn = 0; turn < 4; turn++) {
    layers.forEach((layer) => settle(drawn.items, layer, (at) => above[at]));
    back.forEach((layer) => settle(drawn.items, layer, (at) => below[at]));
  }
  layers.forEach((layer) => settle(drawn.items, layer, (at) => [...above[at], ...below[at]]));
  // What follows one thing and nothing else stands straight below it.
  layers.forEach((layer) => settle(drawn.items, layer, (at) => above[at].filter((other) => other[2] === STRAIGHT)));
}

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
    while (pools.length && pools[pools.length - 1].sum / pools[pools.length - 1].weight > pool.sum / pool.weight) {
      const last = pools.pop();
      pool = { sum: last.sum + pool.sum, weight: last.weight + pool.weight, members: last.members.concat(pool.members) };
    }
    pools.push(pool);
  });
  for (const pool of pools) for (const [at, by] of pool.members) items[at].x = pool.sum / pool.weight + by;
}

/** Give ranks their heights, in columns if they are many, and the scope its size. */
function stack(drawn) {
  const heights = drawn.scope.layers.map((layer) => Math.max(0, ...layer.map((at) => drawn.items[at].h)));
  const total = heights.reduce((sum, height) => sum + height + GAP.down, 0);
  drawn.column = columnsOf(drawn, heights, total);
  drawn.columns = [];
  const enters = drawn.items.some((item) => item.kind === IN), leaves = drawn.items.some((item) => item.kind === OUT);
  const top = drawn.at ? (enters ? 8 : GAP.title + 4) : 0;
  let left = drawn.at ? GAP.border : 0, y = top, lowest = top;
  drawn.top = [];
  drawn.bottom = [];
  drawn.scope.layers.forEach((layer, rank) => {
    if (rank && drawn.column[rank] !== drawn.column[rank - 1]) y = top + GAP.down;
    drawn.top[rank] = y;
    drawn.bottom[rank] = y + heights[rank];
    layer.forEach((at) => { drawn.items[at].y = y + (heights[rank] - drawn.items[at].h) / 2; });
    lowest = Math.max(lowest, y + heights[rank]);
    y += heights[rank] + GAP.down;
  });
  for (let column = 0; column <= (drawn.column[heights.length - 1] ?? 0); column++) left = setColumn(drawn, column, left);
  drawn.width = left + (drawn.at ? GAP.border : 0);
  drawn.height = lowest + (drawn.columns.length > 1 ? GAP.down : 0) + (drawn.at && !leaves ? GAP.border : 0);
  for (const item of drawn.items) { // ports stand on the border
    if (item.kind === IN) item.y = 0;
    if (item.kind === OUT) item.y = drawn.height;
  }
}

/** Return the column of every rank: one if all can be read at once, else so many as show most. */
function columnsOf(drawn, heights, total) {
  const wide = heights.reduce((sum, h, rank) => sum + rankWidth(drawn, rank) * (h + GAP.down), 0) / Math.max(total, 1) + 60;
  const scale = (columns) => Math.min(SHEET.width / (columns * wide), (SHEET.height * columns) / total);
  let count = 1;
  while (scale(count) < SHEET.scale && scale(count + 1) > scale(count) && count * 6 < heights.length) count++;
  const share = total / count;
  let passed = 0;
  return heights.map((height) => {
    const column = Math.min(count - 1, Math.floor((passed + height / 2) / share));
    passed += height + GAP.down;
    return column;
  });
}

function rankWidth(drawn, rank) {
  return drawn.scope.layers[rank].reduce((sum, at) => sum + drawn.items[at].w + GAP.across, 0);
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
  drawn.lane ??= new Map();
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
