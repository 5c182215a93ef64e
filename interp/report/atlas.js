"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const RISING = [[0, 32, 77], [65, 77, 107], [124, 123, 120], [188, 175, 111], [255, 234, 70]];
  const SIGNED = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]];
  const pick = document.getElementById("measure"), search = document.getElementById("search");
  const views = [];

  /* An element with text and attributes; text is never read as HTML. */
  const make = (tag, attributes = {}, ...inside) => {
    const found = tag === "svg" || make.svg.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    found.append(...inside);
    return found;
  };
  make.svg = new Set(["path", "line", "text", "g"]);
  const shown = (value, digits = 3) => value === null ? "–" : value.toFixed(digits).replace("-", "−");
  const colour = (stops, share) => {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2);
    return stops[i].map((from, c) => Math.round(from + (stops[i + 1][c] - from) * (at - i)));
  };
  const dark = rgb => 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] < 115;

  function limits(name) {                         // one scale for both runs, so that colours compare
    const all = data.runs.flatMap(run => run.measures.filter(m => m.name === name).flatMap(m => m.values)).filter(v => v !== null);
    let low = all.length ? all.reduce((a, b) => Math.min(a, b)) : 0, high = all.length ? all.reduce((a, b) => Math.max(a, b)) : 1;
    const signed = data.runs.some(run => run.measures.some(m => m.name === name && m.signed));
    if (signed) { high = Math.max(Math.abs(low), Math.abs(high)) || 1; low = -high; }
    if (low === high) high = low + 1e-9;
    return {low, high, stops: signed ? SIGNED : RISING};
  }

  function draw(view) {
    const chosen = view.run.measures.find(m => m.name === pick.value), {low, high, stops} = limits(pick.value);
    view.cells.forEach((cell, i) => {
      const value = chosen ? chosen.values[i] : null;
      const rgb = value === null ? null : colour(stops, (value - low) / (high - low));
      cell.classList.toggle("none", rgb === null);
      cell.style.backgroundColor = rgb ? `rgb(${rgb})` : "";
      cell.style.color = rgb && dark(rgb) ? "#fff" : "#111";
      cell.textContent = value === null ? "" : shown(value, 2);
      const said = chosen ? `${chosen.title} ${shown(value)}` : "not known";
      cell.title = `${view.run.heads[i].name}: ${said}`;
      cell.setAttribute("aria-label", cell.title);
    });
    const [start, bar, end] = view.root.querySelector(".scale").children;
    start.textContent = shown(low); end.textContent = shown(high);
    bar.style.background = `linear-gradient(to right, ${stops.map(s => `rgb(${s})`).join(", ")})`;
  }

  function select(view, i, focus = false) {
    view.cells.forEach((cell, k) => { cell.setAttribute("aria-selected", k === i); cell.tabIndex = k === i ? 0 : -1; });
    view.chosen = i;
    if (focus) view.cells[i].focus();
    const head = view.run.heads[i], box = view.root.querySelector(".detail");
    const parts = [numbers(view.run, i)];
    if (head.transfer.length) parts.push(transfer(view.run, head));
    if (head.words.length) parts.push(words(head));
    if (head.attention) parts.push(attention(view.run, head));
    box.replaceChildren(make("h3", {}, head.name), make("div", {class: "columns"}, ...parts), ...images(view.run, head));
  }

  function numbers(run, i) {
    const rows = run.measures.map(m => {
      const spread = m.interval.length ? ` [${shown(m.interval[0][i])}, ${shown(m.interval[1][i])}]` : "";
      const rank = m.ranks[i] === null ? "–" : `${m.ranks[i]} of ${run.heads.length}`;
      return make("tr", {}, make("th", {scope: "row"}, make("abbr", {title: m.meaning}, m.title)),
        make("td", {class: "n"}, shown(m.values[i]) + spread), make("td", {class: "n"}, rank));
    });
    const top = make("tr", {}, make("th", {}, ""), make("th", {class: "n"}, "value"), make("th", {class: "n"}, "rank"));
    return make("div", {}, make("h4", {}, "Numbers"), make("table", {class: "numbers"}, top, ...rows));
  }

  function transfer(run, head) {
    const rows = run.generators.map((name, g) => {
      const bar = make("span", {class: "meter"}), value = head.transfer[g];
      bar.style.width = `${Math.max(0, (value ?? 0.5) - 0.5) * 200}%`;
      return make("tr", {}, make("th", {scope: "row"}, name), make("td", {class: "n"}, shown(value)), make("td", {class: "bar"}, bar));
    });
    const note = make("p", {class: "note"}, "AUC of the head's probe on each generator, trained on others; bars begin at 0.5, guessing.");
    return make("div", {}, make("h4", {}, "Transfer to"), make("table", {class: "numbers"}, ...rows), note);
  }

  function words(head) {
    const list = head.words.map(([phrase, share, why]) => {
      const item = make("li", why ? {class: "doubt", title: why} : {}, `${phrase} `, make("small", {}, `${shown(100 * share, 1)} %`));
      if (why) item.append(make("small", {}, ` (${why})`));
      return item;
    });
    const note = make("p", {class: "note"}, "Phrases that together explain most of the head's variance over images, and the share each adds.");
    return make("div", {}, make("h4", {}, "Words"), make("ul", {class: "words"}, ...list), note);
  }

  function attention(run, head) {
    const map = head.attention, bytes = Uint8Array.from(atob(map.levels), c => c.charCodeAt(0));
    const canvas = make("canvas", {width: map.columns, height: bytes.length / map.columns});
    const context = canvas.getContext("2d"), pixels = context.createImageData(canvas.width, canvas.height);
    bytes.forEach((level, k) => pixels.data.set([...colour(RISING, level / 255), 40 + Math.round(level * 0.7)], 4 * k));
    context.putImageData(pixels, 0, 0);
    const picture = make("img", {src: data.pictures[map.picture], alt: `the image on which ${head.name} speaks most for the + end`});
    const note = `Where the head reads in its first + image; brightest patch ${shown(100 * map.largest, 1)} % of its attention, ` +
      `on no patch ${shown(100 * map.elsewhere, 1)} %.`;
    return make("div", {}, make("h4", {}, "Attention"), make("figure", {class: "look"}, picture, canvas), make("p", {class: "note"}, note));
  }

  function images(run, head) {
    return head.images.flatMap((end, e) => end.length ? [
      make("h4", {}, e ? "Lowest images (−) " : "Highest images (+) ", make("small", {class: "note"}, run.scored_by)),
      make("div", {class: "strip"}, ...end.map(([place, score]) => {
        const [key, label, generator, picture] = data.rows[place], uri = data.pictures[picture], edge = label === "fake" ? "fake" : "";
        const shape = uri ? make("img", {src: uri, alt: `${label} image of ${generator}`, class: edge}) : make("span", {class: `blank ${edge}`});
        return make("figure", {title: key}, shape,
          make("figcaption", {}, `${shown(score, 2)} ${[...new Set([label || "unlabelled", generator])].filter(Boolean).join(", ")}`, make("br"), key.split("/").pop()));
      }))] : []);
  }

  function removal(view) {
    const curve = view.run.curve, box = view.root.querySelector(".removal");
    if (curve.length < 2) return;
    const W = 640, H = 260, left = 46, bottom = 34, last = curve[curve.length - 1][0];
    const values = curve.flatMap(([, s, t, sd]) => [s, t - (sd ?? 0), t + (sd ?? 0)]);
    const low = Math.floor(Math.min(...values) * 20) / 20, high = Math.ceil(Math.max(...values) * 20) / 20;
    const x = k => left + (W - left - 10) * k / last, y = v => 10 + (H - bottom - 10) * (high - v) / (high - low);
    const line = column => curve.map((row, i) => `${i ? "L" : "M"}${x(row[0])},${y(row[column])}`).join("");
    const edge = side => curve.map(row => `${x(row[0])},${y(row[2] + side * (row[3] ?? 0))}`);
    const svg = make("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "AUC against coordinates removed"},
      make("path", {class: "axis", d: `M${left},10V${H - bottom}H${W - 10}`}),
      make("path", {class: "spread", d: `M${edge(1).join("L")}L${edge(-1).reverse().join("L")}Z`}),
      make("path", {class: "select", d: line(1)}), make("path", {class: "test", d: line(2)}));
    for (const v of [low, (low + high) / 2, high]) svg.append(make("text", {x: 4, y: y(v) + 4}, shown(v, 2)));
    for (const k of [0, Math.round(last / 2), last]) svg.append(make("text", {x: x(k), y: H - 14, "text-anchor": "middle"}, k));
    const here = make("line", {class: "here", y1: 10, y2: H - bottom});
    svg.append(here);
    const slider = make("input", {type: "range", min: 0, max: curve.length - 1, value: 0, "aria-label": "coordinates removed"});
    const said = make("p", {"aria-live": "polite"});
    const move = () => {
      const [removed, select, test, sd, chosen] = curve[slider.value];
      here.setAttribute("x1", x(removed)); here.setAttribute("x2", x(removed));
      const kept = chosen === null ? "" : `; ${Math.round(100 * chosen)} % of splits stopped here or before`;
      said.textContent = `${removed} coordinates removed: select AUC ${shown(select)}, test AUC ${shown(test)} ± ${shown(sd)}${kept}`;
    };
    slider.addEventListener("input", move);
    move();
    const note = "Dashed: the generator that the search looked at. Solid: generators that it never saw (± sd over splits); only this line counts.";
    box.append(make("h3", {}, "Removing coordinates of the embedding"), svg, slider, said, make("p", {class: "note"}, note));
  }

  function filter() {
    const asked = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const view of views) view.cells.forEach((cell, i) => {
      const matches = asked.every(word => view.text[i].some(text => text.startsWith(word) || (word.length > 2 && text.includes(word))));
      cell.classList.toggle("dim", !matches);
      count += matches;
    });
    document.getElementById("found").value = asked.length ? `${count} ${count === 1 ? "head" : "heads"}` : "";
  }

  function step(view, event) {
    const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -view.run.width, ArrowDown: view.run.width}[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const next = view.chosen + by;
    if (next >= 0 && next < view.cells.length) select(view, next, true);
  }

  for (const root of document.querySelectorAll(".run")) {
    const run = data.runs[Number(root.dataset.run)], grid = root.querySelector(".grid"), view = {root, run, chosen: 0};
    grid.style.gridTemplateColumns = `2.2rem repeat(${run.width}, minmax(0, 1fr))`;
    grid.classList.toggle("dense", run.width > 12);
    view.cells = run.heads.map(head => make("button", {type: "button", class: "head", role: "gridcell", "data-head": head.name}));
    view.text = run.heads.map(head => [head.name.toLowerCase(), ...head.words.map(w => w[0].toLowerCase()),
      ...head.images.flat().flatMap(([place]) => data.rows[place].slice(1, 3).map(t => t.toLowerCase()))]);
    for (let layer = 0; layer < run.layers; layer++)
      grid.append(make("span", {}, `L${layer}`), ...view.cells.slice(layer * run.width, (layer + 1) * run.width));
    grid.append(make("span"), ...Array.from({length: run.width}, (_, h) => make("span", {}, h)));
    grid.addEventListener("click", event => {
      const i = view.cells.indexOf(event.target);
      if (i < 0) return;
      for (const one of views) if (one === view || one.run.heads[i]?.name === run.heads[i].name) select(one, i, one === view);
    });
    grid.addEventListener("keydown", event => step(view, event));
    views.push(view);
  }
  const measures = new Map(data.runs.flatMap(run => run.measures.map(m => [m.name, m])));
  for (const m of measures.values()) pick.append(make("option", {value: m.name}, m.title));
  const recolour = () => { views.forEach(draw); document.getElementById("meaning").textContent = `${measures.get(pick.value).title}: ${measures.get(pick.value).meaning}.`; };
  pick.addEventListener("change", recolour);
  search.addEventListener("input", filter);
  document.getElementById("controls").addEventListener("submit", event => event.preventDefault());
  recolour();
  for (const view of views) {
    const first = view.run.measures[0], best = first.ranks.indexOf(1);
    select(view, Math.max(best, 0));
    removal(view);
  }
})();
