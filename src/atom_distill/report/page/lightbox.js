"use strict";
// One image, large: with its initial image, its nearest real ones, and where each layer attends to.

let enlarged = 0;

function openLightbox(index) {
  enlarged = index;
  fillLightbox();
  if (!byId("lightbox").open) byId("lightbox").showModal();
}

/** Go to the next image, or the one before. */
function turnLightbox(step) {
  const count = chosenRun().labels.length;
  enlarged = (enlarged + step + count) % count;
  fillLightbox();
}

async function fillLightbox() {
  const run = chosenRun(), index = enlarged, body = byId("lightbox-body");
  const frame = chosenFrame(run), sheet = await decode(frame.sheet);
  body.style.setProperty("--ratio", `${run.tiles.width} / ${run.tiles.height}`);
  byId("lightbox-title").textContent = imageName(run, index);
  const canvas = element("canvas");
  drawTile(canvas, sheet, frame.sheet, index);
  const caption = run.moves ? `${run.method}, step ${frame.step}` : run.method;
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

/** The initial image and the nearest real ones. */
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

/** The result under each layer's attention. */
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
  if (event.key === "ArrowLeft") turnLightbox(-1);
  if (event.key === "ArrowRight") turnLightbox(1);
}
