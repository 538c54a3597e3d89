// The live page in a real browser, on two nodes: it renders, keeps up, shows a node that cannot be reached and the two
// agree again, and survives the death of a node. With a path it leaves a picture there.
//
//   node page.mjs MISO_SERVER CHROMIUM [PICTURE]

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { chromium } from 'playwright-core';

const [server, browserPath, picture] = process.argv.slice(2);
const children = [];

async function freePorts(count) {
  const sockets = await Promise.all(Array.from({ length: count }, async () => {
    const socket = createServer().listen(0, '127.0.0.1');
    await once(socket, 'listening');
    return socket;
  }));
  const ports = sockets.map((socket) => socket.address().port);
  await Promise.all(sockets.map((socket) => new Promise((done) => { socket.close(done); })));
  return ports;
}

function start(name, [port, http, peer], more = []) {
  const flags = ['--data-dir', 'none', '--mdns', 'no', '--node-name', name, '--node-timeout', '2s', '--port', port,
    '--http-port', http, '--peer-port', peer, ...more];
  const child = spawn(server, flags.map(String), { stdio: 'ignore' });
  children.push(child);
  return child;
}

async function until(what, done, patience = 20_000) {
  const end = Date.now() + patience;
  while (!(await done())) {
    assert(Date.now() < end, `waited in vain for ${what}`);
    await new Promise((next) => { setTimeout(next, 100); });
  }
}

async function run(port, ...words) {
  const socket = connect(port, '127.0.0.1');
  const text = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`).join('');
  socket.write(`*${words.length}\r\n${text}`);
  const [reply] = await once(socket, 'data');
  socket.destroy();
  assert(!reply.toString().startsWith('-'), reply.toString());
}

async function test() {
  const [a, b] = [await freePorts(3), await freePorts(3)];
  start('edge-1', a);
  const other = start('edge-2', b, ['--join', `127.0.0.1:${a[2]}`]);
  const answers = async (port) => {
    try { return (await fetch(`http://127.0.0.1:${port}/readyz`)).ok; } catch { return false; }
  };
  await until('the nodes', async () => (await answers(a[1])) && answers(b[1]));
  await run(b[0], 'GCOUNTER.ADD', 'cart', 'n', 1);

  const browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] });
  const page = await browser.newPage({ viewport: { width: 1200, height: 1100 } });
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
  await page.goto(`http://127.0.0.1:${a[1]}/`);
  const shows = (id, text) => until(`'${text}' in #${id}`, async () => (await page.innerText(`#${id}`)).includes(text));
  await shows('state', 'Live');
  await shows('node-rows', 'edge-2');

  // It keeps up, and by keyboard alone an object can be opened.
  for (let n = 0; n < 200; n += 1) await run(a[0], 'GCOUNTER.ADD', 'cart', 'n', 1);
  await shows('top-rows', 'cart');
  await page.focus('#top-rows button');
  await page.keyboard.press('Enter');
  await shows('object-rows', '201');
  await shows('object-rows', 'has all that this node wrote');
  await shows('spread', '/');
  if (picture) await page.screenshot({ path: picture, fullPage: true });

  // A node that hears nothing lacks what is written, until it hears again.
  other.kill('SIGSTOP');
  await run(a[0], 'GCOUNTER.ADD', 'cart', 'n', 5);
  await shows('object-rows', 'waits for');
  other.kill('SIGCONT');
  await shows('object-rows', 'has all that this node wrote');
  const there = await browser.newPage();
  await there.goto(`http://127.0.0.1:${b[1]}/`);
  await there.fill('#function', 'default');
  await there.fill('#object', 'cart');
  await there.click('#open button');
  await until('the value on the other node', async () => (await there.innerText('#object-rows')).includes('206'));
  await there.close();

  // A phone, a dark one: nothing is wider than the screen.
  await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
  await page.setViewportSize({ width: 390, height: 800 });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);

  other.kill('SIGKILL');
  await shows('node-rows', 'no link');
  await shows('state', 'Live');
  assert.deepEqual(errors, []);
  await browser.close();
}

try {
  await test();
  console.log('the page holds');
} finally {
  children.forEach((child) => child.kill('SIGKILL'));
}
