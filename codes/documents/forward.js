'use strict';
// A worker that runs a network, as codes/insight/exported.py writes it, in plain JavaScript. Sent
// {network} once, then {pixels}, RGBA bytes of 32×32, and a ticket, it answers {shares, maps,
// milliseconds} and the ticket. A value is {data, channels, height, width}, data channel by
// channel, row by row.

const SHOWN = 12; // maps of a layer

function floats({half, single}) {
  const bytes = Uint8Array.from(atob(half || single), (letter) => letter.charCodeAt(0));
  if (single !== undefined) return new Float32Array(bytes.buffer);
  return Float32Array.from(new Uint16Array(bytes.buffer), (bits) => {
    const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
    return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
  });
}

// Abramowitz & Stegun 7.1.26, to 1.5e-7
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}

const ACTIVATIONS = {
  relu: (x) => Math.max(x, 0), leakyrelu: (x) => (x > 0 ? x : 0.01 * x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)), gelu: (x) => x * (1 + erf(x / Math.SQRT2)) / 2,
  silu: (x) => x / (1 + Math.exp(-x)), mish: (x) => x * Math.tanh(Math.log1p(Math.exp(x))),
  hardswish: (x) => x * Math.min(Math.max(x + 3, 0), 6) / 6, tanh: Math.tanh,
};

const mapped = (x, change) => ({...x, data: x.data.map(change)});
const byChannel = (x, {weight, bias}) => {
  const pixels = x.height * x.width;
  return mapped(x, (value, i) => weight[Math.floor(i / pixels)] * value + bias[Math.floor(i / pixels)]);
};

// new values of another size: fill(channel, row, column)
function filled(channels, height, width, fill) {
  const data = new Float32Array(channels * height * width);
  let place = 0;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) data[place++] = fill(c, i, j);
  }
  return {data, channels, height, width};
}

const pooled = (x, join) => filled(x.channels, x.height >> 1, x.width >> 1, (c, i, j) => {
  const corner = (c * x.height + 2 * i) * x.width + 2 * j, below = corner + x.width;
  return join(x.data[corner], x.data[corner + 1], x.data[below], x.data[below + 1]);
});

// what each tap of a filter sees (im2col): a row a tap, a column a pixel of the output
function patches(x, rows, columns, padding) {
  const height = x.height + 2 * padding - rows + 1, width = x.width + 2 * padding - columns + 1;
  return filled(x.channels * rows * columns, height, width, (tap, i, j) => {
    const row = i - padding + Math.floor(tap / columns) % rows, column = j - padding + tap % columns;
    if (row < 0 || column < 0 || row >= x.height || column >= x.width) return 0;
    return x.data[(Math.floor(tap / rows / columns) * x.height + row) * x.width + column];
  });
}

const LAYERS = {
  conv({shape: [count, , rows, columns], padding, weight, bias}, x) {
    const {data, channels: taps, height, width} = patches(x, rows, columns, padding);
    const pixels = height * width, sums = new Float32Array(count * pixels);
    for (let filter = 0; filter < count; filter++) {
      const out = sums.subarray(filter * pixels, (filter + 1) * pixels);
      if (bias) out.fill(bias[filter]);
      for (let tap = 0; tap < taps; tap++) {
        const factor = weight[filter * taps + tap], start = tap * pixels;
        for (let pixel = 0; pixel < pixels; pixel++) out[pixel] += factor * data[start + pixel];
      }
    }
    return {data: sums, channels: count, height, width};
  },
  affine: (layer, x) => byChannel(x, layer),
  group({groups, eps, weight, bias}, x) {
    const size = x.data.length / groups, scaled = x.data.slice();
    for (let start = 0; start < scaled.length; start += size) {
      const part = scaled.subarray(start, start + size);
      const mean = part.reduce((sum, value) => sum + value, 0) / size;
      const variance = part.reduce((sum, value) => sum + (value - mean) ** 2, 0) / size;
      part.forEach((value, i) => { part[i] = (value - mean) / Math.sqrt(variance + eps); });
    }
    return byChannel({...x, data: scaled}, {weight, bias});
  },
  activation: ({name}, x) => mapped(x, ACTIVATIONS[name]),
  largest: (_, x) => pooled(x, Math.max),
  mean: (_, x) => pooled(x, (a, b, c, d) => (a + b + c + d) / 4),
  repeat: ({right, below}, x) => filled(x.channels, x.height + below, x.width + right, (c, i, j) =>
    x.data[(c * x.height + Math.min(i, x.height - 1)) * x.width + Math.min(j, x.width - 1)]),
  add: (_, x, y) => mapped(x, (value, i) => value + y.data[i]),
  scale: ({factor}, x) => mapped(x, (value) => factor * value),
  peak: (_, x) => filled(x.channels, 1, 1, (c) =>
    x.data.subarray(c * x.height * x.width, (c + 1) * x.height * x.width).reduce((a, b) => Math.max(a, b))),
  flatten: (_, {data}) => ({data, channels: data.length, height: 1, width: 1}),
};

function contrast(map) {
  const mean = map.reduce((sum, value) => sum + value, 0) / map.length;
  return map.reduce((sum, value) => sum + (value - mean) ** 2, 0);
}

// the maps of most contrast that a layer gives
function strongest({data, channels, height, width}) {
  const maps = Array.from({length: channels}, (_, c) =>
    data.slice(c * height * width, (c + 1) * height * width));
  maps.sort((one, other) => contrast(other) - contrast(one));
  return {channels, height, width, maps: maps.slice(0, SHOWN)};
}

function run({mean, std, layers}, pixels) {
  const values = [filled(3, 32, 32, (c, i, j) =>
    (pixels[4 * (32 * i + j) + c] / 255 - mean[c]) / std[c])];
  const shown = new Map(); // by side: of each, the last activation
  for (const layer of layers) {
    const value = LAYERS[layer.kind](layer, ...layer.from.map((i) => values[i]));
    values.push(value);
    if (layer.kind === 'activation' && value.height > 1) shown.set(value.height, value);
  }
  const logits = values.at(-1).data, most = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return {shares: powers.map((power) => power / sum), maps: [...shown.values()].map(strongest)};
}

let held = null;

onmessage = ({data: {network, pixels, ticket}}) => {
  if (network) {
    for (const layer of network.layers) {
      for (const name of ['weight', 'bias']) if (layer[name]) layer[name] = floats(layer[name]);
    }
    held = network;
    return;
  }
  const start = performance.now();
  postMessage({...run(held, pixels), ticket, milliseconds: performance.now() - start});
};
