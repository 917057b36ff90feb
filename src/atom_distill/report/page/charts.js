"use strict";
// Vega-Lite charts in the page's colors, drawn again when these change.

let bars = null; // the chart of channels, and whether it has real images

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Return the page's theme for Vega. */
function vegaTheme() {
  const text = { labelColor: color("soft"), titleColor: color("soft"), labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" };
  return {
    background: "transparent",
    font: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    view: { stroke: null },
    axis: { ...text, gridColor: color("line"), domainColor: color("line"), tickColor: color("line"), gridDash: [2, 3] },
    legend: { ...text, orient: "top", symbolType: "circle", symbolStrokeWidth: 0, columns: narrow() ? 2 : 6 },
    range: { category: ["c1", "c2", "c3", "c4", "c5", "c6"].map(color) },
  };
}

const narrow = () => window.innerWidth < 640;

/** Draw a chart, or hide its figure if there is no chart. */
async function draw(name, spec, config = {}) {
  const place = byId(`chart-${name}`), figure = place.closest(".chart");
  figure.hidden = !spec;
  if (!spec) return null;
  const drawn = await vegaEmbed(place, spec, { actions: false, renderer: "canvas", config: { ...vegaTheme(), ...config } });
  place.setAttribute("aria-label", `chart: ${figure.querySelector("figcaption").textContent}`);
  place.setAttribute("role", "img");
  return drawn.view;
}

async function drawCharts() {
  bars = null;
  await draw("loss", data.curves.loss);
  await draw("accuracy", data.curves.accuracy);
  await draw("sizes", data.curves.sizes);
  await drawTerms();
}

async function drawTerms() {
  await draw("terms", data.curves.terms[state.run]);
  byId("terms-of").textContent = data.runs.length > 1 ? `of ${chosenRun().name}` : "";
}

/** Show channels; the chart is kept and its data are replaced. */
async function drawBars(rows) {
  const real = "real" in rows[0];
  if (bars?.real === real) {
    await bars.view.data("bars", rows).runAsync();
    return;
  }
  const spec = data.attention, layer = real ? spec.layer : spec.layer.slice(1); // the first is of real images
  const range = { range: { category: [color("neutral"), color("c1")] } };
  bars = { real, view: await draw("channels", { ...spec, layer, datasets: { bars: rows } }, range) };
}
