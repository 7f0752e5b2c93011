// The accounts: to find, make, disable, and delete them; their passwords and quotas.

import { Complaint, confirm, dialog, form, toast } from "./dialog.js";
import { button, el, face, field, keyed, loading } from "./dom.js";
import { words } from "./fail.js";
import { bytes, moment, number } from "./format.js";
import { fold, typed, wrongWithUser } from "./names.js";
import { rows } from "./wire.js";

const PAGE = 200;
const MOST = 5000;

export function usersPart({ operate, look, session }) {
  const search = el("input", { type: "search", placeholder: "Find a user", "aria-label": "Find a user" });
  const body = el("tbody", {});
  const note = el("p", { class: "quiet-words", role: "status" });
  const table = el("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": "Users" }, el("table", {}, el("caption", { class: "unseen", text: "Users" }), el("thead", {}, el("tr", {}, ...["Name", "State", "Sessions", "Since", "Storage"].map((text) => el("th", { scope: "col", text })), el("th", { scope: "col" }, el("span", { class: "unseen", text: "Actions" })))), body));
  const wait = loading();
  const node = el("div", {}, el("div", { class: "bar" }, search, button("Add user", { icon: "plus", kind: "primary", onclick: add })), note, wait, table);
  let users = [];
  let alive = true;

  async function load() {
    const found = [];
    try {
      for (let after = ""; found.length < MOST;) {
        const page = rows(await look("USERS", after, PAGE));
        for (const [name, state, created, sessions, operator, quota = "", used = ""] of page) found.push({ name, state, created: Number(created), sessions: Number(sessions), operator: operator === "yes", quota, used });
        if (page.length < PAGE || !alive) break;
        after = page[page.length - 1][0];
      }
      users = found;
      draw();
    } catch (error) {
      note.textContent = words(error);
    }
    wait.hidden = true;
  }

  function draw() {
    const query = fold(typed(search.value));
    const shown = users.filter((user) => fold(user.name).includes(query));
    note.textContent = users.length >= MOST ? `The first ${number(MOST)} users.` : `${number(shown.length)} of ${number(users.length)} users`;
    keyed(body, shown.slice(0, 500), (user) => JSON.stringify(user), row);
  }

  function row(user) {
    return el("tr", { "data-user": user.name }, el("th", { scope: "row" }, el("span", { class: "named" }, face(user.name, "small"), el("span", { text: user.name }), user.operator ? el("span", { class: "tag", text: "operator" }) : null)),
      el("td", {}, el("span", { class: `tag ${user.state}`, text: user.state })), el("td", { text: number(user.sessions) }), el("td", { text: moment(user.created) }), el("td", { text: storageOf(user) }),
      el("td", { class: "acts" }, button(`Change ${user.name}`, { icon: "more", quiet: true, onclick: () => change(user) })));
  }

  async function act(done, ...request) {
    try {
      await operate(...request);
      toast(done);
    } catch (error) {
      toast(words(error), "wrong");
    }
    load();
  }

  async function change(user) {
    const own = fold(user.name) === fold(session.user);
    const chosen = await dialog(user.name, (close) => {
      const item = (text, picture, value, kind) => button(text, { icon: picture, kind, onclick: () => close(value) });
      return el("div", { class: "body" }, el("div", { class: "acts-list" },
        item("Set password", "edit", "password"), item("Set quota", "server", "quota"),
        own ? null : item(user.operator ? "Take back operator" : "Make operator", "operator", "operator"),
        user.sessions > 0 && !own ? item("End the sessions", "out", "kick") : null,
        own ? null : item(user.state === "disabled" ? "Enable" : "Disable", "warn", "state", user.state === "disabled" ? "" : "danger"),
        own ? null : item("Delete", "trash", "delete", "danger")));
    });
    if (chosen === "password") return password(user);
    if (chosen === "quota") return quota(user);
    if (chosen === "operator") return operator(user);
    if (chosen === "kick") return act(`The sessions of ${user.name} have ended.`, "KICK", user.name, "ended by the operator");
    if (chosen === "state") return state(user);
    if (chosen === "delete") return remove(user);
    return undefined;
  }

  async function state(user) {
    if (user.state === "disabled") return act(`${user.name} can sign in again.`, "USERSTATE", user.name, "active");
    const sure = await confirm(`Disable ${user.name}?`, "The sessions end, and signing in is refused until you enable the account again. Nothing is deleted.", "Disable");
    return sure && act(`${user.name} is disabled.`, "USERSTATE", user.name, "disabled");
  }

  /** Only who can reach the machine makes operators: one who was taken over over the network makes no others. */
  function operator(user) {
    return dialog(user.operator ? `${user.name} is an operator` : `Make ${user.name} an operator`, () => el("div", { class: "body" },
      el("p", { text: "This is done on the machine of the server, so that nobody who has taken over an operator’s account can make others:" }),
      el("p", { class: "code" }, el("code", { text: `convergia admin user operator ${user.name}${user.operator ? " --off" : ""}` })),
      el("p", { class: "quiet-words", text: "It counts at once." })));
  }

  async function remove(user) {
    const sure = await confirm(`Delete ${user.name}?`, "The account with all its files and messages is deleted. The name is free again. This cannot be undone.", "Delete");
    return sure && act(`${user.name} is deleted.`, "USERDELETE", user.name);
  }

  async function add() {
    const name = el("input", { autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
    const secret = el("input", { type: "password", autocomplete: "new-password" });
    const done = await form("Add user", [field("Name", name), field("Password", secret, "At least 8 characters. Tell it to the person, who can change it.")], "Add", async () => {
      const wrong = wrongWithUser(typed(name.value));
      if (wrong) throw new Complaint(wrong);
      strong(secret.value);
      await operate("USERADD", typed(name.value), secret.value);
    }, said);
    if (done) load();
  }

  async function password(user) {
    const secret = el("input", { type: "password", autocomplete: "new-password" });
    const done = await form(`Password of ${user.name}`, [field("New password", secret, "Other devices must sign in again; sessions go on.")], "Set", async () => {
      strong(secret.value);
      await operate("USERPASSWD", user.name, secret.value);
    }, said);
    if (done) toast(`The password of ${user.name} is set.`);
  }

  async function quota(user) {
    const size = el("input", { inputmode: "decimal", value: Number(user.quota) > 0 ? String(Number(user.quota) / 1e9) : "" });
    const done = await form(`Quota of ${user.name}`, [field("Gigabytes", size, "How much the files and messages of this user may take. Nothing: as everybody’s.")], "Set", async () => {
      const value = Number(size.value.replace(",", "."));
      if (!(value >= 0 && value <= 1e6)) throw new Complaint("Type a number, like 10 or 0.5.");
      await operate("QUOTA", user.name, size.value.trim() === "" ? "default" : Math.round(value * 1e9));
    }, said);
    if (done) load();
  }

  search.addEventListener("input", draw);
  load();
  return { node, dispose: () => (alive = false) };
}

/** How much of how much; what the server does not know is left out. */
function storageOf({ quota, used }) {
  const all = quota === "" ? "" : bytes(quota);
  if (used === "") return all || "–";
  return all ? `${bytes(used)} of ${all}` : bytes(used);
}

function strong(secret) {
  if (secret.length < 8) throw new Complaint("Use at least 8 characters.");
  if (secret.includes("\n") || secret.startsWith("token:")) throw new Complaint("This cannot be a password.");
}

function said(error) {
  return error instanceof Complaint ? error.message : words(error, { EXISTS: "There is a user with this name already." });
}
