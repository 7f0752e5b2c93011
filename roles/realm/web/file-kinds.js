// What can be shown of a file, by the ending of its name. Pure. Nothing that others wrote is ever taken for a document: SVG is
// a picture in an <img>, HTML is text.

const IMAGES = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", avif: "image/avif", bmp: "image/bmp", svg: "image/svg+xml" };
const SOUNDS = { mp3: "audio/mpeg", ogg: "audio/ogg", oga: "audio/ogg", opus: "audio/ogg", wav: "audio/wav", flac: "audio/flac", m4a: "audio/mp4" };
const FILMS = { mp4: "video/mp4", webm: "video/webm", ogv: "video/ogg", m4v: "video/mp4" };
const TEXTS = new Set("txt md csv tsv json log toml yaml yml ini conf xml html htm css js mjs ts rs py sh c h cpp hpp java go rb sql tex diff patch".split(" "));

/** `{ kind, type }`: kind is "image", "sound", "film", "text", or "other". */
export function kindOf(name) {
  const ending = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  for (const [kind, types] of [["image", IMAGES], ["sound", SOUNDS], ["film", FILMS]]) {
    if (Object.hasOwn(types, ending)) return { kind, type: types[ending] };
  }
  return TEXTS.has(ending) ? { kind: "text", type: "text/plain" } : { kind: "other", type: "application/octet-stream" };
}

/** The largest that is shown, in bytes. */
export const LARGEST = { image: 32_000_000, sound: 128_000_000, film: 256_000_000, text: 1_000_000, other: 0 };
