"use strict";
// Lays out what report.py worked out. Text reaches the page as text nodes only, and plotly escaped, because names and
// reasons are whatever a user or a tool wrote. One file, section by section as on the page, since it is pasted into it.

const data = JSON.parse(document.getElementById("report-data").textContent);
const measured = data.cells.filter((cell) => cell.choice);
// The baseline is shown even where it is no choice: outside the space, or too slow for the load.
const shown = data.cells.filter((cell) => cell.choice || cell.cell === data.baseline);
const missed = data.cells.filter((cell) => cell.state !== "measured");
const figureByName = Object.fromEntries(data.figures.map((figure) => [figure.name, figure]));
const byId = (id) => document.getElementById(id);

// Okabe and Ito's colours, which differ for colour-blind eyes too; and a part of viridis for what has an order.
const NAMED_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c"];
const NAMED_COLOURS_DARK = ["#4f8ff7", "#f0b030", "#1fbf8f", "#dc8fb8", "#8fd0f5", "#f07a3c", "#a8a8a8"];
const ORDERED_COLOURS = ["#443983", "#31688e", "#21918c", "#35b779", "#90d743", "#d8c219"];
const ORDERED_COLOURS_DARK = ["#8a7fd6", "#4f93c4", "#2db3ad", "#4fd08d", "#a5e05c", "#f0df4a"];
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
let printing = false;

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

const tag = (text, title = "", kind = "") => element("span", { class: `tag ${kind}`, title }, text);
const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const isLower = (figure) => figure.direction === "minimize";
const hasBoth = (cell, x, y) => x.name in cell.figures && y.name in cell.figures;
const withDetail = (figure) => [figure.title, figure.detail].filter(Boolean).join(", ");
// Not on the front by its values, but not to be told apart from a cell that is.
const isTie = (cell) => !cell.front && Boolean(cell.standing?.ties.length);
const rank = (cell) => (cell.front ? 2 : isTie(cell) ? 1 : 0);
const lossOf = (figure, cell) => cell.figures[figure.name].value * (isLower(figure) ? 1 : -1);

// -------------------------------------------------------------------------------- head

function showHead() {
  const { counts, device, versions } = data.study;
  byId("counts").textContent =
    `${counts.measured} measured, ${counts.rejected} rejected, ${counts.failed} failed, ` +
    `of ${plural(data.study.cells, "cell")} in the space` +
    (counts.outside ? `; ${counts.outside} more measured outside it` : "");
  const entries = {
    when: [data.study.started_text, data.study.last_cell_text && `last cell ${data.study.last_cell_text}`],
    device: [
      device.name,
      device.processor,
      device.cores && plural(device.cores, "core"),
      device.machine,
      device.runtime,
    ],
    tools: Object.entries(versions).map(([name, version]) => `${name} ${version}`),
    objectives: data.figures.slice(0, data.objectives.length).map((figure) => figure.title),
    load: [data.study.samples_per_s && `${data.study.samples_per_s} samples/s`],
    baseline: [data.study.baseline_text],
    hypervolume: [
      data.study.hypervolume === null
        ? "none: the baseline is not measured"
        : `${data.study.hypervolume.toFixed(3)}: the volume of what the measured cells dominate, ` +
          "on a fixed scale around the baseline; higher is better",
    ],
  };
  for (const [name, parts] of Object.entries(entries)) {
    const text = parts.filter(Boolean).join(", ");
    if (text) byId("about").append(element("dt", {}, name), element("dd", {}, text));
  }
}

// -------------------------------------------------------------------------------- picks

function showPicks() {
  const place = byId("picks");
  if (!data.picks.length) place.append(element("p", { class: "note" }, "The study names no tiers."));
  else place.append(element("div", { class: "cards" }, ...data.picks.map(card)));
}

