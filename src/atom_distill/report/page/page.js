"use strict";
// Controls, theme, tables, and the state that a live page keeps when it reloads.

const MEMORY = `atom-report ${location.pathname}`; // pages of one server, or of one disk, share a storage
const MANY_CLASSES = 20; // more do not fit on a screen, and can be searched

/** Change the state and draw what depends on it. */
async function change(what) {
  Object.assign(state, what);
  remember();
  if ("run" in what) await showRun();
  if ("frame" in what || "layer" in what || "run" in what) await drawGrid();
  if ("size" in what || "search" in what || "run" in what) showFound();
  if ("zoom" in what || "companions" in what || "run" in what) styleGrid();
  if ("layer" in what || "klass" in what || "run" in what) await drawAttention();
  showControls();
}

async function showRun() {
  const run = chosenRun();
  document.querySelectorAll("[data-of-run]").forEach((part) => { part.hidden = Number(part.dataset.ofRun) !== state.run; });
  document.querySelectorAll("[data-run]").forEach((tab) => {
    const chosen = Number(tab.dataset.run) === state.run;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  });
  fillChoices();
  buildGrid();
  const frames = run.frames?.length ?? 0;
  byId("evolution").hidden = frames < 2;
  byId("step").max = String(Math.max(0, frames - 1));
  byId("sizes").hidden = !run.sizes;
  byId("size").max = String((run.sizes?.length ?? 1) - 1);
  byId("searching").hidden = run.classes.length <= MANY_CLASSES;
  if (byId("searching").hidden) state.search = "";
  byId("beside").hidden = !(run.initial || run.neighbors);
  byId("beside-what").textContent = `Beside: ${[run.initial && "initial image", run.neighbors && "nearest real image"].filter(Boolean).join(" above ")}`;
  await drawTerms();
}

function showControls() {
  const run = chosenRun(), slider = byId("step");
  slider.value = state.frame < 0 ? slider.max : String(state.frame);
  byId("step-text").textContent = `${chosenFrame(run).step} of ${run.steps}`;
  slider.setAttribute("aria-valuetext", `step ${chosenFrame(run).step}`);
  byId("companions").checked = state.companions;
  byId("search").value = state.search;
  showSize(run);
}

function showSize(run) {
  if (!run.sizes) return;
  const slider = byId("size"), all = run.sizes[run.sizes.length - 1];
  slider.value = state.size < 0 ? slider.max : String(state.size);
  const bytes = run.size_bytes && run.size_bytes[Number(slider.value)].toLocaleString("en-US");
  byId("size-text").textContent = `${Math.min(all, chosenSize(run))} of ${all}${bytes ? `, ${bytes} bytes per class` : ""}`;
  slider.setAttribute("aria-valuetext", `images per class: ${byId("size-text").textContent}`);
}

/** Play the evolution of the images from the first step to the last. */
function play() {
  const button = byId("play"), frames = chosenRun().frames?.length ?? 0;
  if (play.timer) return stopPlaying();
  let frame = 0;
  button.textContent = "❚❚";
  button.setAttribute("aria-pressed", "true");
  change({ frame });
  play.timer = setInterval(() => {
    frame += 1;
    change({ frame: frame >= frames - 1 ? -1 : frame });
    if (frame >= frames - 1) stopPlaying();
  }, 450);
}

function stopPlaying() {
  clearInterval(play.timer);
  play.timer = null;
  byId("play").textContent = "▶";
  byId("play").setAttribute("aria-pressed", "false");
}

/** Sort the rows of the table by a column, in the other direction if it is sorted already; rows without a value stay at the end. */
function sortTable(head) {
  const body = byId("runs-table").tBodies[0], column = head.cellIndex;
  const up = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  head.parentNode.querySelectorAll("[aria-sort]").forEach((one) => one.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up > 0 ? "ascending" : "descending");
  const key = (row) => row.cells[column].dataset.key;
  const number = (text) => text !== "" && Number.isFinite(Number(text));
  body.append(...[...body.rows].sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === "" || b === "") return Number(a === "") - Number(b === "");
    return up * (number(a) && number(b) ? Number(a) - Number(b) : a.localeCompare(b));
  }));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

