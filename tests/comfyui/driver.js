// A headless Chromium with ComfyUI's page in it. Reads one JSON command a line, {"do": name, ...arguments}, and answers
// each with one line: {"value": ...} or {"error": ...}.
"use strict";

const readline = require("node:readline");
const { chromium } = require("playwright-core");

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const ENDS = ["execution_success", "execution_error", "execution_interrupted"];

let browser, page;
let complaints = []; // what the page's scripts threw since the last drop

const commands = {
  async open({ executable, url }) {
    browser = await chromium.launch({ executablePath: executable, args: FLAGS, chromiumSandbox: false });
    page = await browser.newPage({ viewport: { width: 2400, height: 1400 } });
    page.setDefaultTimeout(30000);
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(url);
    await page.waitForFunction(() => window.app?.graph && !document.querySelector(".p-blockui-mask"), null, {
      timeout: 120000,
    });
  },

  async evaluate({ code }) {
    return page.evaluate(code);
  },

  // As a user drops a file; resolves once its nodes are there. The graph of before is known by its object.
  async drop({ name, text }) {
    complaints = [];
    // A dialog that an earlier test left open would take the clicks that follow.
    if (await page.getByRole("dialog").first().isVisible()) await page.keyboard.press("Escape");
    const wanted = JSON.parse(text).nodes.map((node) => String(node.id)).sort();
    await page.evaluate(() => app.graph.nodes.forEach((node) => (node.was_there_before = true)));
    await page.evaluate(
      ({ name, text }) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([text], name, { type: "application/json" }));
        const canvas = document.querySelector("#graph-canvas");
        for (const type of ["dragenter", "dragover", "drop"]) {
          const at = { clientX: innerWidth / 2, clientY: innerHeight / 2 };
          canvas.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer, ...at }));
        }
      },
      { name, text },
    );
    await page.waitForFunction((wanted) => {
      const nodes = app.graph.nodes;
      const ids = nodes.map((node) => String(node.id)).sort();
      return !nodes.some((node) => node.was_there_before) && JSON.stringify(ids) === JSON.stringify(wanted);
    }, wanted);
  },

  // What is wrong with the graph on the canvas: node types that nobody registered, model files that are not there, whatever
  // else the overlay complains of, and what was thrown.
  async problems() {
    await page.waitForTimeout(1000); // the overlay of the graph before fades away, one of this graph stays
    const unknown = await page.evaluate(() =>
      app.graph.nodes.map((node) => node.type).filter((type) => !(type in LiteGraph.registered_node_types)),
    );
    const told = [];
    if (await page.locator("[data-testid=error-overlay]").isVisible()) {
      await page.click("[data-testid=error-overlay-see-errors]");
      const text = await page.locator("[data-testid=properties-panel]").innerText();
      const models = text.includes("Missing Models") ? text.match(/^\S+\.(safetensors|sft|ckpt|pth?|onnx)$/gm) : [];
      const number = Number(text.match(/^(\d+)\s+Errors? detected/m)[1]);
      told.push(...(models.length === number ? models.map((name) => `missing model ${name}`) : [text]));
      await closePanel();
    }
    return [...unknown.map((type) => `no node ${type}`), ...told, ...complaints];
  },

  async prompt() {
    return page.evaluate(async () => {
      const { workflow, output } = await app.graphToPrompt();
      return { workflow, output };
    });
  },

  // values: {node id: {widget: value}}; cut: [[node id, input], ...] to disconnect.
  async change({ values, cut }) {
    await page.evaluate(
      ({ values, cut }) => {
        const find = (id) => app.graph.getNodeById(id) ?? app.graph.getNodeById(Number(id));
        for (const [id, widgets] of Object.entries(values)) {
          for (const [name, value] of Object.entries(widgets)) {
            const widget = find(id).widgets.find((widget) => widget.name === name);
            if (!widget) throw new Error(`${find(id).type} ${id} has no widget ${name}.`);
            widget.value = value;
            widget.callback?.(value);
          }
        }
        for (const [id, name] of cut) find(id).disconnectInput(find(id).findInputSlot(name));
      },
      { values, cut },
    );
  },

  // Press Run and wait; {event, detail}, where event is "rejected" if ComfyUI's own check refuses.
  async run({ timeout }) {
    await page.evaluate((ends) => {
      window.ended = null;
      const listener = ({ type, detail }) => (window.ended ??= { event: type, detail });
      for (const type of ends) app.api.addEventListener(type, listener, { once: true });
    }, ENDS);
    const [response] = await Promise.all([
      page.waitForResponse((response) => /\/prompt$/.test(response.url()) && response.request().method() === "POST"),
      page.click("[data-testid=queue-button]"),
    ]);
    if (!response.ok()) return { event: "rejected", detail: await response.json() };
    await page.waitForFunction(() => window.ended, null, { timeout: timeout * 1000 });
    return page.evaluate(() => window.ended);
  },

  // Show the whole graph with its pictures and videos loaded.
  async show() {
    await closePanel();
    await page.evaluate(() => {
      const boxes = [...app.graph.nodes, ...app.graph.groups].map((item) => item.boundingRect ?? item._bounding);
      const [left, top] = [0, 1].map((axis) => Math.min(...boxes.map((box) => box[axis])));
      const [right, bottom] = [0, 1].map((axis) => Math.max(...boxes.map((box) => box[axis] + box[axis + 2])));
      // ComfyUI's own "fit view" leaves a quarter of the width empty.
      app.canvas.ds.fitToBounds([left, top, right - left, bottom - top], { zoom: 0.92 });
      app.canvas.setDirty(true, true);
    });
    await page.waitForFunction(() => [...document.querySelectorAll("video")].every((video) => video.readyState >= 2));
    await page.waitForTimeout(1000);
    return page.evaluate(() => document.querySelectorAll("video").length);
  },

  // Open Templates; {name: width of its thumbnail} of those of one pack.
  async templates({ pack }) {
    await page.evaluate(() => app.extensionManager.command.execute("Comfy.BrowseTemplates"));
    await page.getByRole("dialog").getByText(pack).first().click();
    const cards = page.locator("[role=dialog] [data-testid^=template-workflow-]");
    await cards.first().waitFor();
    // A thumbnail is fetched only once its card is in view.
    for (const card of await cards.all()) {
      await card.scrollIntoViewIfNeeded();
      const element = await card.elementHandle();
      await page.waitForFunction((element) => element.querySelector("img")?.naturalWidth > 0, element);
    }
    return cards.evaluateAll((cards) =>
      Object.fromEntries(
        cards.map((card) => [
          card.dataset.testid.slice("template-workflow-".length),
          card.querySelector("img")?.naturalWidth ?? 0,
        ]),
      ),
    );
  },

  // With Templates open: choose one; resolves once it is on the canvas.
  async choose({ template }) {
    await page.evaluate(() => app.graph.nodes.forEach((node) => (node.was_there_before = true)));
    await page.click(`[role=dialog] [data-testid="template-workflow-${template}"]`);
    await page.waitForFunction(
      () => app.graph.nodes.length && !app.graph.nodes.some((node) => node.was_there_before),
    );
    await page.getByRole("dialog").waitFor({ state: "hidden" });
  },

  // Open the help page of a node on the canvas; its text.
  async help({ type }) {
    await page.evaluate((type) => {
      const node = app.graph.nodes.find((node) => node.type === type);
      app.canvas.deselectAll();
      app.canvas.centerOnNode(node);
      app.canvas.selectNode(node);
    }, type);
    await page.click("[data-testid=info-button]");
    const content = page.locator(".node-help-content");
    await content.locator("h1, h2").first().waitFor();
    return content.innerText();
  },

  async screenshot({ path }) {
    await page.screenshot({ path });
  },

  async close() {
    await browser?.close();
  },
};

async function closePanel() {
  const panel = page.locator("[data-testid=properties-panel]");
  if (await panel.isVisible()) {
    await page.evaluate(() => app.extensionManager.setting.set("Comfy.RightSidePanel.IsOpen", false));
    await panel.waitFor({ state: "hidden" });
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer;
    const { do: command, ...options } = JSON.parse(line);
    try {
      answer = { value: (await commands[command](options)) ?? null };
    } catch (error) {
      answer = { error: String(error.stack ?? error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
})();
