"use strict";
(() => {
  const { columns, rows, filters, metrics } = JSON.parse(document.getElementById("data").textContent);
  const at = Object.fromEntries(columns.map((column, i) => [column.key, i]));
  const form = document.getElementById("filters"), board = document.getElementById("board");
  const more = document.getElementById("more"), PAGE = 400;
  const state = { sort: null, descending: false, all: false };

  const element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== null) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const control = (text, input) => { const label = element("label", text); label.append(input); form.append(label); return input; };
  const byValue = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));

  const selects = filters.map(({ key, title, start }) => {
    const values = [...new Set(rows.map((row) => row[at[key]]))].sort(byValue);
    const select = control(title, element("select", null, { name: key }));
    if (start === null) select.append(element("option", "all", { value: "" }));
    for (const value of values) select.append(element("option", String(value), { value: String(value) }));
    if (start !== null && values.map(String).includes(String(start))) select.value = String(start);
    select.addEventListener("change", draw);
    if (values.length < 2) select.parentElement.hidden = true;
    return { key, select };
  });
  const metric = control("Metric", element("select", null, { name: "metric" }));
  metric.append(element("option", "all", { value: "" }));
  for (const name of Object.keys(metrics)) metric.append(element("option", name, { value: name }));
  metric.addEventListener("change", draw);
  const search = control("Method contains", element("input", null, { name: "method", type: "search", autocomplete: "off" }));
  search.addEventListener("input", draw);

  function shownColumns() {
    const hidden = metric.value ? Object.entries(metrics).filter(([name]) => name !== metric.value).flatMap(([, keys]) => keys) : [];
    return columns.map((column, i) => ({ ...column, i })).filter((c) => c.header && !hidden.includes(c.key) && (metric.value || !c.chosen));
  }

  function chosen() {
    const wanted = search.value.trim().toLowerCase();
    const found = rows.filter((row) =>
      selects.every(({ key, select }) => !select.value || String(row[at[key]]) === select.value) &&
      (!wanted || String(row[at.method]).toLowerCase().includes(wanted)));
    if (state.sort !== null) {
      const key = columns[state.sort].sort === undefined ? state.sort : at[columns[state.sort].sort];
      found.sort((a, b) => {
        const [x, y] = [a[key], b[key]];
        if (x === null || y === null) return (x === null) - (y === null);
        return state.descending ? byValue(y, x) : byValue(x, y);
      });
    }
    return found;
  }

  const shape = (column, value) =>
    value === null ? "–" : typeof value === "number" && column.digits !== undefined ? value.toFixed(column.digits) : String(value);

  function draw() {
    const shown = shownColumns(), found = chosen();
    const head = element("tr", null);
    for (const column of shown) {
      const cell = element("th", null, { class: column.kind, scope: "col" });
      if (column.help) cell.title = column.help;
      if (column.i === state.sort) cell.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      const button = element("button", column.header, { type: "button" });
      button.addEventListener("click", () => {
        state.descending = state.sort === column.i ? !state.descending : column.kind === "number" && column.more_is_better;
        state.sort = column.i;
        draw();
      });
      cell.append(button);
      head.append(cell);
    }
    board.tHead.replaceChildren(head);
    const limited = state.all ? found : found.slice(0, PAGE);
    let before = null;
    board.tBodies[0].replaceChildren(...limited.map((row) => {
      const line = element("tr", null);
      if (state.sort === null && before !== null && before !== row[at.labels]) line.classList.add("budget");
      before = row[at.labels];
      if (row[at.dsc] === null) line.classList.add("failed");
      for (const column of shown) line.append(element("td", shape(column, row[column.i]), { class: column.kind }));
      return line;
    }));
    document.getElementById("count").textContent = `${limited.length} of ${rows.length} rows`;
    more.hidden = limited.length === found.length;
  }
  more.addEventListener("click", () => { state.all = true; draw(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  draw();
})();
