// Builds a workflow in ComfyUI's page with the frontend's own functions, so that it is the frontend that serialises it.
// Evaluated as a whole; gives an object of functions. A node: {id, type, title, is_muted, models, values, links}, where
// links are {input: [node id, output]}. A box: {title, colour, bounding: [x, y, width, height]}.
({
  // Make the nodes and connect them; gives the size that each takes at least, by id.
  async build({ id, nodes }) {
    await app.loadGraphData({ id, version: 0.4, last_node_id: 0, last_link_id: 0, nodes: [], links: [], groups: [] });
    for (const spec of nodes) {
      const node = LiteGraph.createNode(spec.type);
      if (!node) throw new Error(`There is no node ${spec.type}.`);
      app.graph.add(node);
      if (String(node.id) !== String(spec.id)) throw new Error(`${spec.type} became node ${node.id}, not ${spec.id}.`);
      if (spec.title) node.title = spec.title;
      if (spec.is_muted) node.mode = 2;
      if (spec.models.length) node.properties.models = spec.models;
      for (const [name, value] of Object.entries(spec.values)) {
        const widget = node.widgets?.find((widget) => widget.name === name);
        if (!widget) throw new Error(`${spec.type} has no widget ${name}.`);
        widget.value = value;
      }
    }
    for (const spec of nodes) {
      const node = app.graph.getNodeById(spec.id);
      for (const [name, [origin_id, output]] of Object.entries(spec.links)) {
        const origin = app.graph.getNodeById(origin_id);
        const from = origin.findOutputSlot(output);
        const to = node.findInputSlot(name);
        if (from < 0) throw new Error(`${origin.type} has no output ${output}.`);
        if (to < 0 || !origin.connect(from, node, to)) throw new Error(`${spec.type}.${name} took no ${output}.`);
      }
    }
    return Object.fromEntries(nodes.map(({ id }) => [id, [...app.graph.getNodeById(id).computeSize()]]));
  },

  // Put the nodes in their places; gives both formats.
  async place({ places, boxes }) {
    for (const [id, [x, y, width, height]] of Object.entries(places)) {
      const node = app.graph.getNodeById(id);
      node.pos = [x, y];
      node.setSize([width, height]);
    }
    for (const { title, colour, bounding } of boxes) {
      const group = new LiteGraph.LGraphGroup(title);
      group.color = colour;
      group.pos = bounding.slice(0, 2);
      group.size = bounding.slice(2);
      app.graph.add(group);
    }
    app.canvas.ds.scale = 0.7;
    app.canvas.ds.offset = [40, 100];
    const { workflow, output } = await app.graphToPrompt();
    return { workflow, output };
  },

  // Open a workflow as a user does, and read it back.
  async reopen(workflow) {
    await app.loadGraphData(workflow);
    const { workflow: again, output } = await app.graphToPrompt();
    return { workflow: again, output };
  },
})
