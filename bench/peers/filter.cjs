// Filters messages with a JavaScript library, pass after pass: node filter.cjs LIBRARY LINES WORDS SECONDS.
// The protocol is that of program.py: texts are parted by NUL, seconds are processor time of the whole process.
'use strict';

const { readFileSync } = require('node:fs');

// Both as their manuals set them up, with no words but ours.
const LIBRARIES = {
  'mint-filter': (words) => {
    const { Mint } = require('mint-filter');
    const filter = new Mint(words);
    return (line) => filter.filter(line, { replace: false }).words.length > 0;
  },
  'sensitive-word-tool': (words) => {
    const { SensitiveWordTool } = require('sensitive-word-tool');
    const tool = new SensitiveWordTool({ wordList: words });
    return (line) => tool.match(line).length > 0;
  },
};

function read(file) {
  return readFileSync(file, 'utf8').split('\0');
}

function spent() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function run(lines, hit, seconds) {
  const began = spent();
  let messages = 0;
  let found = 0;
  let took = 0;
  while (messages === 0 || took < seconds) {
    found = lines.filter(hit).length;
    messages += lines.length;
    took = spent() - began;
  }
  return { messages, seconds: took, found };
}

const [library, linesFile, wordsFile, seconds] = process.argv.slice(2);
const lines = read(linesFile);
const hit = LIBRARIES[library](read(wordsFile));
run(lines, hit, Number(seconds)); // what the compiler makes of it is only known after a while
console.log(JSON.stringify(run(lines, hit, Number(seconds))));
