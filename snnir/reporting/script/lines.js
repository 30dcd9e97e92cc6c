// The lines between boxes, as paths.

/** Return the lines of one scope; equal ones are drawn once. */
function linesOf(model, drawn, x, y) {
  const found = new Map();
  const ends = attachments(drawn);
  drawn.scope.links.forEach((link, at) => {
    const [marks, count, source, result, path] = link;
    const points = route(drawn, link, ends[at]).map(([px, py, turn]) => [px + x, py + y, turn]);
    const target = drawn.items[path[path.length - 1]];
    const line = {
      marks, count, source, result, points,
      kind: model.kindOf(source, result),
      from: endId(drawn.items[path[0]]), to: endId(target),
      arrow: !(target.inner || target.kind === OUT),
    };
    const key = points.map((point) => point.slice(0, 2).map(Math.round).join()).join(" ") + marks + line.kind;
    const known = found.get(key);
    if (known) known.count += count;
    else found.set(key, bounded(line));
  });
  return found.values();
}

function endId(item) {
  if (item.kind === IN || item.kind === OUT) return `n${item.index}`;
  return `${"ns--o"[item.kind]}${item.index}`;
}

function bounded(line) {
  const xs = line.points.map((point) => point[0]), ys = line.points.map((point) => point[1]);
  line.x = Math.min(...xs) - 12;
  line.y = Math.min(...ys) - 12;
  line.w = Math.max(...xs) + 12 - line.x;
  line.h = Math.max(...ys) + 12 - line.y;
  return line;
}

/** Return where every link leaves its first item and enters its last: spread, without crossing. */
function attachments(drawn) {
  const leaving = drawn.items.map(() => new Map()), entering = drawn.items.map(() => []);
  const ends = drawn.scope.links.map((link, at) => {
    const path = link[4], last = path.length - 1;
    const start = drawn.items[path[0]], end = drawn.items[path[last]];
    leaving[path[0]].set(`${link[3]}`, null);
    entering[path[last]].push(at);
    return { start: portPlace(start, OUT, link), end: portPlace(end, IN, link) };
  });
  entering.forEach((links, item) => {
    const box = drawn.items[item];
    if (box.inner || box.h === 0) return;
    const before = (at) => {
      const link = drawn.scope.links[at], path = link[4];
      if (drawn.rank[path[0]] >= drawn.rank[item]) return Infinity; // from the right
      if (link[0] & FAR) return -Infinity;
      return drawn.items[path[path.length - 2]].x;
    };
    const sorted = [...links].sort((a, b) => before(a) - before(b) || a - b);
    const pitch = Math.min(26, (box.w - 28) / Math.max(sorted.length, 1));
    sorted.forEach((at, place) => { ends[at].end = box.x + (place - (sorted.length - 1) / 2) * pitch; });
  });
  leaving.forEach((results, item) => {
    const box = drawn.items[item];
    if (box.inner || box.h === 0 || results.size < 2) return;
    const sorted = [...results.keys()].sort((a, b) => a - b);
    drawn.scope.links.forEach((link, at) => {
      if (link[4][0] === item) ends[at].start = box.x + (sorted.indexOf(`${link[3]}`) - (sorted.length - 1) / 2) * Math.min(26, (box.w - 28) / sorted.length);
    });
  });
  return ends;
}

function portPlace(item, kind, [, , source, result]) { return item.x + portOffset(item, kind, source, result); }

/** Return the points of a link: [x, y, how the line goes on from there]. */
function route(drawn, link, ends) {
  const path = link[4], first = path[0], last = path[path.length - 1];
  const start = [ends.start, bottomOf(drawn, first)], end = [ends.end, drawn.items[last].y];
  const from = drawn.rank[first], to = drawn.rank[last];
  if (drawn.lane.has(link)) return around(drawn, link, start, end, from, to);
  if ((link[0] & FAR) || from >= to) return [[...start, "curve"], end];
  const points = [[...start, turnBetween(drawn, first, path[1])]];
  for (let at = 1; at < path.length - 1; at++) {
    const rank = drawn.rank[path[at]], x = drawn.items[path[at]].x;
    points.push([x, drawn.top[rank], "line"], [x, drawn.bottom[rank], turnBetween(drawn, path[at], path[at + 1])]);
  }
  points.push(end);
  return withBends(drawn, points);
}

function bottomOf(drawn, at) { return drawn.items[at].y + drawn.items[at].h; }

