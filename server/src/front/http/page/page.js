'use strict';
// The live page: one stream of events, drawn as it comes. Nothing of it is written into the page as HTML.

const byId = (id) => document.getElementById(id);
const KEPT = 300; // Seconds that the plots show.
const WINDOW = 10; // Seconds over which percentiles are taken.
const SVG = 'http://www.w3.org/2000/svg';

let token = '';
try { token = sessionStorage.getItem('miso-token') || ''; } catch { /* Storage may be off. */ }
let opened = null; // The function and the object that are open.
let running = null; // Ends the stream that runs.
const history = []; // Of each second: rate, and the buckets of propagation.

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Rows are kept from one drawing to the next, so that focus and scrolling stay.
function rows(body, things, fill, columns) {
  while (body.rows.length > things.length) body.deleteRow(-1);
  things.forEach((thing, at) => {
    const row = body.rows[at] || body.insertRow();
    while (row.cells.length > columns) row.deleteCell(-1);
    while (row.cells.length < columns) row.insertCell();
    fill(row.cells, thing);
  });
}

function cell(target, text, className = '') {
  setText(target, String(text));
  if (target.className !== className) target.className = className;
}

function say(text, className) {
  setText(byId('state'), text);
  byId('state').className = className;
}

function time(micros) {
  if (micros < 1000) return `${micros} µs`;
  if (micros < 1e6) return `${(micros / 1000).toFixed(1)} ms`;
  return `${(micros / 1e6).toFixed(1)} s`;
}

function drawMap(nodes) {
  const [width, height] = [640, 300];
  const [self, ...others] = nodes;
  const at = (n) => {
    const angle = Math.PI * (2 * n / Math.max(others.length, 1) - 0.5);
    return [width / 2 + 230 * Math.cos(angle), height / 2 + 105 * Math.sin(angle)];
  };
  const parts = [];
  others.forEach((node, n) => {
    const [x, y] = at(n);
    const kind = !node.linked ? 'link cut' : node.lag_ms > 1000 ? 'link late' : 'link';
    parts.push(drawn('line', { x1: width / 2, y1: height / 2, x2: x, y2: y, class: kind }));
    const text = node.linked ? `${node.lag_ms} ms` : 'no link';
    parts.push(drawn('text', { x: (x + width / 2) / 2 + 24, y: (y + height / 2) / 2 }, text));
  });
  const put = (node, x, y, kind) => {
    parts.push(drawn('circle', { cx: x, cy: y, r: 16, class: `dot ${kind}` }));
    parts.push(drawn('text', { x, y: y < height / 2 ? y - 24 : y + 33 }, node.name.length > 24 ? `${node.name.slice(0, 23)}…` : node.name));
  };
  others.forEach((node, n) => put(node, ...at(n), node.state === 'alive' ? '' : 'gone'));
  put(self, width / 2, height / 2, 'self');
  byId('map').replaceChildren(...parts);
}

