/**
 * Tells whether an image file may carry a graph or a record, by its first and last kilobytes of
 * metadata alone. The server reads the file itself; this only decides whether to ask it.
 */

/** Keys of texts that say what made an image, as PNG chunks and EXIF tags begin with them. */
const KEYS = ["provenance", "prompt", "workflow", "parameters"];
/** Of metadata before the pixels, and of a file of any kind that is looked at. */
const HEAD_BYTES = 1 << 20;
/** How the file's name ends that holds the record of the image beside it. */
export const SIDECAR = ".provenance.json";
const TEXT_CHUNKS = new Set(["tEXt", "iTXt", "zTXt"]);
const LONGEST_KEY = 80;
/** Chunks of a PNG that are passed by: strangers' files may have any number. */
const MOST_CHUNKS = 4096;
/** What every A1111 text holds; in EXIF it stands in two bytes to a character. */
const A1111 = "Steps: ";

/** A PNG's first bytes but for the very first, which is no ASCII. */
const PNG = "PNG\r\n\x1a\n";

/**
 * Tells whether a file may carry what made it.
 *
 * @param {Blob} file
 * @returns {Promise<boolean>} Never rejected: a file that cannot be read carries nothing.
 */
export async function carries(file) {
  try {
    const head = await readText(file, 0, 16);
    if (head.startsWith(PNG, 1)) return await pngCarries(file);
    const isWebP = head.startsWith("RIFF") && head.startsWith("WEBP", 8);
    if (isWebP) return await exifCarries(file, await webpMetadata(file));
    if (head.startsWith("\xff\xd8")) return await exifCarries(file, 0);
    return isSidecar(file);
  } catch {
    return false;
  }
}

/**
 * Walks the chunks of a PNG by their lengths; the pixels are never read.
 *
 * @param {Blob} file
 */
async function pngCarries(file) {
  let at = 1 + PNG.length;
  for (let count = 0; count < MOST_CHUNKS && at < file.size; count += 1) {
    const head = await readBytes(file, at, 8 + LONGEST_KEY);
    if (head.length < 8) return false;
    const length = new DataView(head.buffer).getUint32(0);
    const text = toText(head);
    const [key = ""] = text.slice(8, 8 + length).split("\0", 1);
    if (TEXT_CHUNKS.has(text.slice(4, 8)) && KEYS.includes(key)) return true;
    if (text.startsWith("eXIf", 4) && (await exifCarries(file, at))) return true;
    at += 12 + length;
  }
  return false;
}

/**
 * Finds the metadata of a WebP, which may follow the pixels.
 *
 * @param {Blob} file
 * @returns {Promise<number>} Where it begins, in bytes; the file's end if there is none.
 */
async function webpMetadata(file) {
  let at = 12;
  for (let count = 0; count < MOST_CHUNKS && at < file.size; count += 1) {
    const head = await readBytes(file, at, 8);
    if (head.length < 8) break;
    if (toText(head).startsWith("EXIF")) return at;
    const length = new DataView(head.buffer).getUint32(4, true);
    at += 8 + length + (length % 2);
  }
  return file.size;
}

/**
 * Looks for the keys in EXIF, where ComfyUI writes `prompt:{...}` and the like.
 *
 * @param {Blob} file
 * @param {number} at Where to begin, in bytes.
 */
async function exifCarries(file, at) {
  const text = await readText(file, at, HEAD_BYTES);
  const lower = text.toLowerCase();
  return (
    KEYS.some((key) => lower.includes(`${key}:{`)) || text.replaceAll("\0", "").includes(A1111)
  );
}

/**
 * Tells whether a file is a record that was saved beside its image.
 *
 * @param {Blob} file
 */
export function isSidecar(file) {
  return file instanceof File && file.name.endsWith(SIDECAR);
}

/**
 * @param {Blob} file
 * @param {number} at
 * @param {number} length
 * @returns {Promise<Uint8Array<ArrayBuffer>>} Shorter at the end of the file.
 */
async function readBytes(file, at, length) {
  return new Uint8Array(await file.slice(at, at + length).arrayBuffer());
}

/**
 * @param {Blob} file
 * @param {number} at
 * @param {number} length
 */
async function readText(file, at, length) {
  return toText(await readBytes(file, at, length));
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} As many characters, of which those of ASCII are what they were.
 */
function toText(bytes) {
  return new TextDecoder("latin1").decode(bytes);
}
