// Names and paths (docs/protocol.md, section 5). Pure.

const encoder = new TextEncoder();
const MAX_NAME = 64;
// Control characters, and those that end or turn a line.
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069|/:]/u;

const size = (text) => encoder.encode(text).length;

/** Why `name` cannot be a name, in words for people; empty when it can. */
export function wrongWith(name) {
  if (name === "") return "Type a name.";
  if (name === "." || name === "..") return "This name is taken by the system.";
  if (FORBIDDEN.test(name)) return "A name cannot contain / : | or control characters.";
  if (size(name) > MAX_NAME) return "This name is too long (64 bytes at most).";
  return "";
}

/** As `wrongWith`, for the name of a user, which has no spaces either. */
export function wrongWithUser(name) {
  return /\s/u.test(name) ? "A user name has no spaces." : wrongWith(name);
}

/** What a person typed, as a name: in form NFC, without spaces around it. */
export function typed(text) {
  return text.normalize("NFC").trim();
}

/** Two user names are the same when this is. */
export function fold(name) {
  let text = name.normalize("NFD");
  for (const change of ["toLowerCase", "toUpperCase", "toLowerCase"]) text = [...text].map((c) => c[change]()).join("");
  return text.normalize("NFC");
}

/** A name for a file of this machine: what the system does not take is replaced, and a long one is cut before its ending. */
export function fileName(local) {
  const clean = [...local.normalize("NFC")].map((c) => (FORBIDDEN.test(c) ? "_" : c)).join("").trim();
  const name = clean === "" || clean === "." || clean === ".." ? "file" : clean;
  return fit(name, "");
}

/** `name` with `mark` before its ending, cut so that it still is a name. */
function fit(name, mark) {
  const dot = name.lastIndexOf(".");
  const short = dot > 0 && size(name.slice(dot)) <= 16;
  const ending = short ? name.slice(dot) : "";
  let stem = [...(short ? name.slice(0, dot) : name)];
  while (stem.length > 1 && size(stem.join("") + mark + ending) > MAX_NAME) stem = stem.slice(0, -1);
  return stem.join("").trimEnd() + mark + ending;
}

/** `name`, or `name (2)`, `name (3)`, …: the first that is not among `taken`. */
export function freeName(name, taken) {
  if (!taken.has(name)) return name;
  for (let n = 2; ; n++) {
    const next = fit(name, ` (${n})`);
    if (!taken.has(next)) return next;
  }
}

/** The segments of a path. */
export function segments(path) {
  return path.split("/").filter((segment) => segment !== "");
}

/** The last segment of a path. */
export function lastOf(path) {
  return segments(path).pop() ?? "";
}

/** The folder that a path is in. */
export function folderOf(path) {
  return "/" + segments(path).slice(0, -1).join("/");
}

/** A name in a folder, as a path. */
export function inside(folder, name) {
  return folder === "/" ? `/${name}` : `${folder}/${name}`;
}