/** Keep the state for the next load; if the browser forbids storage, the page starts with its defaults. */
function remember() {
  try {
    sessionStorage.setItem(MEMORY, JSON.stringify({ ...state, theme: document.documentElement.dataset.theme, scroll: window.scrollY }));
  } catch { /* the state is not kept */ }
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(MEMORY)) ?? {};
  } catch {
    return {};
  }
}

function addListeners() {
  byId("step").addEventListener("input", (event) => {
    stopPlaying();
    const at = Number(event.target.value);
    change({ frame: at === Number(event.target.max) ? -1 : at });
  });
  byId("size").addEventListener("input", (event) => {
    const at = Number(event.target.value);
    change({ size: at === Number(event.target.max) ? -1 : at });
  });
  byId("search").addEventListener("input", (event) => change({ search: event.target.value }));
  byId("play").addEventListener("click", play);
  for (const id of ["layer", "layer-2"]) byId(id).addEventListener("change", (event) => changeLayer(Number(event.target.value)));
  byId("class").addEventListener("change", (event) => change({ klass: Number(event.target.value) }));
  byId("zoom").addEventListener("input", (event) => change({ zoom: Number(event.target.value) }));
  byId("companions").addEventListener("change", (event) => change({ companions: event.target.checked }));
  byId("grid").addEventListener("keydown", moveInGrid);
  byId("lightbox").addEventListener("keydown", lightboxKeys);
  byId("lightbox").addEventListener("close", () => cells[enlarged]?.focus());
  byId("lightbox").addEventListener("click", (event) => event.target === byId("lightbox") && byId("lightbox").close());
  byId("close").addEventListener("click", () => byId("lightbox").close());
  byId("previous").addEventListener("click", () => moveInLightbox(-1));
  byId("next").addEventListener("click", () => moveInLightbox(1));
  document.querySelectorAll("#runs-table thead button").forEach((button) => button.addEventListener("click", () => sortTable(button.parentNode)));
  document.querySelectorAll("[data-run]").forEach((tab) => tab.addEventListener("click", () => change({ run: Number(tab.dataset.run), frame: -1, size: -1, search: "" })));
  document.querySelector(".tabs")?.addEventListener("keydown", moveInTabs);
  byId("all-settings")?.addEventListener("change", (event) => byId("settings-table").classList.toggle("differing", !event.target.checked));
  document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", () => copy(button)));
  byId("theme").addEventListener("click", () => changeTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  window.addEventListener("pagehide", remember);
}

/** Choose a layer; attention is that of the last images, so the slider moves to them. */
function changeLayer(layer) {
  change(layer < 0 ? { layer } : { layer, frame: -1 });
}

function moveInTabs(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], count = data.runs.length;
  if (!step) return;
  const next = byId(`run-${(state.run + step + count) % count}`);
  next.focus();
  next.click();
}

async function copy(button) {
  await navigator.clipboard.writeText(button.parentNode.querySelector("code").textContent);
  button.textContent = "Copied";
}

/** Change the theme; charts are drawn in fixed colors, so they are drawn again. */
async function changeTheme(theme) {
  setTheme(theme);
  remember();
  await drawCharts();
  await drawAttention();
}

/** Reload a live page, but not while an image is enlarged or the evolution plays. */
function reloadRegularly() {
  if (!data.refresh) return;
  setInterval(() => {
    if (!byId("lightbox").open && !play.timer && !document.hidden) location.reload();
  }, data.refresh * 1000);
}

async function start() {
  const { theme, scroll, ...kept } = remembered();
  setTheme(theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  if (kept.run < data.runs.length) Object.assign(state, kept);
  addListeners();
  await drawCharts();
  await change({ run: state.run });
  if (data.refresh && scroll) window.scrollTo({ top: scroll, behavior: "instant" });
  document.documentElement.dataset.ready = "true";
  reloadRegularly();
}

start();
