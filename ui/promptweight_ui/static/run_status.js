// Status of a run in words: its place in the queue, its progress, and how long a step has taken.

/**
 * Return the status of a run.
 * @param {{queue?: any, progress?: any, slow?: number | null}} run
 * @param {import("./language.js").Translate} translate with the texts of the picture
 */
export function runText({ queue, progress, slow }, translate) {
  if (queue) return translate("queued", queue);
  const parts = [];
  if (!progress) parts.push(translate("waiting"));
  else {
    parts.push(translate(progress.images > 1 ? "progress_several" : "progress", progress));
    if (progress.left !== null) parts.push(translate("left", { seconds: Math.ceil(progress.left) }));
  }
  if (slow) parts.push(translate("slow", { seconds: slow }));
  return parts.join(" · ");
}
