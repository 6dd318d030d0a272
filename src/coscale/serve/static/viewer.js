// Compares versions of a photo: two under a split slider, or all beside each other, always with one zoom and place.

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const ZOOMS = ["fit", "1", "2", "4"];

export class Viewer {
  constructor(root) {
    this.root = root;
    this.split = root.querySelector("#split");
    this.all = root.querySelector("#all");
    this.handle = root.querySelector("#handle");
    this.sides = [root.querySelector("#left"), root.querySelector("#right")];
    this.layers = [...this.split.querySelectorAll(".layer")];
    this.tags = [...this.split.querySelectorAll(".tag")];
    for (const side of this.sides) side.addEventListener("change", () => this.showSides());
    root.querySelector("#zoom").addEventListener("change", (event) => this.setZoom(event.target.value));
    root.querySelector("#layout").addEventListener("change", (event) => this.setLayout(event.target.value));
    this.handle.addEventListener("keydown", (event) => this.slideByKey(event));
    this.handle.addEventListener("pointerdown", (event) => this.drag(event, (e) => this.slideTo(e.clientX)));
    this.listen(this.split);
    new ResizeObserver(() => this.place()).observe(root);
  }

  // versions: [{ name, label, source }], the first two of which stand for the left and the right side at first.
  show(versions, width, height, left, right) {
    this.versions = versions;
    this.size = [width, height];
    this.centre = [width / 2, height / 2];
    for (const [side, chosen] of [[this.sides[0], left], [this.sides[1], right]]) {
      side.replaceChildren(...versions.map((v) => new Option(v.label, v.name, false, v.name === chosen)));
    }
    this.all.replaceChildren(...versions.map((version) => this.pane(version)));
    this.root.hidden = false;
    this.choose("zoom", "fit");
    this.choose("layout", "split");
    this.setSplit(50);
    this.showSides();
    this.setLayout("split");
    this.setZoom("fit");
  }

  pane({ label, source }) {
    const pane = document.createElement("div");
    pane.className = "pane";
    pane.tabIndex = 0;
    pane.setAttribute("role", "group");
    pane.setAttribute("aria-label", label);
    const layer = document.createElement("div");
    layer.className = "layer";
    const image = new Image();
    image.alt = label;
    image.src = source;
    layer.append(image);
    const tag = document.createElement("span");
    tag.className = "tag";
    tag.textContent = label;
    pane.append(layer, tag);
    this.listen(pane);
    return pane;
  }

  listen(pane) {
    pane.addEventListener("keydown", (event) => this.panByKey(event));
    pane.addEventListener("pointerdown", (event) => {
      if (event.target === this.handle) return;
      let [x, y] = [event.clientX, event.clientY];
      const slides = pane === this.split && !this.pannable();
      if (slides) this.slideTo(x);
      this.drag(event, (e) => {
        if (slides) return this.slideTo(e.clientX);
        this.pan(x - e.clientX, y - e.clientY);
        [x, y] = [e.clientX, e.clientY];
      });
    });
  }

  drag(event, move) {
    if (event.button !== 0) return;
    const target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    event.stopPropagation();
    target.addEventListener("pointermove", move);
    const end = () => target.removeEventListener("pointermove", move);
    target.addEventListener("pointerup", end, { once: true });
    target.addEventListener("pointercancel", end, { once: true });
  }

  showSides() {
    this.sides.forEach((side, i) => {
      const version = this.versions.find((v) => v.name === side.value);
      const image = this.layers[i].querySelector("img");
      image.src = version.source;
      image.alt = version.label;
      this.tags[i].textContent = version.label;
    });
    this.setSplit(this.share);
  }

  setLayout(layout) {
    this.split.hidden = layout !== "split";
    this.all.hidden = layout === "split";
    this.root.querySelector(".sides").hidden = layout !== "split";
    this.place();
  }

  setZoom(zoom) {
    this.zoom = zoom;
    this.place();
  }

  choose(name, value) {
    this.root.querySelector(`input[name="${name}"][value="${value}"]`).checked = true;
  }

  setSplit(share) {
    this.share = Math.min(100, Math.max(0, share));
    this.layers[1].style.clipPath = `inset(0 0 0 ${this.share}%)`;
    this.handle.style.left = `${this.share}%`;
    this.handle.setAttribute("aria-valuenow", Math.round(this.share));
    const labels = this.tags.map((tag) => tag.textContent);
    this.handle.setAttribute("aria-valuetext", `${Math.round(this.share)}% ${labels[0]}, the rest ${labels[1]}`);
  }

  slideTo(clientX) {
    const box = this.split.getBoundingClientRect();
    this.setSplit((100 * (clientX - box.left)) / box.width);
  }

  slideByKey(event) {
    const step = event.shiftKey ? 10 : 2;
    const moves = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, Home: -100, End: 100 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    this.setSplit(this.share + moves[event.key]);
  }

  panByKey(event) {
    if (event.key in KEYS && this.pannable()) {
      event.preventDefault();
      this.pan(...KEYS[event.key].map((direction) => 40 * direction));
    } else if (["+", "=", "-"].includes(event.key)) {
      const next = ZOOMS[ZOOMS.indexOf(this.zoom) + (event.key === "-" ? -1 : 1)];
      if (next === undefined) return;
      event.preventDefault();
      this.choose("zoom", next);
      this.setZoom(next);
    }
  }

  pan(dx, dy) {
    const scale = this.scale();
    this.centre = [this.centre[0] + dx / scale, this.centre[1] + dy / scale];
    this.place();
  }

  panes() {
    return this.split.hidden ? [...this.all.children] : [this.split];
  }

  // 1:1 is one pixel of the photo on one of the screen, whatever the browser calls a pixel.
  scale() {
    const { clientWidth, clientHeight } = this.panes()[0];
    if (this.zoom !== "fit") return Number(this.zoom) / window.devicePixelRatio;
    return Math.min(clientWidth / this.size[0], clientHeight / this.size[1]);
  }

  pannable() {
    const { clientWidth, clientHeight } = this.panes()[0];
    const scale = this.scale();
    return this.size[0] * scale > clientWidth + 1 || this.size[1] * scale > clientHeight + 1;
  }

  place() {
    if (!this.versions || this.root.hidden) return;
    const scale = this.scale();
    const first = this.panes()[0];
    const room = [first.clientWidth / scale / 2, first.clientHeight / scale / 2];
    this.centre = this.centre.map((at, axis) =>
      this.size[axis] <= 2 * room[axis]
        ? this.size[axis] / 2
        : Math.min(this.size[axis] - room[axis], Math.max(room[axis], at)),
    );
    const pannable = this.pannable();
    for (const pane of this.panes()) {
      pane.classList.toggle("pannable", pannable);
      for (const image of pane.querySelectorAll("img")) {
        const [x, y] = this.centre.map((at, axis) => (room[axis] - at) * scale);
        image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
        image.style.width = `${this.size[0]}px`;
        image.style.height = `${this.size[1]}px`;
        image.style.imageRendering = ["2", "4"].includes(this.zoom) ? "pixelated" : "auto";
      }
    }
  }
}
