// Shows what the server tells: an overview each second, and the part of the workers that was asked for.
// Text comes from workers and their failures, so it is only ever set as text.
'use strict';

const $ = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';
const PAGE = 50;
const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

const view = { offset: 0, sort: '', desc: false, state: '', find: '', paused: false };
let points = [];
let intervalMs = 1000;
let latest = null;
let source = null;
let asking = false;
let askAgain = false;
let token = '';
let life = '';

// --- Small parts

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function span(micros) {
  if (micros === null || micros === undefined) return '–';
  if (micros < 1000) return `${micros} µs`;
  if (micros < 1e6) return `${(micros / 1000).toPrecision(3)} ms`;
  if (micros < 6e7) return `${(micros / 1e6).toPrecision(3)} s`;
  return `${(micros / 6e7).toPrecision(3)} min`;
}

function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (count >= 1024 && unit < 4) { count /= 1024; unit += 1; }
  return `${unit === 0 ? count : count.toPrecision(3)} ${units[unit]}`;
}

function ago(ms) {
  if (ms < 2000) return 'just now';
  if (ms < 120000) return `${Math.round(ms / 1000)} s ago`;
  if (ms < 7200000) return `${Math.round(ms / 60000)} min ago`;
  return `${Math.round(ms / 3600000)} h ago`;
}

const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB');
const rate = (number) => (number < 10 ? number.toFixed(1) : whole.format(Math.round(number)));
const share = (part, all) => (all === 0 ? '0 %' : `${(Math.floor((part / all) * 1000) / 10).toFixed(1)} %`);

function announce(text) {
  setText($('announce'), text);
}

// --- The overview

function showLife(state) {
  const pill = $('life');
  if (life === state) return;
  if (life !== '') announce(`The pool is ${state}.`);
  life = state;
  setText(pill, state);
  pill.dataset.life = state;
}

function showCards(overview) {
  const { tasks, point } = overview;
  const failed = tasks.failed + tasks.exhausted + tasks.bounced + tasks.expired + tasks.aborted;
  const cards = [
    ['done', 'Done', whole.format(tasks.done)],
    ['failed', 'Failed', whole.format(failed), failed > 0],
    ['rate', 'Done a second', point ? rate(point.done_rate) : '–'],
    ['in-flight', 'In flight', whole.format(tasks.in_flight)],
    ['waiting', 'Waiting', whole.format(tasks.waiting + overview.queued)],
    ['resting', 'Resting', whole.format(tasks.resting)],
    ['workers-up', 'Workers up', `${whole.format(tasks.workers_up)} of ${whole.format(tasks.workers)}`, tasks.workers_up < tasks.workers],
    ['round-trip', 'Round trip p99', span(overview.latency.round_trip.p99_us)],
    ['streams', 'Ranges and maps', whole.format(overview.streams)],
    ['memory', 'Memory held', bytes(overview.memory_used)],
  ];
  const list = $('now');
  for (const [name, title, text, bad] of cards) {
    let card = $(`card-${name}`);
    if (!card) {
      card = element('div', null, { id: `card-${name}` });
      card.append(element('dt', title), element('dd'));
      list.append(card);
    }
    card.classList.toggle('bad', Boolean(bad));
    setText(card.lastChild, text);
  }
}

function showNotices(notices) {
  const place = $('notices');
  const text = notices.join('\n');
  if (place.dataset.text === text) return;
  place.dataset.text = text;
  place.replaceChildren(...notices.map((notice) => element('p', notice, { class: 'notice' })));
  if (text !== '') announce(text);
}

function showTimes(overview) {
  const rows = [['Queue wait', 'queue_wait'], ['Round trip', 'round_trip'], ['Service', 'service']];
  $('latencies').replaceChildren(...rows.map(([title, name]) => {
    const times = overview.latency[name];
    const row = element('tr');
    row.append(element('th', title, { scope: 'row' }));
    for (const text of [whole.format(times.count), span(times.p50_us), span(times.p90_us), span(times.p99_us)]) {
      row.append(element('td', text));
    }
    return row;
  }));
  const sent = overview.attempts.map((count, index) => [index + 1, count]).filter(([, count]) => count > 0);
  const last = overview.attempts.length;
  const often = (times) => ['once', 'twice'][times - 1] ?? `${times} times${times === last ? ' or more' : ''}`;
  const said = sent.map(([times, count]) => `${whole.format(count)} ${often(times)}`);
  setText($('attempts'), said.length > 0 ? `Finished tasks were sent: ${said.join(', ')}.` : '');
}

