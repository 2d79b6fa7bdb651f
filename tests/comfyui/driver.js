// A headless Chromium with ComfyUI's page in it. Reads one JSON command a line, {"do": name, ...arguments}, and answers
// each with one line: {"value": ...} or {"error": ...}.
"use strict";

const readline = require("node:readline");
const { chromium } = require("playwright-core");

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let context, page;
const complaints = [];

const commands = {
  async open({ executable, profile, url }) {
    context = await chromium.launchPersistentContext(profile, {
      executablePath: executable,
      args: FLAGS,
      ignoreDefaultArgs: true,
      viewport: { width: 1600, height: 1000 },
    });
    page = context.pages()[0] ?? (await context.newPage());
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(url);
    await ready();
  },
  async evaluate({ code }) {
    return page.evaluate(code);
  },
  async screenshot({ path }) {
    await page.screenshot({ path });
  },
  async close() {
    await context?.close();
  },
};

async function ready() {
  await page.waitForFunction(() => window.app?.graph && !document.querySelector(".p-blockui-mask"), null, {
    timeout: 120000,
  });
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer;
    const { do: name, ...options } = JSON.parse(line);
    try {
      answer = { value: (await commands[name](options)) ?? null };
    } catch (error) {
      answer = { error: String(error.stack ?? error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
})();
