// The walk back over b = a ∘ a, c = a ∘ b, d = b ∘ c. State: a, step, order, signs (of b, c, d);
// adds values, graph (the slopes), sums (the gradients after that many visits) and visits.
const USES = {b: ["a", "a"], c: ["a", "b"], d: ["b", "c"]};
const ORDERS = ["latest first", "each once, when first reached", "recursion"];
const PLACES = {a: [60, 120], b: [230, 40], c: [290, 200], d: [450, 95]};

function forward({a, signs}) {
  const values = {a}, graph = {};
  Object.entries(USES).forEach(([name, [one, two]], at) => {
    const [u, v] = [values[one], values[two]];
    values[name] = signs[at] === "+" ? u + v : u * v;
    graph[name] = signs[at] === "+" ? [[one, 1], [two, 1]] : [[one, v], [two, u]];
  });
  return {values, graph};
}

function walk(graph, order, steps) {
  const sums = {a: 0, b: 0, c: 0, d: 1}, visits = [], seen = new Set();
  const pass = name => {
    const sends = graph[name].map(([used, slope]) => [used, sums[name] * slope]);
    if (visits.length < steps) for (const [used, amount] of sends) sums[used] += amount;
    visits.push([name, sends]);
  };
  const visit = name => {
    if (!graph[name] || (order === ORDERS[1] && seen.has(name))) return;
    seen.add(name);
    pass(name);
    new Set(graph[name].map(([used]) => used)).forEach(visit);
  };
  if (order === ORDERS[0]) ["d", "c", "b"].forEach(pass); else visit("d");
  return {sums, visits};
}

function render(el, state) {
  const draw = () => {
    const {values, graph} = forward(state), {sums, visits} = walk(graph, state.order, state.step);
    const right = walk(graph, ORDERS[0], 9).sums, shown = visits.slice(0, state.step);
    const at = shown.length - 1, number = v => String(Number(v.toFixed(4)));
    let svg = "";
    for (const [name, uses] of Object.entries(USES)) uses.forEach((used, place) => {
      const [x, y] = PLACES[name], [u, v] = PLACES[used], bend = name !== "b" ? 0 : 26 - 52 * place;
      const [mx, my] = [(x + u) / 2 + bend * 0.43, (y + v) / 2 + bend * 0.9];
      const carried = shown.filter(([from]) => from === name).map(([, sends]) => sends[place][1]);
      const now = at >= 0 && shown[at][0] === name;
      svg += `<path d="M${x} ${y}Q${2 * mx - (x + u) / 2} ${2 * my - (y + v) / 2} ${u} ${v}" fill="none"
        stroke="${now ? "#c2410c" : carried.length ? "#2e7d4f" : "#8a94a0"}"
        stroke-width="${now ? 3.5 : 2}"/><rect x="${mx - 24}" y="${my - 9}" width="48" height="18"
        fill="#fbfaf6"/><text x="${mx}" y="${my + 4}" text-anchor="middle">${carried.length ?
        carried.map(number).join(", ") : `× ${number(graph[name][place][1])}`}</text>`;
    });
    for (const [name, [x, y]] of Object.entries(PLACES)) {
      const now = at >= 0 && shown[at][0] === name;
      svg += `<rect x="${x - 46}" y="${y - 21}" width="92" height="42" rx="5" fill="#fff"
        stroke="${now ? "#c2410c" : "#22262b"}" stroke-width="${now ? 3 : 1}"/>
        <text x="${x}" y="${y - 4}" text-anchor="middle">${name} = ${number(values[name])}</text>
        <text x="${x}" y="${y + 13}" text-anchor="middle">gradient ${number(sums[name])}</text>`;
    }
    const lines = Object.entries(USES).map(([name, [one, two]], i) =>
      `<button data-at="${i}">${name} = ${one} ${state.signs[i]} ${two}</button>`).join(" ");
    const moved = at < 0 ? "Before the walk: d has the gradient 1." : `Visit ${at + 1} of ` +
      `${visits.length}: ${shown[at][0]} passes ` +
      shown[at][1].map(([used, amount]) => `${number(amount)} to ${used}`).join(" and ") + ".";
    const verdict = state.step < visits.length ? "" : ` The end: the gradient of a is ${number(sums.a)}, ` +
      (Math.abs(sums.a - right.a) < 1e-9 ? "as it should be." : `but it should be ${number(right.a)}.`);
    show(el, state, {values, graph, sums, visits: visits.length},
      `${lines} <button data-at="order">order: ${state.order}</button>
      <svg viewBox="0 0 520 235" style="width: 100%" role="img" aria-label="four values, what each was
      made from, and the gradients that have arrived">${svg}</svg>`, moved + verdict);
    for (const button of el.querySelectorAll("[data-at]")) button.onclick = () => {
      const i = button.dataset.at;
      if (i === "order") state.order = ORDERS[(ORDERS.indexOf(state.order) + 1) % 3];
      else state.signs[i] = state.signs[i] === "+" ? "×" : "+";
      draw();
    };
  };
  frame(el, state, {step: ["visits", 0, 4, 1], a: ["a", -3, 3, 0.5]}, draw);
}