function showRanges(overview) {
  $('ranges-part').hidden = $('ranges-link').hidden = overview.ranges.length === 0;
  const place = $('ranges');
  while (place.children.length > overview.ranges.length) place.lastChild.remove();
  overview.ranges.forEach((range, index) => {
    let box = place.children[index];
    if (!box) {
      box = element('div', null, { class: 'range' });
      box.append(element('p'), shape('svg', { class: 'strip', role: 'img', preserveAspectRatio: 'none' }));
      place.append(box);
    }
    const [text, strip] = box.children;
    const water = range.low_water === null ? 'the first one is not done' : `all done up to ${range.low_water}`;
    const said = `${range.first} to ${range.last}: ${whole.format(range.done)} of ${whole.format(range.heights)} done (${share(range.done, range.heights)}), ` +
      `${whole.format(range.in_flight)} in flight, ${whole.format(range.failed)} failed; ${water}.`;
    setText(text, said);
    strip.setAttribute('aria-label', said);
    drawStrip(strip, range);
  });
  setText($('ranges-more'), overview.ranges_more > 0 ? `${overview.ranges_more} more ranges are under way.` : '');
}

function drawStrip(strip, range) {
  const count = range.segments.length;
  strip.setAttribute('viewBox', `0 0 ${count} 100`);
  const parts = [];
  range.segments.forEach(([heights, done, flight, failed], at) => {
    let top = 100;
    // What is rare is shown all the same.
    const least = (part) => (part === 0 ? 0 : Math.max(12, (part / heights) * 100));
    for (const [kind, tall] of [['done', (done / heights) * 100], ['flight', least(flight)], ['failed', least(failed)]]) {
      if (tall <= 0) continue;
      const height = Math.min(tall, 100);
      top = Math.max(0, top - height);
      parts.push(shape('rect', { class: kind, x: at, y: top, width: 1.02, height }));
    }
  });
  strip.replaceChildren(...parts);
}

function showQueues(overview) {
  $('queues-part').hidden = $('queues-link').hidden = overview.queues.length === 0;
  keepFocus($('queues'), overview.queues.map((queue) => {
    const row = element('tr', null, { 'data-id': queue.name });
    row.append(
      labelled('Queue', queue.is_paused ? `${queue.name} (paused)` : queue.name), labelled('Waiting', whole.format(queue.waiting)),
      labelled('For their key', whole.format(queue.waiting_for_key)), labelled('Oldest waits', queue.oldest_ms === null ? '–' : span(queue.oldest_ms * 1000)),
      labelled('In flight', whole.format(queue.in_flight)), labelled('Resting', whole.format(queue.resting)), labelled('Sent', whole.format(queue.sent)),
      labelled('Limits', limits(queue)),
    );
    if (overview.has_actions) {
      const what = queue.is_paused ? 'resume' : 'pause';
      const title = queue.is_paused ? 'Resume' : 'Pause';
      const button = element('button', `${title}…`, { type: 'button', 'aria-label': `${title} queue ${queue.name}` });
      button.addEventListener('click', () => act(`${title} queue ${queue.name}?`, `api/queues/${encodeURIComponent(queue.name)}/${what}`));
      row.append(labelled('Action', button));
    }
    return row;
  }));
}

function limits(queue) {
  const said = [];
  if (queue.in_flight_max !== null) said.push(`${whole.format(queue.in_flight_max)} in flight`);
  if (queue.rate_max !== null) said.push(`${rate(queue.rate_max)}/s${queue.burst > 1 ? `, ${whole.format(queue.burst)} at once` : ''}`);
  return said.join('; ') || 'none';
}

// Puts new rows in place of old ones. What had the focus has it still.
function keepFocus(body, rows) {
  const focused = body.contains(document.activeElement) ? document.activeElement.closest('tr')?.dataset.id : undefined;
  body.replaceChildren(...rows);
  if (focused !== undefined) body.querySelector(`tr[data-id="${CSS.escape(focused)}"] button`)?.focus({ preventScroll: true });
}

function showStates(overview) {
  const there = overview.workers.filter(({ count }) => count > 0);
  const said = there.map(({ state, count }) => `${whole.format(count)} ${state}`);
  setText($('worker-states'), said.length > 0 ? `${said.join(', ')}.` : 'No workers.');
  const select = $('state');
  if (select.options.length === 1) {
    for (const { state } of overview.workers) select.append(element('option', state, { value: state }));
  }
}

function labelled(label, ...content) {
  const cell = element('td', null, { 'data-label': label });
  const inner = element('span');
  inner.append(...content);
  cell.append(inner);
  return cell;
}

