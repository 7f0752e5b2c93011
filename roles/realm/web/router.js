// The place in the page, in the address behind the `#`. Pure, but for `here` and `go`.

/** The segments of an address: `#/files/users/a%20b` → `["files", "users", "a b"]`. */
export function parse(hash) {
  try {
    return hash.replace(/^#?\/?/u, "").split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    return [];
  }
}

/** The address of a place. */
export function address(...place) {
  return `#/${place.map(encodeURIComponent).join("/")}`;
}

export function here() {
  return parse(location.hash);
}

export function go(...place) {
  location.hash = address(...place);
}
