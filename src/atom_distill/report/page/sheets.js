"use strict";
// Sheets of tiles: decoded once, cut when drawn. A sheet is {uri, columns, width, height, across, down, tiles}.

const decoded = new Map();

/** Decode a sheet; later calls give the same image. */
async function decode(sheet) {
  if (!decoded.has(sheet.uri)) {
    const image = new Image();
    image.src = sheet.uri;
    decoded.set(sheet.uri, image.decode().then(() => image));
  }
  return decoded.get(sheet.uri);
}

/** Where a tile begins on its sheet. */
function corner(sheet, index) {
  return [(index % sheet.columns) * sheet.across, Math.floor(index / sheet.columns) * sheet.down];
}

/** A canvas as large as a tile, drawn by the processor: hundreds of them are too many for a GPU. */
function prepare(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  return context;
}

/** Fill a canvas with a tile. */
function drawTile(canvas, image, sheet, index) {
  const context = prepare(canvas, sheet.width, sheet.height);
  const [x, y] = corner(sheet, index);
  context.drawImage(image, x, y, sheet.width, sheet.height, 0, 0, sheet.width, sheet.height);
}

// Attention from none to its peak: dark violet over red to pale yellow, equal steps in lightness.
const HEAT = [[10, 7, 34], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];

/** The color of a value from 0 to 1: [red, green, blue]. */
function heat(value) {
  const place = Math.min(0.9999, Math.max(0, value)) * (HEAT.length - 1);
  const low = HEAT[Math.floor(place)], high = HEAT[Math.floor(place) + 1], part = place % 1;
  return low.map((channel, i) => Math.round(channel + part * (high[i] - channel)));
}

const colored = new Map();

/** A gray sheet in the colors of heat, as a canvas. */
async function heatSheet(sheet) {
  if (!colored.has(sheet.uri)) {
    const image = await decode(sheet), canvas = document.createElement("canvas");
    const context = prepare(canvas, image.naturalWidth, image.naturalHeight);
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height), table = [];
    for (let value = 0; value < 256; value++) table.push(heat(value / 255));
    for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set(table[pixels.data[i]], i);
    context.putImageData(pixels, 0, 0);
    colored.set(sheet.uri, canvas);
  }
  return colored.get(sheet.uri);
}

/** Lay attention over what a canvas shows. */
function overlay(canvas, image, sheet, index) {
  const context = canvas.getContext("2d");
  const [x, y] = corner(sheet, index);
  context.save();
  context.imageSmoothingEnabled = true;
  context.globalAlpha = 0.68;
  context.drawImage(image, x, y, sheet.width, sheet.height, 0, 0, canvas.width, canvas.height);
  context.restore();
}
