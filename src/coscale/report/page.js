"use strict";

function setUpTheme() {
  const root = document.documentElement;
  const button = document.querySelector("button.theme");
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : preferred.matches);
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("coscale-theme", root.dataset.theme);
    } catch {
      // A browser that keeps nothing for files forgets the choice, and that is all.
    }
    show();
  });
  preferred.addEventListener("change", show);
  show();
}

function setUpContents() {
  const nav = document.querySelector("nav");
  const list = nav.querySelector("ol");
  const links = [...nav.querySelectorAll("a")];
  const parts = links.map((link) => document.getElementById(link.hash.slice(1)));
  let current = null;
  const update = () => {
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
    const begun = parts.filter((part) => part.getBoundingClientRect().top < innerHeight * 0.3);
    const link = links[atEnd && scrollY > 0 ? links.length - 1 : Math.max(begun.length - 1, 0)];
    if (link === current) return;
    current?.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    list.scrollLeft = link.offsetLeft - (list.clientWidth - link.offsetWidth) / 2;
    current = link;
  };
  addEventListener("scroll", update, { passive: true });
  addEventListener("resize", update);
  update();
}

function setUpTable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const collator = new Intl.Collator("en", { numeric: true });

  /* What a cell is sorted by; null for what is missing, and for words among numbers. */
  const keyOf = (cell, isNumber) => {
    if (isNumber) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    return cell.dataset.missing === undefined ? cell.textContent : null;
  };

  heads.forEach((head, i) => {
    const isNumber = head.classList.contains("number");
    const compare = isNumber ? (a, b) => (a > b) - (a < b) : collator.compare;
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const keyed = [...body.rows].map((row) => [keyOf(row.cells[i], isNumber), row]);
      const there = keyed.filter(([key]) => key !== null);
      there.sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
      const missing = keyed.filter(([key]) => key === null);
      body.append(...[...there, ...missing].map(([, row]) => row));
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}

function setUpFilter(filter) {
  const rows = [...filter.parentElement.querySelectorAll("tbody tr")];
  const output = filter.querySelector("output");
  filter.querySelector("input").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = [...row.cells].map((cell) => cell.textContent.toLowerCase()).join(" ");
      row.hidden = !words.every((word) => text.includes(word));
    }
    const left = rows.filter((row) => !row.hidden).length;
    output.textContent = words.length ? `${left} of ${rows.length} rows` : "";
  });
}

/* What goes on beyond the right edge fades there, for scroll bars are hidden on many machines. */
function setUpScroll(box) {
  const update = () => box.toggleAttribute("data-more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  box.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(box);
}

/* Paper cannot unfold anything. */
function setUpPrint() {
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => (details.open = true));
  });
  addEventListener("afterprint", () => folded.forEach((details) => (details.open = false)));
}

setUpTheme();
setUpContents();
document.querySelectorAll("table").forEach(setUpTable);
document.querySelectorAll(".filter").forEach(setUpFilter);
document.querySelectorAll(".scroll").forEach(setUpScroll);
setUpPrint();
