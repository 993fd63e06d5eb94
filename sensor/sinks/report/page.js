
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const make = (tag, said, kind) => {
    const made = document.createElement(tag);
    if (said !== undefined) made.textContent = said;
    if (kind) made.className = kind;
    return made;
  };
  const root = document.documentElement;
  root.classList.add("js");

  // Light or dark: as the system has it, until the reader chooses.
  find("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });

  // One calendar per site.
  const tabs = all("[role=tab]");
  const choose = (tab) => {
    for (const each of tabs) {
      const on = each === tab;
      each.setAttribute("aria-selected", on);
      each.tabIndex = on ? 0 : -1;
      find(each.getAttribute("aria-controls")).classList.toggle("later", !on);
    }
    tab.focus();
  };
  tabs.forEach((tab, at) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose(tabs[(at + step + tabs.length) % tabs.length]);
    });
  });

  // Tables sort by the column whose head is pressed; numbers as numbers.
  const compare = (one, other) => typeof one === "number" && typeof other === "number" ? one - other
    : String(one).localeCompare(String(other), "en", { numeric: true });
  const mark = (heads, at, down) => heads.forEach((head, index) => {
    if (index === at) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
  for (const table of all("table.sorts")) {
    const heads = all("th", table);
    heads.forEach((head, at) => head.firstChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending"
        || (!head.hasAttribute("aria-sort") && head.classList.contains("n"));
      const by = (row) => {
        const cell = row.cells[at];
        const told = cell.dataset.by ?? cell.textContent;
        return head.classList.contains("n") ? Number(told.replaceAll(",", "").replace("-", "0")) : told;
      };
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [by(row), row]);
      rows.sort((one, other) => compare(one[0], other[0]) * (down ? -1 : 1));
      body.append(...rows.map((each) => each[1]));
      mark(heads, at, down);
    }));
  }

  // Incidents: by level and by what they say.
  const cards = all("article").map((card) => ({ card, group: card.closest(".alike"), says: "" }));
  for (const each of cards) each.says = (each.group.firstChild.textContent + " " + each.card.textContent).toLowerCase();
  const boxes = all("[data-level]", find("incident-tools") ?? make("p"));
  const sift = () => {
    const wanted = find("incident-find").value.toLowerCase();
    const levels = new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.level));
    let shown = 0;
    for (const { card, group, says } of cards) {
      card.hidden = !(levels.has(group.dataset.level) && says.includes(wanted));
      shown += !card.hidden;
    }
    for (const group of all(".alike")) {
      const left = all("article", group).filter((card) => !card.hidden);
      group.hidden = !left.length;
      const folded = group.querySelector("details");
      if (folded && wanted) folded.open = left.some((card) => folded.contains(card));
    }
    find("incident-count").textContent = `${shown.toLocaleString("en")} of ${cards.length.toLocaleString("en")} shown`;
  };
  if (find("incident-tools")) {
    for (const box of boxes) box.addEventListener("change", sift);
    find("incident-find").addEventListener("input", sift);
    sift();
  }

  // Flows: rows are made when they are looked at.
  const table = find("flow-table");
  if (!table) return;
  const data = JSON.parse(find("data").textContent);
  const columns = data.columns;
  const word = (name, at) => columns[name].words[columns[name].at[at]];
  const size = (count) => {
    if (!count) return "-";
    const units = ["B", "kB", "MB", "GB", "TB"];
    let at = 0;
    while (count >= 999.5 && at < units.length - 1) { count /= 1000; at += 1; }
    return (at && count < 99.95 ? count.toFixed(1) : count.toFixed(0)) + " " + units[at];
  };
  const shapes = [
    ["start (UTC)", (at) => columns.start[at], (value) => new Date(value).toISOString().slice(0, 19).replace("T", " ")],
    ["seconds", (at) => columns.seconds[at], (value) => value.toFixed(1)],
    ["originator", (at) => `${word("orig_ip", at)}:${columns.orig_port[at]}`],
    ["site", (at) => word("orig_site", at)],
    ["responder", (at) => `${word("resp_ip", at)}:${columns.resp_port[at]}`],
    ["site", (at) => word("resp_site", at)],
    ["scope", (at) => word("scope", at)],
    ["state", (at) => word("conn_state", at)],
    ["verdict", (at) => word("verdict", at)],
    ["sent", (at) => columns.orig[at], size],
    ["received", (at) => columns.resp[at], size],
    ["off schedule", (at) => columns.off[at], size],
    ["incidents", (at) => columns.incidents[at], (value) => value || "-"],
    ["swarm", (at) => word("swarm_hash", at).slice(0, 12)],
    ["community id", (at) => columns.id[at]],
  ];
  const count = columns.id.length;
  const says = Array.from({ length: count }, (_, at) => [word("swarm_hash", at), ...shapes.map((shape) => shape[1](at))]
    .join(" ").toLowerCase());
  const PAGE = 25;
  let order = Array.from({ length: count }, (_, at) => at);
  let page = 0;
  let kept = order;
  const heads = shapes.map(([name], at) => {
    const head = make("th", undefined, typeof shapes[at][1](0) === "number" ? "n" : "");
    head.scope = "col";
    const button = make("button", name);
    button.type = "button";
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending"
        || (!head.hasAttribute("aria-sort") && head.className === "n" && at > 0);
      const keys = shapes[at][1];
      order = [...order].sort((one, other) => compare(keys(one), keys(other)) * (down ? -1 : 1));
      mark(heads, at, down);
      choice();
    });
    head.append(button);
    return head;
  });
  const top = make("tr");
  top.append(...heads);
  const head = make("thead");
  head.append(top);
  const body = make("tbody");
  table.append(head, body);
  const draw = () => {
    const from = page * PAGE;
    const shown = kept.slice(from, from + PAGE);
    body.replaceChildren(...shown.map((at) => {
      const row = make("tr");
      shapes.forEach(([, value, shape], index) => {
        const told = value(at);
        const kinds = [typeof told === "number" ? "n" : index === 14 || index === 13 ? "mono" : ""];
        if (index === 11 && told) kinds.push("bad");
        row.append(make("td", shape ? shape(told) : told, kinds.join(" ").trim()));
      });
      return row;
    }));
    const said = (number) => number.toLocaleString("en");
    const of = data.total > count ? `${said(count)} of ${said(data.total)}` : said(count);
    find("flow-count").textContent = `${said(kept.length)} of ${of} flows`
      + (kept.length > PAGE ? `; ${said(from + 1)} to ${said(from + shown.length)} shown` : "");
    find("flow-back").disabled = !page;
    find("flow-on").disabled = from + PAGE >= kept.length;
    find("flow-pages").hidden = kept.length <= PAGE;
  };
  const choice = () => {
    const wanted = find("flow-find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const off = find("flow-off").checked;
    const named = find("flow-named").checked;
    kept = order.filter((at) => (!off || columns.off[at]) && (!named || columns.incidents[at])
      && wanted.every((part) => says[at].includes(part)));
    page = 0;
    draw();
  };
  find("flow-find").addEventListener("input", choice);
  for (const box of ["flow-off", "flow-named"]) find(box).addEventListener("change", choice);
  find("flow-back").addEventListener("click", () => { page -= 1; draw(); });
  find("flow-on").addEventListener("click", () => { page += 1; draw(); });
  mark(heads, 0, false);
  choice();

  // A host in the graph or a flow of an incident leads to its rows.
  const show = (wanted) => {
    find("flow-off").checked = find("flow-named").checked = false;
    find("flow-find").value = wanted;
    choice();
    find("flows").scrollIntoView();
    find("flow-find").focus({ preventScroll: true });
  };
  for (const each of all("[data-find]")) {
    each.addEventListener("click", () => show(each.dataset.find));
    each.addEventListener("keydown", (event) => {
      if (each.tagName !== "BUTTON" && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        show(each.dataset.find);
      }
    });
  }
})();
