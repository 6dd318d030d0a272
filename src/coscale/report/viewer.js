const MOST = 64;
const STEP = Math.SQRT2;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const isTyping = (event) => event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey;

/* Panes of one size that show the same place of images of one size. A zoom of 1 is a pixel of the image to a pixel of
   the screen, whatever the size of a CSS pixel; the place is the point of the image in the middle of each pane. */
class View {
  constructor(root, { wheelAlways = false } = {}) {
    this.stage = root.querySelector(".stage");
    this.panes = root.querySelector(".panes");
    this.readout = root.querySelector(".zoom-now");
    this.buttons = [...root.querySelectorAll("[data-zoom]")];
    this.hint = root.querySelector(".hint");
    this.wheelAlways = wheelAlways;
    this.arrange = () => {}; // called before anything is placed
    this.dragWhole = null; // what dragging does while all of the image is seen
    this.pointers = new Map();
    this.images = [];
    for (const button of this.buttons) {
      button.addEventListener("click", () => this.zoomTo(button.dataset.zoom));
    }
    this.stage.addEventListener("pointerdown", (event) => this.grab(event));
    this.stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.stage.addEventListener(end, (event) => this.release(event));
    }
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  show(images, width, height) {
    this.images = images;
    this.width = width;
    this.height = height;
    this.middle = [width / 2, height / 2];
    this.fitted = true;
    this.draw();
  }

  /* Width and height of a pane. */
  get room() {
    const pane = this.images[0].closest(".pane");
    return [pane.clientWidth, pane.clientHeight];
  }

  /* The zoom at which all is seen; above 1 a whole number, which keeps the pixels of one size. */
  get fit() {
    const [across, down] = this.room;
    const zoom = Math.min(across / this.width, down / this.height) * devicePixelRatio;
    return zoom > 1 ? Math.floor(zoom) : zoom;
  }

  get isWhole() {
    const [across, down] = this.room;
    const scale = this.zoom / devicePixelRatio;
    return this.width * scale <= across + 1 && this.height * scale <= down + 1;
  }

  draw() {
    if (!this.images.length) return;
    this.arrange();
    if (!this.room[0]) return;
    if (this.fitted) this.zoom = this.fit;
    const scale = this.zoom / devicePixelRatio;
    const size = [this.width, this.height];
    const corner = this.room.map((room, i) => {
      const half = Math.min(room / 2 / scale, size[i] / 2);
      this.middle[i] = clamp(this.middle[i], half, size[i] - half);
      return Math.round((room / 2 - this.middle[i] * scale) * devicePixelRatio) / devicePixelRatio;
    });
    for (const image of this.images) {
      image.style.width = `${this.width * scale}px`;
      image.style.height = `${this.height * scale}px`;
      image.style.transform = `translate(${corner[0]}px, ${corner[1]}px)`;
      image.style.imageRendering = this.zoom > 1 ? "pixelated" : "auto";
    }
    this.stage.dataset.whole = String(this.isWhole);
    this.readout.textContent = this.zoom === 1 ? "1:1" : `${Number(this.zoom.toPrecision(2))}×`;
    for (const button of this.buttons) {
      const to = button.dataset.zoom;
      if (to !== "in" && to !== "out") {
        button.setAttribute("aria-pressed", String(to === "fit" ? this.fitted : !this.fitted && this.zoom === Number(to)));
      }
    }
  }

  /* A point of the screen as seen from the middle of the pane it is in. */
  fromMiddle(x, y) {
    const boxes = this.images.map((image) => image.closest(".pane").getBoundingClientRect());
    const box = boxes.find((b) => x >= b.left && x <= b.right && y >= b.top && y <= b.bottom) ?? boxes[0];
    return [x - box.left - box.width / 2, y - box.top - box.height / 2];
  }

  /* Change the zoom so that what lies at a place, given from the middle, stays there. */
  zoomAt(zoom, place = [0, 0]) {
    const before = this.zoom / devicePixelRatio;
    this.zoom = clamp(zoom, Math.min(this.fit, 1), MOST);
    const after = this.zoom / devicePixelRatio;
    this.middle = this.middle.map((middle, i) => middle + place[i] / before - place[i] / after);
    this.fitted = false;
    this.draw();
  }

  zoomTo(to) {
    if (to === "in") this.zoomAt(this.zoom * STEP);
    else if (to === "out") this.zoomAt(this.zoom / STEP);
    else if (to === "fit") {
      this.fitted = true;
      this.draw();
    } else this.zoomAt(Number(to));
  }

  moveBy(x, y) {
    const scale = this.zoom / devicePixelRatio;
    this.middle = [this.middle[0] - x / scale, this.middle[1] - y / scale];
    this.draw();
  }

