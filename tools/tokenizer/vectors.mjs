// Writes what the reference makes of the corpus with published tokenizers:
//
//   node vectors.mjs corpus.json.gz OUT NAME=tokenizer.json ...
//
// OUT/NAME.json is a copy of the tokenizer, OUT/NAME.vectors.json.gz the results,
// in the form that vectors.py writes, too.
import { createRequire } from "node:module";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";

const { Tokenizer } = createRequire(import.meta.url)("@anush008/tokenizers");

// random is a small generator, so that every run asks the same.
let state = 20240501;
function random(n) {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
}

const [corpusPath, out, ...pairs] = process.argv.slice(2);
const corpus = JSON.parse(gunzipSync(readFileSync(corpusPath)));
for (const pair of pairs) {
  const [name, path] = [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)];
  const tok = Tokenizer.fromString(readFileSync(path, "utf8"));
  const result = { encode: [], decode: [] };
  const texts = [];
  for (let i = 0; i < corpus.length; i++) {
    const plain = (await tok.encode(corpus[i], null, { addSpecialTokens: false })).getIds();
    const special = (await tok.encode(corpus[i], null, { addSpecialTokens: true })).getIds();
    result.encode.push([i, plain, String(plain) === String(special) ? null : special]);
    if (i % 4 === 0) texts.push(special);
  }
  const size = tok.getVocabSize(true);
  for (let i = 0; i < 2000; i++) {
    texts.push(Array.from({ length: random(16) }, () => random(i % 2 ? size : 512)));
  }
  for (const ids of texts) {
    result.decode.push([ids, await tok.decode(ids, false), await tok.decode(ids, true)]);
  }
  copyFileSync(path, `${out}/${name}.json`);
  writeFileSync(`${out}/${name}.vectors.json.gz`, gzipSync(JSON.stringify(result)));
  console.log(`${name}: ${result.encode.length} texts, ${result.decode.length} id sequences`);
}
