"use strict";
// The grid: a row per class, and a cell per image with its initial image and its nearest real one.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const state = { run: 0, frame: -1, size: -1, layer: -1, klass: 0, zoom: 0, companions: true, search: "" };
let cells = [];

/** The run whose images are shown. */
const chosenRun = () => data.runs[state.run];

/** Return a new element with properties and children. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** The name of an image: its class and its number within the class, from 1. */
function imageName(run, index) {
  const label = run.labels[index];
  return `${run.classes[label]} ${index - run.labels.indexOf(label) + 1}`;
}

/** The frame that the slider shows; the last one is that of the last images. */
function chosenFrame(run) {
  const frame = run.frames?.[state.frame];
  return frame?.sheet ? frame : { step: run.steps, sheet: run.tiles };
}

/** Create the cells of the chosen run. */
function buildGrid() {
  const run = chosenRun(), grid = byId("grid"), rows = new Map();
  cells = run.tiles ? run.labels.map((label, index) => buildCell(run, index)) : [];
  cells.forEach((cell, index) => {
    const label = run.labels[index];
    if (!rows.has(label)) rows.set(label, element("div", { className: "cells" }));
    rows.get(label).append(cell);
    cell.classList.toggle("begins-row", run.per_row > 1 && (index - run.labels.indexOf(label)) % run.per_row === 0);
  });
  grid.replaceChildren(...[...rows].map(([label, row]) => {
    const title = element("h3", { textContent: run.classes[label] });
    return element("div", { className: "class-row" }, title, row);
  }));
  grid.classList.toggle("one-each", run.classes.length === run.labels.length);
  if (run.tiles) grid.style.setProperty("--ratio", `${run.tiles.width} / ${run.tiles.height}`);
  if (cells.length) cells[0].tabIndex = 0;
  byId("grid-note").textContent = gridNote(run);
}

function buildCell(run, index) {
  const cell = element("button", { className: "cell", type: "button", tabIndex: -1 });
  cell.setAttribute("aria-label", `${imageName(run, index)}, enlarge`);
  cell.title = imageName(run, index);
  cell.append(element("canvas", { className: "synthetic" }));
  if (run.initial) cell.append(element("canvas", { className: "companion initial" }));
  if (run.neighbors) cell.append(element("canvas", { className: "companion near" }));
  cell.addEventListener("click", () => openLightbox(index));
  cell.addEventListener("focus", () => { for (const one of cells) one.tabIndex = one === cell ? 0 : -1; });
  return cell;
}

function gridNote(run) {
  if (!run.tiles) return "There are no images to show.";
  const shown = run.labels.length, parts = [];
  if (shown < run.total) parts.push(`${shown} of ${run.total} images are shown, the first of each class.`);
  if (run.per_row > 1) parts.push(`Each stored image decodes to ${run.per_row} pictures, which stand together; a line begins them.`);
  if (run.neighbors) parts.push(`Nearest real images: the training images of the same class with the highest pixel correlation, ordered by the distance of their embeddings in ${run.network}. Beside each image is the nearest one other than its initial image.`);
  return parts.join(" ");
}

/** Draw every cell as the controls are set. */
async function drawGrid() {
  const run = chosenRun();
  if (!run.tiles) return;
  const frame = chosenFrame(run), layer = run.layers?.[state.layer];
  const sheet = await decode(frame.sheet), hot = layer && frame.sheet === run.tiles ? await heatSheet(layer.maps) : null;
  const initial = run.initial && (await decode(run.initial)), near = run.neighbors && (await decode(run.neighbors));
  if (run !== chosenRun()) return; // another run was chosen in the meantime
  cells.forEach((cell, index) => {
    const canvas = cell.querySelector(".synthetic");
    drawTile(canvas, sheet, frame.sheet, index);
    if (hot) overlay(canvas, hot, layer.maps, index);
    if (initial) drawTile(cell.querySelector(".initial"), initial, run.initial, index);
    if (near) drawTile(cell.querySelector(".near"), near, run.neighbors, run.nearest_other[index]);
  });
}

/** The cells of the images that are shown: the first of each class that is found, as many as the slider says. */
const shownCells = () => cells.filter((cell) => !cell.hidden);

/** The number of images of each class that are shown; all but for runs with sizes. */
const chosenSize = (run) => run.sizes?.[state.size] ?? Infinity;

/** Whether the name of a class has what is searched for in it. */
const isFound = (name) => name.toLowerCase().includes(state.search.trim().toLowerCase());

/** Show the first images of the classes that are found, and hide the others. */
function showFound() {
  const run = chosenRun(), size = chosenSize(run), rows = [...byId("grid").children];
  cells.forEach((cell, index) => {
    const label = run.labels[index];
    cell.hidden = !isFound(run.classes[label]) || index - run.labels.indexOf(label) >= size;
  });
  for (const row of rows) row.hidden = !row.querySelector(".cell:not([hidden])");
  byId("search-text").textContent = state.search.trim() && `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  const shown = shownCells();
  if (!shown.some((cell) => cell.tabIndex === 0)) for (const cell of cells) cell.tabIndex = cell === shown[0] ? 0 : -1;
}

/** Set the size of the images, and show or hide what is beside them. */
function styleGrid() {
  const run = chosenRun(), beside = Boolean(run.initial || run.neighbors);
  const zoom = state.zoom || fittingSize(run, beside && state.companions);
  byId("grid").style.setProperty("--size", `${zoom}px`);
  byId("zoom").value = String(zoom);
  for (const cell of cells) cell.classList.toggle("companions", beside && state.companions);
}

/** The size at which a class fills its row: ten images, or three on a phone; large if each class has one image. */
function fittingSize(run, beside) {
  const each = Math.max(...run.classes.map((_, label) => run.labels.filter((one) => one === label).length));
  const width = Math.min(1132, byId("grid").clientWidth), gap = 8, parts = beside ? 1.5 : 1;
  if (narrow()) return Math.floor(((width - 2 * gap) / 3 - 1) / parts) - 1;
  if (each === 1) return 128;
  const columns = Math.min(10, Math.max(4, each));
  return Math.min(128, Math.floor(((width - 132 - gap * (columns - 1)) / columns - 1) / parts) - 1);
}

/** Move the focus from image to image with the arrow keys; up and down go by position on the page. */
function moveInGrid(event) {
  const shown = shownCells(), at = shown.indexOf(document.activeElement);
  if (at < 0) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  let target = step === undefined ? undefined : shown[at + step];
  if (event.key === "Home") target = shown[0];
  if (event.key === "End") target = shown[shown.length - 1];
  if (event.key === "ArrowUp" || event.key === "ArrowDown") target = neighborRow(shown, at, event.key === "ArrowDown");
  if (target) {
    event.preventDefault();
    target.focus();
  }
}

/** The nearest of the shown cells in the next row of cells below, or above. */
function neighborRow(shown, at, down) {
  const here = shown[at].getBoundingClientRect();
  let best = null, distance = Infinity;
  for (const cell of shown) {
    const there = cell.getBoundingClientRect(), dy = down ? there.top - here.top : here.top - there.top;
    if (dy < 4) continue;
    const far = dy * 1000 + Math.abs(there.left - here.left);
    if (far < distance) [best, distance] = [cell, far];
  }
  return best;
}
