// What went wrong, for programs by `code` (docs/protocol.md, section 3), and for people in words that say what to do.

/** A request that was refused, or got no answer. The code LOST is this page's own: the connection broke before the answer. */
export class Fail extends Error {
  constructor(code, text = "") {
    super(text || code);
    this.code = code;
    this.text = text;
  }
}

const WORDS = {
  BADPACKET: "The server did not understand this page. Load it again.",
  BADCOMMAND: "This server does not know how to do that. It may be older than this page.",
  BADARGS: "The server does not take this.",
  TOOLONG: "This is too long for the server.",
  SIGNIN: "You are signed out. Sign in again.",
  DENIED: "You may not do this.",
  NOTFOUND: "This is not there any more.",
  EXISTS: "There is one with this name already. Choose another name.",
  OFFLINE: "This person is not signed in.",
  QUOTA: "The storage is full. Delete something, or ask the operator for more.",
  LIMIT: "That is more than the server allows.",
  EXPIRED: "That took too long. Please begin again.",
  WRONG: "That is not right. Please try again.",
  BUSY: "The server is busy. Try again in a moment.",
  UNAVAILABLE: "A server that is needed for this cannot be reached now. Try again in a moment.",
  REFUSED: "The server refuses this.",
  INTERNAL: "The server has a fault. Try again; if it stays, tell the operator.",
  LOST: "The connection broke. Try again when it is back.",
};

// Where the server's own words say more than ours.
const TELLING = new Set(["BADARGS", "LIMIT", "REFUSED", "EXISTS"]);

/** Words for people. `special` has others for some codes. */
export function words(error, special = {}) {
  if (!(error instanceof Fail)) return "Something went wrong in this page. Load it again.";
  const own = special[error.code] ?? WORDS[error.code] ?? WORDS.INTERNAL;
  const said = TELLING.has(error.code) && !special[error.code] && error.text;
  return said ? `${own} (${error.text})` : own;
}
