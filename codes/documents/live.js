  // --- two nets over the steps of their training --------------------------------------------------

  const EDGE = 2, EDGE_TOP = 4; // of learning rate × curvature: where it is marked, and cut off

  function startLive({steps, layers, nets}) {
    const slider = byId('step'), margin = {left: 58, right: 8, top: 10, bottom: 40};
    const last = (values, step) => values.findLastIndex((value) => value <= step);
    const percents = (share) => `${(100 * share).toFixed(0)} %`;
    const number = (value) => (value === null ? '–' : value.toFixed(2));
    const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

    function svg(tag, attributes, ...children) {
      const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      element.append(...children);
      return element;
    }

    const text = (words, x, y, more) => svg('text', {x, y, 'font-size': 12, fill: 'currentColor', ...more}, words);

    // empties a chart and draws its frame; gives the functions from values to pixels
    function frame(chart, [left, right], [low, high], xTicks, yTicks, xName, yName, log) {
      const width = chart.clientWidth, height = chart.clientHeight, scale = log ? Math.log : (value) => value;
      const x = (value) => margin.left + (value - left) / (right - left) * (width - margin.left - margin.right);
      const y = (value) => height - margin.bottom - (scale(value) - scale(low)) / (scale(high) - scale(low))
        * (height - margin.top - margin.bottom);
      chart.replaceChildren(
        ...yTicks.flatMap(([value, name]) => [
          svg('line', {x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value), class: 'rule'}),
          text(name, margin.left - 6, y(value) + 4, {'text-anchor': 'end'})]),
        ...xTicks.map(([value, name]) => text(name, x(value), height - margin.bottom + 16, {'text-anchor': 'middle'})),
        text(xName, (margin.left + width - margin.right) / 2, height - 6, {'text-anchor': 'middle'}),
        text(yName, 12, (height - margin.bottom) / 2,
          {'text-anchor': 'middle', transform: `rotate(-90 12 ${(height - margin.bottom) / 2})`}));
      return [x, y];
    }

    const points = (xs, ys) => xs.map((x, i) => [x, ys[i]]).filter(([, y]) => y !== null && !Number.isNaN(y));
    const path = (some) => `M${some.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join('L')}`;
    const stepTicks = (room) => {
      const unit = [100, 250, 500, 1000, 2500, 5000, 10000].find((one) => steps.at(-1) / one * 60 < room) || 50000;
      return Array.from({length: Math.floor(steps.at(-1) / unit) + 1}, (_, i) => [i * unit, String(i * unit)]);
    };
    const cursor = (chart, x) => chart.append(svg('line',
      {x1: x, x2: x, y1: margin.top, y2: chart.clientHeight - margin.bottom, class: 'now'}));

    function drawBands(step) {
      const chart = byId('bands'), edges = nets.flatMap(({low, high}) => [...low, ...high]).filter((one) => one > 0);
      const range = [Math.min(...edges) / 1.1, Math.max(...edges) * 1.1];
      const ticks = [0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 1000].filter((one) => one > range[0] && one < range[1]);
      const [x, y] = frame(chart, [0, steps.at(-1)], range, stepTicks(chart.clientWidth),
        ticks.map((one) => [one, String(one)]), 'step', 'loss (nats)', true);
      for (const {low, high, colour} of nets) {
        const [under, over] = [low, high].map((values) =>
          points(steps, values).map(([at, value]) => [x(at), y(value)]));
        chart.append(
          svg('path', {d: `${path([...over, ...under.reverse()])}Z`, fill: colour, 'fill-opacity': 0.3}),
          ...[over, under].map((line) => svg('path',
            {d: path(line), fill: 'none', stroke: colour, 'stroke-width': 1.5})));
      }
      cursor(chart, x(step));
    }

    function drawEdge(step) {
      const chart = byId('edge');
      const [x, y] = frame(chart, [0, steps.at(-1)], [0, EDGE_TOP], stepTicks(chart.clientWidth),
        [0, 1, 2, 3, 4].map((one) => [one, String(one)]), 'step', `η·κ, cut off at ${EDGE_TOP}`, false);
      chart.append(svg('line', {x1: x(0), x2: x(steps.at(-1)), y1: y(EDGE), y2: y(EDGE), class: 'mark'}));
      for (const net of nets) {
        const line = points(net.edge_steps, net.edge).map(([at, value]) => [x(at), y(clamp(value, 0, EDGE_TOP))]);
        chart.append(svg('path', {d: path(line), fill: 'none', stroke: net.colour, 'stroke-width': 2}));
      }
      cursor(chart, x(step));
    }

    function drawDead(index) {
      const chart = byId('dead'), high = Math.max(...nets.flatMap(({dead}) => dead.flat()), 0.1);
      const [x, y] = frame(chart, [-0.5, layers.length - 0.5], [0, high], layers.map((name, i) => [i, name]),
        [0, high / 2, high].map((one) => [one, percents(one)]), 'layer: 1 to 8 convolutions, L linear', 'inactive units', false);
      const broad = (x(1) - x(0)) * 0.38;
      nets.forEach(({dead, colour}, k) => dead[index].forEach((share, i) => chart.append(svg('rect',
        {x: x(i) + (k - 1) * broad, y: y(share), width: broad, height: y(0) - y(share), fill: colour}))));
    }

    function show() {
      const index = Number(slider.value), step = steps[index];
      drawBands(step);
      drawEdge(step);
      drawDead(index);
      const at = last(nets[0].edge_steps, step), convolutions = layers.filter((name) => name[0] !== 'L').length;
      const bands = nets.map(({low, high}) => `${number(low[index])} to ${number(high[index])}`);
      const rows = [
        ['losses (nats)', ...bands],
        [`η·κ at step ${nets[0].edge_steps[at]}`, ...nets.map(({edge}) => number(edge[at]))],
        ['inactive units, convolutions', ...nets.map(({dead}) => percents(mean(dead[index].slice(0, convolutions))))],
        ['inactive units, linear layers', ...nets.map(({dead}) => percents(mean(dead[index].slice(convolutions))))]];
      byId('live-rows').replaceChildren(...rows.map(([name, ...cells]) => make('tr', {},
        make('th', {scope: 'row'}, name), ...cells.map((cell) => make('td', {}, cell)))));
      byId('now').textContent = step;
      slider.setAttribute('aria-valuetext', `step ${step}; losses ${nets.map(({name}, i) => `${name}: ${bands[i]}`).join(', ')}`);
    }

    slider.addEventListener('input', show);
    new ResizeObserver(() => requestAnimationFrame(show)).observe(byId('live'));
  }
