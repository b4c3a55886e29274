// Small pictures enlarged by Lanczos resampling, which keeps edges where a browser blurs them.
import { context2d, element } from "./elements.js";

const MAX_SIDE = 256; // pictures up to this side are enlarged here, larger ones by the browser
const TARGET_SIDE = 640;
const SUPPORT = 3;

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const lanczos = (x) => (Math.abs(x) < SUPPORT ? sinc(x) * sinc(x / SUPPORT) : 0);

/**
 * Return an image, and above it a canvas with the enlarged picture where the picture is small.
 * @param {Record<string, any>} properties of the image
 * @returns {{image: HTMLImageElement, sharp: HTMLCanvasElement}}
 */
export function sharpImage(properties) {
  const image = element("img", { draggable: false, ...properties });
  const sharp = element("canvas", { class: "pw-sharp", hidden: true, "aria-hidden": "true" });
  image.addEventListener("load", () => {
    sharp.hidden = !drawEnlarged(image, sharp);
  });
  return { image, sharp };
}

// Draws a loaded image enlarged onto a canvas; returns false where the picture is large enough already.
function drawEnlarged(image, canvas) {
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  if (!width || Math.max(width, height) > MAX_SIDE) return false;
  const factor = TARGET_SIDE / Math.max(width, height);
  const [wide, high] = [Math.round(width * factor), Math.round(height * factor)];
  const small = context2d(element("canvas", { width, height }), { willReadFrequently: true });
  small.drawImage(image, 0, 0);
  const { data } = small.getImageData(0, 0, width, height);
  const pixels = resample(data, width, height, wide, high);
  Object.assign(canvas, { width: wide, height: high });
  context2d(canvas).putImageData(new ImageData(Uint8ClampedArray.from(pixels), wide, high), 0, 0);
  return true;
}

/**
 * Return RGBA pixels resampled to another size.
 * @param {ArrayLike<number>} pixels
 * @param {number} width
 * @param {number} height
 * @param {number} targetWidth
 * @param {number} targetHeight
 */
export function resample(pixels, width, height, targetWidth, targetHeight) {
  const rows = transpose(resampleRows(pixels, width, height, targetWidth), targetWidth, height);
  return transpose(resampleRows(rows, height, targetWidth, targetHeight), targetHeight, targetWidth);
}

// For each new pixel along a side: the first old pixel in reach, and the weight of each.
function filterTaps(length, target) {
  return Array.from({ length: target }, (_, index) => {
    const place = ((index + 0.5) * length) / target - 0.5;
    const first = Math.floor(place) - SUPPORT + 1;
    const weights = Array.from({ length: 2 * SUPPORT }, (_, tap) => lanczos(place - first - tap));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

function resampleRows(pixels, width, height, target) {
  const result = new Float32Array(target * height * 4);
  filterTaps(width, target).forEach(({ first, weights }, x) => {
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

function transpose(pixels, width, height) {
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
