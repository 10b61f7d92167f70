// The slider through the dates of a series of products.
import { el } from "./dom.js";

const PAUSE = 1500;

/** The slider; `update` rebuilds it where the series changed. */
export class Timeline {
  constructor(container, state) {
    Object.assign(this, { container, state, timer: 0, key: "" });
  }

  get series() {
    return this.state.series();
  }

  /** Go to an earlier (-1) or later (1) date; true if there was one. */
  step(by) {
    const { series } = this;
    const next = series[series.indexOf(this.state.left.product) + by];
    if (next && series.length > 1) this.state.show("left", next.id);
    return Boolean(next);
  }

  update() {
    const { series, container } = this;
    const dates = new Set(series.map((product) => product.dates.label));
    container.hidden = dates.size < 2;
    if (container.hidden) return this.stop();
    const key = series.map((product) => product.id).join("\n");
    if (key !== this.key) this.build(series);
    this.key = key;
    const at = series.indexOf(this.state.left.product);
    this.slider.value = String(at);
    this.slider.setAttribute("aria-valuetext", series[at].dates.label);
    this.label.textContent = series[at].dates.label;
    return undefined;
  }

  build(series) {
    this.slider = el("input", {
      type: "range", id: "time", min: "0", max: String(series.length - 1), step: "1",
      on: { input: () => this.state.show("left", this.series[Number(this.slider.value)].id) },
    });
    this.label = el("output", { class: "time-label", for: "time" });
    this.button = el("button", { type: "button", class: "play", "aria-pressed": "false", text: "Play", on: { click: () => this.play() } });
    const step = (by, name, sign) =>
      el("button", { type: "button", "aria-label": name, text: sign, on: { click: () => { this.stop(); this.step(by); } } });
    const ends = el("div", { class: "ends", "aria-hidden": "true" },
      el("span", { text: series[0].dates.label }), el("span", { text: series.at(-1).dates.label }));
    this.container.replaceChildren(
      el("label", { for: "time", text: "Date" }),
      step(-1, "Earlier date", "◀"),
      el("div", { class: "track" }, this.slider, ends),
      step(1, "Later date", "▶"),
      this.label,
      this.button,
    );
  }

  play() {
    if (this.timer) return this.stop();
    this.button.setAttribute("aria-pressed", "true");
    this.button.textContent = "Pause";
    if (!this.step(1)) this.state.show("left", this.series[0].id);
    this.timer = setInterval(() => {
      if (!this.step(1)) this.state.show("left", this.series[0].id);
    }, PAUSE);
    return undefined;
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    if (!this.button) return;
    this.button.setAttribute("aria-pressed", "false");
    this.button.textContent = "Play";
  }
}
