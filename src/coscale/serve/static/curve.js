// The gain in dB over the passes, as a small SVG that grows while the passes come in.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 232;
const MARGIN = { left: 44, right: 14, top: 14, bottom: 30 };

export function draw(svg, gains, passes, asFile) {
  const width = Math.max(260, svg.clientWidth);
  const top = ceiling(Math.max(0.1, ...gains, asFile ?? 0));
  const x = (pass) => MARGIN.left + ((width - MARGIN.left - MARGIN.right) * pass) / Math.max(1, passes - 1);
  const y = (gain) => HEIGHT - MARGIN.bottom - ((HEIGHT - MARGIN.top - MARGIN.bottom) * Math.max(0, gain)) / top;
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute("height", HEIGHT);
  svg.replaceChildren();

  for (const gain of [0, top / 2, top]) {
    add(svg, "line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(gain), y2: y(gain) });
    add(svg, "text", { x: MARGIN.left - 8, y: y(gain) + 4, "text-anchor": "end" }, gain.toFixed(top < 2 ? 2 : 1));
  }
  add(svg, "text", { x: x(0), y: HEIGHT - 8 }, "pass 1");
  add(svg, "text", { x: x(passes - 1), y: HEIGHT - 8, "text-anchor": "end" }, String(passes));

  if (asFile !== null && asFile !== undefined) {
    add(svg, "line", { class: "file", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(asFile), y2: y(asFile) });
  }
  if (gains.length === 0) return;
  const points = gains.map((gain, pass) => `${x(pass).toFixed(1)},${y(gain).toFixed(1)}`);
  const end = gains.length - 1;
  add(svg, "path", { class: "area", d: `M${x(0)},${y(0)}L${points.join("L")}L${x(end)},${y(0)}Z` });
  add(svg, "polyline", { class: "line", points: points.join(" ") });
  add(svg, "circle", { class: "dot", cx: x(end), cy: y(gains[end]), r: 4 });
}

// The next round number, whose half has few digits too.
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * unit).find((step) => step >= value * 0.999);
}

function add(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
}