  grab(event) {
    const moves = event.target.closest(".handle") && !this.pointers.size; // a second finger there pinches
    if (event.button !== 0 || moves) return;
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.stage.setPointerCapture(event.pointerId);
  }

  drag(event) {
    const from = this.pointers.get(event.pointerId);
    if (!from) return;
    const to = [event.clientX, event.clientY];
    if (this.pointers.size === 2) {
      const [, other] = [...this.pointers].find(([id]) => id !== event.pointerId);
      const spread = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      const middle = [(to[0] + other[0]) / 2, (to[1] + other[1]) / 2];
      this.moveBy((to[0] - from[0]) / 2, (to[1] - from[1]) / 2);
      this.zoomAt((this.zoom * spread(to)) / Math.max(spread(from), 1), this.fromMiddle(...middle));
    } else if (this.isWhole && this.dragWhole) this.dragWhole(event);
    else this.moveBy(to[0] - from[0], to[1] - from[1]);
    this.pointers.set(event.pointerId, to);
  }

  release(event) {
    this.pointers.delete(event.pointerId);
  }

  /* Without a click first the wheel belongs to the page, or nobody could scroll past the viewer. */
  wheel(event) {
    if (!this.wheelAlways && !event.ctrlKey && !document.fullscreenElement && !this.stage.matches(":focus-within")) {
      this.hint.hidden = false;
      clearTimeout(this.hinting);
      this.hinting = setTimeout(() => (this.hint.hidden = true), 1500);
      return;
    }
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 30 : 1);
    const factor = Math.exp(-clamp(pixels, -300, 300) * (event.ctrlKey ? 0.01 : 0.002));
    this.zoomAt(this.zoom * factor, this.fromMiddle(event.clientX, event.clientY));
  }

  /* Whether a key was one of those that zoom or move. */
  press(event) {
    const zooms = { "+": "in", "=": "in", "-": "out", 0: "fit" };
    const moves = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key in zooms) this.zoomTo(zooms[event.key]);
    else if (event.key in moves && document.activeElement === this.stage) {
      const far = event.shiftKey ? 240 : 60;
      this.moveBy(...moves[event.key].map((way) => way * far));
    } else return false;
    return true;
  }
}

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function setUpViewer(root) {
  const photos = JSON.parse(document.querySelector("script.list").textContent);
  const pixels = document.querySelectorAll("script.pixels");
  const find = (selector) => root.querySelector(selector);
  const [stage, panes, handle, leftChoice, rightChoices] = [".stage", ".panes", ".handle", "select.left", ".versions"].map(find);
  const view = new View(root);
  let photo, left, right, border = 50;

  /* Only the photo that is looked at takes memory as images. */
  function choosePhoto(i) {
    const [oldLeft, oldRight] = photo ? [left, right].map((k) => photo.versions[k].label) : [];
    photo = photos[i];
    const at = (label, otherwise) => {
      const found = photo.versions.findIndex((version) => version.label === label);
      return found < 0 ? otherwise : found;
    };
    left = at(oldLeft, 0);
    right = at(oldRight, photo.versions.length - 1);
    find("select.photos").value = String(i);
    const sources = JSON.parse(pixels[i].textContent);
    const images = photo.versions.map((version, k) => {
      const image = new Image();
      Object.assign(image, { src: sources[k], alt: `${photo.name}, ${version.label}`, draggable: false });
      return image;
    });
    panes.replaceChildren(
      ...photo.versions.map((version, k) => {
        const figure = make("figure", "version");
        const pane = make("div", "pane");
        const caption = make("figcaption", "");
        caption.append(make("b", "", version.label), " ", make("span", "", version.note));
        caption.title = caption.textContent;
        pane.append(images[k]);
        figure.append(caption, pane);
        return figure;
      }),
    );
    leftChoice.replaceChildren(...photo.versions.map((version, k) => new Option(version.label, String(k))));
    rightChoices.querySelectorAll("button").forEach((button) => button.remove());
    rightChoices.append(
      ...photo.versions.map((version, k) => {
        const button = make("button", "");
        button.type = "button";
        button.title = version.note;
        if (k < 9) button.append(make("kbd", "", String(k + 1)), " ");
        button.append(version.label);
        button.addEventListener("click", () => chooseSides(left, k));
        return button;
      }),
    );
    find("output.size").textContent = `${photo.width} × ${photo.height} pixels`;
    stage.style.setProperty("--shape", String(photo.width / photo.height));
    chooseSides(left, right);
    view.show(images, photo.width, photo.height);
  }

  /* As many columns of panes as let the photo be seen largest. */
  function arrange() {
    const count = photo.versions.length;
    const scales = Array.from({ length: count }, (_, i) => {
      const rows = Math.ceil(count / (i + 1));
      return Math.min(stage.clientWidth / (i + 1) / photo.width, stage.clientHeight / rows / photo.height);
    });
    panes.style.setProperty("--columns", String(scales.indexOf(Math.max(...scales)) + 1));
  }

  function chooseSides(newLeft, newRight) {
    [left, right] = [newLeft, newRight];
    leftChoice.value = String(left);
    rightChoices.querySelectorAll("button").forEach((button, k) => button.setAttribute("aria-pressed", String(k === right)));
    [...panes.children].forEach((figure, k) => {
      figure.classList.toggle("left", k === left);
      figure.classList.toggle("right", k === right);
    });
    for (const [side, k] of [["left", left], ["right", right]]) {
      find(`.tag.${side} b`).textContent = photo.versions[k].label;
      find(`.tag.${side} span`).textContent = photo.versions[k].note;
    }
    moveBorder(border);
  }

  function chooseMode(mode) {
    root.dataset.mode = mode;
    root.querySelectorAll("button[data-mode]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    });
    view.draw();
  }

  const toggleMode = (mode) => chooseMode(root.dataset.mode === mode ? "split" : mode);

  function moveBorder(percent) {
    border = clamp(percent, 0, 100);
    stage.style.setProperty("--border", `${border}%`);
    handle.setAttribute("aria-valuenow", String(Math.round(border)));
    const [a, b] = [left, right].map((k) => photo.versions[k].label);
    handle.setAttribute("aria-valuetext", `${Math.round(border)} % ${a}, ${Math.round(100 - border)} % ${b}`);
  }

  function dragBorder(event) {
    const box = stage.getBoundingClientRect();
    moveBorder((100 * (event.clientX - box.left)) / box.width);
  }

  const stepPhoto = (by) => choosePhoto((photos.indexOf(photo) + by + photos.length) % photos.length);
  const toggleFull = () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen());

  view.arrange = arrange;
  view.dragWhole = (event) => {
    if (root.dataset.mode === "split") dragBorder(event);
  };
  handle.addEventListener("pointerdown", (event) => {
    if (!view.pointers.size) handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (handle.hasPointerCapture(event.pointerId)) dragBorder(event);
  });
  handle.addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 10 : 2;
    const steps = { ArrowLeft: -far, ArrowDown: -far, ArrowRight: far, ArrowUp: far, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
    if (!(event.key in steps) || isTyping(event)) return;
    event.preventDefault();
    moveBorder(border + steps[event.key]);
  });
  find("select.photos").addEventListener("change", (event) => choosePhoto(Number(event.target.value)));
  leftChoice.addEventListener("change", () => chooseSides(Number(leftChoice.value), right));
  root.querySelectorAll("[data-step]").forEach((button) => {
    button.addEventListener("click", () => stepPhoto(Number(button.dataset.step)));
  });
  root.querySelectorAll("button[data-mode]").forEach((button) => {
    button.addEventListener("click", () => chooseMode(button.dataset.mode));
  });
  find("button.full").hidden = !document.fullscreenEnabled;
  find("button.full").addEventListener("click", toggleFull);
  if (photos.length === 1) root.querySelectorAll("[data-step]").forEach((button) => (button.hidden = true));

  const keys = {
    x: () => chooseSides(right, left),
    s: () => toggleMode("side"),
    d: () => toggleMode("difference"),
    f: () => document.fullscreenEnabled && toggleFull(),
    "[": () => stepPhoto(-1),
    "]": () => stepPhoto(1),
    Escape: () => document.activeElement.blur(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || isTyping(event) || !root.matches(":hover, :focus-within")) return;
    const version = "123456789".indexOf(event.key);
    if (event.key.length === 1 && version >= 0 && version < photo.versions.length) chooseSides(left, version);
    else if (event.key in keys) keys[event.key]();
    else if (!view.press(event)) return;
    event.preventDefault();
  });

  choosePhoto(0);
}

function setUpPictures(dialog) {
  const view = new View(dialog, { wheelAlways: true });
  const panes = dialog.querySelector(".panes");
  document.querySelectorAll("button.open").forEach((button) => {
    button.addEventListener("click", () => {
      const picture = button.querySelector("img");
      const pane = make("div", "pane");
      const image = picture.cloneNode();
      image.draggable = false;
      pane.append(image);
      panes.replaceChildren(pane);
      dialog.querySelector(".name").textContent = picture.alt;
      dialog.setAttribute("aria-label", picture.alt);
      dialog.showModal();
      view.show([image], picture.naturalWidth, picture.naturalHeight);
      view.stage.focus();
    });
  });
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (!isTyping(event) && view.press(event)) event.preventDefault();
  });
}

const viewer = document.querySelector(".viewer");
if (viewer) setUpViewer(viewer);
setUpPictures(document.querySelector("dialog.lightbox"));
