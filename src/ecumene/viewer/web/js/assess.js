// The assessor's sheet: one point at a time, the map's answer hidden until the point is answered.
import { el, get, say, sentence } from "./dom.js";
import { initTheme } from "./theme.js";

const root = new URL("../", new URL("./", document.baseURI)); // the page lies in static/
const LETTERS = "qwertyiopasdfghjklzxvbnm"; // without c and u, which do other things

// The secret of this run comes in the fragment of the address, which no request carries; it is taken out of sight.
let token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
try {
  if (token) sessionStorage.setItem("ecumene-sheet", token);
  else token = sessionStorage.getItem("ecumene-sheet") ?? "";
} catch {
  // without storage the page cannot be loaded anew, no more
}
history.replaceState(null, "", location.pathname);

const state = { sheet: null, point: null, confidence: "sure", busy: false };

async function ask(path, body = null) {
  const options = { credentials: "omit", cache: "no-store" };
  if (body) {
    options.method = "POST";
    options.headers = { "content-type": "application/json", "x-ecumene-token": token };
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(new URL(path, root), options);
  } catch {
    throw new Error("The server does not answer; nothing was saved. Start it again with the same command.");
  }
  const found = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(found?.error ?? `The server answered ${answer.status}; nothing was saved.`);
  return found;
}

function complain(error) {
  get("notice").textContent = error ? sentence(error) : "";
  get("notice").hidden = !error;
}

const keyOf = (index) => (index < 9 ? String(index + 1) : (LETTERS[index - 9] ?? ""));

/** The frame around the judged pixel of the map, in the middle of a chip. */
function frame(width) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", `0 0 ${width} ${width}`);
  picture.setAttribute("aria-hidden", "true");
  const side = Math.max(1, width / 25);
  for (const name of ["halo", "frame"]) {
    const rect = document.createElementNS(space, "rect");
    rect.setAttribute("class", name);
    rect.setAttribute("x", (width - side) / 2);
    rect.setAttribute("y", (width - side) / 2);
    rect.setAttribute("width", side);
    rect.setAttribute("height", side);
    picture.append(rect);
  }
  return picture;
}

function showChips() {
  const { scenes, views } = state.sheet;
  const figures = scenes.map(({ index, title, date, bands }) => {
    const chips = Object.entries(views).map(([view, width]) => {
      const source = new URL(`api/assess/chips/${index}/${state.point.number}/${view}.png`, root).href;
      const alt = `${title}, ${date}, ${view}`;
      return el("div", { class: "chip" }, el("img", { src: source, alt, draggable: false }), frame(width));
    });
    const caption = el("figcaption", {}, el("b", { text: date }), ` ${title}, ${bands.join(", ")}: near and far`);
    return el("figure", {}, caption, ...chips);
  });
  get("chips").replaceChildren(...figures);
}

function showVerdict() {
  const { map, class: given, status } = state.point;
  const box = get("verdict");
  box.hidden = status === "open" || !map;
  if (box.hidden) return;
  const same = map.class === given;
  box.classList.toggle("differs", status === "judged" && !same);
  const relation = status === "judged" ? (same ? "The map says the same: " : "The map says otherwise: ") : "The map says: ";
  box.textContent = relation + map.text;
}

function showAnswers() {
  const { point, sheet } = state;
  get("point-title").textContent = `Point ${point.number + 1} of ${point.total}`;
  get("point-place").textContent = `longitude ${point.lon.toFixed(5)}°, latitude ${point.lat.toFixed(5)}°`;
  sheet.classes.forEach(({ name }, index) => {
    get("classes").children[index].setAttribute("aria-pressed", String(point.class === name));
  });
  get("unknown").setAttribute("aria-pressed", String(point.status === "cannot tell"));
  for (const radio of get("confidence").querySelectorAll("input")) radio.checked = radio.value === state.confidence;
  get("previous").disabled = point.number === 0;
  get("next").disabled = point.next === null && point.number === point.total - 1;
  get("undo").disabled = !point.undo;
  const done = point.judged + point.unknown;
  get("progress").max = point.total;
  get("progress").value = done;
  get("progress-text").textContent = `${done} of ${point.total} answered`;
  const left = point.unknown ? ` ${point.unknown} without a class.` : "";
  get("saved").textContent = done ? `Saved in ${sheet.file}.${left}` : `Answers will be saved in ${sheet.file}.`;
  showVerdict();
}

