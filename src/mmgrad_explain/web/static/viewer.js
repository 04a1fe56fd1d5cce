// Draws the payload of mmgrad_explain.web.viewer: the body of gr.HTML's js_on_load, which provides `element`, `props`,
// `trigger` and `watch`. Everything in a payload is put into the page as text, never as HTML.

const root = element.querySelector(".mmgrad-viewer");
const settings = { opacity: 0.7, threshold: 0, colormap: null };
let tiles = []; // the tiles on the page, each with its canvas, pixels, levels and data
let payload = null;
let round = 0; // number of the payload; an image that is decoded too late belongs to an older one
let frame = 0;

/** Make an element with properties, attributes (those with a dash, and role) and children; strings become text. */
function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function signed(value) {
  const shown = Math.abs(value).toFixed(2);
  return (value < 0 && Number(shown) > 0 ? "−" : "+") + shown;
}

// ---- controls: made once, so that they keep their values for other maps

function slider(name, label, most, title) {
  const shown = make("output", {}, settings[name].toFixed(2));
  const input = make("input", { type: "range", min: 0, max: most, step: 0.05, value: settings[name], name });
  input.addEventListener("input", () => {
    settings[name] = Number(input.value);
    shown.textContent = settings[name].toFixed(2);
    redraw();
  });
  return make("label", { title }, make("span", {}, label), input, shown);
}

const colours = make("select", { name: "colormap" });
colours.addEventListener("change", () => {
  settings.colormap = colours.value;
  redraw();
});
const bar = make("canvas", { width: 256, height: 1, className: "bar", role: "img", "aria-label": "from low to high" });
const controls = make(
  "div",
  { className: "controls", role: "group", "aria-label": "How the maps are drawn" },
  slider("opacity", "Opacity", 1, "How strongly the colours cover the picture"),
  slider("threshold", "Threshold", 0.95, "Below this value the picture stays as it is"),
  make("label", {}, make("span", {}, "Colours"), colours),
  make("span", { className: "legend" }, "0", bar, "1"),
);
const grid = make("div", { className: "tiles" });
const downloads = make("div", { className: "downloads" });
root.replaceChildren(controls, grid, downloads);

// ---- blending, as mmgrad_explain.images.overlay.blend does

/** Compute the share of the image that is kept and what is added to it, for each of the 256 levels of heat. */
function mixingTables() {
  const table = bytes(payload.tables[settings.colormap]);
  const kept = new Uint8Array(256);
  const added = new Uint8Array(768);
  for (let level = 0; level < 256; level++) {
    const above = Math.max(0, (level / 255 - settings.threshold) / (1 - settings.threshold)) * 255;
    const low = Math.floor(above);
    const high = Math.min(low + 1, 255);
    const opacity = settings.opacity * (payload.ramp[low] + (above - low) * (payload.ramp[high] - payload.ramp[low]));
    kept[level] = Math.round(255 * (1 - opacity));
    for (let channel = 0; channel < 3; channel++) {
      added[3 * level + channel] = Math.round(table[3 * level + channel] * opacity);
    }
  }
  return { table, kept, added };
}

/** Resize heat to the image's pixels, bilinearly between the centres of its cells, as levels 0 to 255. */
function spread(heat, width, height) {
  const [columns, rows] = heat.size;
  const cells = bytes(heat.levels);
  const taps = (count, pixels) =>
    Array.from({ length: pixels }, (_, pixel) => {
      const at = Math.min(Math.max(((pixel + 0.5) * count) / pixels - 0.5, 0), count - 1);
      const before = Math.floor(at);
      return [before, Math.min(before + 1, count - 1), at - before];
    });
  const across = taps(columns, width);
  const levels = new Uint8Array(width * height);
  taps(rows, height).forEach(([above, below, down], y) => {
    const line = new Float32Array(columns);
    for (let column = 0; column < columns; column++) {
      const value = cells[above * columns + column];
      line[column] = value + down * (cells[below * columns + column] - value);
    }
    for (let x = 0; x < width; x++) {
      const [left, right, part] = across[x];
      levels[y * width + x] = Math.round(line[left] + part * (line[right] - line[left]));
    }
  });
  return levels;
}

function draw(tile, { kept, added }) {
  const { context, pixels, levels } = tile;
  const mixed = context.createImageData(pixels.width, pixels.height);
  const from = pixels.data;
  const to = mixed.data; // clamps at 255
  for (let pixel = 0, at = 0; pixel < levels.length; pixel++, at += 4) {
    const level = levels[pixel];
    const keep = kept[level];
    for (let channel = 0; channel < 3; channel++) {
      to[at + channel] = Math.floor((from[at + channel] * keep + 127) / 255) + added[3 * level + channel];
    }
    to[at + 3] = 255;
  }
  context.putImageData(mixed, 0, 0);
}

/** Draw all tiles again, at most once a frame. */
function redraw() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (payload === null) return;
    const tables = mixingTables();
    const colour = bar.getContext("2d").createImageData(256, 1);
    for (let level = 0; level < 256; level++) {
      colour.data.set([...tables.table.subarray(3 * level, 3 * level + 3), 255], 4 * level);
    }
    bar.getContext("2d").putImageData(colour, 0, 0);
    for (const tile of tiles) if (tile.pixels) draw(tile, tables);
  });
}