function card(pick) {
  const load = pick.samples_per_s === null ? "" : `${pick.samples_per_s} samples/s`;
  const box = element(
    "article",
    { class: "card" },
    element("div", { class: "head" }, element("h3", {}, pick.tier), element("span", { class: "note" }, load)),
  );
  if (!pick.cell) {
    box.append(element("p", { class: "config none" }, "no cell"), element("p", { class: "reason" }, pick.reason));
    return box;
  }
  const noisy = pick.noisy ? [" ", tag("noisy", pick.noisy, "warn")] : [];
  const facts = element("dl", {}, element("dt", {}, "why"), element("dd", {}, pick.reason));
  facts.append(element("dt", {}, "runner-up"), element("dd", {}, pick.runner_up ?? "none"));
  facts.append(element("dt", {}, "it would give instead"), element("dd", {}, pick.trade));
  if (!pick.runner_up) facts.lastChild.previousSibling.textContent = "because";
  if (pick.confirmed) {
    const { text, soaked_text: soaked, measured_text: at } = pick.confirmed;
    const broken = pick.broken ? [" ", tag(`breaks ${pick.broken}`, "by its confirmed figures", "warn")] : [];
    facts.append(element("dt", {}, "confirmed"), element("dd", { title: at }, text, ...broken));
    if (soaked) facts.append(element("dt", {}, "sustained"), element("dd", {}, soaked));
  }
  box.append(element("p", { class: "config" }, pick.label, ...noisy), cardTable(pick), facts);
  return box;
}

function cardTable(pick) {
  const limits = Object.keys(pick.limits).length > 0;
  const heads = ["", "", "vs. baseline", ...(limits ? ["limit"] : [])];
  const rows = Object.entries(pick.figures).map(([name, figure]) => {
    const column = figureByName[name];
    const change = figure.relative === null ? 0 : figure.relative - (name === "accuracy" ? 0 : 1);
    const kind = change === 0 ? "" : change > 0 === isLower(column) ? "worse" : "better";
    const limit = pick.limits[name] && `${isLower(column) ? "\u2264" : "\u2265"} ${pick.limits[name]}`;
    return element(
      "tr",
      {},
      element("td", { title: column.detail }, element("div", {}, column.title), tag(figure.provenance, figure.source)),
      element("td", { class: "number" }, figure.text, intervalBelow(figure)),
      element("td", { class: `number ${kind}` }, figure.relative_text ?? "\u2013"),
      ...(limits ? [element("td", { class: "number" }, limit ?? "")] : []),
    );
  });
  const head = element("tr", {}, ...heads.map((text) => element("th", { class: "number" }, text)));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

function intervalBelow(figure) {
  if (!figure.interval_text) return null;
  const title = `${100 * figure.confidence} % interval`;
  return element("span", { class: "interval", title }, figure.interval_text);
}

// -------------------------------------------------------------------------------- front

function theme() {
  const dark = DARK.matches && !printing;
  const ground = dark
    ? { text: "#e6e8ea", soft: "#98a1a9", grid: "#2a3036", card: "#1b1f23", line: "#6b747c", faint: 0.55 }
    : { text: "#1d2226", soft: "#687078", grid: "#e8eaec", card: "#ffffff", line: "#9aa2a9", faint: 0.4 };
  return {
    ...ground,
    named: dark ? NAMED_COLOURS_DARK : NAMED_COLOURS,
    ordered: dark ? ORDERED_COLOURS_DARK : ORDERED_COLOURS,
  };
}

function layoutBase(colours, printHeight) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colours.text },
    hoverlabel: {
      align: "left",
      bgcolor: colours.card,
      bordercolor: colours.line,
      font: { color: colours.text, size: 12 },
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.line, activecolor: colours.text },
    ...(printing ? { width: 1000, height: printHeight } : { autosize: true }),
  };
}

