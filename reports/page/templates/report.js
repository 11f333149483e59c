"use strict";
(() => {
  const { columns, rows, filters, metrics, task } = JSON.parse(document.getElementById("data").textContent);
  const id = (name) => document.getElementById(name);
  const [form, boards, more, count, empty, tip] = ["filters", "boards", "more", "count", "empty", "tip"].map(id);
  const at = Object.fromEntries(columns.map((column, i) => [column.key, i]));
  const PAGE = 400, state = { sort: "", all: false, follow: new Set(), hide: new Set() };

  const element = (tag, text, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    if (text !== null) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const byValue = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));

  // Values of a mark, beside the pointer: what stands in its title.
  for (const title of document.querySelectorAll("figure title")) { title.parentElement.dataset.title = title.textContent; title.remove(); }
  document.addEventListener("pointerover", (event) => {
    const found = event.target.closest("[data-title]");
    tip.hidden = !found;
    if (!found) return;
    tip.textContent = found.dataset.title;
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 10, 4)}px`;
  });

  // A method that is followed or hidden, in tables and figures alike.
  const items = [...document.querySelectorAll("[data-of]")], names = new Set(items.map((item) => item.dataset.of));
  const marks = [...document.querySelectorAll("figure [data-method]")].filter((mark) => names.has(mark.dataset.method));
  function toggle(set, method) {
    if (!names.has(method)) return;
    if (!set.delete(method)) set.add(method);
    changed();
  }
  function pick() {
    document.body.classList.toggle("following", state.follow.size > 0);
    for (const mark of marks) {
      mark.classList.toggle("on", state.follow.has(mark.dataset.method));
      mark.classList.toggle("off", state.hide.has(mark.dataset.method));
    }
    for (const item of items) {
      item.querySelector(".follow").setAttribute("aria-pressed", state.follow.has(item.dataset.of));
      item.querySelector(".hide").setAttribute("aria-pressed", state.hide.has(item.dataset.of));
    }
  }
  document.addEventListener("click", (event) => {
    const mark = event.target.closest("figure [data-method]"), button = event.target.closest("[data-of] button");
    if (mark && names.has(mark.dataset.method)) { event.preventDefault(); toggle(state.follow, mark.dataset.method); }
    if (button) toggle(button.className === "hide" ? state.hide : state.follow, button.parentElement.dataset.of);
  });
  addEventListener("beforeprint", () => { for (const folded of document.querySelectorAll("details")) folded.open = true; if (form) { state.all = true; draw(); } });
  if (!form) return;

  const control = (text, input) => { form.append(element("label", text, {}, input)); return input; };
  const select = (name, title, values, start) => {
    const made = control(title, element("select", null, { name }));
    for (const [value, text] of values) made.append(element("option", text, { value }));
    made.dataset.start = made.value = values.some(([value]) => value === start) ? start : values[0][0];
    made.addEventListener("change", changed);
    return made;
  };
  const selects = filters.map(({ key, title, start }) => {
    const values = [...new Set(rows.map((row) => row[at[key]]))].sort(byValue).map((value) => [String(value), String(value)]);
    const made = select(key, title, start === null ? [["", "all"], ...values] : values, start === null ? "" : String(start));
    made.parentElement.hidden = values.length < 2;
    return made;
  });
  const metric = select("metric", "Metric", [["", "all"], ...Object.keys(metrics).map((name) => [name, name])], "");
  const search = control("Method contains", element("input", null, { name: "method", type: "search", autocomplete: "off", "data-start": "" }));
  search.addEventListener("input", changed);
  const reset = element("button", "Reset", { type: "button" });
  form.append(reset);
  const inputs = [...selects, metric, search];

  // What is chosen stands in the address, so that a view can be sent and cited.
  function written() {
    const words = new URLSearchParams();
    for (const input of inputs) if (input.value !== input.dataset.start) words.set(input.name, input.value);
    if (state.sort) words.set("sort", state.sort);
    for (const name of ["follow", "hide"]) for (const method of state[name]) words.append(name, method);
    return String(words);
  }
  function read() {
    const words = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    for (const input of inputs) {
      const wanted = words.get(input.name) ?? input.dataset.start;
      input.value = wanted;
      if (input.value !== wanted) input.value = input.dataset.start;
    }
    state.sort = columns.some((column) => column.key === (words.get("sort") ?? "").replace("-", "")) ? words.get("sort") : "";
    for (const name of ["follow", "hide"]) state[name] = new Set(words.getAll(name).filter((method) => names.has(method)));
  }
  function changed() {
    const words = written();
    history.replaceState(null, "", words ? `#${words}` : location.pathname + location.search);
    draw();
  }
  addEventListener("hashchange", () => { if (location.hash.includes("=")) { read(); draw(); } });

  function chosen() {
    const wanted = search.value.trim().toLowerCase();
    const found = rows.filter((row) =>
      selects.every((input) => !input.value || String(row[at[input.name]]) === input.value) &&
      !state.hide.has(row[at.method]) && (!wanted || row[at.method].toLowerCase().includes(wanted)));
    if (state.sort) {
      const down = state.sort.startsWith("-"), column = columns[at[state.sort.replace("-", "")]], key = at[column.sort ?? column.key];
      found.sort((a, b) => {
        const [x, y] = [a[key], b[key]];
        if (x === null || y === null) return (x === null) - (y === null);
        return down ? byValue(y, x) : byValue(x, y);
      });
    }
    return found;
  }

  const shape = (column, value) =>
    value === null ? "–" : typeof value === "number" && column.digits !== undefined ? value.toFixed(column.digits) : String(value);

  // A table of the rows of one task: columns in which all are the same are told above it, empty ones are left out.
  function board(part, number) {
    const hidden = metric.value ? Object.entries(metrics).filter(([name]) => name !== metric.value).flatMap(([, keys]) => keys) : [];
    const same = (column) => part.every((row) => row[at[column.key]] === part[0][at[column.key]]);
    const shown = columns.filter((c) => c.header && !hidden.includes(c.key) && (metric.value || !c.chosen)
      && !(c.told && (same(c) || task.includes(c.key) && c.key !== "dataset")) && (c.key === "method" || part.some((row) => row[at[c.key]] !== null)));
    const told = columns.filter((c) => c.told && same(c) && !task.includes(c.key) && part[0][at[c.key]] !== null);
    const [dataset, set, protocol, track] = task.map((key) => part[0][at[key]]);
    const title = `${dataset}: ${set}, protocol ${protocol}, ${track} hyper-parameters`;
    const unit = part.map((row) => row[at.unit]).find((value) => value !== null);
    const head = element("tr", null);
    for (const column of shown) {
      const cell = element("th", null, { class: column.kind, scope: "col" });
      if (column.help) cell.title = column.help;
      if (state.sort.replace("-", "") === column.key) cell.setAttribute("aria-sort", state.sort.startsWith("-") ? "descending" : "ascending");
      const name = column.unit && unit ? `${column.header} ${unit}` : column.header;
      const button = element("button", name, { type: "button", "data-place": `${number} ${column.key}` });
      button.addEventListener("click", () => {
        const start = column.best === "most" ? `-${column.key}` : column.key;
        state.sort = state.sort === start ? (start.startsWith("-") ? column.key : `-${column.key}`) : start;
        changed();
      });
      cell.append(button);
      head.append(cell);
    }
    let before = null;
    const lines = part.map((row) => {
      const line = element("tr", null);
      if (!state.sort && before !== null && before !== row[at.labels]) line.classList.add("budget");
      before = row[at.labels];
      if (row[at.dsc] === null) line.classList.add("failed");
      if (state.follow.has(row[at.method])) line.classList.add("followed");
      for (const column of shown) {
        const value = row[at[column.key]];
        line.append(column.kind === "name" ? element("th", value, { class: "name", scope: "row" }) : element("td", shape(column, value), { class: column.kind }));
      }
      line.firstChild.addEventListener("click", () => toggle(state.follow, row[at.method]));
      return line;
    });
    const heading = element("div", title), caption = element("caption", null, {}, heading);
    if (told.length) heading.append(element("small", told.map((c) => `${c.header}: ${shape(c, part[0][at[c.key]])}`).join("; ")));
    const table = element("table", null, {}, caption, element("thead", null, {}, head), element("tbody", null, {}, ...lines));
    return element("div", null, { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table);
  }

  function draw() {
    pick();
    const found = chosen(), limited = state.all ? found : found.slice(0, PAGE), parts = new Map();
    for (const row of limited) {
      const key = JSON.stringify(task.map((name) => row[at[name]]));
      if (!parts.has(key)) parts.set(key, []);
      parts.get(key).push(row);
    }
    const held = document.activeElement?.dataset?.place, places = [...boards.children].map((part) => [part.scrollLeft, part.scrollTop]);
    boards.replaceChildren(...[...parts.entries()].map(([, part], number) => board(part, number)));
    [...boards.children].forEach((part, i) => { if (places[i]) [part.scrollLeft, part.scrollTop] = places[i]; });
    if (held) boards.querySelector(`[data-place="${held}"]`)?.focus({ preventScroll: true });
    count.textContent = `${limited.length} of ${rows.length} rows`;
    empty.hidden = found.length > 0;
    const asked = inputs.filter((input) => input.value && !input.parentElement.hidden).map((input) => `${input.parentElement.firstChild.textContent.toLowerCase()} “${input.value}”`);
    empty.textContent = `No row has all of this: ${[...asked, ...(state.hide.size ? [`not hidden`] : [])].join(", ")}. Reset shows all.`;
    more.hidden = limited.length === found.length;
  }
  more.addEventListener("click", () => { state.all = true; draw(); });
  reset.addEventListener("click", () => { for (const input of inputs) input.value = input.dataset.start; state.sort = ""; state.follow.clear(); state.hide.clear(); changed(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  read();
  draw();
})();
