// Why the model says what it says at a place: from explanations that are shown as well, or computed when it is asked for.
import { el, say, sentence } from "./dom.js";
import { number } from "./format.js";

const ASK = "Why here?";
const STOP = "Stop";

let pending = null; // what is being computed; one place at a time

/** What inputs do at a place: {title, product, description, bands: [{name, value}]}. */
export function whyPart(why) {
  const most = Math.max(...why.bands.map((band) => Math.abs(band.value)), 1e-12);
  return el("section", {}, el("h3", { text: "Why" }),
    el("p", { class: "hint", text: `${why.product}: ${why.description}` }),
    el("table", { class: "bars" }, el("caption", { text: why.title }),
      el("tbody", {}, why.bands.map((band) => el("tr", {}, el("th", { scope: "row", text: band.name }),
        el("td", {}, el("span", { class: "bar", "aria-hidden": "true" }, el("span", { style: { width: `${(100 * Math.abs(band.value)) / most}%`, background: band.value < 0 ? "var(--warn)" : "var(--accent)" } })),
          el("span", { class: "amount", text: number(band.value, 2) })))))));
}

function answerPart({ text, notes, sections }) {
  return [el("p", { text }), ...notes.map((note) => el("p", { class: "alarm", text: note })), ...sections.map(whyPart)];
}

/** A button that has a place explained, and its answer; null where the server cannot. What went before is stopped. */
export function whyButton({ state, source }, product, pixel) {
  pending?.abort();
  pending = null;
  const able = source.why && state.site.extensions.why?.products.includes(product.id);
  if (!able || !pixel.inside || !pixel.valid) return null;
  const answer = el("div", { class: "why-answer" });
  const button = el("button", { type: "button", class: "why", text: ASK });
  const ask = async () => {
    const own = new AbortController();
    pending = own;
    button.textContent = STOP;
    answer.replaceChildren(el("p", { class: "hint", text: "Every input is hidden once to see what changes." }));
    say("Computing why");
    try {
      const found = await source.why(product, pixel.lon, pixel.lat, own.signal);
      answer.replaceChildren(...answerPart(found));
      say(found.text);
    } catch (error) {
      const stopped = error.name === "AbortError";
      answer.replaceChildren(...(stopped ? [] : [el("p", { class: "alarm", text: sentence(error) })]));
      say(stopped ? "Stopped" : sentence(error));
    }
    if (pending === own) pending = null;
    button.textContent = ASK;
  };
  button.addEventListener("click", () => {
    if (button.textContent === STOP) pending?.abort();
    else ask();
  });
  return el("div", {}, el("p", {}, button), answer);
}
