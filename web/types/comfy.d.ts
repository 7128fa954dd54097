/**
 * The part of ComfyUI's frontend that this pack relies on, as seen in 1.47.12.
 *
 * Nothing here belongs to us. ComfyUI serves its own modules two folders above ours.
 */

/** What a node showed when it finished: its `ui` output. */
type NodeOutput = Record<string, unknown>;

interface Widget {
  name: string;
  /** Called when a user gives the widget another value. */
  callback?: (...values: unknown[]) => unknown;
  /** `false` keeps the value out of a saved workflow. */
  serialize?: boolean;
}

interface DOMWidgetOptions {
  /** `false` keeps the value out of the prompt. */
  serialize?: boolean;
  hideOnZoom?: boolean;
  /** In the graph's own pixels. */
  getMinHeight?: () => number;
}

interface GraphNode {
  /** The id of the node's class, such as `ProvenanceReproduce`. */
  comfyClass?: string;
  size: ArrayLike<number>;
  widgets?: Widget[];
  setSize(size: [width: number, height: number]): void;
  setDirtyCanvas(foreground: boolean, background?: boolean): void;
  addDOMWidget(
    name: string,
    type: string,
    element: HTMLElement,
    options?: DOMWidgetOptions,
  ): Widget;
  onExecuted?: (this: GraphNode, output: NodeOutput) => void;
  onExecutionStart?: (this: GraphNode) => void;
}

interface Graph {
  getNodeById(id: string): GraphNode | null | undefined;
}

interface RootGraph extends Graph {
  subgraphs?: Map<string, Graph>;
}

interface Extension {
  name: string;
  setup?(): void;
  nodeCreated?(node: GraphNode): void;
  /** Called with the outputs by locator: `id`, or `subgraph:id`, when a tab is shown again. */
  onNodeOutputsUpdated?(outputs: Record<string, NodeOutput>): void;
}

interface ToastMessage {
  severity: "success" | "info" | "warn" | "error";
  summary: string;
  detail?: string;
  /** In milliseconds; without it the message stays. */
  life?: number;
}

/** The detail of the event `executed`. */
interface Executed {
  node: string;
  /** The node on the canvas, where `node` is one that it expanded into. */
  display_node?: string;
  prompt_id: string;
  output: NodeOutput | null;
}

declare module "*/scripts/app.js" {
  export const app: {
    rootGraph: RootGraph;
    registerExtension(extension: Extension): void;
    extensionManager: { toast: { add(message: ToastMessage): void } };
  };
}

declare module "*/scripts/api.js" {
  export const api: {
    addEventListener(type: "executed", listener: (event: CustomEvent<Executed>) => void): void;
  };
}
