// Light and dark: the system's choice unless the user chooses.
import { say } from "./dom.js";

const CHOICES = ["system", "light", "dark"];
const KEY = "ecumene-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    const choice = localStorage.getItem(KEY);
    return CHOICES.includes(choice) ? choice : "system";
  } catch {
    return "system"; // storage may be forbidden
  }
}

/** True if the page is dark now. */
export const isDark = () => {
  const choice = document.documentElement.dataset.theme;
  return choice ? choice === "dark" : system.matches;
};

/** The value of a CSS variable now. */
export const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Connect the switch; `changed` is called at once and at every change. */
export function initTheme(button, changed = () => {}) {
  let choice = stored();
  const apply = () => {
    if (choice === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    if (button) button.textContent = `Theme: ${choice}`;
    changed(isDark());
  };
  button?.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // the choice then lasts as long as the page
    }
    apply();
    say(`Theme: ${choice}`);
  });
  system.addEventListener("change", apply);
  apply();
}