async function show(point, { fresh = true } = {}) {
  const moved = state.point?.number !== point.number;
  state.point = point;
  if (fresh) state.confidence = point.confidence ?? "sure";
  showAnswers();
  if (moved) showChips();
}

/** Do one thing at a time; keys that come meanwhile are dropped. */
async function once(action) {
  if (state.busy || !state.sheet) return;
  state.busy = true;
  try {
    await action();
    complain(null);
  } catch (error) {
    complain(error);
  } finally {
    state.busy = false;
  }
}

const go = (number) => once(async () => {
  await show(await ask(`api/assess/points/${number}`));
  say(`Point ${number + 1}.`);
});

function forward() {
  const { point } = state;
  if (point.next !== null && point.next !== point.number) return go(point.next);
  if (point.number + 1 < point.total) return go(point.number + 1);
  return undefined;
}

const answer = (name) => once(async () => {
  const reveal = get("reveal").checked;
  const body = { number: state.point.number, class_name: name, confidence: state.confidence, reveal };
  const point = await ask("api/assess/labels", body);
  say(`Saved: ${name ?? "cannot tell"}, ${state.confidence}.${point.map ? ` The map: ${point.map.text}` : ""}`);
  if (reveal || point.next === null) {
    await show(point);
    if (point.next === null) say("All points are answered.");
  } else await show(await ask(`api/assess/points/${point.next}`));
});

const undo = () => once(async () => {
  await show(await ask("api/assess/undo", {}));
  say(`The answer to point ${state.point.number + 1} was taken back.`);
});

function choose(confidence) {
  state.confidence = confidence;
  for (const radio of get("confidence").querySelectorAll("input")) radio.checked = radio.value === confidence;
  say(`Confidence: ${confidence}.`);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || get("help").open || !state.sheet) return;
  const key = event.key.toLowerCase();
  const onButton = event.target instanceof HTMLButtonElement;
  const onChoice = event.target.type === "radio" && event.key.startsWith("Arrow");
  const { confidences, classes } = state.sheet;
  const index = classes.findIndex((_, position) => keyOf(position) === key);
  if (index >= 0) answer(classes[index].name);
  else if (key === "0") answer(null);
  else if (key === "c") choose(confidences[(confidences.indexOf(state.confidence) + 1) % confidences.length]);
  else if (key === "u") undo();
  else if (onChoice) return;
  else if (key === "arrowright" || (key === "enter" && !onButton)) forward();
  else if (key === "arrowleft" && state.point.number > 0) go(state.point.number - 1);
  else return;
  event.preventDefault();
}

function build() {
  const { classes, confidences, title } = state.sheet;
  get("sheet-title").textContent = title;
  get("classes").replaceChildren(
    ...classes.map(({ name, colour, description }, index) => {
      const swatch = el("span", { class: "swatch", style: { "background-color": colour } });
      const handler = { click: () => answer(name) };
      const parts = [el("kbd", { text: keyOf(index) }), swatch, name];
      return el("button", { type: "button", class: "answer", title: description || null, on: handler }, ...parts);
    }),
  );
  for (const name of confidences) {
    const radio = el("input", { type: "radio", name: "confidence", value: name, on: { change: () => choose(name) } });
    get("confidence").append(el("label", { class: "choice" }, radio, name));
  }
  get("unknown").addEventListener("click", () => answer(null));
  get("undo").addEventListener("click", undo);
  get("next").addEventListener("click", forward);
  get("previous").addEventListener("click", () => go(state.point.number - 1));
  get("help-button").addEventListener("click", () => get("help").showModal());
  document.addEventListener("keydown", onKey);
}

async function start() {
  initTheme(get("theme-button"));
  try {
    if (!token) throw new Error("Open this page by the address that the command printed.");
    state.sheet = await ask("api/assess/state");
    build();
    await show(await ask(`api/assess/points/${state.sheet.next ?? 0}`));
    if (state.sheet.outside) say(`${state.sheet.outside} points do not lie on the map and are left out.`);
  } catch (error) {
    complain(error);
  }
}

window.ecumeneSheet = { state, ready: start() };
