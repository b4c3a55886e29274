// Downloads of the picture component: the picture, the picture with its overlay, and a mask.
import { context2d, element, paintPixels } from "./elements.js";

const MIN_OVERLAY_SIDE = 512;
const URL_LIFETIME = 10_000; // milliseconds after which the URL of a made file is revoked

/** Let the browser download a file. */
export function download(url, name) {
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

function downloadCanvas(canvas, name) {
  canvas.toBlob((blob) => {
    const url = URL.createObjectURL(blob);
    download(url, name);
    setTimeout(() => URL.revokeObjectURL(url), URL_LIFETIME);
  });
}

/** Return the name of a file made from a picture and some of its words. */
export function fileName(picture, words, ending) {
  const joined = words.join("-").replace(/[^\p{L}\p{N}-]+/gu, "_").slice(0, 60);
  return `${(picture ?? "picture.png").replace(/\.png$/, "")}.${joined}.${ending}.png`;
}

/**
 * Download the picture with the overlay on it.
 * @param {CanvasImageSource} picture
 * @param {HTMLCanvasElement} overlay
 * @param {[number, number]} size of the picture
 * @param {string} name
 */
export function downloadOverlay(picture, overlay, size, name) {
  const factor = Math.max(1, MIN_OVERLAY_SIDE / Math.max(...size));
  const canvas = element("canvas", { width: size[0] * factor, height: size[1] * factor });
  const context = context2d(canvas);
  context.imageSmoothingQuality = "high";
  for (const layer of [picture, overlay]) context.drawImage(layer, 0, 0, canvas.width, canvas.height);
  downloadCanvas(canvas, name);
}

/**
 * Download a mask in the size of the picture: white where the heat reaches the threshold, else black.
 * @param {{heat: Float32Array, width: number, height: number}} field
 * @param {number} threshold 0..1
 * @param {[number, number]} size of the picture
 * @param {string} name
 */
export function downloadMask({ heat, width, height }, threshold, size, name) {
  const small = element("canvas");
  paintPixels(small, width, height, (pixels) => {
    heat.forEach((value, pixel) => pixels.set([255 * value, 255 * value, 255 * value, 255], 4 * pixel));
  });
  const canvas = element("canvas", { width: size[0], height: size[1] });
  const context = context2d(canvas);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  const mask = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let place = 0; place < mask.data.length; place += 4) {
    const value = mask.data[place] >= 255 * threshold ? 255 : 0;
    mask.data.set([value, value, value, 255], place);
  }
  context.putImageData(mask, 0, 0);
  downloadCanvas(canvas, name);
}
