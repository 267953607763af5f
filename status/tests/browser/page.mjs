// Looks at the page as people do: with a mouse, with a keyboard, on a phone, in the dark.
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const about = JSON.parse(process.argv[2]);
assert(existsSync(about.playwright), `no playwright-core at ${about.playwright}: bash ci.sh status installs it`);
const { chromium } = await import(pathToFileURL(about.playwright));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// Has something happen in the pool. Returns its figures.
async function happen(what) {
  console.log(`DO ${what}`);
  return JSON.parse((await lines.next()).value);
}

const whole = new Intl.NumberFormat('en');
const wrong = [];

// A page whose errors, and requests to anywhere else, are mistakes.
async function open(browser, url, options = {}, expected = []) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const note = (text) => { if (!expected.some((part) => text.includes(part))) wrong.push(`${url}: ${text}`); };
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) note(message.text()); });
  page.on('pageerror', (error) => note(String(error)));
  page.on('request', (request) => { if (!request.url().startsWith(new URL(url).origin)) note(`asks ${request.url()}`); });
  await page.goto(url);
  return page;
}

const card = (page, name) => page.locator(`#card-${name} dd`);

async function becomes(locator, text, within = 5000) {
  const until = Date.now() + within;
  let last;
  while (Date.now() < until) {
    last = await locator.textContent();
    if (last === text) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(last, text);
}

async function checkFigures(page) {
  const { tasks, workers, streams } = await happen('figures');
  const failed = tasks.failed + tasks.exhausted + tasks.bounced + tasks.expired + tasks.aborted;
  await becomes(card(page, 'done'), whole.format(tasks.done));
  await becomes(card(page, 'failed'), whole.format(failed));
  await becomes(card(page, 'in-flight'), whole.format(tasks.in_flight));
  await becomes(card(page, 'workers-up'), `${tasks.workers_up} of ${tasks.workers}`);
  await becomes(card(page, 'streams'), whole.format(streams));
  for (const worker of workers) {
    const row = page.locator('#workers tr', { has: page.getByText(worker.peer, { exact: true }) });
    await becomes(row.locator('[data-label="Done"] span').first(), whole.format(worker.stats.done));
    await becomes(row.locator('[data-label="Failed"] span').first(), whole.format(worker.stats.failed));
    assert.match(await row.locator('[data-label="State"]').textContent(), new RegExp(`^${worker.stats.state}`));
    assert.match(await row.locator('[data-label="In flight"]').textContent(), new RegExp(`^${worker.stats.in_flight} of ${worker.stats.window}$`));
  }
  const shown = await page.locator('#workers svg.bars').first();
  assert.match(await shown.getAttribute('aria-label'), /^Service times: [\d,]+ up to /);
  assert(await shown.locator('rect').count() > 0, 'a bar for each doubling');
  const away = page.locator('#workers tr', { hasText: 'tcp' }).or(page.locator('#workers tr', { hasText: '127.0.0.1:1' })).first();
  assert.match(await away.textContent(), /tried again in|being connected to/);
  return tasks;
}

async function checkLive(page, before) {
  await happen('work');
  const after = await happen('figures');
  assert.equal(after.tasks.done + after.tasks.failed, before.done + before.failed + 100);
  await becomes(card(page, 'done'), whole.format(after.tasks.done), 3000);
  return after.tasks;
}

async function checkPause(page, before) {
  const button = page.getByRole('button', { name: 'Pause updates' });
  await button.click();
  assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'true');
  await becomes(page.locator('#announce'), 'Updates are paused.');
  const held = await page.locator('main').innerText();
  await happen('work');
  await page.waitForTimeout(1000);
  assert.equal(await page.locator('main').innerText(), held, 'nothing moves while it is paused');
  assert.equal(await card(page, 'done').textContent(), whole.format(before.done));
  await page.getByRole('button', { name: 'Resume updates' }).click();
  const after = await happen('figures');
  await becomes(card(page, 'done'), whole.format(after.tasks.done), 3000);
}

