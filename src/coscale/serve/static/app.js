// The page's course: choose a photo, watch it being worked on, compare what came out.

import { draw } from "./curve.js";
import { Viewer } from "./viewer.js";

const VERSIONS = [
  ["original", "Original"],
  ["bicubic", "Bicubic"],
  ["none", "Rescaler alone"],
  ["coscale", "Optimised"],
];
const STAGES = {
  reading: "Reading the photo",
  bicubic: "Measuring bicubic",
  none: "Measuring the rescaler alone",
  coscale: "Optimising",
  "coscale written": "Restoring the photo from the file",
};
const AWAY = "The server does not answer at present; try again in a moment.";
const REFUSALS = { // by what stands before the server: its own come with words
  413: "The file is larger than the web server before this page lets through; take a smaller one.",
  502: AWAY,
  503: AWAY,
  504: AWAY,
};
const AGAIN = 3000; // milliseconds, as browsers wait before they open a stream again
const BUSY = ["sending", "waiting", "working"];

const byId = (id) => document.getElementById(id);
const viewer = new Viewer(byId("viewer"));
let settings; // what the server offers
let photo = null; // the chosen file
let job = null; // its token
let stream = null;
let upload = null; // what ends the sending of the photo
let last = null; // the last state that the server told

const decibels = (value) => (value === null ? "equal" : value.toFixed(2));
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
const bytes = (n) => (n >= 1e6 ? `${(n / 1e6).toFixed(2)} MB` : `${(n / 1e3).toFixed(1)} kB`);
const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
const effort = () => document.querySelector('input[name="effort"]:checked').value;
// Addresses are relative: the page may lie below a path of another site.
const address = (file) => `api/jobs/${job}/${file}`;

function enter(state, words) {
  document.body.dataset.state = state;
  const busy = BUSY.includes(state);
  const status = byId("status");
  if (words !== undefined && status.textContent !== words) status.textContent = words;
  byId("file").disabled = byId("file").hidden = busy;
  for (const field of [byId("rescaler"), ...document.querySelectorAll("#effort input")]) field.disabled = busy;
  byId("start").hidden = busy;
  byId("start").disabled = photo === null;
  byId("start").textContent = ["finished", "cancelled", "failed"].includes(state) ? "Downscale again" : "Downscale";
  byId("start").classList.toggle("primary", state !== "finished");
  const cancel = byId("cancel");
  const leaves = document.activeElement === cancel && !busy;
  cancel.hidden = !busy;
  if (["sending", "waiting"].includes(state) && document.activeElement === document.body) cancel.focus();
  byId("another").hidden = state !== "finished";
  byId("bar").hidden = !busy;
  byId("drop").hidden = state === "finished";
  byId("viewer").hidden = state !== "finished";
  byId("figures").hidden = state !== "finished";
  if (leaves) byId(state === "finished" ? "handle" : "start").focus({ preventScroll: true });
}

function showPreview(source) {
  const preview = byId("preview");
  preview.onload = () => (preview.hidden = false);
  preview.onerror = () => (preview.hidden = true); // a browser shows no TIFF; what the server makes of it comes later
  preview.src = source;
}

function choose(file) {
  if (BUSY.includes(document.body.dataset.state)) return;
  const limit = settings.limits.upload;
  photo = file;
  leave();
  byId("course").hidden = true;
  document.querySelector("#drop .call").firstChild.textContent = `${file.name}, ${bytes(file.size)}. Drop or `;
  document.querySelector("#drop .link").textContent = "choose another";
  showPreview(URL.createObjectURL(file));
  if (file.size > limit) {
    photo = null;
    enter("failed", `The file is larger than ${limit / 1e6} MB; take a smaller one.`);
  } else {
    enter("chosen", "Choose how, then downscale it.");
  }
}

function leave() {
  stream?.close();
  stream = job = last = null;
  history.replaceState(null, "", location.pathname);
}

