"use strict";
// One image, enlarged: with its initial image, its nearest real ones, and the attention of each layer.

let enlarged = 0;

function openLightbox(index) {
  enlarged = index;
  fillLightbox();
  if (!byId("lightbox").open) byId("lightbox").showModal();
}

/** Enlarge the next of the shown images, or the previous one. */
function moveInLightbox(step) {
  const shown = shownCells(), at = shown.indexOf(cells[enlarged]);
  enlarged = cells.indexOf(shown[(at + step + shown.length) % shown.length]);
  fillLightbox();
}

async function fillLightbox() {
  const run = chosenRun(), index = enlarged, body = byId("lightbox-body");
  const frame = chosenFrame(run), sheet = await decode(frame.sheet);
  body.style.setProperty("--ratio", `${run.tiles.width} / ${run.tiles.height}`);
  byId("lightbox-title").textContent = imageName(run, index);
  const canvas = element("canvas");
  drawTile(canvas, sheet, frame.sheet, index);
  const caption = run.optimized ? `${run.method}, step ${frame.step}` : run.method;
  const side = element("div", { className: "side" });
  body.replaceChildren(captioned(canvas, caption), side);
  side.append(...(await companions(run, index)), ...(await attentionStrip(run, index)));
  body.dataset.index = index;
}

function captioned(canvas, text) {
  return element("figure", {}, canvas, element("figcaption", { textContent: text }));
}

function strip(title, figures) {
  return element("div", {}, element("h3", { textContent: title }), element("div", { className: "strip" }, ...figures));
}

/** Return the initial image and the nearest real ones. */
async function companions(run, index) {
  const found = [];
  if (run.initial) found.push(strip("Initial image", [await tile(run.initial, index, "step 0")]));
  if (run.neighbors) {
    const each = run.neighbors.tiles / run.labels.length, figures = [];
    for (let place = index * each; place < (index + 1) * each; place++) {
      const id = run.neighbor_ids[place];
      if (id >= 0) figures.push(await tile(run.neighbors, place, `training image ${id}`));
    }
    found.push(strip("Nearest real images", figures));
  }
  return found;
}

async function tile(sheet, index, text) {
  const canvas = element("canvas");
  drawTile(canvas, await decode(sheet), sheet, index);
  return captioned(canvas, text);
}

/** Return the last image, overlaid with the attention of each layer. */
async function attentionStrip(run, index) {
  const figures = [];
  for (const layer of run.layers ?? []) {
    const canvas = element("canvas");
    drawTile(canvas, await decode(run.tiles), run.tiles, index);
    overlay(canvas, await heatSheet(layer.maps), layer.maps, index);
    figures.push(captioned(canvas, layer.name));
  }
  return figures.length ? [strip("Attention", figures)] : [];
}

function lightboxKeys(event) {
  if (event.key === "ArrowLeft") moveInLightbox(-1);
  if (event.key === "ArrowRight") moveInLightbox(1);
}
