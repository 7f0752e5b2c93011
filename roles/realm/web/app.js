// The beginning: who is signed in, and what is shown.

import { Account } from "./account.js";
import { toast } from "./dialog.js";
import { showTitle, tell } from "./notify.js";
import { fold } from "./names.js";
import { address, go, here } from "./router.js";
import { Session } from "./session.js";
import { Shell } from "./shell.js";
import { applyTheme } from "./theme.js";
import { signView } from "./view-sign.js";

applyTheme();
const session = new Session(location);
const root = document.getElementById("app");
let account = null;
let opening = null;
let shell = null;
let sign = null;
let ended = "";

/** The account of a user, opened once; another's is closed. */
function open(user) {
  if (opening && fold(opening.user) === fold(user)) return;
  shut();
  const mine = { user, ready: Account.open(user, session.link) };
  opening = mine;
  mine.ready.then((opened) => {
    if (opening !== mine) return opened.close();
    account = opened;
    account.talks.on("list", title);
    account.talks.on("message", (message, { fresh, loud }) => {
      const talk = account.talks.list.get(message.talk);
      if (fresh && loud) tell(message, talk, (to) => go(...placeOf(to)));
    });
    account.on("notice", (text) => toast(`From the operator: ${text}`, "notice"));
    return show();
  }).catch((error) => {
    console.error(error);
    root.replaceChildren(document.createTextNode("This browser does not let the page keep anything (IndexedDB). Allow storage for this site, and load it again."));
  });
}

function shut() {
  opening = null;
  account?.close();
  account = null;
}

function placeOf(talk) {
  return talk.kind === "workspace" ? ["workspaces", talk.name] : ["chats", talk.name];
}

function title() {
  showTitle(session.realm.get("name") || "Convergia", account?.talks.unread() ?? 0);
}

/** Shows what fits: to sign in, or the pages of who is. */
function show() {
  title();
  if (!session.user) {
    shell?.dispose();
    shell = null;
    document.getElementById("toasts").replaceChildren();
    if (!sign) {
      for (const box of document.querySelectorAll("dialog")) box.close();
      sign = signView(session, ended);
      root.replaceChildren(sign.node);
      sign.focus();
    }
    ended = "";
    return;
  }
  if (!account) return;
  sign?.dispose();
  sign = null;
  if (!shell) {
    if (here().length === 0 || here()[0] === "invite") history.replaceState(null, "", address("chats"));
    shell = new Shell(session, account);
    root.replaceChildren(shell.node);
  }
  shell.show(here());
}

session.on("user", (user) => {
  open(user);
  const mine = opening;
  mine.ready.then((opened) => opening === mine && opened.talks.newConnection());
});
session.on("on", () => {
  const mine = opening;
  mine?.ready.then((opened) => opening === mine && opened.signedOn(session.user)).catch((error) => console.error(error));
});
session.on("packet", (command, data, tasks) => {
  // Sound comes often, and nothing waits for it.
  if (command === "VOICE") return account?.receive(command, data);
  if (opening) tasks.push(opening.ready.then((opened) => opened.receive(command, data)));
  return undefined;
});
session.on("ended", (why) => (ended = why));
session.on("change", () => {
  if (session.user) open(session.user);
  else shut();
  show();
});
session.on("realm", title);
addEventListener("hashchange", () => session.user && show());
addEventListener("beforeunload", (event) => account?.transfers.busy && event.preventDefault());
document.querySelector(".skip").addEventListener("click", (event) => {
  // The address behind the `#` is the place in the page, not an element.
  event.preventDefault();
  document.getElementById("main")?.focus();
});
session.resume();