async function send() {
  leave();
  byId("course").hidden = true;
  progress(null);
  enter("sending", "Sending the photo");
  const asked = new URLSearchParams({
    name: photo.name,
    rescaler: byId("rescaler").value,
    effort: effort(),
  });
  upload = new AbortController();
  let answer;
  try {
    answer = await fetch(`api/jobs?${asked}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: photo,
      signal: upload.signal,
    });
  } catch {
    if (upload.signal.aborted) return enter("cancelled", "Cancelled. The photo was not sent.");
    return enter("failed", "The server does not answer; is it still running?");
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.ok && told.id) follow(told.id);
  else enter("failed", told.error ?? REFUSALS[answer.status] ?? "Something went wrong on the server; its terminal may say what.");
}

function follow(id) {
  job = id;
  history.replaceState(null, "", `#${id}`);
  listenTo(id);
}

function listenTo(id) {
  stream = new EventSource(address("events"));
  stream.onmessage = (event) => render(JSON.parse(event.data));
  stream.onerror = () => {
    byId("status").textContent = "The connection is lost; trying again";
    if (stream.readyState === EventSource.CLOSED) ask(id); // else the browser tries again
  };
}

// What came was no stream: the job is gone, or a web server speaks for ours while that is away.
async function ask(id) {
  const answer = await fetch(`api/jobs/${id}`).catch(() => null);
  if (job !== id) return; // it was left meanwhile
  if (answer?.status !== 404) return setTimeout(() => job === id && listenTo(id), AGAIN);
  leave();
  const words = "That photo is no longer here: results are removed after a while, and the rest when the server stops.";
  enter(photo ? "chosen" : "empty", words);
}

function render(state) {
  last = state;
  if (["finished", "failed", "cancelled"].includes(state.state)) stream.close(); // else it would be opened again
  drawCourse();
  if (state.state === "waiting") {
    progress(0);
    enter("waiting", state.ahead ? `Waiting: ${plural(state.ahead, "photo")} before yours` : "Waiting");
  } else if (state.state === "working") {
    const optimising = state.stage === "coscale";
    progress(optimising ? state.curve.length / state.passes : null);
    if (state.stage !== "reading" && byId("preview").hidden) showPreview(address("original.png"));
    const words = STAGES[state.stage] ?? byId("status").textContent;
    enter("working", optimising ? `${words}: pass ${state.curve.length} of ${state.passes}` : words);
  } else if (state.state === "finished") {
    finish(state);
  } else if (state.state === "cancelled") {
    enter("cancelled", "Cancelled. Nothing of the photo is left on the server.");
  } else if (state.state === "failed") {
    enter("failed", state.message);
  }
}

// The share that is done; null where nobody knows.
function progress(share) {
  byId("bar").classList.toggle("unknown", share === null);
  byId("bar").firstElementChild.style.transform = `scaleX(${share ?? 1})`;
}

function drawCourse() {
  if (!last) return;
  const { curve, passes, result } = last;
  byId("course").hidden = curve.length === 0 && last.state !== "working";
  if (byId("course").hidden || !passes) return;
  const asFile = result?.versions.coscale.gain;
  draw(byId("curve"), curve, passes, asFile);
  const now = curve.length ? `${signed(curve.at(-1))} dB after ${plural(curve.length, "pass", "passes")}` : "";
  const kept = result ? `; ${signed(asFile)} dB in the file that is kept (dashed)` : "";
  byId("curve-words").textContent =
    `${now}${kept}${now && ". "}Gain is how far the error of the restored photo, of RGB and half that of Y, has fallen.`;
}

function finish(state) {
  const { result } = state;
  enter("finished", `Finished in ${result.seconds.toFixed(1)} s.`);
  const versions = VERSIONS.map(([name, label]) => ({ name, label, source: address(`${name}.png`) }));
  viewer.show(versions, result.width, result.height, "bicubic", "coscale");
  fillTable(result);
  const { lr_width, lr_height } = result.versions.coscale;
  byId("facts").textContent =
    `${state.name}: ${result.width} × ${result.height} pixels, ${bytes(result.upload_bytes)} as sent; ` +
    `small images of ${lr_width} × ${lr_height} by ${result.rescaler}, ${state.effort}.`;
  byId("get-lr").href = address(`coscale.lr${result.lr_suffix}?download`);
  byId("get-photo").href = address("coscale.png?download");
}

function fillTable({ versions }) {
  const shown = VERSIONS.slice(1);
  const rows = [
    ["PSNR-Y, dB", "psnr_y", decibels, true],
    ["PSNR-RGB, dB", "psnr_rgb", decibels, true],
    ["SSIM-Y", "ssim_y", (v) => (v === null ? "–" : v.toFixed(4))],
    ["SSIM-RGB", "ssim_rgb", (v) => (v === null ? "–" : v.toFixed(4))],
    ["Small image", "lr_bytes", bytes],
  ];
  const cell = (kind, text, scope) => {
    const element = document.createElement(kind);
    element.textContent = text;
    if (scope) element.scope = scope;
    return element;
  };
  const head = document.createElement("tr");
  head.append(document.createElement("td"), ...shown.map(([, label]) => cell("th", label, "col")));
  byId("figures").querySelector("thead").replaceChildren(head);
  byId("figures").querySelector("tbody").replaceChildren(
    ...rows.map(([title, key, format, gains]) => {
      const row = document.createElement("tr");
      row.append(cell("th", title, "row"));
      for (const [name] of shown) {
        const value = versions[name][key];
        const data = cell("td", format(value));
        const plain = versions.none[key];
        if (name === "coscale" && gains && value !== null && plain !== null) {
          const gain = cell("span", ` ${signed(value - plain)}`);
          gain.className = "gain";
          data.append(gain);
        }
        row.append(data);
      }
      return row;
    }),
  );
}

function offer() {
  const { limits, rescalers, efforts } = settings;
  byId("limits").textContent =
    `JPEG, PNG, WebP, TIFF or BMP, up to ${limits.upload / 1e6} MB and ${limits.pixels / 1e6} megapixels. ` +
    `It stays on this server and is removed after ${plural(Math.ceil(limits.seconds / 60), "minute")}.`;
  byId("rescaler").replaceChildren(
    ...rescalers.map(({ name, scale }) => new Option(`${name}, to 1/${scale} of the sides`, name, false, name === settings.rescaler)),
  );
  for (const { name } of efforts) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "effort", value: name, checked: name === settings.effort });
    const words = document.createElement("span");
    words.textContent = name;
    label.append(input, words);
    byId("effort").append(label);
  }
  const explain = () => {
    const { about } = rescalers.find(({ name }) => name === byId("rescaler").value);
    const { passes } = efforts.find(({ name }) => name === effort());
    byId("about").textContent = `${about[0].toUpperCase()}${about.slice(1)}. At most ${passes} passes to optimise.`;
  };
  byId("settings").addEventListener("change", explain);
  explain();
}

function listen() {
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files.length) choose(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
  byId("settings").addEventListener("submit", (event) => {
    event.preventDefault();
    if (photo) send();
  });
  byId("cancel").addEventListener("click", async () => {
    byId("status").textContent = "Cancelling";
    if (document.body.dataset.state === "sending") return upload.abort();
    await fetch(`api/jobs/${job}`, { method: "DELETE" }).catch(() => {});
  });
  byId("another").addEventListener("click", () => byId("file").click());
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      document.body.classList.add("dragging");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!carriesFile(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
  new ResizeObserver(drawCourse).observe(byId("outcome"));
}

settings = await (await fetch("api/settings")).json();
offer();
listen();
if (/^#[\w-]+$/.test(location.hash)) follow(location.hash.slice(1));
else enter("empty");
