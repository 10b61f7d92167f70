"""QGIS layer styles (`.qml`): classes in the legend's colours, error bars on a perceptually uniform ramp."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

# Anchor colours of viridis (van der Walt and Smith, 2015; CC0), at 0, 1/4, 1/2, 3/4, 1.
VIRIDIS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")


def paletted_style(table: list[tuple[int, str, str]]) -> str:
    """Return a QGIS style that paints codes.

    Args:
        table: (code, name, colour `#rrggbb`).
    """
    entries = "\n".join(
        f'        <paletteEntry value="{code}" color="{colour}" label={quoteattr(name)} alpha="255"/>'
        for code, name, colour in table
    )
    return _document(
        '    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">\n'
        f"      <colorPalette>\n{entries}\n      </colorPalette>\n    </rasterrenderer>"
    )


def ramp_style(low: float, high: float, label: str = "") -> str:
    """Return a QGIS style that paints a continuous band between two values.

    Args:
        low: Value of the first colour. QGIS applies a band's scale and offset itself: give physical values.
        high: Value of the last colour.
        label: Unit, shown beside the numbers.
    """
    steps = [low + (high - low) * k / (len(VIRIDIS) - 1) for k in range(len(VIRIDIS))]
    suffix = f" {label}" if label not in {"", "1"} else ""
    items = "\n".join(
        f'          <item value="{value:.9g}" color="{colour}" label={quoteattr(f"{value:.4g}{suffix}")} alpha="255"/>'
        for value, colour in zip(steps, VIRIDIS, strict=True)
    )
    bounds = f'classificationMin="{low:.9g}" classificationMax="{high:.9g}"'
    return _document(
        '    <rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1" '
        f'{bounds} nodataColor="">\n'
        "      <rastershader>\n"
        f'        <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" '
        f'minimumValue="{low:.9g}" maximumValue="{high:.9g}">\n{items}\n'
        "        </colorrampshader>\n      </rastershader>\n    </rasterrenderer>"
    )


def _document(renderer: str) -> str:
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22" styleCategories="Symbology">\n  <pipe>\n'
        f'{renderer}\n    <rasterresampler maxOversampling="2"/>\n  </pipe>\n  <blendMode>0</blendMode>\n</qgis>\n'
    )
