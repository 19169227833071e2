// The page: reads what is typed as it is typed, and shows what comes back. Nothing is kept, here or there.
import { HeatMaps, element, short } from "./heatmap.js";

const at = (id) => document.getElementById(id);
const facts = document.body.dataset;
const language = facts.kind === "language_model";
const one = language ? facts.unit.slice(0, -1) : "label";
const text = at("text");
const state = { found: null, chosen: 0, busy: false, again: false, timer: 0, answered: false };
const percent = (p) => `${(100 * p).toFixed(p >= 0.1 ? 1 : 2)} %`;

function say(message, error = false) {
  at("status").textContent = message;
  at("status").classList.toggle("error", error);
}

async function read() {
  if (state.busy) {
    state.again = true; // what was typed meanwhile is read next
    return;
  }
  state.busy = true;
  const asked = {};
  const slow = setTimeout(
    () => say(`reading… ${state.answered ? "a longer text takes some seconds the first time" : "the first answer takes some seconds"}`),
    400,
  );
  try {
    do {
      state.again = false;
      asked.text = text.value;
      if (language) Object.assign(asked, { layer: Number(at("layer").value), order: at("order").value });
      const found = await answered(asked);
      clearTimeout(slow);
      if (found.error) say(found.error, true);
      else {
        state.answered = true;
        show(found, asked.text);
        say(language ? `read; the likeliest next: ${found.expected.at(-1).slice(0, 3).map(([, shown]) => `“${shown}”`).join(", ")}` : `read; the likeliest label: “${found.label}”`);
      }
    } while (state.again);
  } catch (error) {
    say(`the page could not draw the answer (${error.message}): reload it`, true);
    throw error; // to the browser's console: a fault of this page's own
  } finally {
    clearTimeout(slow);
    state.busy = false;
    document.body.dataset.read = asked.text.length; // of what stands on the page; more may have been typed since
  }
}

// What the server said of a text; { error } where it said nothing that can be read.
async function answered(asked) {
  let answer;
  try {
    answer = await fetch("read", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(asked),
    });
  } catch {
    return { error: "the server does not answer: is it still running?" };
  }
  return answer.json().catch(() => ({ error: `the server said ${answer.status}: try again` }));
}

function show(found, typed) {
  state.found = found;
  at("told").textContent = found.told ?? "";
  at("told").hidden = !found.told;
  if (!language) {
    at("after").textContent = typed ? `The likeliest is “${found.label}”.` : "Of a text without a word:";
    bars(found.labels.map(([label, p]) => ({ shown: label, p })), false);
    return;
  }
  state.chosen = found.tokens.length; // what comes next
  tokens(found.tokens);
  const names = found.maps.map((map) => map.name);
  const gate = at("gate");
  const wanted = names.includes(gate.value) ? gate.value : "";
  gate.replaceChildren(
    element("option", { value: "" }, "all"),
    ...found.maps.map((map) => element("option", { value: map.name }, map.title)),
  );
  gate.value = wanted;
  at("drawn").textContent = drawn(found.maps[0]);
  if (found.tokens.length) maps.show(found.maps, found.steps, wanted);
  else maps.clear("Type something, and see here what the gates do.");
  means();
  choose(state.chosen);
}

// ---------------------------------------------------------------- surprise

function tokens(rows) {
  const made = rows.map((token, place) => {
    const told = `${token.shown}: ${token.bits.toFixed(2)} bits, probability ${percent(token.probability)}, rank ${token.rank}`;
    const button = element(
      "button",
      { type: "button", className: `token${token.known ? "" : " unknown"}`, title: told + (token.known ? "" : `, read as ${facts.unknown}`) },
      element("span", { className: "word" }, token.shown),
      element("small", {}, token.bits.toFixed(1)),
    );
    button.style.setProperty("--share", Math.min(1, token.bits / facts.blind));
    button.setAttribute("aria-label", button.title);
    button.addEventListener("click", () => choose(place));
    return button;
  });
  const next = element(
    "button",
    { type: "button", className: "token next", title: `what comes next` },
    element("span", { className: "word" }, "next"),
    element("small", {}, "?"),
  );
  next.addEventListener("click", () => choose(rows.length));
  at("tokens").replaceChildren(...made, next);
  const bits = rows.reduce((sum, token) => sum + token.bits, 0);
  at("sum").textContent = rows.length
    ? `${rows.length} ${rows.length === 1 ? one : facts.unit}, ${bits.toFixed(1)} bits: ${(bits / rows.length).toFixed(2)} each, perplexity ${short(2 ** (bits / rows.length))}`
    : "Nothing typed yet.";
}