// Everything that can be used is reached by Tab, in the order of the page, and is seen to be.
async function checkTab(page) {
  await page.evaluate(() => {
    // From the very beginning, wherever the focus was.
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute('tabindex');
    window.wanted = [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
      .filter((it) => it.checkVisibility() && !it.closest('dialog') && !it.closest('#workers, #queues'));
    window.wanted.forEach((it, at) => { it.dataset.at = at; });
  });
  const count = await page.evaluate(() => window.wanted.length);
  assert(count > 20, `only ${count} controls`);
  const reached = new Set();
  let before = -1;
  for (let step = 0; step < count + 40 && reached.size < count; step += 1) {
    await page.keyboard.press('Tab');
    const focus = await page.evaluate(() => {
      const it = document.activeElement;
      const style = getComputedStyle(it);
      const box = it.getBoundingClientRect();
      return { at: it.dataset.at, outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2, size: box.width * box.height, tag: it.outerHTML.slice(0, 80) };
    });
    if (focus.at === undefined) continue;
    assert(focus.outline && focus.size > 0, `the focus is not seen at ${focus.tag}`);
    assert(Number(focus.at) > before, `out of order at ${focus.tag}`);
    before = Number(focus.at);
    reached.add(focus.at);
  }
  assert.equal(reached.size, count, 'Tab reaches every control');
}

async function checkKeys(page) {
  // A button of a row keeps the focus, though rows are made anew with each update.
  const button = page.locator('#workers tr').nth(1).getByRole('button');
  await button.focus();
  const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label'));
  const name = await focused();
  assert.match(name, /^Remove /);
  await page.waitForTimeout(800);
  assert.equal(await focused(), name);
  await page.locator('#pause').focus();
  await page.keyboard.press('Space');
  assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'true');
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'false');
  await page.locator('th[data-sort="done"] button').focus();
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('th[data-sort="done"]').getAttribute('aria-sort'), 'descending');
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('th[data-sort="done"]').getAttribute('aria-sort'), 'ascending');
}

// What a screen reader is told.
async function checkNames(page) {
  const told = await page.locator('body').ariaSnapshot();
  for (const part of ['- banner:', '- navigation "Parts of this page":', '- main:', '- contentinfo:', '- search "Workers":',
    '- region "Now":', '- region "Workers":', 'img "Tasks a second: done, failed Now', 'img "Round trip of attempts:',
    'img "1 to 1000000000:', 'button "Pause updates"', '- heading "blocks" [level=1]']) {
    assert(told.includes(part), `no ${part} in\n${told}`);
  }
  const unnamed = await page.locator('button, input, select').evaluateAll((all) => all
    .filter((it) => !(it.textContent.trim() || it.labels?.length || it.getAttribute('aria-label'))).map((it) => it.outerHTML));
  assert.deepEqual(unnamed, []);
  assert.equal(await page.locator('[aria-live="polite"]').count(), 1);
}

// Text that is told from what it is on: 4.5 to 1.
async function checkContrast(page, what) {
  const weak = await page.evaluate(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const parse = (color) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const below = (it) => {
      for (let node = it; node; node = node.parentElement) {
        const color = parse(getComputedStyle(node).backgroundColor);
        if (color[3] === 255) return color;
      }
      return [255, 255, 255, 255];
    };
    const found = [];
    for (const it of document.querySelectorAll('body *')) {
      const own = [...it.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      if (!own || !it.checkVisibility() || it.closest('svg') || it.closest('noscript')) continue;
      const [a, b] = [light(parse(getComputedStyle(it).color)), light(below(it))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) found.push(`${contrast.toFixed(2)} ${it.outerHTML.slice(0, 90)}`);
    }
    return found;
  });
  assert.deepEqual(weak, [], `too little contrast, ${what}`);
}

async function checkNarrow(page, what) {
  const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert(wide[0] <= wide[1], `${what} scrolls sideways: ${wide}`);
  const cut = await page.evaluate(() => [...document.querySelectorAll('body *')]
    .filter((it) => it.checkVisibility() && !it.closest('.scroll table:not(.stack)') && !it.closest('.visually-hidden, .skip, svg'))
    .filter((it) => it.getBoundingClientRect().right > innerWidth + 1).map((it) => it.outerHTML.slice(0, 80)));
  assert.deepEqual(cut, [], what);
}

async function checkMarkup(page) {
  assert.equal(await page.title().then((title) => title.includes('owned')), false);
  const text = await page.locator('#failures').innerText();
  assert(text.includes(about.markup), 'a failure is shown as it is');
  assert.equal(await page.locator('#failures img, #failures script').count(), 0);
}

async function checkRange(page) {
  const text = await page.locator('#ranges p').innerText();
  assert.match(text, /^1 to 1000000000: [\d,]+ of 1,000,000,000 done \(79\.9 %\), 16 in flight, \d+ failed; all done up to \d+\.$/);
  assert(await page.locator('#ranges .strip rect.done').count() > 90);
  assert(await page.locator('#ranges .strip rect.flight').count() >= 1);
  assert(await page.locator('#ranges .strip rect.failed').count() >= 1);
}

async function checkActions(page) {
  const remove = page.locator('#workers tr', { hasText: '127.0.0.1:1' }).getByRole('button');
  await remove.click();
  await becomes(page.locator('#action-result'), 'Enter the token first.');
  await page.locator('#token').fill(about.token);
  await remove.click();
  await page.locator('#confirm').getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await happen('figures')).tasks.workers, 4, 'nothing is done without a yes');
  await page.locator('#workers tr', { hasText: '127.0.0.1:1' }).getByRole('button').click();
  await page.locator('#confirm').getByRole('button', { name: 'Yes' }).click();
  await becomes(page.locator('#action-result'), 'it is gone');
  assert.equal((await happen('figures')).tasks.workers, 3);
  await becomes(card(page, 'workers-up'), '3 of 3');
}

