"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  // Charts: the colours that follow light and dark are tokens like "@text", taken from the styles.
  const style = getComputedStyle(document.documentElement);
  const filled = (value) => {
    if (typeof value === "string") return value[0] === "@" ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
    if (Array.isArray(value)) return value.map(filled);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, filled(v)]));
    return value;
  };
  const settings = {
    responsive: true, displaylogo: false, scrollZoom: false,
    modeBarButtons: [["toImage"]], toImageButtonOptions: { format: "svg" },
  };
  const drawn = new Set();
  const draw = (id) => {
    const { data: traces, layout } = filled(data.charts[id]);
    const chart = document.getElementById(id), base = Number(chart.dataset.height);
    // Names in a legend take their rows from the chart: give it more height where they are many.
    const named = traces.filter((trace) => trace.name && trace.showlegend !== false && trace.type === "scatter");
    const total = named.reduce((sum, trace) => sum + 50 + 7 * trace.name.length, 0);
    const rows = named.length > 1 ? Math.ceil(1.15 * total / Math.max(240, chart.clientWidth - 80)) : 0;
    chart.style.height = `${base + 20 * Math.max(0, rows - 1)}px`;
    drawn.add(id);
    return Plotly.react(id, id === "parallel" ? chosenTraces(traces) : traces, layout, settings);
  };
  const drawAll = () => Promise.all(Object.keys(data.charts).map(draw));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !drawn.has(entry.target.id)) draw(entry.target.id);
  }, { rootMargin: "600px" });

  // Choosing runs: lines of the others fade, their rows are hidden.
  const form = document.getElementById("choose");
  const rows = [...document.querySelectorAll("#members tbody tr")];
  let shown = data.members.map(() => true);
  const chosenTraces = (traces) => {
    const faded = traces.find((trace) => trace.meta && trace.meta.faded);
    faded.x = []; faded.y = [];
    return traces.map((trace) => {
      if (!trace.meta || !trace.meta.members) return trace;
      const { members, slot } = trace.meta, kept = { x: [], y: [], text: [] };
      members.forEach((member, place) => {
        const into = shown[member] ? kept : faded;
        for (const key of ["x", "y"]) into[key].push(...trace[key].slice(place * slot, (place + 1) * slot));
        if (shown[member]) kept.text.push(...Array(slot).fill(data.names[member]));
      });
      return { ...trace, ...kept };
    });
  };
  const choose = () => {
    const tests = [];
    for (const select of form.querySelectorAll("select")) {
      const { value, dataset } = select;
      if (value) tests.push((member) => member[dataset.place] === value);
    }
    for (const range of form.querySelectorAll("fieldset")) {
      const [low, high] = [...range.querySelectorAll("input")].map((input) => input.value);
      const at = (member) => Number(member[range.dataset.place]);
      if (low !== "") tests.push((member) => at(member) >= Number(low));
      if (high !== "") tests.push((member) => at(member) <= Number(high));
    }
    shown = data.members.map((member) => tests.every((test) => test(member)));
    rows.forEach((row) => { row.hidden = !shown[row.dataset.member]; });
    const count = shown.filter(Boolean).length;
    document.getElementById("chosen").value = `${count} of ${shown.length} runs, here and in the list of runs`;
    if (drawn.has("parallel")) draw("parallel");
  };
  rows.forEach((row, place) => { row.dataset.member = place; });
  if (form) {
    for (const kind of ["input", "change"]) form.addEventListener(kind, choose);
    form.addEventListener("reset", () => setTimeout(choose));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.reset();
  }

  // Sorting: by numbers where both are, else by text; rows with nothing there stay last.
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (button) button.addEventListener("click", () => {
        const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        heads.forEach((other) => { if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", other === head ? order : "none"); });
        const sign = order === "ascending" ? 1 : -1;
        const key = (row) => row.cells[column].dataset.key;
        const sorted = [...body.rows].sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          if (x === "" || y === "") return (x === "") - (y === "");
          return sign * compare(x, y);
        });
        body.append(...sorted);
      });
    });
  }

  // A chart is drawn as it comes near; before printing all are, and again when light turns dark.
  document.querySelectorAll(".chart").forEach((chart) => watcher.observe(chart));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [...drawn].forEach(draw));
  matchMedia("print").addEventListener("change", () => [...drawn].forEach(draw));
  addEventListener("beforeprint", () => { document.querySelectorAll("details").forEach((d) => { if (d.querySelectorAll("tr").length < 200) d.open = true; }); drawAll(); });
  window.drawAll = drawAll;
})();