function choose(place, focus = false) {
  const { found } = state;
  if (!found || place < 0 || place > found.tokens.length) return;
  state.chosen = place;
  [...at("tokens").children].forEach((button, index) => {
    button.classList.toggle("chosen", index === place);
    button.setAttribute("aria-pressed", String(index === place));
    button.tabIndex = index === place ? 0 : -1;
    if (focus && index === place) button.focus();
    if (index === place) reveal(button);
  });
  const last = place === found.tokens.length;
  at("expected").textContent = last ? `Next ${one}` : `In place of “${found.tokens[place].shown}”`;
  at("after").textContent = `After “${found.steps[place]}”${place ? "" : ", the end of a line"}.${last ? " Choose one to go on with it." : ""}`;
  const rows = found.expected[place].map(([raw, shown, p]) => ({ raw, shown, p }));
  if (!last) {
    const own = found.tokens[place];
    const name = own.known ? own.shown : facts.unknown;
    const there = rows.find((row) => row.shown === name);
    if (there) there.own = true;
    else rows.push({ shown: own.shown, p: own.probability, own: true, extra: true });
  }
  bars(rows, last);
  maps.select(last ? -1 : place + 1);
}

// Scrolls among the tokens only, never the page.
function reveal(button) {
  const box = at("tokens");
  const top = button.offsetTop - box.offsetTop;
  if (top < box.scrollTop) box.scrollTop = top;
  if (top + button.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + button.offsetHeight - box.clientHeight;
}

at("tokens")?.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: state.chosen - 1, ArrowRight: state.chosen + 1, Home: 0, End: state.found?.tokens.length };
  if (!(event.key in moves)) return;
  event.preventDefault();
  choose(moves[event.key], true);
});

// ---------------------------------------------------------------- bars

function bars(rows, append) {
  const most = Math.max(...rows.map((row) => row.p));
  const whole = [0.05, 0.1, 0.25, 0.5, 1].find((share) => share >= most) ?? 1;
  const rest = 1 - rows.reduce((sum, row) => sum + row.p, 0);
  const last = { shown: rest > 1e-3 ? "all others" : "", p: rest > 1e-3 ? rest : null, rest: true };
  at("bars").replaceChildren(
    ...[...rows, last].map((row) => {
      const usable = append && !row.rest;
      const kind = `bar${row.own ? " own" : ""}${row.rest ? " rest" : ""}`;
      const fill = element("span", { className: "fill" });
      fill.style.setProperty("--share", Math.min(1, row.p / whole));
      const bar = element(
        usable ? "button" : "div",
        { className: kind, title: usable ? `go on with ${row.shown}` : row.own && language ? `${row.shown}: what stood there` : row.shown },
        element("span", { className: "word" }, row.shown),
        row.rest
          ? element("span", { className: "axis", ariaHidden: "true" }, ...["0", percent(whole)].map((end) => element("span", {}, end)))
          : element("span", { className: "track" }, fill),
        element("span", { className: "number" }, row.p === null ? "" : percent(row.p)),
      );
      if (usable) {
        bar.type = "button";
        bar.addEventListener("click", () => goOn(row.raw));
      }
      return element("li", {}, bar);
    }),
  );
}

function goOn(raw) {
  let added = raw === facts.lineEnd ? "\n" : raw;
  if (facts.level === "word" && added !== "\n" && text.value && !/\s$/.test(text.value)) added = ` ${added}`;
  text.value += added;
  text.scrollTop = text.scrollHeight;
  read();
}

// ---------------------------------------------------------------- inside

const maps = language
  ? new HeatMaps(at("maps"), facts.unit, (told) => (at("readout").textContent = told), (step) => step > 0 && choose(step - 1))
  : null;

function drawn(map) {
  if (!map) return "";
  const by = map.scale ? "sorted by how long they remembered in this text" : "by their number";
  const which = map.units.length < map.of ? `${map.units.length} of the ${map.of} units` : `the ${map.of} units`;
  return `What each unit did at each ${one}: ${which}, ${by}.`;
}

function means() {
  if (!at("means").open || !state.found) return;
  const { maps: all, steps } = state.found;
  const head = element("tr", {}, ...["read", ...all.map((map) => map.title)].map((title) => element("th", { scope: "col" }, title)));
  const rows = steps.map((step, index) =>
    element("tr", {}, element("th", { scope: "row" }, step), ...all.map((map) => element("td", {}, map.mean[index].toFixed(3)))),
  );
  at("means").querySelector("table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}

// ---------------------------------------------------------------- what a person does

const soon = () => {
  clearTimeout(state.timer);
  state.timer = setTimeout(read, 250);
};
text.addEventListener("input", soon);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) read();
});
at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  read();
});
if (language) {
  at("layer").addEventListener("change", read);
  at("order").addEventListener("change", read);
  at("gate").addEventListener("change", () => state.found?.tokens.length && maps.show(state.found.maps, state.found.steps, at("gate").value));
  at("means").addEventListener("toggle", means);
  const numbers = () => at("tokens").classList.toggle("numbers", at("numbers").checked);
  at("numbers").addEventListener("change", numbers);
  numbers();
  at("tokens").classList.toggle("characters", facts.level === "char");
  const steps = [0, 0.25, 0.5, 0.75, 1];
  at("legend").replaceChildren(
    ...steps.map((share) => {
      const swatch = element("span", {}, `${(share * facts.blind).toFixed(share ? 1 : 0)}${share === 1 ? "+ bits" : ""}`);
      swatch.style.setProperty("--share", share);
      return swatch;
    }),
  );
}
read();