// ---- values under the pointer or the cross hair

function rest(tile) {
  const { peak } = tile.data;
  tile.cross.hidden = true;
  tile.place = null;
  tile.readout.textContent = peak
    ? "Brightest at x " + peak[0] + ", y " + peak[1] + ". Point at the picture for values, or use the arrow keys."
    : "This map is flat: it points nowhere.";
}

/** Show the value at a pixel of the original image. */
function point(tile, x, y) {
  if (!tile.pixels) return;
  const [width, height] = tile.data.size;
  x = Math.min(Math.max(x, 0), width - 1);
  y = Math.min(Math.max(y, 0), height - 1);
  const across = (x + 0.5) / width;
  const down = (y + 0.5) / height;
  const column = Math.floor(across * tile.pixels.width);
  const row = Math.floor(down * tile.pixels.height);
  const value = tile.levels[row * tile.pixels.width + column] / 255;
  tile.place = [x, y];
  tile.cross.hidden = false;
  tile.cross.style.setProperty("--x", 100 * across + "%");
  tile.cross.style.setProperty("--y", 100 * down + "%");
  tile.readout.textContent = "Value " + value.toFixed(2) + " at x " + x + ", y " + y;
}

function pointAt(tile, event) {
  const [width, height] = tile.data.size;
  const box = tile.canvas.getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * height);
  point(tile, x, y);
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function press(tile, event) {
  const [width, height] = tile.data.size;
  const start = tile.data.peak ?? [Math.floor(width / 2), Math.floor(height / 2)];
  const step = STEPS[event.key];
  if (event.ctrlKey || event.altKey || event.metaKey || !(step || event.key === "Home")) return;
  event.preventDefault();
  const length = event.shiftKey ? 1 : Math.max(1, Math.round(Math.max(width, height) / 50));
  const [x, y] = (step && tile.place) || start;
  point(tile, x + (step && tile.place ? step[0] * length : 0), y + (step && tile.place ? step[1] * length : 0));
}

// ---- tiles

function shownWord(word) {
  const shown = make(
    "span",
    {
      className: "word",
      title: "“" + word.text + "” " + (word.scaled < 0 ? "lowers" : "raises") + " the score: " + signed(word.scaled) +
        " of the strongest word (" + word.value.toPrecision(3) + " in units of the score)",
    },
    word.text + " ",
    make("small", {}, signed(word.scaled)),
  );
  shown.style.backgroundColor = word.ground;
  shown.style.color = word.ink;
  return shown;
}

function shownWords(words, by) {
  if (words === null) return null;
  if (!words.length) return make("p", { className: "quiet" }, "The model read none of the words.");
  const list = make("p", { className: "words" });
  for (const word of words) list.append(shownWord(word), " ");
  const legend = make("p", { className: "quiet" }, "+ orange raises the score, − blue lowers it" +
    (by ? " (" + by + ")" : "") + "; the strongest word is 1.");
  return make("div", { role: "group", "aria-label": "What each word contributes" }, list, legend);
}

/** The band below a map that is not to be trusted as it is, and a frame around the map; null for other maps. */
function shownMark(mark, stage) {
  if (!mark) return null;
  const sign = make("span", { className: "sign", "aria-hidden": "true" }, mark.level === "fails" ? "×" : "!");
  const band = make("p", { className: "mark " + mark.level, role: "note" }, sign, make("span", {}, mark.text));
  for (const part of [stage, band]) {
    part.style.setProperty("--ground", mark.ground);
    part.style.setProperty("--ink", mark.ink);
    part.style.setProperty("--ratio", stage.style.getPropertyValue("--ratio"));
  }
  stage.classList.add("marked");
  return band;
}

function shownTile(data, number) {
  const name = "map-" + (number + 1) + ".png";
  const peak = data.peak ? "brightest at x " + data.peak[0] + ", y " + data.peak[1] : "flat";
  const canvas = make("canvas", {
    tabIndex: 0,
    role: "img",
    "aria-label": "Map of “" + data.title + "” on its picture, " + peak + ". Arrow keys read values, Home goes to the peak.",
  });
  const cross = make("div", { className: "cross", hidden: true, "aria-hidden": "true" });
  const readout = make("p", { className: "readout", "aria-live": "polite" });
  const stage = make("div", { className: "stage" }, canvas, cross);
  stage.style.setProperty("--ratio", data.size[0] / data.size[1]);
  const marked = shownMark(data.mark, stage);
  const tile = { data, canvas, cross, readout, context: canvas.getContext("2d"), pixels: null, levels: null, place: null };

  const save = make("button", { type: "button", disabled: true }, "Download PNG");
  save.addEventListener("click", async () => download(await picture(tile), name));
  tile.save = save;
  let use = null;
  if (data.action) {
    use = make("button", { type: "button", className: "action" }, data.action.label);
    use.addEventListener("click", () => trigger("select", { index: number, value: data.action.value }));
  }
  canvas.addEventListener("pointermove", (event) => pointAt(tile, event));
  canvas.addEventListener("pointerdown", (event) => pointAt(tile, event));
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && rest(tile));
  canvas.addEventListener("keydown", (event) => press(tile, event));
  canvas.addEventListener("blur", () => rest(tile));

  const meaning = make("details", {}, make("summary", {}, "What does this map mean?"));
  meaning.append(...data.meaning.split(/\n\s*\n/).map((paragraph) => make("p", {}, paragraph)));
  const notes = data.notes.length
    ? make("ul", { className: "notes", "aria-label": "Notes" }, ...data.notes.map((note) => make("li", {}, note)))
    : null;
  tile.shown = make(
    "article",
    { className: "tile", "aria-label": data.title },
    make("h3", {}, data.title),
    make("p", { className: "quiet" }, data.caption ?? data.score.name + " = " + Number(data.score.value.toPrecision(5))),
    stage,
    marked,
    data.check ? make("p", { className: "check" }, data.check) : null,
    readout,
    shownWords(data.words, data.words_by),
    notes,
    meaning,
    make("div", { className: "buttons" }, use, save),
  );
  rest(tile);
  return tile;
}

