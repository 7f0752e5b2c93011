// What tells of new messages outside the conversation: the title, the icon of the tab, the screen reader, and, when the
// person wants them, notifications of the browser.

import { summary } from "./cards.js";
import { setText } from "./dom.js";

const KEY = "convergia-notifications";

/** Whether notifications are wanted and allowed. */
export function notifying() {
  return "Notification" in globalThis && Notification.permission === "granted" && localStorage.getItem(KEY) === "yes";
}

/** Asks the person, or ends it. True: notifications will be shown. */
export async function setNotifying(wanted) {
  if (!wanted || !("Notification" in globalThis)) {
    localStorage.removeItem(KEY);
    return false;
  }
  const granted = (await Notification.requestPermission()) === "granted";
  if (granted) localStorage.setItem(KEY, "yes");
  return granted;
}

/** The title of the page, with how much is unread. */
export function showTitle(name, unread) {
  const title = unread > 0 ? `(${unread}) ${name}` : name;
  if (document.title !== title) document.title = title;
  const icon = document.getElementById("favicon");
  const file = unread > 0 ? "icon-unread.svg" : "icon.svg";
  if (icon.getAttribute("href") !== file) icon.setAttribute("href", file);
}

/** Tells of a message that has just come: by voice in any case, as the list of messages itself is not read out (an own
 *  message is drawn anew each time that it has come further). */
export function tell(message, talk, go) {
  announce(`${message.from}: ${summary(message.text).slice(0, 200)}`);
  if (!document.hidden || !notifying()) return;
  const note = new Notification(talk.kind === "workspace" ? `${message.from} in ${talk.name}` : message.from, { body: summary(message.text).slice(0, 200), tag: talk.id, icon: "icon.svg" });
  note.onclick = () => {
    window.focus();
    go(talk);
    note.close();
  };
}

/** Says something to screen readers. */
export function announce(words) {
  setText(document.getElementById("announcer"), words);
}
