import { encoded } from "./json.js";
import { type Transport, isObject, notOurs } from "./transport.js";

/** What tells the server about a visitor: by requests that are answered, and by beacons, which outlive the page. */
export class Line {
  readonly #transport: Transport;
  readonly #url: string;
  readonly #refused: () => void;

  /** `refused` is called when the server says that it does not track this visitor. */
  constructor(transport: Transport, url: string, refused: () => void) {
    this.#transport = transport;
    this.#url = url.replace(/\/+$/, "");
    this.#refused = refused;
  }

  /** Send it once, and return the answer; with `keepalive` it goes out even if the page is closed meanwhile. */
  async ask(path: string, body: object, keepalive = false): Promise<Record<string, unknown>> {
    const request = { method: "POST", path, body: encoded(body), keepalive } as const;
    const { body: answer } = await this.#transport.send(request, undefined);
    if (!isObject(answer)) throw notOurs();
    if (answer["tracked"] === false) this.#refused();
    return answer;
  }

  /**
   * Hand it to the browser, which sends it even if the page is closed now. False if it takes no more.
   *
   * As plain text: the browser asks no other origin's leave for that before, and there would be no time.
   */
  beacon(path: string, body: object): boolean {
    const { navigator } = globalThis as { navigator?: Partial<Navigator> };
    return navigator?.sendBeacon?.(this.#url + path, encoded(body)) ?? false;
  }

  /** Have it sent, by beacon or else by a request that outlives the page. What becomes of it cannot be known. */
  tell(path: string, body: object): void {
    if (!this.beacon(path, body)) this.ask(path, body, true).catch(() => undefined);
  }
}
