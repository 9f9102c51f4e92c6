// @openland/foundationdb (on foundationdb 1.1.1, API 620), doing what its documentation shows: directories, encodings, nested
// transactions, counters, watches.
// usage: node layer_openland.js CLUSTER
'use strict';
const assert = require('assert');
const { Database, inTx, inReadOnlyTx, encoders } = require('@openland/foundationdb');
const { createNamedContext } = require('@openland/context');

const root = createNamedContext('test');
const times = (n, make) => Promise.all(Array.from({ length: n }, (_, i) => make(i)));

async function main() {
  const db = await Database.open({ layers: [], clusterFile: process.argv[2] });
  const directory = await inTx(root, (ctx) => db.directories.createOrOpen(ctx, ['openland', `${process.pid}`]));
  const users = directory.withKeyEncoding(encoders.tuple).withValueEncoding(encoders.json);
  const counter = directory.subspace(Buffer.from('count')).withKeyEncoding(encoders.tuple).withValueEncoding(encoders.int32LE);
  const read = (key) => inReadOnlyTx(root, (ctx) => users.get(ctx, key));

  await inTx(root, async (ctx) => {
    for (let i = 0; i < 10; i++) users.set(ctx, ['user', i], { name: `u${i}` });
    await inTx(ctx, async (inner) => users.set(inner, ['user', 10], { name: 'inner' }));
  });
  assert.deepStrictEqual(await read(['user', 10]), { name: 'inner' });
  assert.strictEqual(await read(['user', 11]), null);
  const some = await inTx(root, (ctx) => users.range(ctx, ['user'], { limit: 3, after: ['user', 4] }));
  assert.deepStrictEqual(some.map((pair) => pair.value.name), ['u5', 'u6', 'u7']);
  const last = await inTx(root, (ctx) => users.range(ctx, ['user'], { limit: 2, reverse: true }));
  assert.deepStrictEqual(last.map((pair) => pair.value.name), ['inner', 'u9']);

  await times(20, () => inTx(root, async (ctx) => counter.add(ctx, ['n'], 1)));
  assert.strictEqual(await inTx(root, (ctx) => counter.get(ctx, ['n'])), 20);

  const watch = await inTx(root, async (ctx) => users.watch(ctx, ['user', 1]));
  await inTx(root, async (ctx) => users.set(ctx, ['user', 1], { name: 'x' }));
  await watch.promise;

  await times(20, () => inTx(root, async (ctx) => {
    const user = await users.get(ctx, ['user', 1]);
    users.set(ctx, ['user', 1], { name: user.name + 'x' });
  }));
  assert.strictEqual((await read(['user', 1])).name, 'x'.repeat(21));

  await assert.rejects(inTx(root, async (ctx) => { users.set(ctx, ['user', 2], { name: 'never' }); throw new Error('no'); }));
  assert.deepStrictEqual(await read(['user', 2]), { name: 'u2' });
  const again = await inTx(root, (ctx) => db.directories.createOrOpen(ctx, ['openland', `${process.pid}`]));
  assert(again.prefix.equals(directory.prefix));
  await inTx(root, async (ctx) => users.clearPrefixed(ctx, ['user']));
  assert.deepStrictEqual(await inTx(root, (ctx) => users.range(ctx, ['user'])), []);
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