function plot(svg, curves, shown) {
  const [width, height] = [600, 140];
  const most = Math.max(1, ...curves.flatMap((curve) => curve.values.filter((value) => value !== null)));
  const parts = [drawn('line', { x1: 0, x2: width, y1: height - 12, y2: height - 12, class: 'axis' })];
  for (const { values, kind } of curves) {
    let line = '';
    values.forEach((value, n) => {
      if (value === null) return;
      const x = width - (values.length - 1 - n) * (width / KEPT);
      const y = height - 12 - (value / most) * (height - 36);
      line += `${line === '' || values[n - 1] === null ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    parts.push(drawn('path', { d: line || 'M0 0', class: `curve ${kind}` }));
  }
  parts.push(drawn('text', { x: 4, y: 16, class: 'faint' }, `most ${shown(most)}`));
  svg.replaceChildren(...parts);
}

// The upper bound, in microseconds, of the bucket in which this share of the counts is done.
function percentile(counts, share) {
  const wanted = Math.ceil(counts.reduce((sum, count) => sum + count, 0) * share);
  let seen = 0;
  for (const [power, count] of counts.entries()) {
    seen += count;
    if (wanted > 0 && seen >= wanted) return 2 ** power;
  }
  return null;
}

function drawPlots(state) {
  history.push({ rate: state.commands, buckets: state.propagation });
  if (history.length > KEPT) history.shift();
  const taken = (share) => history.map((now, n) => {
    const before = history[Math.max(0, n - WINDOW)].buckets;
    return percentile(now.buckets.map((count, power) => Math.max(0, count - before[power])), share);
  });
  const [p50, p99] = [taken(0.5), taken(0.99)];
  plot(byId('rates'), [{ values: history.map((now) => now.rate), kind: '' }], (most) => `${most}/s`);
  plot(byId('times'), [{ values: p99, kind: 'p99' }, { values: p50, kind: '' }], time);
  setText(byId('rate'), String(state.commands));
  const last = [p50.at(-1), p99.at(-1)];
  setText(byId('spread'), last[0] === null ? 'nothing sent' : `${time(last[0])} / ${time(last[1])}`);
}

function drawTables(state) {
  rows(byId('node-rows'), state.nodes, (cells, node) => {
    cell(cells[0], node.name);
    cell(cells[1], node.self ? 'this node' : node.linked ? node.state : `${node.state}, no link`, node.self || node.linked ? '' : 'bad');
    cell(cells[2], node.self ? '' : node.lag_ms, 'n');
    cell(cells[3], node.self ? '' : node.lag_events, 'n');
    cell(cells[4], node.runs.join(', '));
    cell(cells[5], node.holds.join(', '));
  }, 6);
  rows(byId('function-rows'), state.functions, (cells, it) => {
    cell(cells[0], it.name);
    cell(cells[1], it.objects, 'n');
    cell(cells[2], it.copies, 'n');
    const on = state.nodes.filter((node) => node.runs.includes(it.name)).map((node) => node.name);
    cell(cells[3], on.join(', ') + (it.restoring ? ' (being restored)' : ''));
  }, 4);
  rows(byId('top-rows'), state.top, (cells, it) => {
    let button = cells[0].firstElementChild;
    if (!button) {
      button = element('button', 'link-like');
      button.type = 'button';
      cells[0].replaceChildren(button);
      button.addEventListener('click', () => open(button.dataset.function, button.textContent));
    }
    setText(button, it.object);
    button.dataset.function = it.function;
    cell(cells[1], it.function);
    cell(cells[2], it.writes, 'n');
  }, 3);
}

function shownValue(value) {
  if (value === null) return 'nothing';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function drawObject(state) {
  if (!opened) return;
  const names = state.object ? state.object.names : [];
  const others = state.nodes.filter((node) => !node.self);
  const self = state.nodes.find((node) => node.self);
  const heads = ['Name', 'Type', `Value on ${self.name}`, ...others.map((node) => `On ${node.name}`), 'Conflict'];
  const head = byId('object-head');
  if ([...head.cells].map((th) => th.textContent).join('\n') !== heads.join('\n')) {
    head.replaceChildren(...heads.map((text) => Object.assign(element('th', '', text), { scope: 'col' })));
  }
  rows(byId('object-rows'), names, (cells, it) => {
    cell(cells[0], it.name === '' ? '(the key itself)' : it.name);
    cell(cells[1], it.types.join(' and '));
    cell(cells[2], shownValue(it.value));
    others.forEach((node, n) => {
      const waits = it.waits[node.name];
      const target = cells[3 + n];
      if (waits === undefined) cell(target, 'not carried there');
      else if (waits.updates > 0) cell(target, `waits for ${waits.updates} of this node's updates`, 'waits');
      else if (waits.others > 0) cell(target, 'has these; other updates are under way', 'waits');
      else cell(target, 'has all that this node wrote', 'has');
    });
    const clash = it.types.length > 1 ? 'types clash' : it.values.length > 1 ? `concurrent: ${it.values.join(' | ')}` : '';
    cell(cells[3 + others.length], clash, 'clash');
  }, heads.length);
  setText(byId('object-state'), names.length ? `${opened.object} of ${opened.function}` : `${opened.object} of ${opened.function} is not here`);
}

function draw(state) {
  setText(byId('node'), state.node);
  document.title = `${state.node} - MISO`;
  setText(byId('about'), `cluster ${state.cluster}, version ${state.version}, up ${Math.floor(state.uptime_ms / 1000)} s, ${state.clients} clients`);
  drawMap(state.nodes);
  drawPlots(state);
  drawTables(state);
  drawObject(state);
}

function open(functionName, object) {
  opened = { function: functionName, object };
  byId('function').value = functionName;
  byId('object').value = object;
  setText(byId('object-state'), 'Opening');
  begin();
}

async function listen(signal) {
  const query = opened ? `?${new URLSearchParams(opened)}` : '';
  const headers = { Accept: 'text/event-stream' };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(`/events${query}`, { headers, signal, cache: 'no-store' });
  if (!answer.ok) {
    const text = await answer.text();
    const refused = [400, 401, 403].includes(answer.status);
    throw Object.assign(new Error(text), { refused });
  }
  say('Live', 'good');
  byId('login').hidden = true;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split('\n\n');
    rest = events.pop();
    for (const event of events) {
      if (event.startsWith('data: ')) draw(JSON.parse(event.slice(6)));
    }
  }
}

async function begin() {
  if (running) running.abort();
  const mine = new AbortController();
  running = mine;
  let pause = 500;
  while (!mine.signal.aborted) {
    try {
      await listen(mine.signal);
      pause = 500;
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error.refused) {
        say('Refused', 'bad');
        byId('login').hidden = false;
        setText(byId('refused'), token ? error.message : '');
        return;
      }
    }
    if (mine.signal.aborted) return;
    say('No connection, trying again', 'bad');
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(pause * 2, 5000);
  }
}

byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  token = byId('token').value;
  try { sessionStorage.setItem('miso-token', token); } catch { /* It is asked for again. */ }
  begin();
});
byId('open').addEventListener('submit', (event) => {
  event.preventDefault();
  open(byId('function').value, byId('object').value);
});
begin();
