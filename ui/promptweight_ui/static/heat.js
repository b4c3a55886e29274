// Attention as the page gets it, put together into what is asked for: which layers, which steps, which unit.
//
// The same way as in the library: mean over the layers and steps of one grid, for shares divided by what all
// words have there, enlarged to the picture, mean over the grids.
"use strict";
window.promptweight ??= {};

promptweight.heat = (() => {
  const FIELD = 160; // longer side of what is painted; the browser enlarges it smoothly from there

  const short = (value) => promptweight.language.number(value, 2);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  class Heat {
    // maps: the message's `maps`; size: [width, height] of the picture.
    constructor(maps, size) {
      this.maps = maps;
      this.words = maps.words;
      const longer = Math.max(...size);
      this.width = Math.max(1, Math.round((FIELD * size[0]) / longer));
      this.height = Math.max(1, Math.round((FIELD * size[1]) / longer));
      this.cache = new Map();
    }

    // What a view shows, for every word: {fields, ranges}. A view is {image, kind, unit, group, part},
    // where group and part are indices, or null for all (of the usual ones).
    look(view) {
      const key = [view.image, view.kind, view.unit, view.group, view.part].join("/");
      if (!this.cache.has(key)) {
        if (this.cache.size > 24) this.cache.clear();
        this.cache.set(key, this.compose(view));
      }
      return this.cache.get(key);
    }

    compose(view) {
      const grids = new Map();
      for (const plane of this.maps.planes) {
        const wanted =
          plane.image === view.image &&
          plane.kind === view.kind &&
          (view.part === null || plane.part === view.part) &&
          (view.group === null ? this.maps.groups[plane.group].usual[view.kind] : plane.group === view.group);
        if (wanted) this.add(grids, plane);
      }
      const fields = this.words.map(() => new Float32Array(this.width * this.height));
      for (const grid of grids.values()) {
        const cells = grid.height * grid.width;
        fields.forEach((field, word) => {
          const map = grid.sums.subarray(word * cells, (word + 1) * cells);
          const small = map.map((sum, cell) =>
            view.unit === "share" ? sum / Math.max(grid.total[cell], 1e-12) : sum / grid.count,
          );
          enlarge(small, grid.width, grid.height, field, this.width, this.height, 1 / grids.size);
        });
      }
      return { fields, ranges: comparable(fields.map(range)), scaled: new Map() };
    }

    add(grids, plane) {
      const cells = plane.height * plane.width;
      const key = `${plane.height}x${plane.width}`;
      if (!grids.has(key)) {
        grids.set(key, {
          height: plane.height,
          width: plane.width,
          count: 0,
          sums: new Float32Array(cells * this.words.length),
          total: new Float32Array(cells),
        });
      }
      const grid = grids.get(key);
      plane.numbers ??= bytes(plane.maps);
      plane.totals ??= bytes(plane.total);
      const weight = plane.layers * plane.steps;
      grid.count += weight;
      plane.scales.forEach((scale, word) => {
        const factor = (weight * scale) / 255;
        for (let cell = word * cells; cell < (word + 1) * cells; cell++) {
          grid.sums[cell] += factor * plane.numbers[cell];
        }
      });
      const factor = (weight * plane.top) / 255;
      for (let cell = 0; cell < cells; cell++) grid.total[cell] += factor * plane.totals[cell];
    }

    // One word's heat as it is painted, 0 to 1; several words are added up first.
    shown(view, words) {
      const look = this.look(view);
      const key = words.join(",");
      if (!look.scaled.has(key)) {
        const sum = new Float32Array(this.width * this.height);
        for (const word of words) look.fields[word].forEach((value, pixel) => (sum[pixel] += value));
        const [low, high] = words.length === 1 ? look.ranges[words[0]] : range(sum);
        const spread = high - low;
        const seen = spread > 1e-6 * Math.abs(high);
        look.scaled.set(key, sum.map((value) => (seen ? Math.min(1, Math.max(0, (value - low) / spread)) : 0)));
      }
      return look.scaled.get(key);
    }

    // The words at a place (x, y in 0..1), the strongest first: [{word, value}].
    at(view, x, y) {
      const column = Math.min(this.width - 1, Math.max(0, Math.floor(x * this.width)));
      const row = Math.min(this.height - 1, Math.max(0, Math.floor(y * this.height)));
      return this.look(view)
        .fields.map((field, word) => ({ word, value: field[row * this.width + column] }))
        .filter(({ word }) => !this.words[word].punctuation)
        .sort((one, other) => other.value - one.value);
    }

    mean(view, words) {
      const { fields } = this.look(view);
      const sum = words.reduce((total, word) => total + fields[word].reduce((a, b) => a + b, 0), 0);
      return sum / (this.width * this.height);
    }
  }

  // Adds `share` of a small map to a large one, enlarged by quadratic B-splines as the library's maps are.
  function enlarge(small, width, height, large, largeWidth, largeHeight, share) {
    const along = (index, length, largeLength) => {
      if (length === largeLength) return [[index, 1]];
      const place = ((index + 0.5) * length) / largeLength - 0.5;
      const nearest = Math.round(place);
      const off = place - nearest;
      const weights = [(0.5 - off) ** 2 / 2, 0.75 - off ** 2, (0.5 + off) ** 2 / 2];
      return weights.map((weight, i) => [Math.min(length - 1, Math.max(0, nearest + i - 1)), weight]);
    };
    const columns = Array.from({ length: largeWidth }, (_, x) => along(x, width, largeWidth));
    for (let y = 0; y < largeHeight; y++) {
      const line = new Float32Array(width);
      for (const [row, weight] of along(y, height, largeHeight)) {
        for (let x = 0; x < width; x++) line[x] += share * weight * small[row * width + x];
      }
      for (let x = 0; x < largeWidth; x++) {
        for (const [column, weight] of columns[x]) large[y * largeWidth + x] += weight * line[column];
      }
    }
  }

  function range(field) {
    let low = Infinity;
    let high = -Infinity;
    for (const value of field) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return [low, high];
  }

  // Each word has its own scale, but one that varies little is not blown up to look like the liveliest.
  function comparable(ranges) {
    const widest = Math.max(0, ...ranges.map(([low, high]) => high - low));
    return ranges.map(([low, high]) => [low, Math.max(high, low + widest / 3)]);
  }

  // How much of its colour a heat shows: nothing at the foot, all of it from three quarters up.
  function visibility(heat) {
    const rising = Math.min(1, Math.max(0, (heat - 0.12) / 0.63));
    return rising * rising * (3 - 2 * rising);
  }

  // One word in the colours of a map. colors: 256 × 3 bytes.
  function paintOne(pixels, field, colors, opacity) {
    field.forEach((heat, pixel) => {
      const color = 3 * Math.round(heat * 255);
      pixels.set([colors[color], colors[color + 1], colors[color + 2], 255 * opacity * visibility(heat)], 4 * pixel);
    });
  }

  // Several words, each in one colour; a place takes the colours in proportion to the words' heat there.
  function paintSeveral(pixels, fields, colors, opacity) {
    for (let pixel = 0; pixel < pixels.length / 4; pixel++) {
      let [red, green, blue, total, most] = [0, 0, 0, 1e-6, 0];
      fields.forEach((field, number) => {
        const seen = visibility(field[pixel]);
        const color = colors[number % colors.length];
        red += seen * color[0];
        green += seen * color[1];
        blue += seen * color[2];
        total += seen;
        most = Math.max(most, seen);
      });
      pixels.set([red / total, green / total, blue / total, 255 * opacity * most], 4 * pixel);
    }
  }

  return { Heat, bytes, paintOne, paintSeveral, short };
})();
