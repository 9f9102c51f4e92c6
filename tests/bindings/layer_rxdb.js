// rxdb's foundationdb storage, doing what its documentation shows: a collection with an index, queries, changes, a reopening.
// usage: node layer_rxdb.js CLUSTER
'use strict';
const assert = require('assert');
const { createRxDatabase } = require('rxdb');
const { getRxStorageFoundationDB } = require('rxdb/plugins/storage-foundationdb');

const schema = {
  version: 0,
  primaryKey: 'id',
  type: 'object',
  properties: {
    id: { type: 'string', maxLength: 100 },
    name: { type: 'string', maxLength: 100 },
    age: { type: 'number', minimum: 0, maximum: 200, multipleOf: 1 },
  },
  required: ['id', 'name', 'age'],
  indexes: ['age'],
};
const name = `heroes${process.pid}`;

async function open() {
  const storage = getRxStorageFoundationDB({ apiVersion: 630, clusterFile: process.argv[2] });
  const db = await createRxDatabase({ name, storage, multiInstance: false });
  await db.addCollections({ heroes: { schema } });
  return db;
}

async function older(db, age) {
  const found = await db.heroes.find({ selector: { age: { $gt: age } }, sort: [{ age: 'asc' }] }).exec();
  return found.map((hero) => hero.name);
}

async function main() {
  let db = await open();
  const heroes = Array.from({ length: 120 }, (_, i) => ({ id: `h${i}`, name: `hero ${i}`, age: i }));
  assert.strictEqual((await db.heroes.bulkInsert(heroes)).success.length, 120);
  assert.deepStrictEqual(await older(db, 117), ['hero 118', 'hero 119']);
  const seen = [];
  const subscription = db.heroes.findOne('h7').$.subscribe((hero) => seen.push(hero && hero.age));
  const hero = await db.heroes.findOne('h7').exec();
  await hero.patch({ age: 150 });
  assert.deepStrictEqual(await older(db, 118), ['hero 119', 'hero 7']);
  await (await db.heroes.findOne('h0').exec()).remove();
  assert.strictEqual((await db.heroes.find().exec()).length, 119);
  assert.strictEqual((await db.heroes.bulkInsert([heroes[1]])).error.length, 1);
  assert(seen.includes(150), `the subscription saw ${seen}`);
  subscription.unsubscribe();
  await db.close();

  db = await open();
  assert.strictEqual((await db.heroes.find().exec()).length, 119);
  assert.deepStrictEqual(await older(db, 118), ['hero 119', 'hero 7']);
  await db.remove();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
