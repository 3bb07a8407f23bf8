/** Both clients against a real server: promises, errors, and the loss of a server in mid-speech. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { WebSocket as NodeWebSocket } from "ws";
import * as browser from "../src/browser.js";
import * as node from "../src/node.js";
import { ModuleService } from "../src/protos.js";
import type { CaptionEvent, Item } from "../src/session.js";
import type { StreamOptions } from "../src/stream.js";
import { Server, slowly, speech } from "./server.js";

const AUDIO = speech([1.1, 0.3], [1, 0], [1.1, 0.6], [1, 0], [1.1, 0.9], [1, 0], [0.8, 0.2]);
const socket = NodeWebSocket as unknown as typeof WebSocket;

interface Talker {
  stream(chunks: AsyncIterable<Item>, options?: StreamOptions): AsyncGenerator<CaptionEvent>;
}

async function all(events: AsyncIterable<CaptionEvent>): Promise<CaptionEvent[]> {
  const found: CaptionEvent[] = [];
  for await (const event of events) found.push(event);
  return found;
}

const told = (events: CaptionEvent[]) =>
  events.flatMap((event) =>
    event.kind === "final"
      ? [[event.final.segmentIndex, event.final.startSample, event.final.endSample, event.text]]
      : [],
  );

function assertPromises(events: CaptionEvent[]): void {
  let [index, stable, end] = [0, "", 0n];
  for (const event of events) {
    if (event.kind === "partial") {
      assert.equal(event.partial.segmentIndex, index);
      assert.ok(event.partial.stableText.startsWith(stable), "committed text changed");
      stable = event.partial.stableText;
    } else if (event.kind === "final") {
      assert.equal(event.final.segmentIndex, index);
      assert.ok(event.text.startsWith(stable), "the final drops committed text");
      assert.ok(event.final.startSample >= end);
      [index, stable, end] = [index + 1, "", event.final.endSample];
    }
  }
  const summary = events.at(-1);
  assert.equal(summary?.kind, "summary");
  assert.equal(summary.samplesReceived, BigInt(AUDIO.length));
  assert.equal(summary.numSegments, index);
}

let servers: Server[] = [];
before(async () => {
  servers = await Promise.all([Server.start(), Server.start(), Server.start()]);
});
after(() => servers.forEach((server) => server.kill()));

describe("a stream", () => {
  const clients: Record<string, () => Talker & { close?: () => void }> = {
    "over gRPC": () => new node.Client(servers[0]!.address),
    "over a WebSocket": () => new browser.Client(servers[0]!.page, socket),
  };
  for (const [name, make] of Object.entries(clients)) {
    test(`keeps its promises ${name}`, async () => {
      const client = make();
      const events = await all(client.stream(slowly(AUDIO)));
      assert.equal(events[0]?.kind, "started");
      assert.ok(events.some((event) => event.kind === "partial"));
      assert.equal(told(events).length, 4);
      assertPromises(events);
      client.close?.();
    });

    test(`answers wishes ${name}`, async () => {
      const client = make();
      async function* talk(): AsyncGenerator<Item> {
        yield* slowly(speech([0.6, 0.5]));
        yield "flush";
        yield* slowly(speech([0.5, 0.9]));
        yield "cancelSegment";
        yield "keepAlive";
        yield* slowly(speech([0.5, 0.2]));
      }
      const events = await all(client.stream(talk()));
      const notices = events.flatMap((event) => (event.kind === "notice" ? [event.notice] : []));
      assert.deepEqual(notices, ["CANCELLED"]);
      const texts = told(events).map((final) => new Set(String(final[3]).split(" ")));
      assert.equal(texts.length, 2);
      client.close?.();
    });

    test(`says why it is refused ${name}`, async () => {
      const client = make();
      const refused = all(client.stream(slowly(AUDIO), { language: "tlh" }));
      await assert.rejects(refused, { name: "LegonnError", reason: "NO_ROUTE", retry: "never" });
      const torn = (async function* (): AsyncGenerator<Item> {
        yield* slowly(speech([0.3, 0.5]));
        throw new Error("the microphone was pulled out");
      })();
      await assert.rejects(all(client.stream(torn)), /microphone/);
      client.close?.();
    });

    test(`may be left early or aborted ${name}`, async () => {
      const client = make();
      for await (const event of client.stream(slowly(AUDIO))) {
        if (event.kind === "partial") break;
      }
      const signal = AbortSignal.timeout(150);
      await assert.rejects(all(client.stream(slowly(AUDIO, 50), { signal })), {
        name: "TimeoutError",
      });
      client.close?.();
    });
  }
});

test("texts and modules over gRPC", async () => {
  const client = new node.Client(servers[0]!.address);
  const texts = await client.translate(["guten Tag", "", "eins"], { source: "de" });
  assert.deepEqual(texts, ["GUTEN TAG", "", "EINS"]);
  await assert.rejects(client.translate(["x"], { source: "xx" }), { reason: "NO_ROUTE" });
  const names = (await client.modules()).map((module) => module.name);
  assert.ok(names.includes("decoder-en"));
  const answer = await client.call(ModuleService.method.getModule, { name: "text-de" });
  assert.equal(answer.module?.sourceLanguageCode, "de");
  assert.ok((await client.routes())!.generation >= 1n);
  client.close();
});

test("no server is said soon", async () => {
  const client = new node.Client("127.0.0.1:1");
  await assert.rejects(all(client.stream(slowly(AUDIO))), { retry: "same" });
  client.close();
});

describe("a lost server is replaced, and no word lost or doubled", () => {
  const lose = async (client: Talker, doomed: Server): Promise<void> => {
    const whole = await all(new node.Client(servers[0]!.address).stream(slowly(AUDIO)));
    const events: CaptionEvent[] = [];
    for await (const event of client.stream(slowly(AUDIO, 15))) {
      events.push(event);
      if (event.kind === "partial" && event.partial.segmentIndex === 1) doomed.kill();
    }
    assert.deepEqual(told(events), told(whole));
    assertPromises(events);
    const kinds = events.map((event) => event.kind);
    assert.ok(kinds.includes("reconnecting") && kinds.includes("recovered"));
  };

  test("over gRPC", async () => {
    const addresses = `${servers[1]!.address},${servers[0]!.address}`;
    const client = new node.Client(addresses);
    await lose(client, servers[1]!);
    client.close();
  });

  test("over a WebSocket", async () => {
    const origins = [servers[2]!.page, servers[0]!.page];
    await lose(new browser.Client(origins, socket), servers[2]!);
  });
});
