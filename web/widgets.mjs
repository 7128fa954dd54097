/** What this pack's widgets in nodes share. */

/**
 * Calls back when a user changes one of a node's widgets: what the node shows was found for others.
 *
 * @param {GraphNode} node With the widgets that it has by now.
 * @param {() => void} onChange
 */
export function watchWidgets(node, onChange) {
  for (const widget of node.widgets ?? []) {
    const { callback } = widget;
    widget.callback = function (...values) {
      onChange();
      return callback?.apply(this, values);
    };
  }
}