function showFailures(overview) {
  const has = overview.failures.length > 0;
  $('no-failures').hidden = has;
  $('failures-scroll').hidden = !has;
  $('failures').replaceChildren(...overview.failures.map((group) => {
    const row = element('tr');
    const where = [group.height === null ? null : `height ${group.height}`, group.peer].filter(Boolean).join(', ');
    const [text, example, place] = [labelled('Text', group.text), labelled('Example', element('code', group.example)), labelled('Where', where || '–')];
    for (const cell of [text, example, place]) cell.className = 'text';
    row.append(labelled('Count', whole.format(group.count)), text, example, place, labelled('Last', ago(group.ago_ms)));
    return row;
  }));
  setText($('failures-other'), overview.failures_other > 0 ? `And ${whole.format(overview.failures_other)} with other texts.` : '');
}

function showEvents(overview) {
  const list = $('events');
  $('no-events').hidden = overview.events.length > 0;
  const newest = overview.events.length > 0 ? String(overview.events[0].number) : '';
  if (list.dataset.newest === newest) return;
  list.dataset.newest = newest;
  list.replaceChildren(...overview.events.map((event) => {
    const item = element('li');
    item.append(element('time', clock(event.at_ms), { datetime: new Date(event.at_ms).toISOString() }), event.text);
    return item;
  }));
}

function show(overview) {
  latest = overview;
  intervalMs = overview.interval_ms;
  setText($('name'), overview.name);
  document.title = `${overview.name}: ${whole.format(overview.tasks.done)} done`;
  showLife(overview.life);
  setText($('age'), `as of ${clock(overview.at_ms)}`);
  showNotices(overview.notices);
  showCards(overview);
  showTimes(overview);
  showRanges(overview);
  showQueues(overview);
  showStates(overview);
  showFailures(overview);
  showEvents(overview);
  $('actions-part').hidden = $('actions-link').hidden = !overview.has_actions;
  $('remove-head').hidden = $('pause-head').hidden = !overview.has_actions;
  const { point } = overview;
  if (point && (points.length === 0 || points[points.length - 1].at_ms < point.at_ms)) {
    points.push(point);
    if (points.length > 600) points.shift();
  }
  showPlots();
}

// --- Plots

function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function plot(svg, series, label) {
  const width = Math.max(svg.clientWidth, 200);
  const height = Math.max(svg.clientHeight, 100);
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const [left, right, top, bottom] = [56, 8, 10, 20];
  const first = points.length > 0 ? points[0].at_ms : 0;
  const last = Math.max(points.length > 0 ? points[points.length - 1].at_ms : 0, first + 60 * intervalMs);
  const most = ceiling(Math.max(0, ...points.flatMap((point) => series.map(([, get]) => get(point) ?? 0))));
  const x = (at) => left + ((at - first) / (last - first)) * (width - left - right);
  const y = (value) => height - bottom - (value / most) * (height - top - bottom);
  const parts = [];
  for (const part of [0, 0.5, 1]) {
    parts.push(shape('line', { class: 'grid', x1: left, x2: width - right, y1: y(part * most), y2: y(part * most) }));
    const text = shape('text', { x: left - 6, y: y(part * most) + 4, 'text-anchor': 'end' });
    text.textContent = label(part * most);
    parts.push(text);
  }
  if (points.length > 0) {
    for (const [at, anchor] of [[first, 'start'], [points[points.length - 1].at_ms, 'end']]) {
      if (anchor === 'end' && x(at) - left < 130) continue;
      const text = shape('text', { x: x(at), y: height - 4, 'text-anchor': anchor });
      text.textContent = clock(at);
      parts.push(text);
    }
  }
  for (const [name, get] of series) {
    let line = '';
    let pen = 'M';
    for (const point of points) {
      const value = get(point);
      if (value === null) { pen = 'M'; continue; }
      line += `${pen}${x(point.at_ms).toFixed(1)} ${y(value).toFixed(1)}`;
      // A point by itself is drawn as one.
      if (pen === 'M') line += 'h.1';
      pen = 'L';
    }
    parts.push(shape('path', { class: name, d: line || 'M0 0' }));
  }
  svg.replaceChildren(...parts);
}

