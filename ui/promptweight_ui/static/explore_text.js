// Explore, first part: what the words of a prompt read in each other, as a table of colours.
"use strict";
window.promptweight ??= {};
promptweight.explore ??= {};

promptweight.explore.text = (() => {
  const { element: make, language, heat } = promptweight;
  const percent = (value) => promptweight.explore.numbers.percent(value);

  class Reading {
    constructor(root, props, watch, server) {
      Object.assign(this, { props, server, root: root.querySelector(".pw-explore") });
      this.colors = heat.bytes(props.colors);
      this.say = (key, values) => language.say(props.texts, key, values);
      this.set = { chunk: 0, layer: null, head: null };
      this.matrix = null;
      this.show();
      watch("value", () => this.show());
      document.addEventListener("promptweight-language", () => this.draw());
    }

    show() {
      this.about = this.props.value?.about ?? null;
      this.matrix = null;
      this.set = { chunk: 0, layer: this.about ? this.about.layers - 1 : null, head: null };
      this.draw();
      if (this.about) this.ask();
    }

    async ask() {
      const asked = { key: this.props.value.key, ...this.set };
      const answer = await this.server.look(asked).catch(() => ({ error: "offline" }));
      if (asked.key !== this.props.value?.key || Object.keys(this.set).some((name) => asked[name] !== this.set[name])) return;
      this.error = answer.error ?? null;
      this.matrix = answer.matrix ?? this.matrix;
      this.draw();
    }

    draw() {
      if (!this.about) {
        this.root.replaceChildren(make("p", { class: "pw-empty-note" }, this.say("text_empty")));
        return;
      }
      const focused = this.root.contains(document.activeElement) ? document.activeElement.name : null;
      const notes = [make("p", {}, this.say("text_rows"))];
      if (this.about.causal) notes.push(make("p", {}, this.say("text_causal")));
      else notes.push(make("p", {}, this.say("text_both_ways")));
      notes.push(make("p", {}, this.say("text_start")));
      if (this.about.left_out) notes.push(make("p", {}, this.say("text_left_out", { number: this.about.left_out })));
      this.told = make("div", { class: "pw-told", "aria-live": "polite" }, this.say("text_point"));
      const body = make("div", { class: "pw-explore-two" }, this.table(), make("div", { class: "pw-explain" }, this.told, ...notes));
      const parts = [this.controls(), body];
      if (this.error) parts.unshift(make("p", { class: "pw-error" }, this.say(this.error)));
      this.root.replaceChildren(...parts);
      if (focused) this.root.querySelector(`[name="${focused}"]`)?.focus();
    }

    controls() {
      const { about, set } = this;
      const row = make("div", { class: "pw-pickers" });
      if (about.chunks.length > 1) row.append(this.pick("chunk", about.chunks.length, set.chunk, false));
      row.append(this.pick("layer", about.layers, set.layer, true));
      if (about.heads > 1) row.append(this.pick("head", about.heads, set.head, true));
      return row;
    }

    pick(name, number, value, mean) {
      const select = make("select", { name: `text-${name}` });
      if (mean) select.append(make("option", { value: "" }, this.say("text_mean")));
      for (let index = 0; index < number; index++) {
        select.append(make("option", { value: String(index) }, this.say("of", { index: index + 1, number })));
      }
      select.value = value === null ? "" : String(value);
      select.addEventListener("change", () => {
        this.set[name] = select.value === "" ? null : Number(select.value);
        this.ask();
      });
      return make("label", {}, this.say(name), select);
    }

    table() {
      const labels = this.about.chunks[this.set.chunk];
      const names = labels.map(({ kind, text }) => (kind === "text" ? text : this.say(`token_${kind}`)));
      const matrix = this.matrix?.length === names.length ? this.matrix : null;
      // The start token takes most; the colours tell the others apart.
      const others = (matrix ?? []).flatMap((row) => row.filter((_, column) => labels[column].kind !== "bos"));
      const top = Math.max(1e-6, ...others);
      const large = names.length > 20;
      const table = make("table", { class: `pw-matrix${large ? " pw-large" : ""}` });
      const head = make("tr", {}, make("td", {}));
      names.forEach((name) => head.append(make("th", { scope: "col", title: name }, make("span", {}, name))));
      table.append(make("caption", {}, this.say("text_caption")), head);
      names.forEach((reader, row) => {
        const line = make("tr", {}, make("th", { scope: "row", title: reader }, reader));
        names.forEach((read, column) => {
          const value = matrix?.[row][column] ?? 0;
          const hidden = this.about.causal && column > row;
          const cell = make("td", { tabIndex: large || hidden ? -1 : 0 });
          if (hidden) cell.className = "pw-masked";
          else {
            const place = 3 * Math.round(Math.min(1, value / top) * 255);
            const [red, green, blue] = this.colors.slice(place, place + 3);
            cell.style.background = `rgb(${red} ${green} ${blue})`;
            cell.style.color = 0.3 * red + 0.6 * green + 0.1 * blue > 120 ? "#000" : "#fff";
            if (!large && matrix) cell.textContent = Math.round(value * 100);
          }
          const tell = () => {
            this.told.textContent = hidden
              ? this.say("text_hidden", { reader, read })
              : this.say("text_told", { reader, read, percent: percent(value) });
          };
          cell.addEventListener("pointerenter", tell);
          cell.addEventListener("focus", tell);
          line.append(cell);
        });
        table.append(line);
      });
      return make("div", { class: "pw-scroll" }, table);
    }
  }

  return { mount: (element, props, watch, server) => new Reading(element, props, watch, server) };
})();