async function checkQueues(page) {
  const row = page.locator('#queues tr', { hasText: 'backfill' });
  assert.match(await row.textContent(), /^backfill \(paused\)/);
  await row.getByRole('button', { name: 'Resume queue backfill' }).click();
  await page.locator('#confirm').getByRole('button', { name: 'Yes' }).click();
  await becomes(page.locator('#action-result'), 'it goes on');
  const { queues } = await happen('figures');
  assert.equal(queues.find(({ name }) => name === 'backfill').stats.is_paused, false);
  await becomes(row.locator('[data-label="Queue"]'), 'backfill');
  const sent = queues.find(({ name }) => name === 'default').stats.sent;
  await becomes(page.locator('#queues tr').first().locator('[data-label="Sent"]'), whole.format(sent));
}

async function checkLarge(browser) {
  const began = Date.now();
  const page = await open(browser, about.large);
  await becomes(page.locator('#shown'), '1 to 50 of 10,000', 8000);
  console.log(`10,000 workers: first rows after ${Date.now() - began} ms`);
  assert.equal(await page.locator('#workers tr').count(), 50);
  await page.getByRole('button', { name: 'Next' }).click();
  await becomes(page.locator('#shown'), '51 to 100 of 10,000');
  await page.getByLabel('Find').fill('127.9.9.9:98');
  await becomes(page.locator('#shown'), '1 to 50 of 111 found, of 10,000');
  await page.getByLabel('Find').fill('in-process');
  await becomes(page.locator('#shown'), '1 to 1 of 1 found, of 10,000');
  await page.locator('#state').selectOption('up');
  await page.getByLabel('Find').fill('');
  await becomes(page.locator('#shown'), '1 to 1 of 1 found, of 10,000');
  await page.locator('#state').selectOption('');
  const sorted = Date.now();
  await page.locator('th[data-sort="peer"] button').click();
  await becomes(page.locator('#workers tr').first().locator('[data-label="Worker"]'), '127.9.9.9:1');
  console.log(`10,000 workers: sorted after ${Date.now() - sorted} ms`);
  const first = await page.locator('#age').textContent();
  await page.waitForFunction((text) => document.getElementById('age').textContent !== text, first, { timeout: 5000 });
  await page.screenshot({ path: join(about.out, 'large.png'), fullPage: true });
  await page.context().close();
}

async function checkHostile(browser) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(about.hostile);
  await page.waitForFunction(() => window.tried, null, { timeout: 20000 });
  const tried = await page.evaluate(() => window.tried);
  for (const name of ['read', 'read metrics', 'remove with the token', 'watch', 'load its script', 'look into the frame']) {
    assert.match(tried[name], /^refused/, `${name}: ${tried[name]}`);
  }
  const { tasks } = await happen('figures');
  assert.equal(tasks.workers, 3, 'nobody was removed, and the pool is not drained');
  // A name that leads here: the browser takes it for an origin of its own, and the server does not.
  const port = new URL(about.url).port;
  const rebound = await page.goto(`http://evil.example:${port}/api/overview`);
  assert.equal(rebound.status(), 421);
  assert(!(await rebound.text()).includes('"tasks"'));
  await context.close();
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--host-resolver-rules=MAP evil.example 127.0.0.1'],
});
try {
  const page = await open(browser, about.url, { colorScheme: 'light' }, ['ERR_INCOMPLETE_CHUNKED_ENCODING', '401']);
  let tasks = await checkFigures(page);
  tasks = await checkLive(page, tasks);
  await checkPause(page, tasks);
  await checkRange(page);
  await checkMarkup(page);
  await checkNames(page);
  await page.locator('summary').click();
  await page.waitForTimeout(1000);
  await page.screenshot({ path: join(about.out, 'light.png'), fullPage: true });
  await checkContrast(page, 'light');
  await checkTab(page);
  await checkKeys(page);
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.screenshot({ path: join(about.out, 'dark.png'), fullPage: true });
  await checkContrast(page, 'dark');
  for (const colorScheme of ['light', 'dark']) {
    const narrow = await open(browser, about.url, { viewport: { width: 400, height: 800 }, colorScheme });
    await becomes(narrow.locator('#shown'), '1 to 4 of 4');
    await narrow.waitForTimeout(600);
    await checkNarrow(narrow, `400 px, ${colorScheme}`);
    await checkContrast(narrow, `400 px, ${colorScheme}`);
    await narrow.screenshot({ path: join(about.out, `narrow-${colorScheme}.png`), fullPage: true });
    await checkTab(narrow);
    await narrow.context().close();
  }
  await checkActions(page);
  await checkQueues(page);
  await checkLarge(browser);
  await checkHostile(browser);
  await happen('stop');
  await becomes(page.locator('#life'), 'ended', 5000);
  assert.match(await page.locator('#notices').innerText(), /The pool has ended/);
  assert.deepEqual(wrong, [], 'errors in the console, or requests to elsewhere');
  console.log('the page does what it says');
} finally {
  await browser.close();
  process.stdin.destroy();
}
