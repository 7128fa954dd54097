/** Names of the dialog's files: where an image lies on the server, and what a report is saved as. */

const NAME_CHARS = 120;

/**
 * Takes apart the name of an image on the server.
 *
 * @param {string} name As ComfyUI's nodes take it, such as `sub/a.png [output]`.
 * @returns {import("./server.mjs").ServerImage} In the input folder if it names none, as for nodes.
 */
export function toServerImage(name) {
  const [, place = name, type = "input"] = /^(.*) \[(input|output|temp)\]$/su.exec(name) ?? [];
  const end = place.lastIndexOf("/");
  return { filename: place.slice(end + 1), subfolder: place.slice(0, Math.max(end, 0)), type };
}

/**
 * Names a report's file after what it is about.
 *
 * @param {string} title The image's name; it may hold folders, and a stranger's characters.
 */
export function reportName(title) {
  const file = title.split(/[\\/]/u).pop() ?? "";
  const stem = file.replace(/\.[^.]*$/u, "").replace(/[^\p{L}\p{N}._-]+/gu, "_");
  return `${Array.from(stem).slice(0, NAME_CHARS).join("") || "image"}.report.json`;
}
