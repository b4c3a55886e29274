// Small pictures made large for people's eyes: Lanczos resampling, which keeps edges where a browser blurs them.
"use strict";
window.promptweight ??= {};

promptweight.upscale = (() => {
  const SMALL = 256; // pictures up to this side are enlarged here, larger ones by the browser
  const LARGE = 640;
  const REACH = 3;

  const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  const lanczos = (x) => (Math.abs(x) < REACH ? sinc(x) * sinc(x / REACH) : 0);

  // For each new pixel along a side: the first old one that counts, and the weight of each.
  function taps(length, target) {
    return Array.from({ length: target }, (_, index) => {
      const place = ((index + 0.5) * length) / target - 0.5;
      const first = Math.floor(place) - REACH + 1;
      const weights = Array.from({ length: 2 * REACH }, (_, tap) => lanczos(place - first - tap));
      const sum = weights.reduce((a, b) => a + b, 0);
      return [first, weights.map((weight) => weight / sum)];
    });
  }

  // pixels: RGBA bytes of width × height; returns floats of targetWidth × height.
  function alongRows(pixels, width, height, target) {
    const result = new Float32Array(target * height * 4);
    taps(width, target).forEach(([first, weights], x) => {
      for (let y = 0; y < height; y++) {
        for (let tap = 0; tap < weights.length; tap++) {
          const column = Math.min(width - 1, Math.max(0, first + tap));
          for (let channel = 0; channel < 4; channel++) {
            result[4 * (y * target + x) + channel] += weights[tap] * pixels[4 * (y * width + column) + channel];
          }
        }
      }
    });
    return result;
  }

  function transposed(pixels, width, height) {
    const result = new Float32Array(pixels.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let channel = 0; channel < 4; channel++) {
          result[4 * (x * height + y) + channel] = pixels[4 * (y * width + x) + channel];
        }
      }
    }
    return result;
  }

  // Draws `image` (loaded) onto `canvas`, enlarged; returns whether it was small enough to need it.
  function draw(image, canvas) {
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    if (!width || Math.max(width, height) > SMALL) return false;
    const factor = LARGE / Math.max(width, height);
    const [wide, high] = [Math.round(width * factor), Math.round(height * factor)];
    const small = document.createElement("canvas");
    Object.assign(small, { width, height });
    const context = small.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const rows = transposed(alongRows(data, width, height, wide), wide, height);
    const all = transposed(alongRows(rows, height, wide, high), high, wide);
    Object.assign(canvas, { width: wide, height: high });
    canvas.getContext("2d").putImageData(new ImageData(Uint8ClampedArray.from(all), wide, high), 0, 0);
    return true;
  }

  return { draw };
})();
