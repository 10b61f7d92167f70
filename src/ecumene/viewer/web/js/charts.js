// Charts of a product, each with its numbers as a table.
import { el, script } from "./dom.js";
import { number } from "./format.js";
import { variable } from "./theme.js";

// Okabe and Ito's colours, which stay apart for colour-blind readers (without the yellow, too light on white).
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

/** Whiskers from low to high at each bar or dot. */
const whiskers = {
  id: "whiskers",
  afterDatasetsDraw(chart) {
    const { ctx } = chart;
    chart.data.datasets.forEach((set, at) => {
      const meta = chart.getDatasetMeta(at);
      if (!set.low || !set.high || meta.hidden) return;
      const sideways = chart.options.indexAxis === "y";
      const scale = sideways ? chart.scales.x : chart.scales.y;
      ctx.save();
      ctx.strokeStyle = variable("--text");
      ctx.lineWidth = 1.5;
      meta.data.forEach((mark, k) => {
        if (!Number.isFinite(set.low[k]) || !Number.isFinite(set.high[k])) return;
        const [from, to] = [scale.getPixelForValue(set.low[k]), scale.getPixelForValue(set.high[k])];
        ctx.beginPath();
        for (const [a, b] of [[from, to], [from, from], [to, to]]) {
          const cap = a === b ? 4 : 0;
          if (sideways) {
            ctx.moveTo(a, mark.y - cap);
            ctx.lineTo(b, mark.y + cap);
          } else {
            ctx.moveTo(mark.x - cap, a);
            ctx.lineTo(mark.x + cap, b);
          }
        }
        ctx.stroke();
      });
      ctx.restore();
    });
  },
};

function dataset(series, at, kind, categories) {
  const colour = series.colour ?? COLOURS[at % COLOURS.length];
  const data = categories ? series.y : series.y.map((y, k) => ({ x: series.x?.[k] ?? k, y }));
  const set = {
    label: series.name, data, low: series.low, high: series.high,
    backgroundColor: series.colours ?? colour, borderColor: kind === "bars" ? variable("--muted") : colour,
  };
  if (kind === "bars") return { ...set, borderWidth: 0.5, maxBarThickness: 26 };
  const radius = series.weight ? series.weight.map((share) => 2 + 14 * Math.sqrt(share ?? 0)) : 3.5;
  return {
    ...set, showLine: kind === "lines", borderWidth: 2, borderDash: series.dashed ? [5, 4] : [],
    pointRadius: radius, pointHoverRadius: radius, spanGaps: false,
  };
}

// Years are written without a separator of thousands, and never as fractions.
const YEARS = { precision: 0, callback: (value) => String(value) };

function axis(about, { sideways = false, ends = {} } = {}) {
  const text = [about.label, about.unit ? `(${about.unit})` : ""].filter(Boolean).join(" ");
  const limits = about.limits ? { min: about.limits[0], max: about.limits[1] } : ends;
  return {
    ...limits,
    title: { display: Boolean(text) && !sideways, text, color: variable("--text") },
    ticks: { color: variable("--text"), autoSkip: !sideways, ...(/\byear\b/i.test(about.label) && !about.categories ? YEARS : {}) },
    grid: { color: variable("--line") },
    border: { color: variable("--muted") },
  };
}

/** The ends of all intervals, so that the axis holds the whiskers. */
function reach(series) {
  const all = series.flatMap((entry) => [...(entry.low ?? []), ...(entry.high ?? [])]).filter(Number.isFinite);
  return all.length ? { suggestedMin: Math.min(...all), suggestedMax: Math.max(...all) } : {};
}

function configuration(chart) {
  const bars = chart.kind === "bars";
  const { categories } = chart.x;
  const sideways = bars && (categories?.length ?? 0) > 4;
  const series = chart.series.map((entry, at) => dataset(entry, at, chart.kind, categories));
  if (chart.diagonal) {
    const [low, high] = chart.x.limits ?? [0, 1];
    series.push({
      label: "perfect", data: [{ x: low, y: low }, { x: high, y: high }], showLine: true, pointRadius: 0,
      borderColor: variable("--muted"), backgroundColor: variable("--muted"), borderDash: [4, 4], borderWidth: 1.5,
    });
  }
  const along = { ...axis(chart.x, { sideways }), ...(categories ? { type: "category" } : { type: "linear" }) };
  if (bars) along.grid = { display: false };
  const across = { ...axis(chart.y, { ends: reach(chart.series) }), type: "linear", beginAtZero: bars };
  return {
    type: bars ? "bar" : "line",
    data: { labels: categories ?? undefined, datasets: series },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, indexAxis: sideways ? "y" : "x",
      scales: sideways ? { y: along, x: across } : { x: along, y: across },
      plugins: {
        legend: { display: series.length > 1, labels: { color: variable("--text"), boxWidth: 14 } },
        tooltip: {
          callbacks: {
            label: (item) => {
              const set = item.dataset;
              const value = sideways ? item.parsed.x : item.parsed.y;
              const interval = set.low && set.high ? ` (${number(set.low[item.dataIndex])} to ${number(set.high[item.dataIndex])})` : "";
              return `${set.label}: ${number(value)}${interval}`;
            },
          },
        },
      },
    },
    plugins: [whiskers],
  };
}

function table({ columns, rows }, title) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Numbers of: ${title}` }, el("table", {},
    el("caption", { class: "unseen", text: title }),
    el("thead", {}, el("tr", {}, columns.map((text) => el("th", { scope: "col", text })))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((text, k) => (k ? el("td", { text }) : el("th", { scope: "row", text }))))))));
}

/** Draws the charts of a product and throws the old ones away. */
export class ChartsPanel {
  constructor(container) {
    Object.assign(this, { container, drawn: [] });
  }

  clear() {
    for (const chart of this.drawn.splice(0)) chart.destroy();
    this.container.replaceChildren();
  }

  /** Show a list of charts. */
  async show(charts) {
    this.clear();
    if (!charts.length) {
      this.container.append(el("p", { class: "hint", text: "This product has no charts." }));
      return;
    }
    if (charts.some((chart) => chart.kind !== "table")) await script("chart.umd.min.js");
    this.clear();
    for (const chart of charts) {
      const figure = el("figure", { class: "chart" }, el("figcaption", {}, el("strong", { text: chart.title })));
      this.container.append(figure);
      if (chart.kind !== "table") {
        const rows = chart.kind === "bars" ? (chart.x.categories?.length ?? 0) : 0;
        const height = rows > 4 ? `${70 + 24 * rows}px` : "15rem";
        const canvas = el("canvas", { role: "img", "aria-label": `${chart.title}. ${chart.caption ?? ""} The numbers are in the table below.` });
        figure.append(el("div", { class: "canvas", style: { height } }, canvas));
        this.drawn.push(new globalThis.Chart(canvas, configuration(chart)));
      }
      if (chart.caption) figure.append(el("p", { class: "hint", text: chart.caption }));
      if (chart.table) {
        figure.append(chart.kind === "table" ? table(chart.table, chart.title)
          : el("details", {}, el("summary", { text: "Numbers" }), table(chart.table, chart.title)));
      }
    }
  }
}