/** Return how a line goes from one item of its path to the next. */
function turnBetween(drawn, upper, lower) {
  if (drawn.columns.length > 1 && drawn.items[upper].kind === IN) return "over";
  if (drawn.columns.length > 1 && drawn.items[lower].kind === OUT) return "under";
  return drawn.column[drawn.rank[upper]] === drawn.column[drawn.rank[lower]] ? "curve" : "gutter";
}

/** Lead what leaves its column along its free sides: over it, under it, or up beside it. */
function withBends(drawn, points) {
  const found = [];
  points.forEach((point, at) => {
    found.push(point);
    const [x, y, turn] = point, next = points[at + 1];
    if (turn === "over") found.push([x, next[1] - 15, "bend"], [next[0], next[1] - 15, "bend"]);
    else if (turn === "under") found.push([x, next[1] - 12, "bend"], [next[0], next[1] - 12, "bend"]);
    else if (turn === "gutter") {
      const column = drawn.columns.filter((each) => each.right < next[0]).pop() ?? drawn.columns[0];
      const used = drawn.gutter.get(column) ?? 0;
      drawn.gutter.set(column, used + 1);
      const aside = column.right + 24 + (used % LANES) * GAP.lane, shift = (used % 4) * 3;
      const low = Math.max(y, ...drawn.bottom.slice(column.first, column.last + 1)) + 10 + shift;
      const high = Math.min(next[1], ...drawn.top.slice(0, 2)) - 14 - shift + (drawn.at ? 24 : 0);
      found.push([x, low, "bend"], [aside, low, "bend"], [aside, high, "bend"], [next[0], high, "bend"]);
    } else return;
    point[2] = "bend";
  });
  return found;
}

/** Lead a link around the ranks between its ends: feedback on the right, the rest on the left. */
function around(drawn, link, start, end, from, to) {
  const back = from >= to, lane = drawn.lane.get(link);
  const column = drawn.columns[drawn.column[from]];
  const [high, low] = back ? [to, from] : [from, to];
  let x = back ? -Infinity : Infinity;
  if (low - high > 200) x = back ? column.right : column.left;
  else for (let rank = high; rank <= low; rank++) for (const at of drawn.scope.layers[rank]) {
    const item = drawn.items[at];
    x = back ? Math.max(x, item.x + item.w / 2) : Math.min(x, item.x - item.w / 2);
  }
  x += (back ? 1 : -1) * (16 + lane * GAP.lane);
  const leave = drawn.bottom[from] + 9 + (lane % 3) * 3, enter = drawn.top[to] - 12 - (lane % 3) * 3;
  return [[...start, "bend"], [start[0], leave, "bend"], [x, leave, "bend"], [x, enter, "bend"], [end[0], enter, "bend"], end];
}

/** Return the `d` of a line. */
function pathOf(points) {
  let d = `M${near(points[0][0])} ${near(points[0][1])}`;
  for (let at = 1; at < points.length; at++) {
    const [x0, y0, turn] = points[at - 1], [x, y] = points[at];
    if (turn === "curve") {
      const half = (y0 + y) / 2;
      d += `C${near(x0)} ${near(half)} ${near(x)} ${near(half)} ${near(x)} ${near(y)}`;
    } else if (turn === "bend" && points[at][2] === "bend" && at < points.length - 1) {
      d += rounding(points[at - 1], points[at], points[at + 1]);
    } else d += `L${near(x)} ${near(y)}`;
  }
  return d;
}

/** Go towards a corner and round it. */
function rounding([x0, y0], [x, y], [x1, y1]) {
  const before = Math.hypot(x - x0, y - y0), after = Math.hypot(x1 - x, y1 - y);
  const radius = Math.min(10, before / 2, after / 2);
  if (radius < 0.5) return `L${near(x)} ${near(y)}`;
  const ax = x + ((x0 - x) / before) * radius, ay = y + ((y0 - y) / before) * radius;
  const bx = x + ((x1 - x) / after) * radius, by = y + ((y1 - y) / after) * radius;
  return `L${near(ax)} ${near(ay)}Q${near(x)} ${near(y)} ${near(bx)} ${near(by)}`;
}

function near(value) { return Math.round(value * 10) / 10; }

/** Return the arrow head at the end of a line, which always comes from above. */
function headOf(points) {
  const [x, y] = points[points.length - 1];
  return `M${near(x)} ${near(y)}l-4 -7.5h8z`;
}
