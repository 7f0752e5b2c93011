// Where the nodes of the server map stand in the picture. Pure: the same map gives the same picture.

/** The picture on a wide screen and on a narrow one. */
export const WIDE = { width: 1000, height: 700 };
export const NARROW = { width: 440, height: 640 };
/** More people than this are drawn as one number for each server. */
const MOST_PEOPLE = 150;

const KINDS = { managementserver: "management", mainserver: "main", realmserver: "main", datamanagementserver: "storage", dataserver: "data", client: "person" };

/** The kind of a node, by its type. */
export function kindOf(type) {
  return KINDS[type] ?? "other";
}

/** `{ places: Map(id → { node, x, y, kind, count }), lines: [{ key, from, to }] }`. `away`: people who are offline, too. */
export function layout(nodes, away, { width, height } = WIDE) {
  const places = new Map();
  const all = [...nodes].filter((node) => node.notes !== "deleted" && node.notes !== "removed");
  const of = (kind) => all.filter((node) => kindOf(node.type) === kind).sort((a, b) => (a.id < b.id ? -1 : 1));
  const row = (list, y, x = width / 2) => {
    const step = Math.min(240, (width - 160) / Math.max(1, list.length));
    list.forEach((node, n) => places.set(node.id, { node, x: x + (n - (list.length - 1) / 2) * step, y, kind: kindOf(node.type), count: 0 }));
  };
  row(of("management"), 80);
  const [mains, storage] = [[...of("main"), ...of("other")], [...of("storage"), ...of("data")]];
  // Servers that people are on in the middle, those that store above them at the sides.
  row(mains, 330);
  storage.forEach((node, n) => {
    const right = n % 2 === 0;
    const step = Math.floor(n / 2);
    places.set(node.id, { node, x: right ? width - 110 - (step % 2) * 130 : 110 + (step % 2) * 130, y: 90 + Math.floor(step / 2) * 90 + (step % 2) * 45, kind: kindOf(node.type), count: 0 });
  });
  people(of("person").filter((node) => away || node.status === "online"), mains, places, width, height);
  return { places, lines: lines(places) };
}

/** People stand in rows below their server; those who are away in the lowest ones. */
function people(list, mains, places, width, height) {
  const online = list.filter((node) => node.status === "online");
  const away = list.filter((node) => node.status !== "online");
  if (online.length > MOST_PEOPLE) return crowds(online, mains, places);
  const columns = Math.max(1, mains.length);
  const perServer = new Map(mains.map((node) => [node.id, []]));
  for (const node of online) (perServer.get(node.links[0]) ?? perServer.get(mains[0]?.id) ?? away).push(node);
  mains.forEach((server) => {
    const group = perServer.get(server.id);
    const room = Math.min(width - 80, (width - 40) / columns);
    grid(group, places.get(server.id).x, 450, room, Math.max(100, height - 550), places);
  });
  return grid(away.slice(0, MOST_PEOPLE), width / 2, height - 65, width - 80, 50, places);
}

function grid(list, x, y, width, height, places) {
  let columns = Math.max(1, Math.min(list.length, Math.floor(width / 96)));
  while (Math.ceil(list.length / columns) * 62 > Math.max(height, 62) && columns * 40 < width) columns++;
  const rows = Math.max(1, Math.ceil(list.length / columns));
  list.forEach((node, n) => {
    const inRow = Math.min(columns, list.length - Math.floor(n / columns) * columns);
    places.set(node.id, { node, x: x + ((n % columns) - (inRow - 1) / 2) * (width / Math.max(columns, 1)) * (columns > 1 ? 1 : 0), y: y + Math.floor(n / columns) * Math.min(62, height / rows), kind: "person", count: 0 });
  });
}

/** Too many for single ones: how many are at each server. */
function crowds(online, mains, places) {
  for (const server of mains) {
    const count = online.filter((node) => node.links.includes(server.id)).length;
    const { x } = places.get(server.id);
    const node = { id: `crowd-${server.id}`, name: `${count} people`, type: "client", status: "online", notes: "", links: [server.id] };
    places.set(node.id, { node, x, y: 520, kind: "crowd", count });
  }
}

function lines(places) {
  const found = new Map();
  for (const { node } of places.values()) {
    for (const other of node.links) {
      if (!places.has(other) || other === node.id) continue;
      const [a, b] = node.id < other ? [node.id, other] : [other, node.id];
      found.set(`${a} ${b}`, { key: `${a} ${b}`, from: places.get(a), to: places.get(b) });
    }
  }
  return [...found.values()];
}
