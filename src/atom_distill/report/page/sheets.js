"use strict";
// Sheets of tiles, decoded once; tiles are cut when they are drawn. A sheet is {uri, columns, width, height, across, down, tiles}.

const decoded = new Map();

/** Return the decoded image of a sheet, the same in every call. */
async function decode(sheet) {
  if (!decoded.has(sheet.uri)) {
    const image = new Image();
    image.src = sheet.uri;
    decoded.set(sheet.uri, image.decode().then(() => image));
  }
  return decoded.get(sheet.uri);
}

/** The top left corner of a tile on its sheet. */
function corner(sheet, index) {
  return [(index % sheet.columns) * sheet.across, Math.floor(index / sheet.columns) * sheet.down];
}

/** Return the context of a canvas of this size, drawn by the CPU: a GPU cannot hold hundreds of them. */
function prepare(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  return context;
}

/** Draw a tile on a canvas. */
function drawTile(canvas, image, sheet, index) {
  const context = prepare(canvas, sheet.width, sheet.height);
  const [x, y] = corner(sheet, index);
  context.drawImage(image, x, y, sheet.width, sheet.height, 0, 0, sheet.width, sheet.height);
}

// Colors of attention from 0 to its peak: dark violet, red, pale yellow, in equal steps of lightness.
const HEAT = [[10, 7, 34], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];

/** The color of a value from 0 to 1: [red, green, blue]. */
function heat(value) {
  const place = Math.min(0.9999, Math.max(0, value)) * (HEAT.length - 1);
  const low = HEAT[Math.floor(place)], high = HEAT[Math.floor(place) + 1], part = place % 1;
  return low.map((channel, i) => Math.round(channel + part * (high[i] - channel)));
}

const colored = new Map();

/** Return a gray sheet in these colors, as a canvas. */
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

/** Draw attention over what a canvas shows. */
function overlay(canvas, image, sheet, index) {
  const context = canvas.getContext("2d");
  const [x, y] = corner(sheet, index);
  context.save();
  context.imageSmoothingEnabled = true;
  context.globalAlpha = 0.68;
  context.drawImage(image, x, y, sheet.width, sheet.height, 0, 0, canvas.width, canvas.height);
  context.restore();
}
