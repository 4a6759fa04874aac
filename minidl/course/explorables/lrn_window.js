// Local response normalization of one pixel. State: x (C), size, power (alpha is 10^power), k, scale
// (x is multiplied by 10^scale), channel; adds y (C) and slopes, dy/dx of the channel's input (C).
function normalize({x, size, power, k, scale, channel}) {
  const alpha = 10 ** power, beta = 0.75, values = x.map(v => v * 10 ** scale);
  const seen = values.map((_, i) => values.map((_, j) => j).filter(
    j => j >= i - Math.floor(size / 2) && j <= i + Math.floor((size - 1) / 2)));
  const s = seen.map(window => k + alpha / size * window.reduce((sum, j) => sum + values[j] ** 2, 0));
  const y = values.map((v, i) => v * s[i] ** -beta);
  const slopes = values.map((v, i) => (i === channel ? s[i] ** -beta : 0) - (seen[i].includes(channel) ?
    2 * alpha * beta / size * v * s[i] ** (-beta - 1) * values[channel] : 0));
  return {values, y, slopes};
}

function render(el, state) {
  const draw = () => {
    const {values, y, slopes} = normalize(state), most = Math.max(...values, ...y);
    const steepest = Math.max(...slopes.map(Math.abs)), wide = 64;
    const short = v => Math.abs(v) >= 0.005 ? v.toFixed(2) : v ? v.toExponential(0) : "0";
    const bar = (v, i, at, color) => `<rect x="${wide * i + at}" y="${118 - 95 * v / most}" width="22"
      height="${95 * v / most}" fill="${color}"/>`;
    const cell = (v, i) => `<rect x="${wide * i + 2}" y="150" width="${wide - 4}" height="26"
      fill="${v < 0 ? "#c2410c" : "#1b6ca8"}" fill-opacity="${0.45 * Math.abs(v) / steepest}"
      stroke="#8a94a0"/><text x="${wide * (i + 0.5)}" y="167" text-anchor="middle">${short(v)}</text>`;
    const svg = `<svg role="img" viewBox="0 0 ${wide * values.length} 182" style="width: 100%"
      aria-label="bars before and after the norm, and the slope of each output"><text x="2" y="14">before
      (gray) and after (blue)</text>${values.map((v, i) => bar(v, i, 9, "#8a94a0") + bar(y[i], i, 33,
      "#1b6ca8")).join("")}<path d="M0 118H${wide * values.length}" stroke="#22262b"/><text x="2" y="142">
      how each output changes with input ${state.channel} (red: it falls)</text>${slopes.map(cell).join("")}</svg>`;
    const buttons = values.map((v, i) => `<button data-at="${i}" aria-pressed="${i === state.channel}"
      aria-label="channel ${i}: ${short(v)}, becomes ${short(y[i])}" style="width: ${98 / values.length}%;
      ${i === state.channel ? "font-weight: bold; border-color: #c2410c" : ""}">${i}</button>`).join("");
    const loser = slopes.indexOf(Math.min(...slopes));
    show(el, state, {y, slopes}, `${svg}<div role="group" aria-label="channels">${buttons}</div>`,
      `alpha ${Number((10 ** state.power).toPrecision(2))}: input ${state.channel}, ` +
      `${short(values[state.channel])}, becomes ${short(y[state.channel])}. ` + (slopes[loser] < 0 ?
        `As it grows, output ${loser} falls by ${short(-slopes[loser])} per unit.` : "It makes no output fall."));
    for (const button of el.querySelectorAll("[data-at]")) button.onclick = () => {
      state.channel = Number(button.dataset.at);
      draw();
    };
  };
  frame(el, state, {size: ["window", 1, 7, 1], power: ["alpha = 10^", -4, 1, 0.5], k: ["k", 1, 2, 0.5],
    scale: ["activations × 10^", 0, 3, 0.5]}, draw);
}