const PLOT_CONFIG = {
  responsive: true,
  displaylogo: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

function setUpFront() {
  const axes = data.figures.filter((figure) => figure.everywhere);
  if (!axes.length) {
    byId("front").replaceChildren(element("p", { class: "note" }, "No cell is measured yet, so there is no front."));
    return;
  }
  const option = (value, text) => element("option", { value }, text);
  for (const id of ["x-figure", "y-figure"]) {
    byId(id).append(...axes.map((figure) => option(figure.name, withDetail(figure))));
  }
  const colourings = [...data.parameters.map((parameter) => parameter.name), "front"];
  byId("colour").append(...colourings.map((name) => option(name, name.replace("_", " "))));
  const names = axes.map((figure) => figure.name);
  const [first, second = first] = names;
  byId("y-figure").value = first;
  byId("x-figure").value = names.includes("latency_ms") && first !== "latency_ms" ? "latency_ms" : second;
  byId("colour").value = "quantization";
  byId("rejected-control").hidden = !missed.some((cell) => names.filter((name) => name in cell.figures).length > 1);
  for (const axis of ["x", "y"]) {
    chooseScale(axis);
    byId(`${axis}-figure`).addEventListener("change", () => (chooseScale(axis), drawFront()));
    byId(`${axis}-log`).addEventListener("change", drawFront);
  }
  for (const id of ["colour", "intervals", "rejected"]) byId(id).addEventListener("change", drawFront);
  drawFront();
}

function chooseScale(axis) {
  byId(`${axis}-log`).checked = spread(figureByName[byId(`${axis}-figure`).value]) > 8;
}

/** Largest value over smallest; 0 where a logarithm makes no sense. */
function spread(figure) {
  const values = measured.map((cell) => cell.figures[figure.name].value);
  return Math.min(...values) > 0 ? Math.max(...values) / Math.min(...values) : 0;
}

function drawFront() {
  const x = figureByName[byId("x-figure").value];
  const y = figureByName[byId("y-figure").value];
  const colours = theme();
  const steps = staircase(x, y);
  const missedHere = missed.filter((cell) => hasBoth(cell, x, y) && cell.cell !== data.baseline);
  const traces = [stepsTrace(steps, x, y, colours), ...cellTraces(x, y, colours)];
  if (byId("rejected").checked) traces.push(missedTrace(missedHere, x, y, colours));
  const layout = {
    ...layoutBase(colours, 420),
    margin: { l: 76, r: 24, t: 70, b: 62 },
    hovermode: "closest",
    legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", itemsizing: "constant", title: { text: "" } },
    xaxis: axisLayout(x, byId("x-log").checked, colours),
    yaxis: axisLayout(y, byId("y-log").checked, colours),
  };
  const chart = byId("front-chart");
  Plotly.react(chart, traces, layout, PLOT_CONFIG).then(() => {
    placeLabels(chart, x, y, colours);
    // Zooming moves points but not labels, so they are placed anew.
    chart.removeAllListeners("plotly_relayout");
    chart.on("plotly_relayout", (change) => {
      if (Object.keys(change).some((key) => /axis|size|width/.test(key))) placeLabels(chart, x, y, colours);
    });
  });
  const objectives = data.objectives.map((name) => figureByName[name].title).join(", ");
  const notes = [
    `Large: on the front over ${objectives}. Small and faint: dominated.`,
    `The line joins the ${plural(steps.length, "cell")} that no other beats in these two figures alone.`,
  ];
  if (byId("rejected").checked) {
    notes.push(`${missedHere.length} of ${missed.length} rejected or failed cells have both figures.`);
  }
  if (shown.some(isTie)) notes.push("Large faint points cannot be told apart from a cell on the front.");
  byId("front-note").textContent = notes.join(" ");
}

function axisLayout(figure, log, colours) {
  const provenance = figure.provenance ? `, ${figure.provenance}` : "";
  const title = `${withDetail(figure)}${provenance} (${isLower(figure) ? "lower" : "higher"} is better)`;
  const bytes = figure.unit === "bytes" ? { tickformat: "~s", ticksuffix: "B" } : {};
  // Over more than a decade 1, 2 and 5 are enough; plotly would write every digit.
  const decades = log && spread(figure) > 10 ? { dtick: "D2" } : {};
  return {
    title: { text: title, standoff: 12 },
    type: log ? "log" : "linear",
    gridcolor: colours.grid,
    linecolor: colours.line,
    zeroline: false,
    showline: true,
    ticks: "outside",
    tickcolor: colours.line,
    automargin: true,
    ...bytes,
    ...decades,
  };
}

/** The cells that no other beats in these two figures, the best in x first. */
function staircase(x, y) {
  const sorted = [...measured].sort((a, b) => lossOf(x, a) - lossOf(x, b) || lossOf(y, a) - lossOf(y, b));
  const steps = [];
  for (const cell of sorted) {
    if (!steps.length || lossOf(y, cell) < lossOf(y, steps.at(-1))) steps.push(cell);
  }
  return steps;
}

function stepsTrace(steps, x, y, colours) {
  return {
    mode: "lines",
    x: steps.map((cell) => cell.figures[x.name].value),
    y: steps.map((cell) => cell.figures[y.name].value),
    // From one step to the next, x gets worse first: whatever the directions, that encloses what is dominated.
    line: { shape: "hv", color: colours.line, width: 1.25, dash: "dot" },
    hoverinfo: "skip",
    showlegend: false,
  };
}

function cellTraces(x, y, colours) {
  return colourGroups(colours).flatMap(({ title, colour, members }) => {
    const drawn = members.filter((cell) => hasBoth(cell, x, y));
    // The baseline's diamond comes last, for the legend shows the first.
    drawn.sort((a, b) => (a.cell === data.baseline) - (b.cell === data.baseline));
    const parts = [0, 1, 2].map((level) => drawn.filter((cell) => rank(cell) === level)).filter((part) => part.length);
    return parts.map((part, index) => cellTrace(part, title, colour, index === parts.length - 1, x, y, colours));
  });
}

function colourGroups(colours) {
  const by = byId("colour").value;
  if (by === "front") {
    const groups = [
      { title: "dominated", colour: colours.soft, members: shown.filter((cell) => !cell.front && !isTie(cell)) },
      { title: "tied with the front", colour: colours.named[1], members: shown.filter(isTie) },
      { title: "on the front", colour: colours.named[0], members: shown.filter((cell) => cell.front) },
    ];
    return groups.filter((group) => group.members.length);
  }
  const { values } = data.parameters.find((parameter) => parameter.name === by);
  const ordered = typeof values[0] === "number";
  const colourOf = (index) => {
    if (!ordered) return colours.named[index % colours.named.length];
    return along(colours.ordered, index / Math.max(1, values.length - 1));
  };
  return values
    .map((value, index) => ({
      title: ordered ? `${by.replace("_", " ")} ${value}` : String(value),
      colour: colourOf(index),
      members: shown.filter((cell) => cell.params[by] === value),
    }))
    .filter((group) => group.members.length);
}

const along = (ramp, share) => ramp[Math.round(share * (ramp.length - 1))];

function cellTrace(cells, title, colour, inLegend, x, y, colours) {
  const front = cells[0].front;
  const picked = new Set([data.baseline, ...data.picks.map((pick) => pick.cell)]);
  const marked = cells.map((cell) => picked.has(cell.cell));
  return {
    mode: "markers",
    name: title,
    legendgroup: title,
    // Dominated cells and ties never cover the front, whatever their colour.
    zorder: rank(cells[0]),
    showlegend: inLegend,
    x: cells.map((cell) => cell.figures[x.name].value),
    y: cells.map((cell) => cell.figures[y.name].value),
    hovertext: cells.map(hoverText),
    hoverinfo: "text",
    marker: {
      color: colour,
      size: rank(cells[0]) > 0 ? 12 : 7,
      opacity: marked.map((mark) => (front || mark ? 1 : colours.faint)),
      symbol: cells.map((cell) => (cell.cell === data.baseline ? "diamond" : "circle")),
      line: {
        color: marked.map((mark) => (mark ? colours.text : colours.card)),
        width: marked.map((mark) => (mark ? 2 : 0.75)),
      },
    },
    error_x: errorBars(cells, x, colour),
    error_y: errorBars(cells, y, colour),
  };
}

function errorBars(cells, figure, colour) {
  const reach = (side) => (cell) => {
    const { value, interval } = cell.figures[figure.name];
    return interval ? Math.abs(interval[side] - value) : 0;
  };
  return {
    visible: byId("intervals").checked,
    type: "data",
    symmetric: false,
    array: cells.map(reach(1)),
    arrayminus: cells.map(reach(0)),
    color: colour + (cells[0].front ? "a0" : "40"),
    thickness: 1,
    width: 0,
  };
}

function missedTrace(cells, x, y, colours) {
  return {
    mode: "markers",
    name: "rejected",
    x: cells.map((cell) => cell.figures[x.name].value),
    y: cells.map((cell) => cell.figures[y.name].value),
    hovertext: cells.map(hoverText),
    hoverinfo: "text",
    marker: { symbol: "x-thin", size: 8, line: { color: colours.soft, width: 1.5 } },
  };
}

/** Text as plotly may have it: it reads tags and entities of its own. */
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function hoverText(cell) {
  const lines = Object.entries(cell.figures).map(([name, figure]) => {
    const interval = figure.interval_text ? ` (${figure.interval_text})` : "";
    const relative = figure.relative_text && cell.cell !== data.baseline ? `, ${figure.relative_text}` : "";
    return plain(`${columnName(name)}: ${figure.text}${interval}${relative}, ${figure.provenance}`);
  });
  const notes = [...standingTexts(cell), cell.noisy && `noisy: ${cell.noisy}`, cell.reason].filter(Boolean);
  return [`<b>${plain(cell.label)}</b>`, ...lines, ...notes.map((text) => plain(text.slice(0, 120)))].join("<br>");
}

/** How sure a cell's place is, in words; nothing of a cell that is no choice. */
function standingTexts({ standing }) {
  if (!standing) return [];
  const { probability_text, timings, ties } = standing;
  const place = `on the front with ${probability_text}, timed ${timings === 1 ? "once" : `${timings} times`}`;
  return [place, ...ties.map((label) => `\u2248 ${label}`)];
}

const columnName = (name) => `${figureByName[name].title}${name === "latency_p90_ms" ? " p90" : ""}`;

// -------------------------------------------------------------------------------- labels of the front

function placeLabels(chart, x, y, colours) {
  const texts = new Map();
  if (data.baseline) texts.set(data.baseline, ["baseline"]);
  for (const { cell, tier } of data.picks.filter((pick) => pick.cell)) {
    texts.set(cell, [...(texts.get(cell) ?? []), tier]);
  }
  const { xaxis, yaxis } = chart._fullLayout;
  const at = (cell) => ({ x: xaxis.d2p(cell.figures[x.name].value), y: yaxis.d2p(cell.figures[y.name].value) });
  const drawn = shown.filter((cell) => hasBoth(cell, x, y));
  const inside = (point) => point.x >= 0 && point.x <= xaxis._length && point.y >= 0 && point.y <= yaxis._length;
  const points = drawn.map(at).filter(inside);
  const boxes = [];
  const annotations = [];
  for (const cell of drawn.filter((one) => texts.has(one.cell) && inside(at(one)))) {
    const text = texts.get(cell.cell).join(", ");
    const spot = bestSpot(at(cell), text.length * 7 + 10, points, boxes, xaxis._length, yaxis._length);
    boxes.push(spot);
    annotations.push(annotation(cell, text, spot, at(cell), x, y, colours));
  }
  Plotly.relayout(chart, { annotations });
}

/** The place for a label of that width, near its point, that covers the fewest points and no other label. */
function bestSpot(point, width, points, boxes, plotWidth, plotHeight) {
  const plot = { left: 0, right: plotWidth, top: 0, bottom: plotHeight };
  const around = points.map((one) => boxAt(one, 14, 14));
  let best = null;
  for (const distance of [26, 44, 66, 92]) {
    for (let turn = 0; turn < 12; turn += 1) {
      const angle = ((turn + 0.5) * Math.PI) / 6;
      const reach = distance + width / 2 - 10;
      const spot = boxAt({ x: point.x + reach * Math.cos(angle), y: point.y - distance * Math.sin(angle) }, width, 20);
      const labels = boxes.filter((other) => overlap(spot, other)).length;
      const covered = around.filter((other) => overlap(spot, other)).length;
      const cost = 100 * labels + (contains(plot, spot) ? 0 : 50) + 3 * covered + distance / 50;
      if (!best || cost < best.cost) best = { ...spot, cost };
    }
  }
  return best;
}

const boxAt = ({ x, y }, width, height) => ({
  x,
  y,
  left: x - width / 2,
  right: x + width / 2,
  top: y - height / 2,
  bottom: y + height / 2,
});
const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
const contains = (a, b) => a.left <= b.left && b.right <= a.right && a.top <= b.top && b.bottom <= a.bottom;

function annotation(cell, text, spot, point, x, y, colours) {
  // On a logarithmic axis plotly takes an annotation's place as the logarithm.
  const place = (figure, axis) => {
    const { value } = cell.figures[figure.name];
    return byId(`${axis}-log`).checked ? Math.log10(value) : value;
  };
  return {
    x: place(x, "x"),
    y: place(y, "y"),
    ax: spot.x - point.x,
    ay: spot.y - point.y,
    text: plain(text),
    font: { size: 12, color: colours.text },
    bgcolor: colours.card,
    borderpad: 2,
    arrowhead: 0,
    arrowwidth: 1,
    arrowcolor: colours.line,
    standoff: 7,
  };
}

// -------------------------------------------------------------------------------- table of cells

const share = (key) => (facts) => facts[key].toFixed(3);
const partOf = (key, all) => (facts) => `${facts[key]} of ${facts[all]}`;
const FACT_COLUMNS = [
  { title: "achieved", detail: "sparsity, prunable", key: "prunable_sparsity", text: share("prunable_sparsity") },
  { title: "achieved", detail: "sparsity, overall", key: "overall_sparsity", text: share("overall_sparsity") },
  { title: "quantized", detail: "share of weights", key: "quantized_share", text: share("quantized_share") },
  { title: "ops", detail: "quantized", key: "ops_quantized", text: partOf("ops_quantized", "ops") },
  { title: "nodes", detail: "delegated", key: "delegated_nodes", text: partOf("delegated_nodes", "nodes") },
];
let order = null;

function columns() {
  const parameters = data.parameters.map(({ name, values }) => ({
    title: name.split("_").at(-1) === "size" ? "batch" : name.replace("num_", ""),
    detail: "",
    number: typeof values[0] === "number",
    key: (cell) => (typeof cell.params[name] === "number" ? cell.params[name] : values.indexOf(cell.params[name])),
    content: (cell) => [String(cell.params[name])],
  }));
  const figures = data.figures.map((figure) => ({
    title: figure.title,
    detail: figure.detail,
    provenance: figure.provenance,
    number: true,
    descendingFirst: !isLower(figure),
    key: (cell) => cell.figures[figure.name]?.value,
    content: (cell) => figureContent(cell, figure),
  }));
  const counted = FACT_COLUMNS.filter(({ key }) => shown.some((cell) => key in cell.facts));
  const facts = counted.map(({ title, detail, key, text }) => ({
    title,
    detail,
    number: true,
    key: (cell) => cell.facts[key],
    content: (cell) => [key in cell.facts ? text(cell.facts) : "\u2013"],
  }));
  // What the study decides by stands beside the configuration, what else is known of a cell further right.
  const objectives = figures.splice(0, data.objectives.length);
  return [...parameters, ...objectives, STANDING_COLUMN, ...facts, ...figures];
}

const STANDING_COLUMN = {
  title: "on front",
  detail: "probability",
  number: true,
  descendingFirst: true,
  key: (cell) => cell.standing?.probability,
  content: (cell) => {
    if (!cell.standing) return ["\u2013"];
    const [place, ...ties] = standingTexts(cell);
    const mark = ties.length ? tag(`\u2248 ${ties.length}`, `not to be told apart from\n${ties.join("\n")}`, "tie") : null;
    return [element("span", { title: place }, cell.standing.probability_text), mark].filter(Boolean);
  },
};

function figureContent(cell, column) {
  const figure = cell.figures[column.name];
  if (!figure) return ["\u2013"];
  const relative = cell.cell === data.baseline ? "baseline" : figure.relative_text;
  const interval = figure.interval_text && `${100 * figure.confidence} % interval ${figure.interval_text}`;
  const title = [interval, figure.source].filter(Boolean).join("; ");
  return [
    element("span", { title }, figure.text),
    column.provenance ? null : tag(figure.provenance),
    column.name === "latency_ms" && cell.noisy ? tag("noisy", cell.noisy, "warn") : null,
    relative ? element("span", { class: "relative" }, relative) : null,
  ].filter((part) => part !== null);
}

function setUpCells() {
  if (!shown.length) {
    byId("cells").replaceChildren(element("p", { class: "note" }, "No cell is measured yet."));
    return;
  }
  const all = columns();
  const head = element("tr", {}, ...all.map((column) => headCell(column, all)));
  byId("cell-table").append(element("thead", {}, head), element("tbody"));
  byId("count-all").textContent = `(${shown.length})`;
  byId("count-front").textContent = `(${measured.filter((cell) => rank(cell) > 0).length})`;
  for (const id of ["show-all", "show-front"]) byId(id).addEventListener("change", () => fillCells(all));
  sortBy(all[data.parameters.length], all);
}

function headCell(column, all) {
  const label = element("button", { type: "button" }, element("span", { class: "title" }, column.title), column.detail);
  if (column.provenance) label.append(element("span", { class: "provenance" }, tag(column.provenance)));
  label.addEventListener("click", () => sortBy(column, all));
  column.head = element("th", { scope: "col", class: column.number ? "number" : "" }, label);
  return column.head;
}

function sortBy(column, all) {
  const again = order?.column === column;
  order = { column, descending: again ? !order.descending : Boolean(column.descendingFirst) };
  for (const { head } of all) head.removeAttribute("aria-sort");
  column.head.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
  fillCells(all);
}

function fillCells(all) {
  const sign = order.descending ? -1 : 1;
  const key = order.column.key;
  // What has no such figure comes last, whichever way the rest is sorted.
  const compare = (a, b) => (key(a) === undefined) - (key(b) === undefined) || sign * (key(a) - key(b)) || 0;
  const rows = shown.filter((cell) => rank(cell) > 0 || !byId("show-front").checked).sort(compare);
  byId("cell-table").tBodies[0].replaceChildren(...rows.map((cell) => cellRow(cell, all)));
}

function cellRow(cell, all) {
  const kind = ["", "tie", "front"][rank(cell)];
  const cells = all.map((column) => element("td", { class: column.number ? "number" : "" }, ...column.content(cell)));
  const identity = `cell ${cell.cell}${cell.facts.sha256 ? `, sha256 ${cell.facts.sha256}` : ""}`;
  return element("tr", { class: kind, title: identity }, ...cells);
}

// -------------------------------------------------------------------------------- rejected and failed

function showMissed() {
  if (!missed.length) byId("missed").append(element("p", { class: "note" }, "No cell was rejected or failed."));
  else byId("missed").append(framed(["cell", "", "reason", "figures until then"], missed.map(missedRow)));
  for (const text of data.gates) byId("missed").append(element("p", { class: "note" }, text));
  if (!data.refusals.length) return;
  const refused = data.refusals.reduce((sum, { count }) => sum + count, 0);
  const rows = data.refusals.map(({ reason, count }) =>
    element("tr", {}, element("td", { class: "number" }, count), element("td", { class: "reason" }, reason)),
  );
  const all = plural(data.study.configurations, "configuration");
  byId("refusals").append(
    element("p", {}, `${refused} of ${all} were refused before anything was spent:`),
    framed(["count", "reason"], rows),
  );
}

function missedRow(cell) {
  const figures = Object.entries(cell.figures).map(([name, figure]) => `${columnName(name)} ${figure.text}`);
  return element(
    "tr",
    { class: cell.state },
    element("td", {}, cell.label),
    element("td", {}, tag(cell.state, "", cell.state === "failed" ? "warn" : "")),
    element("td", { class: "reason" }, cell.reason ?? ""),
    element("td", {}, figures.join(", ") || "\u2013"),
  );
}

function framed(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", {}, text)));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("div", { class: "scroll" }, table);
}

// -------------------------------------------------------------------------------- what choices bought

function showEffects() {
  if (!data.effects.length) byId("effects-section").remove();
  else byId("effects").append(...data.effects.map(({ text, pays }) => element("li", { class: pays ? "" : "warn" }, text)));
}

// -------------------------------------------------------------------------------- convergence

function showConvergence() {
  byId("gain").textContent = data.convergence.text;
  if (data.convergence.curve.length > 1) drawCurve();
  else byId("curve-chart").remove();
}

function drawCurve() {
  const colours = theme();
  const { curve } = data.convergence;
  const trace = {
    mode: "lines",
    x: curve.map((_, index) => index + 1),
    y: curve,
    line: { shape: "hv", color: colours.named[0], width: 2 },
    hovertemplate: "%{x} cells: %{y:.3f}<extra></extra>",
  };
  const axis = { gridcolor: colours.grid, linecolor: colours.line, zeroline: false, showline: true, automargin: true };
  const layout = {
    ...layoutBase(colours, 180),
    margin: { l: 60, r: 24, t: 10, b: 46 },
    showlegend: false,
    xaxis: { ...axis, title: { text: "measured cells" } },
    yaxis: { ...axis, title: { text: "hypervolume" } },
  };
  Plotly.react(byId("curve-chart"), [trace], layout, { ...PLOT_CONFIG, displayModeBar: false });
}

// -------------------------------------------------------------------------------- stages

function showStages() {
  if (!data.stages.length) {
    byId("stages").append(element("p", { class: "note" }, "No stage has run yet."));
    byId("stage-chart").remove();
    return;
  }
  const rows = data.stages.map((stage) => {
    const numbers = [stage.runs, stage.hits, stage.failures, stage.spent_text, stage.saved_text];
    const cells = numbers.map((value) => element("td", { class: "number" }, value));
    return element("tr", {}, element("td", {}, stage.stage), ...cells);
  });
  byId("stages").append(framed(["stage", "runs", "reused", "failures", "spent", "saved by reuse"], rows));
  for (const head of [...byId("stages").querySelectorAll("th")].slice(1)) head.className = "number";
  drawStages();
}

function drawStages() {
  if (!data.stages.length) return;
  const colours = theme();
  const stages = [...data.stages].reverse();
  const bar = (key, name, color) => ({
    type: "bar",
    orientation: "h",
    name,
    y: stages.map((stage) => stage.stage),
    x: stages.map((stage) => stage[`${key}_s`]),
    hovertext: stages.map((stage) => plain(`${stage.stage}: ${stage[`${key}_text`]} ${name}`)),
    hoverinfo: "text",
    marker: { color },
  });
  const layout = {
    ...layoutBase(colours, 220),
    margin: { l: 90, r: 24, t: 30, b: 46 },
    barmode: "stack",
    bargap: 0.35,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" },
    xaxis: { title: { text: "seconds" }, gridcolor: colours.grid, linecolor: colours.line, zeroline: false },
    yaxis: { linecolor: colours.line, automargin: true, showline: true },
  };
  const traces = [bar("spent", "spent", colours.named[0]), bar("saved", "saved by reuse", colours.line)];
  Plotly.react(byId("stage-chart"), traces, layout, { ...PLOT_CONFIG, displayModeBar: false });
}

// -------------------------------------------------------------------------------- all of it

function redraw() {
  if (byId("front-chart")) drawFront();
  if (byId("curve-chart")) drawCurve();
  drawStages();
}

showHead();
showPicks();
setUpFront();
setUpCells();
showMissed();
showEffects();
showConvergence();
showStages();
DARK.addEventListener("change", redraw);
// Paper is white and narrower than the window.
window.addEventListener("beforeprint", () => ((printing = true), redraw()));
window.addEventListener("afterprint", () => ((printing = false), redraw()));
