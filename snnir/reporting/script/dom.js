// Elements. Text only ever becomes text: nothing here reads markup.

const mark = document.querySelector("svg"); // every page has one; it names SVG's namespace

/** Return an HTML element with attributes and children; strings become text. */
function html(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return an SVG element with attributes and children. */
function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(mark.namespaceURI, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return a button; what it is for is its name to those who do not see it. */
function button(label, title, act, attributes = {}) {
  return html("button", { type: "button", title, "aria-label": title, onclick: act, ...attributes }, label);
}

const ruler = document.createElement("canvas").getContext("2d");
const widths = new Map();

/** Return how wide a text is in a font, in pixels: letter by letter, each measured once. */
function textWidth(text, font) {
  if (!widths.has(font)) widths.set(font, new Map());
  const known = widths.get(font);
  let sum = 0;
  for (const letter of text) {
    let width = known.get(letter);
    if (width === undefined) {
      ruler.font = font;
      width = ruler.measureText(letter).width;
      known.set(letter, width);
    }
    sum += width;
  }
  return sum;
}

/** Return a text cut in the middle so that it is no wider than `limit`. */
function fitted(text, font, limit) {
  if (textWidth(text, font) <= limit) return text;
  const letters = Array.from(text);
  let low = 0, high = letters.length;
  const cut = (kept) =>
    letters.slice(0, Math.ceil(kept / 2)).join("") + "…" + letters.slice(letters.length - Math.floor(kept / 2)).join("");
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (textWidth(cut(middle), font) <= limit) low = middle;
    else high = middle - 1;
  }
  return cut(low);
}
