// Who may do what with a file or a folder.

import { dialog, toast } from "./dialog.js";
import { button, el, icon, loading } from "./dom.js";
import { words } from "./fail.js";
import { fold, lastOf, typed, wrongWithUser } from "./names.js";

const RIGHTS = [["r", "can read"], ["rw", "can read and write"], ["rwa", "can read, write, and share"]];

/** Shows the rights of an entry, and changes them. */
export async function permissions(account, path, folder) {
  const place = el("div", {}, loading());
  let list = [];
  let owner = "";

  const shown = dialog(`Share ${lastOf(path)}`, (close) => {
    const save = button("Save", { kind: "primary", onclick: () => store(close, list) });
    const above = button("As the folder above", { onclick: () => store(close, []) });
    return el("div", { class: "body" }, place, el("footer", {}, above, save));
  });
  account.storage.info(path).then((info) => {
    owner = info.owner;
    list = info.permissions.filter(({ subject }) => fold(subject) !== fold(owner));
    draw();
  }).catch((error) => place.replaceChildren(el("p", { class: "error", text: words(error) })));

  async function store(close, wanted) {
    try {
      await account.storage.setRights(path, wanted);
      toast(wanted.length > 0 ? "Shared." : "It is shared as the folder above is.");
      close(true);
    } catch (error) {
      complain(words(error, { NOTFOUND: "One of these names is not the name of a user.", DENIED: "You may not change who sees this." }));
    }
  }

  function complain(text) {
    const line = place.querySelector(".error");
    line.textContent = text;
    line.hidden = text === "";
  }

  function draw() {
    const names = el("datalist", { id: "people-to-share" }, ...account.people.users().filter(({ name }) => fold(name) !== fold(account.user)).map(({ name }) => el("option", { value: name })));
    const who = el("input", { list: "people-to-share", placeholder: "Name, or * for everybody", "aria-label": "Share with", autocomplete: "off", spellcheck: "false" });
    const what = choice("r", "What they may do");
    const add = () => {
      const subject = typed(who.value);
      const wrong = subject === "*" ? "" : wrongWithUser(subject);
      if (wrong) return complain(wrong);
      list = [...list.filter((one) => fold(one.subject) !== fold(subject)), { subject, rights: what.value }];
      draw();
      return place.querySelector("input").focus();
    };
    who.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), add()));
    place.replaceChildren(
      el("p", { class: "quiet-words", text: `${folder ? "This folder, and all that is in it, belongs" : "It belongs"} to ${owner}.` }),
      el("div", { class: "share-row" }, who, what, button("Add", { icon: "plus", onclick: add })), names,
      el("p", { class: "error", role: "alert", hidden: true }),
      list.length === 0 ? el("p", { text: "It is shared with nobody." }) : el("ul", { class: "shares" }, ...list.map((one) => {
        const select = choice(one.rights, `What ${one.subject} may do`);
        select.addEventListener("change", () => (one.rights = select.value));
        return el("li", {}, icon("talks"), el("strong", { text: one.subject === "*" ? "Everybody" : one.subject }), select,
          button(`Do not share with ${one.subject}`, { icon: "close", quiet: true, onclick: () => { list = list.filter((other) => other !== one); draw(); } }));
      })));
  }
  await shown;
}

function choice(value, label) {
  const known = RIGHTS.some(([rights]) => rights === value) ? RIGHTS : [...RIGHTS, [value, value || "nothing"]];
  const select = el("select", { "aria-label": label }, ...known.map(([rights, text]) => el("option", { value: rights, text })));
  select.value = value;
  return select;
}