function showPlots() {
  if (points.length === 0) return;
  plot($('rate-plot'), [['done', (point) => point.done_rate], ['failed', (point) => point.failed_rate]], (value) => short.format(value));
  plot($('latency-plot'), [['p50', (point) => point.p50_us], ['p99', (point) => point.p99_us]], (value) => span(value));
  const now = points[points.length - 1];
  const rates = points.map((point) => point.done_rate);
  setText($('rate-text'), `Now ${rate(now.done_rate)} done and ${rate(now.failed_rate)} failed a second; ` +
    `since ${clock(points[0].at_ms)} between ${rate(Math.min(...rates))} and ${rate(Math.max(...rates))} done.`);
  const answered = points.filter((point) => point.p99_us !== null);
  const newest = answered[answered.length - 1];
  setText($('latency-text'), newest
    ? `At ${clock(newest.at_ms)} half within ${span(newest.p50_us)}, 99 in 100 within ${span(newest.p99_us)}; at worst 99 in 100 within ${span(Math.max(...answered.map((point) => point.p99_us)))}.`
    : 'No attempt was answered yet.');
  if ($('points-details').open) showPoints();
}

function showPoints() {
  $('points').replaceChildren(...points.slice(-60).reverse().map((point) => {
    const row = element('tr');
    row.append(element('th', clock(point.at_ms), { scope: 'row' }));
    for (const text of [rate(point.done_rate), rate(point.failed_rate), whole.format(point.waiting), whole.format(point.in_flight),
      span(point.p50_us), span(point.p99_us), span(point.wait_p99_us)]) row.append(element('td', text));
    return row;
  }));
}

// --- Workers

async function askWorkers() {
  if (asking) { askAgain = true; return; }
  asking = true;
  try {
    do {
      askAgain = false;
      const query = new URLSearchParams({ offset: view.offset, limit: PAGE, desc: view.desc });
      if (view.sort) query.set('sort', view.sort);
      if (view.state) query.set('state', view.state);
      if (view.find) query.set('find', view.find);
      const response = await fetch(`api/workers?${query}`);
      if (response.ok && !askAgain) showWorkers(await response.json());
    } while (askAgain);
  } catch {
    // The live view says that nobody answers.
  } finally {
    asking = false;
  }
}

function showWorkers(page) {
  if (page.rows.length === 0 && page.offset > 0 && page.matched > 0) {
    view.offset = Math.floor((page.matched - 1) / PAGE) * PAGE;
    askAgain = true;
    return;
  }
  keepFocus($('workers'), page.rows.map(workerRow));
  const end = page.offset + page.rows.length;
  const of = page.matched === page.total ? whole.format(page.total) : `${whole.format(page.matched)} found, of ${whole.format(page.total)}`;
  setText($('shown'), page.rows.length === 0 ? `None of ${whole.format(page.total)}` : `${whole.format(page.offset + 1)} to ${whole.format(end)} of ${of}`);
  // One that has the focus keeps it, though there is nothing further that way.
  for (const [button, off] of [[$('before'), page.offset === 0], [$('after'), end >= page.matched]]) {
    button.setAttribute('aria-disabled', String(off));
  }
}

// Bars of how often a worker's handlers took how long, each for twice as long as the one before.
function bars(worker) {
  const most = Math.max(...worker.service.map(([, count]) => count));
  const said = worker.service.filter(([, count]) => count > 0).map(([bound, count]) => `${whole.format(count)} up to ${span(bound)}`);
  const svg = shape('svg', { class: 'bars', role: 'img', 'aria-label': `Service times: ${said.join(', ')}`, viewBox: `0 0 ${worker.service.length * 4} 16`, width: worker.service.length * 4, height: 16 });
  worker.service.forEach(([, count], at) => {
    const height = count === 0 ? 0 : Math.max(1, Math.round((16 * count) / most));
    svg.append(shape('rect', { x: at * 4, y: 16 - height, width: 3, height }));
  });
  return svg;
}

function workerRow(worker) {
  const row = element('tr', null, { 'data-id': worker.id });
  const name = [worker.peer];
  if (worker.identity !== null) name.push(element('span', `proven: ${worker.identity}`, { class: 'identity' }));
  if (worker.queues?.length > 0) name.push(element('span', `serves: ${worker.queues.join(', ')}`, { class: 'identity' }));
  const state = [worker.state];
  if (worker.why !== null) state.push(element('span', worker.why, { class: 'why' }));
  const allowed = worker.allowance < worker.window ? `${worker.allowance}, at most ${worker.window}` : worker.window;
  const [who, how] = [labelled('Worker', ...name), labelled('State', ...state)];
  how.className = 'text';
  row.append(
    who, how, labelled('In flight', `${worker.in_flight} of ${allowed}`),
    labelled('Done/s', rate(worker.rate)), labelled('Done', whole.format(worker.done)), labelled('Failed', whole.format(worker.failed)),
    labelled('Lost', whole.format(worker.lost)),
    labelled('p50 / p99', `${span(worker.p50_us)} / ${span(worker.p99_us)}`, ...(worker.service.length > 0 ? [bars(worker)] : [])),
  );
  if (latest?.has_actions) {
    const remove = element('button', 'Remove…', { type: 'button', 'aria-label': `Remove ${worker.peer}` });
    remove.addEventListener('click', () => act(`Remove ${worker.peer}? It finishes what it holds and gets nothing more.`, `api/workers/${worker.id}/remove`));
    row.append(labelled('Action', remove));
  }
  return row;
}

