"""A real browser for tests of the web map: Debian's Chromium, driven by Playwright, drawing by software."""

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SHOTS = Path(os.environ.get("ECUMENE_SCREENSHOTS") or Path(__file__).parents[2] / "build" / "screenshots")
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_WAIT = 120_000  # milliseconds; software drawing on a busy machine is slow

# Until nothing loads or moves, and what was loaded is drawn.
_IDLE = """async () => {
  await window.ecumene.ready;
  const { map, page } = window.ecumene;
  const wait = (time) => new Promise((done) => setTimeout(done, time));
  const drawn = ({ map, rasters }) => rasters.length === 1 && map.loaded() && map.areTilesLoaded() && !map.isMoving();
  const waits = (vectors) => Boolean(vectors?.waiting);
  const busy = (view) => !drawn(view) || waits(page.vectors) || waits(page.rightVectors);
  await wait(180);
  const started = performance.now();
  while (busy(page.left) || (window.ecumene.state.swipe && busy(page.right))) {
    if (performance.now() - started > 90000) throw new Error("the map does not come to rest");
    await wait(40);
  }
  map.triggerRepaint();
  await new Promise((done) => map.once("render", () => requestAnimationFrame(done)));
}"""


def require_browser():
    """Return Chromium's path; the test is skipped with a reason where something is missing."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    pytest.importorskip("rio_tiler", reason="needs the extra `viewer`")
    from ecumene.core.errors import MissingDependencyError
    from ecumene.viewer.assets import require_assets

    path = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if path is None or sys.platform == "win32":
        pytest.skip("needs Chromium")
    with contextlib.suppress(MissingDependencyError):
        require_assets()
        return path
    return pytest.skip("needs the browser libraries (make install)")


@contextlib.contextmanager
def chromium():
    """Yield a running browser."""
    path = require_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


class MapPage:
    """A page with the web map, and what went wrong on it."""

    def __init__(self, browser, address, **settings):
        settings = {"viewport": {"width": 1120, "height": 640}, "reduced_motion": "reduce"} | settings
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(_WAIT)
        self.address = address
        self.faults = []
        self.requests = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda text: text.type == "error" and self.faults.append(text.text))
        self.page.on("response", lambda got: got.status >= 400 and self.faults.append(f"{got.status} {got.url}"))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, fragment=""):
        """Open the page and wait until the map is drawn."""
        self.page.goto(self.address + fragment)
        return self.rest()

    def rest(self):
        """Wait until the map is drawn."""
        self.page.evaluate(_IDLE)
        return self

    def reset(self):
        """Go back to the first product as it was opened."""
        self.page.evaluate("""() => {
          const { state, page } = window.ecumene;
          for (const which of ["left", "right"]) state[which].hidden.clear();
          page.reader.last = null;
          document.getElementById("notice").hidden = true;
          state.set({ swipe: false, border: 0.5, opacity: 1, fade: 0, extrude: false, vectors: new Set(),
            rightVectors: null, relief: false, exaggeration: 1 });
          const first = state.site.products[0];
          state.show("left", first.id, first.layers[0].name);
          page.left.map.jumpTo({ pitch: 0, bearing: 0 });
          page.left.fit(first, false);
        }""")
        return self.rest()

    def screen(self, lon, lat):
        """Return where a place is on the screen."""
        found = self.page.evaluate(
            """([lon, lat]) => { const { map } = window.ecumene; const at = map.project([lon, lat]);
            const box = map.getContainer().getBoundingClientRect(); return [at.x + box.left, at.y + box.top]; }""",
            [lon, lat],
        )
        return tuple(found)

    def colour(self, lon, lat):
        """Return the colour that is seen at a place, red, green and blue 0..255."""
        from PIL import Image

        x, y = self.screen(lon, lat)
        png = self.page.screenshot(clip={"x": round(x) - 1, "y": round(y) - 1, "width": 3, "height": 3})
        return tuple(int(v) for v in np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[1, 1])

    def click(self, lon, lat):
        """Click a place and return the text of the panel about the pixel."""
        self.page.evaluate("() => document.querySelector('#panel-pixel').replaceChildren()")
        self.page.mouse.click(*self.screen(lon, lat))
        self.page.evaluate("() => window.ecumene.page.reader.pending")
        self.page.wait_for_selector("#panel-pixel .where")
        return self.page.inner_text("#panel-pixel")

    def shot(self, name):
        """Keep a screenshot."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def accessibility_faults(self):
        """Return axe-core's serious and critical findings."""
        from ecumene.viewer.assets import web_folder

        axe = web_folder() / "node_modules" / "axe-core" / "axe.min.js"
        if not axe.is_file():
            pytest.skip("needs axe-core (npm ci)")
        # Evaluated by the debugger, so that the page's own policy against foreign scripts stays as it is.
        self.page.evaluate(axe.read_text(encoding="utf-8"))
        found = self.page.evaluate("async () => (await axe.run(document)).violations")
        return [
            f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
            for one in found
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]

    def close(self):
        """Close the page."""
        self.context.close()
