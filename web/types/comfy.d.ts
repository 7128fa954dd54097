/**
 * The part of ComfyUI's frontend that this pack relies on, as seen in 1.47.12.
 *
 * Nothing here belongs to us. ComfyUI serves its own modules two folders above ours.
 */

/** What a node showed when it finished: its `ui` output. */
type NodeOutput = Record<string, unknown>;

interface Widget {
  name: string;
  value?: unknown;
  type?: string;
  /** Called when a user gives the widget another value. */
  callback?: (...values: unknown[]) => unknown;
  /** `false` keeps the value out of a saved workflow. */
  serialize?: boolean;
}

interface DOMWidgetOptions {
  /** `false` keeps the value out of the prompt. */
  serialize?: boolean;
  hideOnZoom?: boolean;
  /** Around the element, in the graph's own pixels. */
  margin?: number;
  /** In the graph's own pixels. */
  getMinHeight?: () => number;
  getMaxHeight?: () => number;
}

interface GraphNode {
  id: number | string;
  type?: string;
  title?: string;
  /** The pictures that the node shows. */
  imgs?: HTMLImageElement[];
  imageIndex?: number | null;
  /** Only nodes that take files have it. */
  onDragDrop?: unknown;
  graph?: Graph | null;
  /** 2 is muted, 4 is bypassed. */
  mode?: number;
  /** The graph inside a node that stands for one. */
  subgraph?: Graph;
  onConfigure?: (this: GraphNode, ...values: unknown[]) => unknown;
  inputs?: { name: string }[];
  /** The node that a link of an input comes from; nothing where that is the edge of a subgraph. */
  getInputNode?: (slot: number) => GraphNode | null | undefined;
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
  /** Of a subgraph, as locators begin with it. */
  id?: string;
  nodes?: GraphNode[];
  getNodeById(id: string): GraphNode | null | undefined;
}

interface RootGraph extends Graph {
  subgraphs?: Map<string, Graph>;
}

interface Command {
  id: string;
  label: string;
  icon?: string;
  function: () => unknown;
}

interface MenuItem {
  content: string;
  callback: () => unknown;
}

interface Setting {
  id: string;
  name: string;
  /** Groups of the settings dialog, outermost first. */
  category?: string[];
  tooltip?: string;
  type: "boolean" | "text" | ((name?: string) => HTMLElement);
  defaultValue: unknown;
  /** Called with the value at registration, too. */
  onChange?: (value: unknown, old?: unknown) => void;
}

interface SidebarTab {
  id: string;
  icon: string;
  title: string;
  tooltip?: string;
  label?: string;
  type: "custom";
  /** May be called again on the same element. */
  render(element: HTMLElement): void;
  destroy?(): void;
}

interface Extension {
  name: string;
  commands?: Command[];
  menuCommands?: { path: string[]; commands: string[] }[];
  settings?: Setting[];
  setup?(): void | Promise<void>;
  nodeCreated?(node: GraphNode): void;
  afterConfigureGraph?(missing: unknown): void;
  getNodeMenuItems?(node: GraphNode): (MenuItem | null)[];
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

interface ExtensionManager {
  toast: { add(message: ToastMessage): void };
  setting: { get(id: string): unknown; set(id: string, value: unknown): Promise<void> };
  command: { execute(id: string): Promise<void> };
  dialog: {
    prompt(options: { title: string; message: string }): Promise<string | null>;
    confirm(options: { title: string; message: string }): Promise<boolean | null>;
  };
  registerSidebarTab(tab: SidebarTab): void;
  getSidebarTabs?(): SidebarTab[];
  sidebarTab?: { activeSidebarTabId: string | null };
}

interface App {
  rootGraph: RootGraph;
  /** The node under what is being dragged, on the classic canvas. */
  dragOverNode?: GraphNode | null;
  canvas?: {
    graph?: Graph | null;
    selected_nodes?: Record<string, GraphNode>;
    selectedItems?: Set<unknown>;
  };
  registerExtension(extension: Extension): void;
  extensionManager: ExtensionManager;
}

interface Api {
  clientId?: string;
  apiURL(route: string): string;
  fetchApi(route: string, init?: RequestInit): Promise<Response>;
  addEventListener(type: "executed", listener: (event: CustomEvent<Executed>) => void): void;
  addEventListener(type: string, listener: (event: CustomEvent<unknown>) => void): void;
}

/** Where the two modules below take what they export. */
declare var comfyAPI: { app?: { app: App }; api?: { api: Api } } | undefined;

declare module "*/scripts/app.js" {
  export const app: App;
}

declare module "*/scripts/api.js" {
  export const api: Api;
}
