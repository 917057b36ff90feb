"use strict";
// Mean attention of a layer: spatial as two maps on one scale, channels as bars.

/** Fill both choices of layers, and that of classes. */
function fillChoices() {
  const run = chosenRun(), layers = run.layers ?? [];
  const options = layers.map((layer, index) => new Option(layer.name, String(index)));
  byId("layer").replaceChildren(new Option("off", "-1"), ...options.map((option) => option.cloneNode(true)));
  byId("layer-2").replaceChildren(...options);
  const each = layers.length > 0 && layers[0].channels_syn.length > 1;
  const labels = each ? [...new Set(run.labels)] : []; // of the images shown: the means are over these
  byId("class").replaceChildren(new Option("all classes", "0"), ...labels.map((label) => new Option(run.classes[label], String(label + 1))));
  state.layer = Math.min(state.layer, layers.length - 1);
  state.klass = labels.includes(state.klass - 1) ? state.klass : 0;
  byId("layer").disabled = !layers.length;
}

/** The layer shown in the section: the chosen one, or the first if none is shown over the images. */
const shownLayer = (run) => run.layers[Math.max(0, state.layer)];

async function drawAttention() {
  const run = chosenRun(), has = Boolean(run.layers?.length);
  byId("attention-body").hidden = !has;
  byId("attention-note").textContent = has
    ? `In ${run.network}${run.layers[0].channels_real ? ". Both maps have the same scale." : "; the real images are not available."}`
    : data.refresh ? "Attention is computed when the run has finished." : "There is no attention to show.";
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

/** Return a row per channel, ordered by attention to real images, strongest first. */
function channelRows(layer) {
  const synthetic = layer.channels_syn[state.klass], real = layer.channels_real?.[state.klass];
  const order = synthetic.map((_, channel) => channel);
  const by = real ?? synthetic;
  order.sort((one, other) => by[other] - by[one]);
  return order.map((channel, rank) => ({ rank, channel, synthetic: synthetic[channel], ...(real && { real: real[channel] }) }));
}
