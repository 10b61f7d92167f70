// Two maps over each other, the right one cut off left of a border that is moved by mouse, finger or keys.

const STEP = 0.02;

/** Connect the border; `moved` is told its place, 0..1 of the width. */
export function initBorder(divider, container, moved) {
  const move = (share) => moved(Math.min(1, Math.max(0, share)));
  const now = () => Number(divider.getAttribute("aria-valuenow")) / 100;

  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    event.preventDefault();
    divider.focus();
  });
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = container.getBoundingClientRect();
    move((event.clientX - box.left) / box.width);
  });
  divider.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -0.1, PageUp: 0.1 };
    if (event.key in steps) move(now() + steps[event.key]);
    else if (event.key === "Home") move(0);
    else if (event.key === "End") move(1);
    else return;
    event.preventDefault();
  });
}

/** Put the border and the cut of the right map at a share of the width. */
export function placeBorder(divider, right, share) {
  const percent = Math.round(1000 * share) / 10;
  divider.style.left = `${percent}%`;
  divider.setAttribute("aria-valuenow", String(Math.round(percent)));
  right.style.clipPath = `inset(0 0 0 ${percent}%)`;
}
