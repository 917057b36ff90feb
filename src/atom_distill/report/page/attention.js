"use strict";
// Mean attention of a layer: where, as two maps on one scale; which channels, as bars.

/** Fill the choice of layers, in both places, and of classes. */
function fillChoices() {
  const run = chosenRun(), layers = run.layers ?? [];
  const options = layers.map((layer, index) => new Option(layer.name, String(index)));
  byId("layer").replaceChildren(new Option("off", "-1"), ...options.map((option) => option.cloneNode(true)));
  byId("layer-2").replaceChildren(...options);
  const each = layers.length > 0 && layers[0].channels_syn.length > 1;
  byId("class").replaceChildren(new Option("all classes", "0"), ...(each ? run.classes : []).map((name, label) => new Option(name, String(label + 1))));
  state.layer = Math.min(state.layer, layers.length - 1);
  state.klass = Math.min(state.klass, byId("class").length - 1);
  byId("layer").disabled = !layers.length;
}

/** The layer that the section shows: the chosen one, the first where none lies over the images. */
const shownLayer = (run) => run.layers[Math.max(0, state.layer)];

async function drawAttention() {
  const run = chosenRun(), has = Boolean(run.layers?.length);
  byId("attention-body").hidden = !has;
  byId("attention-note").textContent = has
    ? `Seen by ${run.network}${run.layers[0].channels_real ? "" : "; the real images are not at hand"}. Both maps are on one scale.`
    : data.refresh ? "No network looks at the images while the run goes on; the page of the finished run has this." : "No network has looked at these images.";
  byId("layer").value = String(state.layer);
  if (!has) return;
  const layer = shownLayer(run);
  byId("layer-2").value = String(Math.max(0, state.layer));
  byId("class").value = String(state.klass);
  await drawMean(byId("map-real"), layer.mean_real);
  await drawMean(byId("map-syn"), layer.mean_syn);
  await drawBars(channelRows(layer));
}

async function drawMean(figure, sheet) {
  figure.hidden = !sheet;
  if (!sheet) return;
  const canvas = figure.querySelector("canvas");
  canvas.style.setProperty("--ratio", `${sheet.width} / ${sheet.height}`);
  const hot = await heatSheet(sheet), context = prepare(canvas, sheet.width, sheet.height);
  const [x, y] = corner(sheet, state.klass);
  context.drawImage(hot, x, y, sheet.width, sheet.height, 0, 0, sheet.width, sheet.height);
}

/** A row a channel, strongest on real images first. */
function channelRows(layer) {
  const synthetic = layer.channels_syn[state.klass], real = layer.channels_real?.[state.klass];
  const order = synthetic.map((_, channel) => channel);
  const by = real ?? synthetic;
  order.sort((one, other) => by[other] - by[one]);
  return order.map((channel, rank) => ({ rank, channel, synthetic: synthetic[channel], ...(real && { real: real[channel] }) }));
}
