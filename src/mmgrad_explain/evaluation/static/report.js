"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const list = document.getElementById("case-list");
  const PAGE = 24;
  const state = { method: data.methods[0], by: 1, down: false, kind: "", words: "", shown: PAGE };

  // Everything of the data set is set as text: nothing of it is ever parsed as markup.
  const make = (name, options = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key === "text") element.textContent = value;
      else if (key === "class") element.className = value;
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };
  const label = (text, control, wide) => make("label", { class: wide ? "wide" : "" }, text, control);
  const options = (select, entries) => {
    for (const [value, text] of entries) select.append(make("option", { value, text }));
    return select;
  };

  const methodPicker = options(make("select", { id: "method" }), data.methods.map((name) => [name, name]));
  const sortPicker = options(make("select", { id: "sort" }), [
    ...data.figures.flatMap((name, i) => [[`${i} up`, `${name}, lowest first`], [`${i} down`, `${name}, highest first`]]),
    ["text up", "text, A to Z"],
  ]);
  const kindPicker = options(make("select", { id: "kind" }), [["", "all kinds"], ...data.kinds.map((kind) => [kind, kind])]);
  const wordBox = make("input", { id: "words", type: "search", placeholder: "a word of the text", autocomplete: "off" });
  const tools = make("div", { class: "tools", role: "search", "aria-label": "Cases" });
  if (data.methods.length > 1) tools.append(label("map", methodPicker, true));
  tools.append(label("order", sortPicker, true));
  if (data.kinds.length > 1) tools.append(label("kind", kindPicker));
  tools.append(label("text contains", wordBox));
  const count = make("p", { class: "count", "aria-live": "polite" });
  const head = make("tr");
  const body = make("tbody");
  const more = make("button", { class: "more", type: "button", text: "Show more" });
  list.append(tools, count, make("table", { class: "cases" }, make("thead", {}, head), body), more);

  const value = (sample) => (state.by === "text" ? sample.text : (sample.values[state.method] || [])[state.by] ?? null);
  const order = (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null) - (b === null); // what is unknown comes last
    const found = state.by === "text" ? a.localeCompare(b) : a - b;
    return (state.down ? -found : found) || (one.picture ? 0 : 1) - (other.picture ? 0 : 1);
  };
  const write = (number) => (number === null || number === undefined ? "–" : number.toFixed(3));

  const picture = (sample, source, caption, chosen) => {
    const [width, height] = sample.size;
    const image = make("img", { src: source, width, height, alt: caption, loading: "lazy" });
    return make("figure", { class: chosen ? "chosen" : "" }, image, make("figcaption", { text: caption }));
  };

  const row = (sample) => {
    const what = make("td", { class: "what" }, make("b", { text: sample.text }));
    what.append(make("span", { text: sample.kind }), make("span", { text: sample.id }));
    const strip = make("div", { class: "strip" });
    if (sample.picture) {
      strip.append(picture(sample, sample.picture, "the region"));
      for (const method of data.methods) {
        if (!sample.maps[method]) continue;
        const by = state.by === "text" ? 1 : state.by;
        const figure = `${data.figures[by]} ${write(sample.values[method][by])}`;
        const caption = `${method}: ${sample.empty.includes(method) ? "empty map" : figure}`;
        strip.append(picture(sample, sample.maps[method], caption, data.methods.length > 1 && method === state.method));
      }
    } else {
      strip.append(make("span", { class: "none", text: `no picture: ${sample.image} is not among the worst cases` }));
    }
    const cells = data.figures.map((name, i) => {
      const number = sample.values[state.method][i];
      const cell = make("td", { class: "number", "data-name": name }, write(number));
      const bar = make("i", { "aria-hidden": "true" });
      bar.style.setProperty("--part", `${100 * (number ?? 0)}%`);
      if (number !== null) cell.append(bar);
      return cell;
    });
    return make("tr", {}, what, make("td", { class: "pictures" }, strip), ...cells);
  };

  const sortButton = (by, text) => {
    const on = state.by === by;
    const button = make("button", { type: "button", "aria-pressed": String(on), text: on ? `${text} ${state.down ? "↓" : "↑"}` : text });
    button.addEventListener("click", () => {
      state.down = on && !state.down;
      state.by = by;
      state.shown = PAGE;
      show();
      head.querySelector('[aria-pressed="true"]').focus();
    });
    const way = !on ? "none" : state.down ? "descending" : "ascending";
    return make("th", { scope: "col", "aria-sort": way }, button);
  };

  const show = () => {
    const words = state.words.toLowerCase();
    const found = data.samples
      .filter((sample) => (!state.kind || sample.kind === state.kind) && sample.text.toLowerCase().includes(words))
      .sort(order);
    const maps = make("th", { scope: "col", class: "plain", text: "maps" });
    head.replaceChildren(sortButton("text", "text"), maps, ...data.figures.map((name, i) => sortButton(i, name)));
    body.replaceChildren(...found.slice(0, state.shown).map(row));
    const shown = Math.min(state.shown, found.length);
    const drawn = data.samples.filter((sample) => sample.picture).length;
    const some = drawn < data.samples.length ? `; the ${drawn} worst have pictures` : "";
    count.textContent = `${shown} of ${found.length} cases${some}`;
    more.hidden = shown >= found.length;
    sortPicker.value = `${state.by} ${state.down ? "down" : "up"}`;
  };

  methodPicker.addEventListener("change", () => { state.method = methodPicker.value; show(); });
  sortPicker.addEventListener("change", () => {
    const [by, way] = sortPicker.value.split(" ");
    state.by = by === "text" ? by : Number(by);
    state.down = way === "down";
    state.shown = PAGE;
    show();
  });
  kindPicker.addEventListener("change", () => { state.kind = kindPicker.value; state.shown = PAGE; show(); });
  wordBox.addEventListener("input", () => { state.words = wordBox.value.trim(); state.shown = PAGE; show(); });
  more.addEventListener("click", () => {
    const before = body.children.length;
    state.shown += PAGE;
    show();
    const next = body.children[before];
    if (next) { next.tabIndex = -1; next.focus(); }
  });
  show();
})();
