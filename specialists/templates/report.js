"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const SCALES = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 };

  const text = (cell) => (cell.firstChild ? cell.firstChild.textContent : "").trim();

  const number = (cell) => {
    if (cell.dataset.v !== undefined) return parseFloat(cell.dataset.v);
    const found = text(cell).replace(/\u2212/g, "-").replace(/,/g, "").match(/[-+]?\d+(\.\d+)?([kMGT]\b)?/);
    return found ? parseFloat(found[0]) * (SCALES[found[2]] || 1) : NaN;
  };

  const compare = (isNumber, sign, column) => (a, b) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    if (!isNumber) return sign * text(x).localeCompare(text(y), undefined, { numeric: true });
    const [p, q] = [number(x), number(y)];
    if (isNaN(p) || isNaN(q)) return isNaN(p) - isNaN(q);
    return sign * (p - q);
  };

  const sort = (table, heading) => {
    const isNumber = heading.classList.contains("n");
    const before = heading.getAttribute("aria-sort");
    const falls = before ? before === "ascending" : isNumber;
    all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort(compare(isNumber, falls ? -1 : 1, heading.cellIndex));
    table.tBodies[0].append(...rows);
  };

  // On a narrow screen every row is a small page, and every cell says its column.
  for (const table of all("main .scroll > table")) {
    const labels = all("thead th", table).map((heading) =>
      [...heading.childNodes].map((node) => node.textContent).join(" ").replace(/-\s+/g, ""));
    for (const row of table.tBodies[0].rows) {
      [...row.cells].forEach((cell, column) => { cell.dataset.label = labels[column]; });
    }
    table.classList.add("stacked");
  }

  const buttons = new Map();
  for (const heading of all("thead th")) {
    const table = heading.closest("table");
    if (table.tBodies[0].rows.length < 2) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => sort(table, heading));
    buttons.set(heading, button);
  }
  const wrap = () => buttons.forEach((button, heading) => {
    button.append(...heading.childNodes);
    heading.append(button);
  });
  const unwrap = () => buttons.forEach((button) => button.replaceWith(...button.childNodes));
  wrap();

  const filter = (table, words) => {
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(words);
      if (words) all("details", row).forEach((details) => { details.open = !row.hidden; });
    }
    const note = document.getElementById(`${table.id}-found`);
    const shown = rows.filter((row) => !row.hidden).length;
    note.textContent = words ? `${shown} of ${rows.length}` : "";
  };

  const boxes = all(".find");
  for (const box of boxes) {
    box.hidden = false;
    const input = box.querySelector("input");
    input.addEventListener("input", () => {
      boxes.forEach((other) => { other.querySelector("input").value = input.value; });
      all("table.classes").forEach((table) => filter(table, input.value.trim().toLowerCase()));
    });
  }

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((details) => { details.open = true; });
    unwrap();
  });
  window.addEventListener("afterprint", () => {
    opened.forEach((details) => { details.open = false; });
    wrap();
  });
})();