async function load(tile, mine) {
  const image = new Image();
  image.src = tile.data.picture;
  try {
    await image.decode();
  } catch {
    tile.readout.textContent = "The picture cannot be drawn in this browser.";
    return;
  }
  if (mine !== round) return;
  const { width, height } = image;
  const plain = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  plain.drawImage(image, 0, 0);
  Object.assign(tile.canvas, { width, height });
  tile.levels = spread(tile.data.heat, width, height);
  tile.pixels = plain.getImageData(0, 0, width, height);
  tile.save.disabled = false;
  redraw();
}

// ---- downloads

/** The PNG of a tile: the map, its mark below it, and where it came from in a chunk of text. */
async function picture({ canvas, data }) {
  let drawn = canvas;
  if (data.mark) {
    const band = new Image();
    band.src = data.mark.band;
    await band.decode();
    const frame = data.mark.frame;
    const height = Math.round((band.height * canvas.width) / band.width);
    drawn = make("canvas", { width: canvas.width + 2 * frame, height: canvas.height + height + 2 * frame });
    const context = drawn.getContext("2d");
    context.fillStyle = data.mark.ground;
    context.fillRect(0, 0, drawn.width, drawn.height);
    context.drawImage(canvas, frame, frame);
    context.drawImage(band, frame, frame + canvas.height, canvas.width, height);
  }
  const blob = await new Promise((done) => drawn.toBlob(done, "image/png"));
  const file = new Uint8Array(await blob.arrayBuffer());
  const header = 33; // the signature and the chunk IHDR
  return new Blob([file.subarray(0, header), textChunk("mmgrad_explain", data.record), file.subarray(header)], {
    type: "image/png",
  });
}

/** A chunk iTXt of a PNG, in UTF-8 and not compressed. */
function textChunk(keyword, text) {
  const encoder = new TextEncoder();
  const content = encoder.encode("iTXt" + keyword + "\0\0\0\0\0" + text);
  const chunk = new Uint8Array(content.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, content.length - 4);
  chunk.set(content, 4);
  view.setUint32(content.length + 4, crc(content));
  return chunk;
}

/** The CRC-32 of PNG (ISO 3309). */
function crc(content) {
  let sum = 0xffffffff;
  for (const byte of content) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return (sum ^ 0xffffffff) >>> 0;
}

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function shownDownloads({ data, snippet }) {
  const json = make("button", { type: "button" }, "Download JSON");
  json.addEventListener("click", () =>
    download(new Blob([JSON.stringify(data, null, 2) + "\n"], { type: "application/json" }), "explanation.json"),
  );
  const code = make("code", {}, snippet);
  const copy = make("button", { type: "button" }, "Copy");
  const said = make("span", { className: "quiet", "aria-live": "polite" });
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(snippet);
      said.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(code); // the clipboard is closed to pages without HTTPS
      said.textContent = "Selected: press Ctrl+C or Cmd+C.";
    }
  });
  const save = make("button", { type: "button" }, "Download .py");
  save.addEventListener("click", () => download(new Blob([snippet], { type: "text/x-python" }), "explanation.py"));
  return [
    make("div", { className: "buttons" }, json),
    make(
      "details",
      {},
      make("summary", {}, "Python"),
      make("pre", { tabIndex: 0, role: "region", "aria-label": "Python that makes these maps" }, code),
      make("div", { className: "buttons" }, copy, save, said),
    ),
  ];
}

// ---- a payload comes

function show() {
  payload = props.value || null;
  round += 1;
  root.hidden = payload === null;
  tiles = payload === null ? [] : payload.tiles.map(shownTile);
  grid.replaceChildren(...tiles.map((tile) => tile.shown));
  downloads.replaceChildren(...(payload === null ? [] : shownDownloads(payload)));
  if (payload === null) return;
  const names = Object.keys(payload.tables);
  if (!names.includes(settings.colormap)) settings.colormap = payload.colormap;
  colours.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
  colours.value = settings.colormap;
  for (const tile of tiles) load(tile, round);
}

watch("value", show);
show();