function sortBy(name, desc) {
  view.sort = name;
  view.desc = desc;
  view.offset = 0;
  for (const head of document.querySelectorAll('th[data-sort]')) {
    if (head.dataset.sort === name) head.setAttribute('aria-sort', desc ? 'descending' : 'ascending');
    else head.removeAttribute('aria-sort');
  }
  $('sort').value = name;
  askWorkers();
}

function turn(button, step) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  view.offset = Math.max(0, view.offset + step);
  askWorkers();
}

// --- Actions

function confirmed(text) {
  const dialog = $('confirm');
  setText($('confirm-text'), text);
  dialog.showModal();
  return new Promise((resolve) => {
    let answer = false;
    const yes = () => { answer = true; dialog.close(); };
    const no = () => dialog.close();
    $('confirm-yes').addEventListener('click', yes);
    $('confirm-no').addEventListener('click', no);
    dialog.addEventListener('close', () => {
      $('confirm-yes').removeEventListener('click', yes);
      $('confirm-no').removeEventListener('click', no);
      resolve(answer);
    }, { once: true });
  });
}

async function act(question, path) {
  token = $('token').value.trim();
  if (token === '') {
    setText($('action-result'), 'Enter the token first.');
    $('token').focus();
    return;
  }
  if (!await confirmed(question)) return;
  try {
    const response = await fetch(path, { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
    setText($('action-result'), (await response.text()).trim());
  } catch {
    setText($('action-result'), 'Nobody answers.');
  }
  askWorkers();
}

// --- Live updates

async function catchUp() {
  try {
    const [history, overview] = await Promise.all([fetch('api/history'), fetch('api/overview')]);
    if (history.ok) points = (await history.json()).points;
    if (overview.ok && !view.paused) show(await overview.json());
    if (!view.paused) askWorkers();
  } catch {
    unreachable();
  }
}

function unreachable() {
  showLife('unreachable');
  showNotices(['Nobody answers: the program has ended, or the way to it is cut. What is shown is how it was last.']);
}

function follow() {
  source?.close();
  source = new EventSource('api/live');
  source.addEventListener('message', (message) => {
    if (view.paused) return;
    show(JSON.parse(message.data));
    askWorkers();
  });
  source.addEventListener('open', catchUp);
  source.addEventListener('error', () => {
    if (view.paused) return;
    // Refused for good, as where too many watch already: ask now and then instead.
    if (source.readyState === EventSource.CLOSED) {
      catchUp();
      setTimeout(() => { if (!view.paused) follow(); }, 10 * intervalMs);
    } else {
      unreachable();
    }
  });
}

function pause(paused) {
  view.paused = paused;
  const button = $('pause');
  button.setAttribute('aria-pressed', String(paused));
  setText(button, paused ? 'Resume updates' : 'Pause updates');
  announce(paused ? 'Updates are paused.' : 'Updates go on.');
  if (paused) source?.close();
  else follow();
}

function begin() {
  $('pause').addEventListener('click', () => pause(!view.paused));
  $('before').addEventListener('click', (event) => turn(event.currentTarget, -PAGE));
  $('after').addEventListener('click', (event) => turn(event.currentTarget, PAGE));
  $('state').addEventListener('change', (event) => { view.state = event.target.value; view.offset = 0; askWorkers(); });
  $('find').addEventListener('input', (event) => { view.find = event.target.value; view.offset = 0; askWorkers(); });
  $('sort').append(element('option', 'as they were added', { value: '' }));
  for (const head of document.querySelectorAll('th[data-sort]')) {
    const name = head.dataset.sort;
    const falls = !['peer', 'state'].includes(name);
    $('sort').append(element('option', head.textContent, { value: name }));
    head.firstElementChild.addEventListener('click', () => sortBy(name, view.sort === name ? !view.desc : falls));
  }
  $('sort').addEventListener('change', (event) => sortBy(event.target.value, !['', 'peer', 'state'].includes(event.target.value)));
  $('drain').addEventListener('click', () => act('Drain the pool? It takes no new task, finishes those it has, and ends.', 'api/drain'));
  for (const form of document.forms) form.addEventListener('submit', (event) => event.preventDefault());
  $('points-details').addEventListener('toggle', showPoints);
  new ResizeObserver(showPlots).observe($('rate-plot'));
  follow();
}

begin();
